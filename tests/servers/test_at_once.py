"""Two commands at once on one root: nothing is lost, nothing comes twice, and each of them says how it went."""

import json
import subprocess

import pytest

from scenario import Scenario
from test_faults import record
from test_manage import listed, told

OK, SOME, OTHER = 0, 1, 5


@pytest.fixture
def s(build, mlflow3, tmp_path):
    return Scenario(build, tmp_path, mlflow3.uri)


def at_once(s, *commands, seconds=120):
    """Starts all of them, waits for all -> [(exit status, stdout, stderr)]."""
    began = [subprocess.Popen([str(s.build.mlops), *map(str, words)], env=s.env, cwd=s.folder, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) for words in commands]
    ended = []
    try:
        for process in began:
            out, err = process.communicate(timeout=seconds)
            ended.append((process.returncode, out, err))
    finally:
        for process in began:
            process.kill()
            process.wait()
    return ended


def points_of(s, experiment):
    """Of every run on the server, by our id: (points, distinct points)."""
    found = {}
    for run in s.rest.runs(experiment):
        held = s.rest.points(run)
        assert run.uid not in found, "two runs of one uid"
        found[run.uid] = (sum(held.values()), len(held))
    return found


def test_syncs(s, experiment):
    """Each slot has one deliverer at a time; all of them come back when everything is there."""
    for round_ in range(3):
        began = [s.start("start", experiment, f"r{round_}-{n}", "id", f"id{n}", "points", 3 * round_ + n, 1, 2_000, 0, 3) for n in range(3)]
        for process in began:
            s._finish(process, 60, 0)
        for code, out, err in at_once(s, *[("sync", "--to", s.uri)] * 4):
            assert code == OK, out + err
        assert told(s, "status")["destinations"][0]["waiting"] == 0
    found = points_of(s, experiment)
    assert len(found) == 9 and set(found.values()) == {(2_000, 2_000)}, found


def test_readers_and_gc_beside_a_sync(s, experiment):
    for n in range(2):
        s.train("start", experiment, f"r{n}", "id", f"id{n}", "points", n, 1, 30_000, 0, 3)
    run = s.id("id0")
    readers = [("runs", "--json"), ("show", run, "--json"), ("export", run), ("experiments",), ("stuck",), ("config",), ("roots",)]
    commands = [("sync", "--to", s.uri), *readers, ("gc", "--older-than", "0s", "--yes"), ("status",), ("verify", run, "--to", s.uri)]
    ended = dict(zip(commands, at_once(s, *commands)))
    for words in [commands[0], *readers]:
        assert ended[words][0] == OK, f"{words}: {ended[words]}"
    assert len(ended[("export", run)][1].splitlines()) == 30_001
    assert ended[commands[-3]][0] in (OK, OTHER) and ended[("status",)][0] in (OK, SOME), ended
    assert ended[commands[-1]][0] in (OK, SOME, 3), ended[commands[-1]]  # there, in part, or not yet
    for code, out, err in at_once(s, *[("gc", "--older-than", "0s", "--yes")] * 2, ("sync", "--to", s.uri)):
        assert code in (OK, OTHER) and (code == OK or "another process" in err), out + err
    assert set(points_of(s, experiment).values()) == {(30_000, 30_000)}
    assert {r["points"] for r in json.loads(s.mlops("runs", "--json"))["runs"]} == {30_000}


def test_remotes(s):
    """All of them are remembered; of two addresses for one name, one is refused."""
    names = [f"lab{n}" for n in range(8)]
    for code, out, err in at_once(s, *[("remote", "add", name, f"http://127.0.0.1:9/{name}") for name in names]):
        assert code == OK, out + err
    assert sorted(r["name"] for r in told(s, "remote", "list")["remotes"]) == names
    codes = [code for code, _, _ in at_once(s, *[("remote", "add", "one", f"http://127.0.0.1:9/{n}") for n in range(4)])]
    assert codes.count(OK) == 1, codes


def test_delete_and_restore(s, experiment):
    record(s, experiment)
    for _ in range(4):
        codes = [code for code, _, _ in at_once(s, ("delete", s.id("id")), ("restore", s.id("id")))]
        assert OK in codes and set(codes) <= {OK, OTHER}, codes
        assert (s.id("id") in listed(s)) != (s.id("id") in listed(s, "--deleted"))
    s.mlops("sync", "--to", s.uri)
    [there] = s.rest.runs(experiment)
    stage = s.rest.call("GET", "runs/get", run_id=there.run_id)["run"]["info"]["lifecycle_stage"]
    assert (stage == "deleted") == (s.id("id") in listed(s, "--deleted"))


def test_registrations(s, experiment):
    """Each command is one intent, and each intent one version."""
    s.mlops("remote", "add", "lab", s.uri)
    ended = at_once(s, *[("models", "register", experiment, f"s3://models/{n}", "--to", "lab", "--wait", "0") for n in range(6)])
    for code, out, err in ended:
        assert code == OK, out + err
    for code, out, err in at_once(s, *[("sync", "--to", "lab")] * 2):
        assert code == OK, out + err
    found = s.rest.call("GET", "model-versions/search", filter=f"name = '{experiment}'")["model_versions"]
    assert sorted(v["source"] for v in found) == [f"s3://models/{n}" for n in range(6)]
    assert sorted(int(v["version"]) for v in found) == list(range(1, 7))
