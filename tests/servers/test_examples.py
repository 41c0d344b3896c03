"""Every example of the command's own table, and every shell block of the README that uses the command, typed into bash:
exit code 0, and something to see, or to find in the run afterwards."""

import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import time

import pytest

from scenario import Scenario
from servers import ROOT

QUIET = ("mlops log ", "mlops run end ")  # say nothing; the run is another one afterwards
ENDLESS = ("--follow", "--watch")  # until Ctrl-C

PROGRAMS = {  # what the examples name and no machine needs to have
    "train": "for i in 1 2 3; do echo \"step $i loss=0.$i loss 0.$i\"; done",
    "bin/srun": 'exec "$@"',
    "bin/tail": 'cat "${@: -1}"',  # -f would stay
}


class Shell:
    """A root with one open run, all of it delivered; lines are typed in its folder."""

    def __init__(self, build, server, folder):
        self.uri = server.uri
        self.s = Scenario(build, folder, server.uri)
        for name, text in PROGRAMS.items():
            path = self.s.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/bash\n{text}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (self.s.folder / "train.log").write_text("step 7 then loss 0.25\n")
        self.s.env.update(MLFLOW_TRACKING_URI=server.uri,
                          PATH=f"{self.s.folder / 'bin'}:{build.mlops.parent}:{os.environ['PATH']}")
        self.run = self.s.mlops("run", "start", "--experiment", "digits", "--name", "one").strip()
        self.s.env["RUN"] = self.run
        self.s.mlops("log", "--run", self.run, "loss=0.5", "acc=0.8", "--step", "1", "--param", "model=mlp")
        self.s.mlops("sync")

    def line(self, text):
        return text.replace("http://localhost:5000", self.uri).replace("http://host:5000", self.uri)

    def show(self):
        return json.loads(self.s.mlops("show", self.run, "--json"))

    def type(self, text):
        """-> (exit code, stdout, stderr)"""
        got = subprocess.run(["bash", "-c", "set -eo pipefail\n" + self.line(text)], env=self.s.env, cwd=self.s.folder,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
        return got.returncode, got.stdout, got.stderr

    def type_until(self, text):
        """The same for a line that stays: Ctrl-C once it has printed something or nothing waits any more."""
        self.s.mlops("log", "--run", self.run, "loss=0.4", "--step", "2")
        out, err = self.s.folder / "out", self.s.folder / "err"
        with open(out, "w") as o, open(err, "w") as e:
            process = subprocess.Popen(["bash", "-c", "exec " + self.line(text)], env=self.s.env, cwd=self.s.folder, stdout=o,
                                       stderr=e, stdin=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 120
            while out.stat().st_size == 0:
                status = json.loads(self.s.mlops("status", "--json", rc=None))
                if all(d["waiting"] == 0 for d in status["destinations"]):
                    break
                assert time.monotonic() < until and process.poll() is None, err.read_text()
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            return process.wait(60), out.read_text(), err.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def shell(build, mlflow3, tmp_path):
    made = iter(range(10_000))
    return lambda: Shell(build, mlflow3, tmp_path / str(next(made)))


def test_every_example_of_the_command(shell):
    first = shell()
    commands = json.loads(first.s.mlops("reference", "--json"))["commands"]
    lines = [example["line"] for command in commands for example in command["examples"]]
    assert len(lines) >= len(commands)
    wrong = []
    for text in lines:
        sh = shell()
        before = sh.show()
        if any(word in text for word in ENDLESS):
            code, out, err = sh.type_until(text)
        else:
            code, out, err = sh.type(text + ('\necho "$RUN"' if text.startswith("RUN=") else ""))
        changed = (text.startswith(QUIET) or "--quiet" in text) and sh.show() != before
        if code != 0 or not (out.strip() or changed):
            wrong.append(f"{text}: exit code {code}\n  out: {out.strip()}\n  err: {err.strip()}")
    assert not wrong, "\n".join(wrong)


def test_every_command_has_an_example(shell):
    for command in json.loads(shell().s.mlops("reference", "--json"))["commands"]:
        assert command["examples"], f"{command['name']} has no example"
        for example in command["examples"]:
            assert command["name"] in example["line"] and example["says"]


def test_shell_blocks_of_the_readme(shell):
    text = pathlib.Path(ROOT, "README.md").read_text()
    blocks = [b for b in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) if re.search(r"(^|\| |\()mlops ", b, re.M)]
    assert len(blocks) >= 3
    for block in blocks:
        code, out, err = shell().type(block)
        assert code == 0 and out.strip(), f"{block}\n{out}\n{err}"
