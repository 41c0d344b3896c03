"""Every example of the command's own table, and every shell block of the pages that uses the command, typed into bash:
exit code 0, and what is printed is what tests/servers/golden/ holds (golden.py: how to write it anew), or what the page
itself shows in a ```text block behind the commands."""

import json
import os
import pathlib
import re
import shlex
import signal
import stat
import subprocess
import time
import urllib.request

import pytest

import golden
from rest import Rest
from scenario import Scenario
from servers import ROOT

QUIET = ("mlops log ", "mlops artifacts put ", "mlops run end ", "mlops tail --run ")  # say nothing; what the run is afterwards is shown
ENDLESS = ("--follow", "--watch")  # until Ctrl-C
PAGES = {"README.md": 3, "docs/guide.md": 4, "docs/clusters.md": 1}  # with at least so many blocks to type

PROGRAMS = {  # what the examples name and no machine needs to have
    "train": "for i in 1 2 3; do echo \"step $i loss=0.$i loss 0.$i\"; done",
    "bin/srun": 'shift 2; export SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_NTASKS=8\n'
                'for i in {0..7}; do SLURM_PROCID=$i "$@" & done; wait',
    "bin/tail": 'cat "${@: -1}"',  # -f would stay
}
TRAIN_AS_A_RANK = "exec mlops exec --quiet --experiment ranks --name all -- mlops log loss=0.5"


class Shell:
    """A root with one open run, all of it delivered, or (begun=False) none yet; lines are typed in its folder."""

    def __init__(self, build, server, folder, programs=PROGRAMS, begun=True):
        self.uri = server.uri
        self.s = Scenario(build, folder, server.uri)
        for name, text in programs.items():
            path = self.s.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/bash\n{text}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (self.s.folder / "train.log").write_text("step 7 then loss=0.25 loss 0.25\n")
        for name in [n for n in self.s.env if n.lower().endswith("_proxy") or n.startswith("AWS_")]:
            del self.s.env[name]
        self.s.env.update(MLFLOW_TRACKING_URI=server.uri, HOME=str(self.s.folder), LC_ALL="C.UTF-8", MANWIDTH="80", TZ="UTC",
                          PATH=f"{self.s.folder / 'bin'}:{build.mlops.parent}:{os.environ['PATH']}",
                          OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                          OMPI_MCA_hwloc_base_binding_policy="none")
        self.stand_ins = {"http://localhost:5000": self.uri, "http://host:5000": self.uri,
                          "localhost_5000": self.uri.removeprefix("http://").replace(":", "_")}
        self.names = [(str(self.s.folder), "<here>"), (str(build.mlops.parent), "<bin>"),
                      (self.uri, "http://localhost:5000"), (self.stand_ins["localhost_5000"], "localhost_5000")]
        if begun:
            self.begin()

    def begin(self):
        self.run = self.s.mlops("run", "start", "--experiment", "digits", "--name", "one").strip()
        self.s.env["RUN"] = self.run
        for step, loss in enumerate((0.9, 0.6, 0.5), 1):
            self.s.mlops("log", "--run", self.run, f"loss={loss}", "acc=0.8", "--step", str(step), "--param", "model=mlp")
        self.s.mlops("sync")

    def line(self, text):
        for stand_in, real in self.stand_ins.items():
            text = text.replace(stand_in, real)
        return text

    def prepare(self, text):
        """What an example takes for granted: a server's name, something that waits, something stuck, something to free."""
        if text.startswith(("mlops remote set-url lab", "mlops remote remove lab")):
            self.s.mlops("remote", "rename", self.stand_ins["localhost_5000"], "lab")
        if text.startswith("mlops remote add"):
            self.stand_ins["http://localhost:5000"] = "http://127.0.0.1:9"  # one that is not known yet
            self.names.append(("http://127.0.0.1:9", "http://localhost:5000"))
        if "mlops sync" in text:
            self.s.mlops("log", "--run", self.run, "loss=0.4", "--step", "4")
        if text.startswith("mlops restore"):
            self.s.mlops("delete", self.run)
        if text.startswith("mlops gc"):
            self.s.mlops("run", "end", "--run", self.run)
            for _ in range(10):
                run = self.s.mlops("run", "start", "--experiment", "digits").strip()
                self.s.mlops("run", "end", "--run", run)
            self.s.mlops("sync")
        if text.startswith("mlops artifacts"):
            root = Rest(self.uri).call("GET", "runs/get", run_id=self.show()["server_id"])["run"]["info"]["artifact_uri"]
            for name in ("model/MLmodel", "notes.txt"):
                url = f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{root.removeprefix('mlflow-artifacts:/')}/{name}"
                urllib.request.urlopen(urllib.request.Request(url, method="PUT", data=b"what it says"), timeout=60).close()
        if text.startswith("mlops stuck"):
            server_run = self.show()["server_id"]
            Rest(self.uri).call("POST", "runs/log-parameter", {"run_id": server_run, "key": "lr", "value": "theirs"})
            self.s.mlops("log", "--run", self.run, "--param", "lr=ours")
            self.s.mlops("sync", rc=None)
            [item] = json.loads(self.s.mlops("stuck", "--json"))["stuck"]
            self.stand_ins["3f0c21aa"] = item["id"]

        if text.startswith(("mlops models", "mlops gate")):
            self.prepare_models(text)

    def prepare_models(self, text):
        """A model with two versions of the one run's files, and a story; one that nobody wants."""
        rest = Rest(self.uri)
        run = rest.call("GET", "runs/get", run_id=self.show()["server_id"])["run"]["info"]
        place = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        rest.opener.open(urllib.request.Request(f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{place}/model/weights.bin",
                                                data=b"weights" * 100, method="PUT"), timeout=60).close()
        for name in ("digits", "digits-draft", "digits-production", "draft", "draft-old"):
            rest.call("DELETE", "registered-models/delete", {"name": name})
        for name, versions in (("digits", 2), ("draft", 0)):
            rest.call("POST", "registered-models/create", {"name": name})
            for _ in range(versions):
                rest.call("POST", "model-versions/create",
                          {"name": name, "source": run["artifact_uri"] + "/model", "run_id": run["run_id"]})
        self.s.mlops("models", "promote", "digits", 1, "champion", "--who", "ann", "--why", "the first")
        if "rollback" in text or "history" in text:
            self.s.mlops("models", "promote", "digits", 2, "champion", "--who", "bob", "--why", "better")

    def show(self):
        return json.loads(self.s.mlops("show", self.run, "--json"))

    def type(self, *blocks):
        """-> a transcript of each block, typed into one shell: each command behind a $, what it printed below it, stdout and
        stderr as they came, then [exit N]."""
        script = ["set -o pipefail"]
        for block in blocks:
            command = ""
            for line in block.strip().splitlines():
                command += line + "\n"
                if line.endswith("\\") or subprocess.run(["bash", "-n", "-c", command], capture_output=True).returncode:
                    continue  # goes on in the next line
                if command.strip():
                    script += [f"printf '$ %s' {shlex.quote(command)}", self.line(command).rstrip(),
                               'rc=$?; [ $rc = 0 ] || echo "[exit $rc]"']
                command = ""
            assert not command, f"bash does not understand {command}"
            script.append("echo '$ end of block'")
        path = self.s.folder / "typed"
        path.write_text("\n".join(script) + "\n")
        got = subprocess.run(["bash", str(path)], env=self.s.env, cwd=self.s.folder, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180)
        *transcripts, rest = golden.mask(got.stdout, self.names).split("$ end of block\n")
        assert len(transcripts) == len(blocks) and not rest.strip(), got.stdout
        return transcripts

    def type_until(self, text):
        """The same for a line that stays: Ctrl-C once it has printed something or nothing waits any more."""
        out = self.s.folder / "out"
        with open(out, "w") as o:
            process = subprocess.Popen(["bash", "-c", "exec " + self.line(text)], env=self.s.env, cwd=self.s.folder, stdout=o,
                                       stderr=o, stdin=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 120
            while out.stat().st_size == 0:
                status = json.loads(self.s.mlops("status", "--json", rc=None))
                if all(d["waiting"] == 0 for d in status["destinations"]):
                    break
                assert time.monotonic() < until and process.poll() is None, out.read_text()
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
            return golden.mask(f"$ {text}\n{out.read_text()}" + (f"[exit {code}]\n" if code else ""), self.names)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def bad(transcript):
    """What no golden file makes right: nothing to see, an exit code that is not 0 (but for 1 of `mlops status`: some wait)."""
    lines = transcript.splitlines()
    if all(line.startswith("$ ") for line in lines):
        return [f"nothing to see:\n{transcript}"]
    failed = re.findall(r"\[exit \d+\]", re.sub(r"(\$ mlops status\b[^$]*)\[exit 1\]", r"\1", transcript))
    return [f"failed:\n{transcript}"] if failed else []


@pytest.fixture
def shell(build, mlflow3, tmp_path):
    made = iter(range(10_000))
    return lambda **more: Shell(build, mlflow3, tmp_path / str(next(made)), **more)


def test_every_example_of_the_command(shell):
    """One golden file for each command: its examples, one after another, each in a root of its own."""
    wrong = []
    for command in json.loads(shell().s.mlops("reference", "--json"))["commands"]:
        assert command["examples"], f"{command['name']} has no example"
        told = []
        for example in command["examples"]:
            text = example["line"]
            assert command["name"] in text and example["says"]
            sh = shell()
            sh.prepare(text)
            if any(word in text for word in ENDLESS):
                transcript = sh.type_until(text)
            else:
                written = re.search(r" > (\S+)$", text)
                after = "\nmlops show $RUN" if text.startswith(QUIET) else f"\ncat {written[1]}" if written else ""
                after = '\necho "$RUN"' if text.startswith("RUN=") else after
                [transcript] = sh.type(text + after)
            told.append(f"# {example['says']}\n{transcript}")
            wrong += bad(transcript)
        differs = golden.difference(command["name"].replace(" ", "_"), "\n".join(told))
        if differs:
            wrong.append(differs)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_shell_blocks_of(shell, page):
    blocks = re.findall(r"^```sh\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", pathlib.Path(ROOT, page).read_text(), re.M | re.S)
    blocks = [(typed, shown) for typed, shown in blocks if re.search(r"(^|\| |\()mlops |MLOPS_RUN=job", typed, re.M)]
    assert len(blocks) >= PAGES[page]
    if page == "docs/guide.md":  # one story, from nothing
        transcripts = shell(begun=False).type(*[typed for typed, _ in blocks])
    else:
        transcripts = []
        for typed, _ in blocks:
            ranks = "MLOPS_RUN=job" in typed
            sh = shell(programs={**PROGRAMS, "train": TRAIN_AS_A_RANK} if ranks else PROGRAMS)
            transcripts += sh.type(typed + ("\nmlops runs --experiment ranks -c name,status,points" if ranks else ""))
    wrong = []
    for (_, shown), transcript in zip(blocks, transcripts):
        wrong += bad(transcript)
        printed = [line for line in transcript.splitlines() if not line.startswith("$ ")]
        if shown and golden.mask(shown, [("/home/me/trial/.mlops", "<here>/root")]).splitlines() != printed:
            wrong.append(f"{page} shows\n{shown}but this was printed, masked\n" + "\n".join(printed))
    differs = golden.difference(pathlib.Path(page).stem, "\n".join(transcripts))
    assert not wrong and not differs, "\n".join([*wrong, differs])
