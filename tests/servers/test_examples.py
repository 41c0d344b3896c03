"""Every example of the command's own table, and every shell block of README and guide that uses the command, typed into bash:
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

from rest import Rest
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
        (self.s.folder / "train.log").write_text("step 7 then loss=0.25 loss 0.25\n")
        self.s.env.update(MLFLOW_TRACKING_URI=server.uri,
                          PATH=f"{self.s.folder / 'bin'}:{build.mlops.parent}:{os.environ['PATH']}")
        self.run = self.s.mlops("run", "start", "--experiment", "digits", "--name", "one").strip()
        self.s.env["RUN"] = self.run
        self.s.mlops("log", "--run", self.run, "loss=0.5", "acc=0.8", "--step", "1", "--param", "model=mlp")
        self.s.mlops("sync")
        name = json.loads(self.s.mlops("status", "--json"))["destinations"][0]["name"]
        self.stand_ins = {"http://localhost:5000": self.uri, "http://host:5000": self.uri, "localhost_5000": name}

    def line(self, text):
        for stand_in, real in self.stand_ins.items():
            text = text.replace(stand_in, real)
        return text

    def prepare(self, text):
        """What an example takes for granted: a server's name, something stuck."""
        if text.startswith(("mlops remote set-url lab", "mlops remote remove lab")):
            self.s.mlops("remote", "rename", self.stand_ins["localhost_5000"], "lab")
        if text.startswith("mlops remote add"):
            self.stand_ins["http://localhost:5000"] = "http://127.0.0.1:9"  # one that is not known yet
        if text.startswith("mlops stuck"):
            server_run = self.show()["server_id"]
            Rest(self.uri).call("POST", "runs/log-parameter", {"run_id": server_run, "key": "lr", "value": "theirs"})
            self.s.mlops("log", "--run", self.run, "--param", "lr=ours")
            self.s.mlops("sync", rc=None)
            [item] = json.loads(self.s.mlops("stuck", "--json"))["stuck"]
            self.stand_ins["3f0c21aa"] = item["id"]

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
        sh.prepare(text)
        before = sh.show()
        if any(word in text for word in ENDLESS):
            code, out, err = sh.type_until(text)
        else:
            code, out, err = sh.type(text + ('\necho "$RUN"' if text.startswith("RUN=") else ""))
        changed = (text.startswith(QUIET) or "--quiet" in text) and sh.show() != before
        written = re.search(r" > (\S+)$", text)
        changed = changed or (written and (sh.s.folder / written[1]).stat().st_size > 0)
        if code != 0 or not (out.strip() or err.strip() or changed):
            wrong.append(f"{text}: exit code {code}\n  out: {out.strip()}\n  err: {err.strip()}")
    assert not wrong, "\n".join(wrong)


def test_every_command_has_an_example(shell):
    for command in json.loads(shell().s.mlops("reference", "--json"))["commands"]:
        assert command["examples"], f"{command['name']} has no example"
        for example in command["examples"]:
            assert command["name"] in example["line"] and example["says"]


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_shell_blocks_of(shell, page):
    text = pathlib.Path(ROOT, page).read_text()
    blocks = [b for b in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) if re.search(r"(^|\| |\()mlops ", b, re.M)]
    assert len(blocks) >= 3
    for block in blocks:
        code, out, err = shell().type(block)
        assert code == 0 and out.strip(), f"{block}\n{out}\n{err}"
