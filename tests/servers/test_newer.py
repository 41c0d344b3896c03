"""A buffer of which one part was written by a newer version: each verb says so or does without it, in one line and with an
exit code; nothing is lost or rewritten, and back under a version that knows it, all of it is delivered, once."""

import json

import pytest

import newer
from scenario import Scenario
from terminal import in_pipe

OK, SOME, USAGE, OTHER = 0, 1, 2, 5
VERBS = {"runs": ["runs"], "show": ["show", "RUN", "--metric", "loss"], "export": ["export", "RUN"], "status": ["status"],
         "stuck": ["stuck"], "doctor": ["doctor"], "verify": ["verify", "RUN", "--to", "lab"],
         "sync": ["sync", "--to", "lab", "--deadline", "5"], "log": ["log", "--run", "RUN", "loss=0.25", "--step", "2"],
         "remote list": ["remote", "list"], "gc": ["gc", "--older-than", "0s", "--dry-run"]}
# What does not do its work: exit code and words. What is not named here exits with 0, `status` and `verify` with 1: something waits.
NEWER = "newer version of mlops"
SAYS = {
    "control": {"sync": (SOME, NEWER), "log": (OK, NEWER)},  # another slot takes what is logged
    "summary": {"runs": (SOME, "newer mlops"), "show": (3, "no run"), "export": (3, "no run"), "verify": (3, "no run"), "status": (SOME, "newer mlops"),
                "doctor": (SOME, "newer mlops")},
    "ledger": {"status": (SOME, NEWER), "stuck": (OTHER, NEWER), "verify": (OTHER, NEWER), "sync": (SOME, NEWER),
               "log": (OK, NEWER)},
    "remotes": {"verify": (USAGE, "remotes of this version"), "sync": (USAGE, "remotes of this version"),
                "stuck": (OTHER, "remotes of this version"), "remote list": (OTHER, "remotes of this version")},
    "database": {"show": (OTHER, "newer mlops"), "export": (OTHER, "newer mlops"), "verify": (OTHER, "newer mlops"),
                 "sync": (SOME, "newer mlops"), "log": (OK, "accepted, but the buffer cannot be written now")},
}


@pytest.mark.parametrize("place", SAYS)
def test_a_newer_buffer(build, mlflow3, tmp_path, experiment, place):
    s = Scenario(build, tmp_path, mlflow3.uri)
    s.mlops("remote", "add", "lab", s.uri)
    run = s.mlops("run", "start", "--experiment", experiment).strip()
    s.mlops("log", "--run", run, "loss=1", "--step", "0")
    s.mlops("sync", "--to", "lab")
    s.mlops("log", "--run", run, "loss=0.5", "--step", "1")
    [slot] = [path.parent for path in s.root.glob("*/*/control")]
    back = getattr(newer, place)(slot)
    changes = ("sync", "log")  # they write a summary anew: asked last, once for each part
    for name in sorted(VERBS, key=lambda verb: verb in changes):
        if place == "summary" and name in changes:
            continue
        words = [run if word == "RUN" else word for word in VERBS[name]]
        code, out, err = in_pipe(s, *words)
        wanted, says = SAYS[place].get(name, (SOME if name in ("status", "verify") else OK, ""))
        assert code == wanted and (not says or any(says in line for line in (out + err).splitlines())), f"{name}: exit code {code}, expected {wanted} and '{says}'\n{out}{err}"
        if name == "verify" and not says:
            assert "1 not delivered yet" in out
    back()
    assert json.loads(s.mlops("sync", "--to", "lab", "--json"))["waiting"] == 0
    held = s.rest.points(s.rest.by_uid(experiment, run))
    logged = {(0, 1.0), (1, 0.5)} | ({(2, 0.25)} if place != "summary" else set())
    assert sorted((step, value) for _, _, step, value in held.elements()) == sorted(logged)


def test_a_newer_journal_of_a_dead_process(build, mlflow3, tmp_path, experiment):
    """Its records wait where they are: who starts here is told, and a version that knows it delivers them."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    s.train("start", experiment, "first", "id", "id", "points", 0, 1, 200, 0, 1, "kill", rc=-9)
    [slot] = [path.parent for path in s.root.glob("*/*/control")]
    back = newer.journal(slot)
    for _ in range(2):
        code, out, err = in_pipe(s, "sync", "--to", s.uri, "--deadline", "5")
        last = err.splitlines()[-1]
        assert code == SOME and last.startswith("mlops: failed_precondition: journal ") and f"is left alone: the journal was written by a {NEWER}" in last, out + err
    back()
    s.sync()
    want = s.expected().points(s.counter, 0)
    s.check(experiment, s.id("id"), want)
