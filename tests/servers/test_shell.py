"""Runs from a shell: mlops run, log, tail and exec, the real binary, in pipes and in pseudo terminals; what a call answered 0
for is on a real server after the next sync, and nothing else."""

import collections
import concurrent.futures
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time

import pytest

from expect import DBL_MAX
from scenario import Scenario


@pytest.fixture
def shell(build, tmp_path):
    """A scenario without a server."""
    return Scenario(build, tmp_path)


def command(s, *words, stdin=b"", env=None, seconds=120):
    return subprocess.run([str(s.build.mlops), *map(str, words)], input=stdin, env={**s.env, **(env or {})}, cwd=s.folder,
                          capture_output=True, timeout=seconds)


def start_run(s, *words):
    uid = s.mlops("run", "start", *words).strip()
    assert len(uid) == 32 and int(uid, 16) >= 0
    return uid


def show(s, uid):
    return json.loads(s.mlops("show", uid, "--json"))


def series(s, uid, metric):
    return json.loads(s.mlops("show", uid, "--metric", metric, "--json"))


def slots(s):
    return len(list(s.root.glob("*/s-*")))


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.01)


def ended(process, seconds=60):
    """-> its status as a shell sees it, when nothing of it is left over."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError("did not end") from None


# -- run, log ------------------------------------------------------------------------------------------------------------

BAD = {  # words -> exit code, what the message says; RUN is a run's id
    ("log", "--run", "RUN"): (2, "nothing to log"),
    ("log", "loss=1"): (2, "MLOPS_RUN"),
    ("log", "--run", "ffffffff", "loss=1"): (3, "no run"),
    ("log", "--run", "f" * 32, "loss=1"): (3, "no run"),
    ("log", "--run", "RUN", "loss"): (2, "key=value"),
    ("log", "--run", "RUN", "=1"): (2, "key=value"),
    ("log", "--run", "RUN", "loss="): (2, "no number"),
    ("log", "--run", "RUN", "loss=abc"): (2, "no number"),
    ("log", "--run", "RUN", "loss=1x"): (2, "no number"),
    ("log", "--run", "RUN", "loss=0x10"): (2, "no number"),
    ("log", "--run", "RUN", "loss=1e999"): (2, "no number"),
    ("log", "--run", "RUN", "loss=1", "--step", "x"): (2, "--step"),
    ("log", "--run", "RUN", "loss=1", "--step", "1.5"): (2, "--step"),
    ("log", "--run", "RUN", "loss=1", "--step"): (2, "--step"),
    ("log", "--run", "RUN", "loss=1", "--time", "-5"): (2, "1970"),
    ("log", "--run", "RUN", "--param", "k"): (2, "key=value"),
    ("log", "--run", "RUN", "--tag", "=v"): (2, "key=value"),
    ("log", "--run", "RUN", "a\nb=1"): (2, "character"),
    ("log", "--run", "RUN", "a" * 251 + "=1"): (2, "251"),
    ("log", "--run", "RUN", b"\xff\xfe=1"): (2, "UTF-8"),
    ("log", "--run", "RUN", "--param", b"\xff=1"): (2, "UTF-8"),
    ("log", "--run", "RUN", "--tag", b"t=\xff"): (2, "UTF-8"),
    ("log", "--run", "RUN", "--param", "taken=other"): (5, "written once"),
    ("rnus",): (2, 'no command "rnus"; did you mean runs?'),
    ("frobnicate",): (2, 'no command "frobnicate"; `mlops --help`'),
    ("remote", "lsit"): (2, 'no command "lsit"; did you mean list?'),
    ("stuck", "rety"): (2, 'no command "rety"; did you mean retry?'),
    ("gc", "--oldr-than", "3d"): (2, 'no option "--oldr-than"; did you mean --older-than?'),
    ("sync", "--frobnicate=3"): (2, 'no option "--frobnicate"; `mlops sync --help`'),
    ("sync", "--to", "localhost:5000"): (2, "mlops: tracking URI 'localhost:5000': no scheme"),
    ("sync", "--to", "http://localhost:5000/api/2.0/mlflow"): (2, "without /api/2.0/mlflow: http://localhost:5000"),
    ("plot", "RUN", "--output", "x.png"): (2, "does not end in .svg"),
    ("run",): (2, ""),
    ("run", "start", "extra"): (2, "extra"),
    ("run", "start", "--name", "n" * 251): (2, "250"),
    ("run", "start", "--param", "k"): (2, "key=value"),
    ("run", "start", "--param", "a/../../b=1"): (2, "path"),
    ("run", "start", "--tag", b"\xff=1"): (2, "UTF-8"),
    ("run", "start", "--parent", "ffff"): (3, "no run"),
    ("run", "end"): (2, "MLOPS_RUN"),
    ("run", "end", "--run", "ffffffff"): (3, "no run"),
    ("run", "end", "--run", "RUN", "--status", "DONE"): (2, "--status"),
    ("tail",): (2, "--regex"),
    ("tail", "--regex", "("): (2, "missing"),
    ("tail", "--regex", "loss"): (2, "names no group"),
    ("tail", "--regex", "(?P<x>.)", "--run", "ffffffff"): (3, "no run"),
    ("tail", "--regex", "(?P<x>.)", "--param", "k"): (2, "key=value"),
    ("exec",): (2, "command"),
    ("exec", "--param", "k", "--", "true"): (2, "key=value"),
    ("exec", "--grace", "-1", "--", "true"): (2, "--grace"),
    ("exec", "--tag", b"\xff=1", "--", "true"): (125, "UTF-8"),
}


def test_bad_input(shell):
    """Each is refused with its code and a line that names the fault, nothing on stdout, and the run is as before."""
    uid = start_run(shell, "--name", "good", "--param", "taken=first")
    for words, (code, says) in BAD.items():
        got = subprocess.run([str(shell.build.mlops), *(uid if w == "RUN" else w for w in words)], env=shell.env,
                             cwd=shell.folder, timeout=60, stdin=subprocess.DEVNULL, capture_output=True)
        said = got.stderr.decode(errors="replace") + got.stdout.decode(errors="replace")
        assert got.returncode == code, f"{words}: {got.returncode}: {said}"
        assert says in said, f"{words}: {said}"
    nowhere = {"MLOPS_HOME": str(shell.folder / "nowhere")}
    assert command(shell, "log", "--run", uid, "a=1", env=nowhere).returncode == 3
    assert not (shell.folder / "nowhere").exists()
    run = show(shell, uid)
    assert run["points"] == 0 and run["params"] == {"taken": "first"} and run["status"] == "RUNNING"
    # Refused params leave no run that nobody knows of.
    assert all(r["status"] != "RUNNING" for r in json.loads(shell.mlops("runs", "--json"))["runs"] if r["id"] != uid)


def test_files_without_a_server(shell):
    """With no server known they are listed and downloaded from the buffer."""
    uid = start_run(shell)
    (shell.folder / "in" / "deep").mkdir(parents=True)
    (shell.folder / "in" / "deep" / "big").write_bytes(os.urandom(700_000))
    (shell.folder / "note.txt").write_text("first")
    shell.mlops("artifacts", "put", "note.txt", "--run", uid)
    (shell.folder / "note.txt").write_text("second")
    shell.mlops("artifacts", "put", "note.txt", "in", "--run", uid, "--path", "")
    shell.mlops("artifacts", "put", "note.txt", "--run", uid, "--path", "deep")
    listed = json.loads(shell.mlops("artifacts", "ls", uid, "-R", "--json"))["artifacts"]
    assert [(a["path"], a["is_dir"], a["bytes"], a["in_buffer"]) for a in listed] == [
        ("deep", True, 0, True), ("deep/big", False, 700_000, True), ("deep/note.txt", False, 6, True), ("note.txt", False, 6, True)]
    got = command(shell, "artifacts", "get", uid, "--output", "out")
    assert got.returncode == 0 and got.stdout.startswith(b"3 files") and b"no server is known" in got.stderr, got
    assert (shell.folder / "out/deep/big").read_bytes() == (shell.folder / "in/deep/big").read_bytes()
    assert (shell.folder / "out/note.txt").read_text() == "second"
    shell.mlops("artifacts", "get", uid, "deep/note.txt", "--output", "one")
    assert (shell.folder / "one/deep/note.txt").read_text() == "second"
    assert command(shell, "artifacts", "ls", uid, "none").returncode == 3
    assert command(shell, "artifacts", "ls", "f" * 32).returncode == 3
    shell.mlops("remote", "add", "lab", "http://127.0.0.1:9")  # from now on a server has them
    got = command(shell, "artifacts", "ls", uid)
    assert got.returncode == 5 and b"is not on http://127.0.0.1:9 yet" in got.stderr, got
    shell.mlops("remote", "add", "other", "http://127.0.0.1:10")
    got = command(shell, "artifacts", "ls", uid)
    assert got.returncode == 2 and b"give --from URI or NAME" in got.stderr, got


def test_an_ended_run_takes_more(shell):
    uid = start_run(shell)
    shell.mlops("run", "end", "--run", uid)
    shell.mlops("log", "--run", uid, "loss=1")
    run = show(shell, uid)
    assert run["status"] == "FINISHED" and run["points"] == 1
    assert "FINISHED run" in " ".join(shell.mlops("log", "--help").split())


def test_words_and_numbers(shell):
    """Values with '=', every spelling of a number, step and time, prefixes, MLOPS_RUN, parent, note, JSON."""
    parent = start_run(shell, "--experiment", "e")
    got = json.loads(shell.mlops("run", "start", "--experiment", "e", "--name", "n", "--param", "a=b=c", "--param", "empty=",
                                 "--tag", "layers=[1,2]", "--parent", parent[:8], "--note", "# hi", "--json"))
    uid = got["id"]
    assert got["name"] == "n"
    shell.mlops("log", "--run", uid[:6], "v=1", "--step", "-3", "--time", "1700000000000")
    for step, text in enumerate(("NaN", "inf", "-Infinity", "+2.5", "1e-400", "-0", ".5", "9007199254740993")):
        out = shell.mlops("log", f"w={text}", "--step", step, "--json", env={"MLOPS_RUN": uid})
        assert json.loads(out) == {"run": uid, "points": 1, "params": 0, "tags": 0}
    assert shell.mlops("log", "--run", uid, "x/y z=1", "u=2", "--tag", "t=1=2", "--param", "p=ü") == ""
    run = show(shell, uid)
    assert run["params"] == {"a": "b=c", "empty": "", "p": "ü"} and run["parent_id"] == parent
    assert run["tags"]["layers"] == "[1,2]" and run["tags"]["t"] == "1=2" and run["tags"]["mlflow.note.content"] == "# hi"
    assert series(shell, uid, "v") == {"metric": "v", "step": [-3], "time_ms": [1700000000000], "value": [1]}
    assert series(shell, uid, "w")["value"] == ["NaN", "Infinity", "-Infinity", 2.5, 0, -0.0, 0.5, 9007199254740992]
    assert series(shell, uid, "x/y z")["time_ms"] == series(shell, uid, "u")["time_ms"]
    assert run["status"] == "RUNNING" and run["left_open"] and not run["live"]
    assert "process gone" not in shell.mlops("runs") and "process gone" not in shell.mlops("show", uid)
    shell.mlops("run", "end", "--status", "FAILED", env={"MLOPS_RUN": uid})
    assert show(shell, uid)["status"] == "FAILED"
    shell.mlops("run", "end", "--run", uid, rc=5)
    assert slots(shell) == 1


def test_two_hundred_logs(build, mlflow3, tmp_path, experiment):
    """Eight at once, some killed after their answer: on the server is what was answered, once; the run is open until its end."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    uid = start_run(s, "--experiment", experiment, "--name", "script")

    def log(i):
        words = [str(build.mlops), "log", "--run", uid, f"loss={i}.25", f"acc{i % 3}={i}", "--step", str(i), "--json"]
        if i % 10 == 0:
            words += ["--param", f"p{i}=v{i}", "--tag", f"t{i}=v{i}"]
        process = subprocess.Popen(words, env=s.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        answer = process.stdout.readline()
        if i % 7 == 0:
            process.kill()
        process.wait(60)
        process.stdout.close()
        assert answer and json.loads(answer)["points"] == 2, process.stderr.read()
        process.stderr.close()
        return process.returncode

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(log, range(200)))
    assert codes.count(0) >= 170 and set(codes) <= {0, -signal.SIGKILL}
    assert slots(s) <= 9
    want = collections.Counter()
    for i in range(200):
        want[("loss", i, i + 0.25)] += 1
        want[(f"acc{i % 3}", i, float(i))] += 1
    texts = {i for i in range(0, 200, 10)}

    def check(status):
        run = s.server_run(experiment, uid)
        held = collections.Counter()
        for (key, _, step, value), n in s.rest.points(run).items():
            held[(key, step, value)] += n
        assert held == want, f"missing {want - held}, too many {held - want}"
        assert run.params == {f"p{i}": f"v{i}" for i in texts}
        assert {k: v for k, v in run.tags.items() if k[0] == "t"} == {f"t{i}": f"v{i}" for i in texts}
        assert run.status == status and run.name == "script"

    s.sync()
    check("RUNNING")
    assert show(s, uid)["points"] == 400
    s.mlops("run", "end", "--run", uid)
    s.sync()
    check("FINISHED")
    assert json.loads(s.mlops("status", "--json"))["destinations"][0]["waiting"] == 0
    s.mlops("verify", uid, "--to", s.uri)


def test_in_a_row_reuses_a_slot(shell):
    uid = start_run(shell)
    for i in range(50):
        shell.mlops("log", "--run", uid, f"m={i}", "--step", i)
    assert slots(shell) == 1
    assert series(shell, uid, "m")["value"] == list(range(50))


def test_beside_others(build, mlflow3, tmp_path, experiment):
    """The run's slot is a trainer's meanwhile, and `sync --follow` delivers: logs and the end get through all the same."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    uid = start_run(s, "--experiment", experiment)
    trainer = s.start("start", experiment, "other", "id", "other", "points", 0, 1, 100, 0, 1, "flush", "durable", 20000, "await",
                      s.folder / "go")
    wait_for(lambda: (s.folder / "other").exists())
    follow = s.start_mlops("sync", "--follow", "--to", s.uri)
    try:
        s.mlops("log", "--run", uid, "loss=1", "--step", 1, "--param", "k=v")
        s.mlops("run", "end", "--run", s.id("other"), rc=5)
        wait_for(lambda: show(s, s.id("other"))["points"] == 100)
        s.mlops("run", "end", "--run", uid, "--status", "KILLED")
        assert show(s, uid)["status"] == "KILLED"
        s.mlops("log", "--run", uid, "late=2")  # as MLflow: an ended run still takes points
        wait_for(lambda: (s.rest.by_uid(experiment, uid) or trainer) is not trainer, 60)
        wait_for(lambda: s.rest.by_uid(experiment, uid).status == "KILLED", 60)
        s.wait_points(experiment, uid, 2)
        assert s.rest.by_uid(experiment, uid).params == {"k": "v"}
        (s.folder / "go").touch()
        assert ended(trainer) == 0
        wait_for(lambda: (s.rest.by_uid(experiment, s.id("other")) or s).__dict__.get("status") == "FINISHED", 60)
    finally:
        trainer.kill()
        s.stop(follow)
    s.check(experiment, s.id("other"), s.expected().points(s.counter, 0, 1))


def test_two_ends_at_once(shell):
    """At least one ends it; the other is told, or its word stands."""
    for _ in range(5):
        uid = start_run(shell)
        both = [subprocess.Popen([str(shell.build.mlops), "run", "end", "--run", uid, "--status", status], env=shell.env,
                                 stderr=subprocess.DEVNULL) for status in ("FINISHED", "FAILED")]
        codes = [ended(p) for p in both]
        assert set(codes) <= {0, 5} and 0 in codes, codes
        status = show(shell, uid)["status"]
        assert status in ("FINISHED", "FAILED") and (codes != [0, 5] or status == "FINISHED") and (codes != [5, 0] or status == "FAILED")


# -- tail ----------------------------------------------------------------------------------------------------------------


def test_tail(shell):
    """What comes in goes out; steps, times, several expressions, numbers with a comma behind, and values that are none."""
    text = (b"start\nepoch 3\nloss=0.5, acc: 0.75\nloss=abc\nloss=zzz\n2024-05-01T12:00:00.250Z loss=0.25 step=7\n"
            b"1700000000.5 loss=nan step=8\rloss=1e-3\r\nt\xc3\xbcr \xff\xfe loss=\xff\nloss=4\x00\nthe end loss=2")
    got = command(shell, "tail", "--experiment", "e", "--name", "from the log", "--param", "k=v",
                  "--regex", r"loss=(?P<loss>\S+)", "--regex", r"acc: (?P<acc>\S+)", "--regex", r"(?:epoch |step=)(?P<step>\d+)",
                  "--regex", r"^(?P<time>[-0-9T:.Z]+) ", stdin=text)
    assert got.returncode == 0 and got.stdout == text, got.stderr
    assert got.stderr.decode().count("no number") == 1 and 'loss is "abc"' in got.stderr.decode()
    (run,) = json.loads(shell.mlops("runs", "--json"))["runs"]
    assert run["status"] == "FINISHED" and run["name"] == "from the log" and run["experiment"] == "e" and run["params"] == {"k": "v"}
    loss = series(shell, run["id"], "loss")
    pairs = sorted(zip(loss["step"], loss["value"], strict=True), key=str)
    assert pairs == sorted([(3, 0.5), (7, 0.25), (8, "NaN"), (8, 0.001), (8, 2)], key=str)
    assert 1714564800250 in loss["time_ms"] and 1700000000500 in loss["time_ms"]
    assert series(shell, run["id"], "acc")["value"] == [0.75]


def test_tail_counts_its_own_steps(shell):
    """Without a step each metric counts on: in a run of its own from 0, in a run that is there from its last."""
    uid = start_run(shell)
    shell.mlops("log", "--run", uid, "loss=9", "--step", 4)
    lines = b"".join(b"loss=%d\n" % i for i in range(100))
    got = command(shell, "tail", "--run", uid, "--regex", r"loss=(?P<loss>\d+)", "--json", stdin=lines)
    counts = json.loads(got.stdout)
    assert got.returncode == 0 and counts == {"run": uid, "lines": 100, "matched": 100, "points": 100, "not_numbers": 0,
                                              "cut_lines": 0, "refused": 0}
    assert series(shell, uid, "loss")["step"] == list(range(4, 105))
    assert show(shell, uid)["status"] == "RUNNING"
    got = command(shell, "tail", "-q", "--regex", r"loss=(?P<loss>\d+)", stdin=lines)
    assert got.stdout == b"" and got.stderr == b""
    newest = json.loads(shell.mlops("runs", "-n", "1", "--json"))["runs"][0]
    assert series(shell, newest["id"], "loss")["step"] == list(range(100))


def test_tail_survives_anything(shell):
    """A line of 20 MB, a megabyte of random bytes, an empty input: passed on byte for byte, and the numbers around are there."""
    noise = os.urandom(1 << 20)
    text = b"loss=1\n" + b"x" * (20 << 20) + b" loss=666\n" + b"loss=2\n" + noise + b"\nloss=3\n"
    got = command(shell, "tail", "--regex", r"^loss=(?P<loss>\d)$", stdin=text)
    assert got.returncode == 0 and got.stdout == text, got.stderr[-500:]
    (run,) = json.loads(shell.mlops("runs", "--json"))["runs"]
    assert series(shell, run["id"], "loss")["value"][:2] == [1, 2] and series(shell, run["id"], "loss")["value"][-1] == 3
    assert command(shell, "tail", "--regex", r"(?P<loss>\d)", stdin=b"").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tail_ends_on_a_signal(shell, number):
    """What is on its way is read, the run ends KILLED."""
    process = subprocess.Popen([str(shell.build.mlops), "tail", "--regex", r"loss=(?P<loss>\d+)"], env=shell.env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdin.write(b"loss=1\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"loss=1\n"
    process.stdin.write(b"loss=2\nloss=3")
    process.stdin.flush()
    process.send_signal(number)
    assert ended(process) == 128 + number
    assert process.stdout.read() == b"loss=2\nloss=3"
    process.stdin.close()
    process.stdout.close()
    (run,) = json.loads(shell.mlops("runs", "--json"))["runs"]
    assert run["status"] == "KILLED" and series(shell, run["id"], "loss")["value"] == [1, 2, 3]


def test_tail_ends_although_its_reader_stands_still(shell):
    """The pipe behind it is full and nobody reads: SIGTERM ends it all the same, with what came in logged."""
    process = subprocess.Popen([str(shell.build.mlops), "tail", "--regex", r"loss=(?P<loss>\d+)"], env=shell.env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    os.set_blocking(process.stdin.fileno(), False)
    sent, quiet = 0, time.monotonic() + 1
    while time.monotonic() < quiet:  # until nothing more goes in, for a second
        try:
            sent += os.write(process.stdin.fileno(), b"loss=%06d\n" % (sent // 12) * 100)
            quiet = time.monotonic() + 1
        except BlockingIOError:
            time.sleep(0.01)
    process.terminate()
    assert ended(process) == 128 + signal.SIGTERM
    process.stdout.close()
    process.stdin.close()
    assert only_run(shell)["status"] == "KILLED" and only_run(shell)["points"] > 0


def test_tail_outlives_its_reader(shell):
    """`| head -1` goes away; the training's numbers go on being logged."""
    text = b"".join(b"loss=%d %s\n" % (i, b"." * 100) for i in range(5000))
    (shell.folder / "log").write_bytes(text)
    line = f"{shell.build.mlops} tail --regex 'loss=(?P<loss>[0-9]+)' < log 2>/dev/null | head -1"
    got = subprocess.run(["bash", "-o", "pipefail", "-c", line], env=shell.env, cwd=shell.folder, capture_output=True, timeout=60)
    assert got.stdout.startswith(b"loss=0") and got.returncode == 0
    (run,) = json.loads(shell.mlops("runs", "--json"))["runs"]
    assert run["points"] == 5000 and run["status"] == "FINISHED"


def test_tail_delivers(build, mlflow3, tmp_path, experiment):
    s = Scenario(build, tmp_path, mlflow3.uri, env={"MLFLOW_TRACKING_URI": mlflow3.uri})
    uid = start_run(s, "--experiment", experiment)
    own = command(s, "tail", "-q", "--experiment", experiment, "--name", "own", "--regex", r"l=(?P<l>\S+)", stdin=b"l=inf\nl=2\n")
    joined = command(s, "tail", "-q", "--run", uid, "--regex", r"l=(?P<l>\S+)", stdin=b"l=5\n")
    assert own.returncode == 0 and joined.returncode == 0, own.stderr + joined.stderr
    (run,) = [r for r in s.rest.runs(experiment) if r.name == "own"]
    assert run.status == "FINISHED" and [p[1:] for p in s.rest.history(run.run_id, "l")] == [(0, DBL_MAX), (1, 2.0)]
    s.sync()
    run = s.server_run(experiment, uid)
    assert run.status == "RUNNING" and [p[1:] for p in s.rest.history(run.run_id, "l")] == [(0, 5.0)]


# -- exec ----------------------------------------------------------------------------------------------------------------

# Says "ready", counts each signal for a while after the first, leaves as told.
COUNTER = """
import collections, json, os, signal, sys, time
seen = collections.Counter()
for name in sys.argv[2].split(","):
    signal.signal(getattr(signal, name), lambda number, frame: seen.update([signal.Signals(number).name]))
print("ready", flush=True)
until = time.monotonic() + 60
while not seen and time.monotonic() < until: time.sleep(0.01)
time.sleep(0.7)
open(sys.argv[1], "w").write(json.dumps(seen))
sys.exit(int(sys.argv[3]))
"""


def only_run(s):
    (run,) = json.loads(s.mlops("runs", "--json"))["runs"]
    return run


@pytest.mark.parametrize("script, code, status, sig", [
    ("exit 0", 0, "FINISHED", None), ("exit 3", 3, "FAILED", None), ("exit 255", 255, "FAILED", None),
    ("kill -TERM $$", 143, "KILLED", "SIGTERM"), ("kill -KILL $$", 137, "KILLED", "SIGKILL"), ("kill -SEGV $$", 139, "KILLED", "SIGSEGV"),
])
def test_exec_ends_as_the_program(shell, script, code, status, sig):
    script = f"ulimit -c 0; {script}"
    got = command(shell, "exec", "--name", "n", "--param", "k=v=w", "--tag", "t=1", "--", "sh", "-c", script, "it's", "", "-q", "--")
    assert got.returncode == code, got.stderr
    run = only_run(shell)
    assert run["status"] == status and run["params"] == {"k": "v=w"} and run["tags"]["t"] == "1"
    assert run["tags"]["mlops.exec.command"] == f"sh -c '{script}' 'it'\\''s' '' -q --"
    assert run["tags"]["mlflow.source.name"] == "sh" and run["tags"]["mlops.exec.exit_code"] == str(code)
    assert run["tags"].get("mlops.exec.signal") == sig and 0 <= float(run["tags"]["mlops.exec.seconds"]) < 60


def test_exec_of_what_cannot_be_executed(shell):
    assert command(shell, "exec", "--", "no-such-program").returncode == 127
    (shell.folder / "text").write_text("not a program")
    assert command(shell, "exec", "--", "./text").returncode == 126
    (shell.folder / "text").chmod(0o755)
    assert command(shell, "exec", "--", "./text").returncode == 126
    assert {r["status"] for r in json.loads(shell.mlops("runs", "--json"))["runs"]} == {"FAILED"}
    (shell.folder / "file").write_text("")
    got = command(shell, "exec", "--", "touch", "ran", env={"MLOPS_HOME": str(shell.folder / "file")})
    assert got.returncode == 125 and not (shell.folder / "ran").exists()


def test_exec_is_transparent(shell):
    """stdin, stdout, stderr, arguments of any bytes, open files; the environment but for ours; no file of ours leaks."""
    odd = b"\xff\n\x01'\\"
    show_all = "import os,sys,json; sys.stdout.write(json.dumps([sys.argv[1:], sys.stdin.read(), dict(os.environ), " \
               "sorted(int(f) for f in os.listdir('/proc/self/fd'))])); sys.stderr.write('err')"
    plain = subprocess.run([sys.executable, "-c", show_all], input=b"in", env=shell.env, cwd=shell.folder, capture_output=True)
    env = {"MLFLOW_RUN_ID": "a" * 32, "MLFLOW_RUN_NAME": "named"}
    got = command(shell, "exec", "-q", "--system-metrics", "--", sys.executable, "-c", show_all, "--flag", "",
                  stdin=b"in", env=env)
    assert got.returncode == 0 and got.stderr == b"err", got.stderr
    words, read, environment, files = json.loads(got.stdout)
    run = only_run(shell)
    assert words == ["--flag", ""] and read == "in" and files == json.loads(plain.stdout)[3]
    assert environment == {**json.loads(plain.stdout)[2], **env, "MLOPS_RUN": run["id"], "MLOPS_HOME": str(shell.root)}
    assert run["name"] == "named" and run["id"] != "a" * 32
    got = subprocess.run([str(shell.build.mlops), "exec", "-q", "--", "printf", "%s", odd], env=shell.env, cwd=shell.folder,
                         capture_output=True, timeout=60)
    assert got.stdout == odd
    newest = json.loads(shell.mlops("runs", "-n", "1", "--json"))["runs"][0]
    assert newest["tags"]["mlops.exec.command"] == r"printf '%s' $'\xff\x0a\x01\'\\'" .replace("'%s'", "%s")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP"])
def test_exec_forwards(shell, name):
    """Each signal once; the program decides what comes of it."""
    process = subprocess.Popen([str(shell.build.mlops), "exec", "-q", "--", sys.executable, "-c", COUNTER, "seen", name, "5"],
                               env=shell.env, cwd=shell.folder, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, name))
    assert ended(process) == 5
    process.stdout.close()
    assert json.loads((shell.folder / "seen").read_text()) == {name: 1}
    assert only_run(shell)["status"] == "FAILED" and only_run(shell)["tags"]["mlops.exec.exit_code"] == "5"


def in_terminal(s, words):
    """-> (pid, master): the words in a session with a pseudo terminal of its own."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(s.folder)
        os.execve(words[0], words, {**s.env, "TERM": "xterm"})
    return pid, master


def read_until(master, what, seconds=60):
    out, until = b"", time.monotonic() + seconds
    while what not in out:
        assert time.monotonic() < until, out
        out += os.read(master, 4096)
    return out


def status_of(pid, seconds=60):
    until = time.monotonic() + seconds
    while True:
        got, status = os.waitpid(pid, os.WNOHANG)
        if got:
            return os.waitstatus_to_exitcode(status)
        assert time.monotonic() < until, "did not end"
        time.sleep(0.01)


def test_exec_in_a_terminal(shell):
    """Ctrl-C reaches the program once, through the terminal; the terminal is left as it was, the group is gone."""
    pid, master = in_terminal(shell, [str(shell.build.mlops), "exec", "--", sys.executable, "-c", COUNTER, "seen", "SIGINT", "0"])
    read_until(master, b"ready")
    before, group = termios.tcgetattr(master), os.tcgetpgrp(master)
    os.write(master, b"\x03")
    wait_for(lambda: (shell.folder / "seen").exists())
    assert status_of(pid) == 0
    assert termios.tcgetattr(master) == before and group == pid
    os.close(master)
    assert json.loads((shell.folder / "seen").read_text()) == {"SIGINT": 1}
    assert only_run(shell)["status"] == "FINISHED"
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


def test_exec_stops_and_goes_on(shell):
    """Ctrl-Z stops both, as a job; SIGCONT to the group goes on."""
    script = "echo ready; read line; echo got $line"
    pid, master = in_terminal(shell, ["/bin/bash", "--norc", "-c", f"set -m; {shell.build.mlops} exec -q -- sh -c '{script}'; jobs; "
                                      "echo stopped; fg >/dev/null; echo code $?"])
    read_until(master, b"ready")
    os.write(master, b"\x1a")
    read_until(master, b"stopped")
    os.write(master, b"hello\n")
    read_until(master, b"got hello")
    read_until(master, b"code 0")
    assert status_of(pid) == 0
    os.close(master)
    assert only_run(shell)["status"] == "FINISHED"


def test_tail_in_a_terminal(shell):
    """Typed lines are passed on and logged; Ctrl-D is the end."""
    pid, master = in_terminal(shell, [str(shell.build.mlops), "tail", "--regex", r"loss=(?P<loss>\S+)"])
    read_until(master, b"mlops: run ")
    os.write(master, b"loss=0.5\n")
    assert read_until(master, b"loss=0.5\r\nloss=0.5\r\n")
    os.write(master, b"\x04")
    assert status_of(pid) == 0
    os.close(master)
    assert only_run(shell)["points"] == 1 and only_run(shell)["status"] == "FINISHED"


def test_exec_of_a_program_with_the_sdk(build, mlflow3, tmp_path, experiment):
    """The SDK inside attaches to the run, so does `mlops log`; one run on the server has it all."""
    s = Scenario(build, tmp_path, mlflow3.uri, env={"MLFLOW_TRACKING_URI": mlflow3.uri})
    trainer = f"{build.trainer} counter={s.counter.path} seed={s.seed} exit_ms=60000"
    script = (f"{trainer} start other name id id points 0 2 1500 0 3 params 100 5 flush delivered 60000 && "
              f"{build.mlops} log shell=1 && {trainer} start other name points 2 1 300 0 1 end FAILED && exit 9")
    got = command(s, "exec", "--experiment", experiment, "--name", "whole", "--", "bash", "-c", script)
    assert got.returncode == 9, got.stderr
    s.sync()
    run = only_run(s)
    assert s.id("id") == run["id"]
    want = s.expected().points(s.counter, 0, 3).points(s.counter, 1, 3).points(s.counter, 2, 1).text(s.counter, 100, "params")
    there = s.check(experiment, run["id"], want)
    assert there.status == "FAILED" and there.name == "whole" and there.tags["mlops.exec.exit_code"] == "9"
    assert [p[1:] for p in s.rest.history(there.run_id, "shell")] == [(0, 1.0)]
    assert len(s.rest.runs(experiment)) == 1


def test_exec_keeps_to_its_grace(build, mlflow3, tmp_path, experiment):
    """A server that answers nothing holds the end up for the grace time only; later all is delivered."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        start = time.monotonic()
        got = command(s, "exec", "-q", "--experiment", experiment, "--grace", "1", "--", "sh", "-c", "exit 4", env=env)
        took = time.monotonic() - start
    assert got.returncode == 4 and took < 20, (got, took)
    s.sync()
    run = s.server_run(experiment, only_run(s)["id"])
    assert run.status == "FAILED" and run.tags["mlops.exec.exit_code"] == "4"


def test_exec_is_killed(build, mlflow3, tmp_path, experiment):
    """SIGKILL of exec: the program goes on, nothing of it is lost, and the run ends KILLED only when the program is gone."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    trainer = [str(build.trainer), f"counter={s.counter.path}", f"seed={s.seed}", "deliver=0", "start", "x", "x", "points", "0", "1",
               "200", "0", "1", "flush", "durable", "20000", "id", "id", "await", str(s.folder / "go"), "points", "1", "1", "300", "0", "1"]
    process = subprocess.Popen([str(build.mlops), "exec", "-q", "--experiment", experiment, "--", *trainer], env=s.env, cwd=s.folder)
    wait_for(lambda: (s.folder / "id").exists())
    process.kill()
    process.wait()
    s.mlops("log", "--run", s.id("id"), "beside=1")  # takes the slot that exec left
    assert show(s, s.id("id"))["status"] == "RUNNING"
    (s.folder / "go").touch()
    wait_for(lambda: s.counter[1] == 300)
    free = [lock for lock in s.root.glob("*/*/lock")]

    def all_free():
        held = 0
        for lock in free:
            with open(lock) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    held += 1
        return held == 0

    wait_for(all_free)
    s.sync()
    run = s.check(experiment, s.id("id"), s.expected().points(s.counter, 0, 1).points(s.counter, 1, 1))
    assert run.status == "KILLED" and show(s, s.id("id"))["status"] == "KILLED"


def test_exec_logs_system_metrics(shell):
    """Only when it is told to, of its own run, and not told to the program."""
    env = {"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.05"}
    script = "test -z $MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING && sleep 1"
    for words in (["--system-metrics"], []):
        got = command(shell, "exec", "-q", "--name", f"with{len(words)}", *words, "--", "sh", "-c", script, env=env)
        assert got.returncode == 0, got.stderr
    runs = {r["name"]: {m["name"] for m in r["metrics"]} for r in json.loads(shell.mlops("runs", "--json"))["runs"]}
    assert "system/cpu_utilization_percentage" in runs["with1"] and runs["with0"] == set()


def test_exec_of_the_ranks_of_a_job(shell):
    """MLOPS_RUN=job: every rank's program gets the same run."""
    for rank in range(3):
        env = {"MLOPS_RUN": "job", "MLOPS_JOB": "j", "MLOPS_RANK": str(rank), "MLOPS_RANKS": "3"}
        script = f"{shell.build.mlops} log rank={rank} --step {rank}"
        got = command(shell, "exec", "-q", "--experiment", "e", "--", "sh", "-c", script, env=env)
        assert got.returncode == 0, got.stderr
    assert command(shell, "log", "a=1", env={"MLOPS_RUN": "job"}).returncode == 2
    run = only_run(shell)
    assert series(shell, run["id"], "rank")["value"] == [0, 1, 2] and run["status"] == "FINISHED"


def test_exec_says_what_the_program_asks_for_in_vain(shell):
    trainer = [str(shell.build.trainer), f"counter={shell.counter.path}", f"root={shell.root}", "deliver=0"]
    words = ["exec", "--experiment", "outer", "--name", "one", "--", *trainer, "start", "inner", "two"]
    got = command(shell, *words, env={"MLOPS_LOG": "info"})
    assert got.returncode == 0, got.stderr
    assert b"experiment inner and name two are ignored" in got.stderr and b"which is one in outer" in got.stderr, got.stderr
    [run] = json.loads(shell.mlops("runs", "--json"))["runs"]
    assert (run["experiment"], run["name"]) == ("outer", "one")


def test_exec_inside_exec_is_nested(shell):
    got = command(shell, "exec", "-q", "--name", "outer", "--", shell.build.mlops, "exec", "-q", "--name", "inner", "--", "true")
    assert got.returncode == 0, got.stderr
    runs = {r["name"]: r for r in json.loads(shell.mlops("runs", "--json"))["runs"]}
    assert runs["inner"]["parent_id"] == runs["outer"]["id"] and runs["outer"]["parent_id"] == ""
