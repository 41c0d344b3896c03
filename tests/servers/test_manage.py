"""The commands that manage a root, against real servers: remote, stuck, delete and restore, gc, roots."""

import json
import time

import pytest

from proxy import FaultProxy
from terminal import in_pipe, in_terminal
from test_faults import bad_sync, check, good_sync, record, via

T0 = 1700000000000
USAGE, NOT_FOUND, OTHER = 2, 3, 5


def told(s, *words, rc=0, env=None):
    """What a command says as JSON."""
    got, out, err = in_pipe(s, *words, "--json", env=env)
    assert got == rc, f"{words}: {got}: {out} {err}"
    return json.loads(out)


def refused(s, *words, rc, says, env=None):
    """A command that fails says why in one line, in a pipe and on a terminal."""
    got, out, err = in_pipe(s, *words, env=env)
    assert got == rc and out == "", f"{words}: {got}: {out} {err}"
    for word in says if isinstance(says, (list, tuple)) else [says]:
        assert word in err, f"{word!r} is not in: {err}"
    return err


# -- remote ------------------------------------------------------------------------------------------------------------
def test_a_remote_stands_for_its_uri(s, experiment):
    record(s, experiment)
    assert in_pipe(s, "remote", "add", "lab", s.uri)[0] == 0
    assert in_pipe(s, "remote", "add", "lab", s.uri + "/")[0] == 0  # the same again
    [remote] = told(s, "remote", "list")["remotes"]
    assert (remote["name"], remote["uri"], remote["named"]) == ("lab", s.uri, True)
    assert remote["waiting"] == told(s, "status", rc=1)["accepted"] and remote["delivered"] == 0
    good_sync(s, "lab")
    check(s, experiment)
    assert json.loads(s.mlops("verify", s.id("id"), "--to", "lab", "--json"))["ok"]
    [status] = told(s, "status")["destinations"]
    assert (status["name"], status["uri"], status["waiting"]) == ("lab", s.uri, 0)
    # A trainer that names the URI, and one that names the remote, go on with the same ledger.
    s.train("resume", s.id("id"), "stamped", 12, 140, T0, "flush", "delivered", 60000, deliver=True)
    via(s, "lab").train("resume", s.id("id"), "stamped", 12, 150, T0, "flush", "delivered", 60000, deliver=True)
    check(s, experiment)
    assert [d["name"] for d in told(s, "status")["destinations"]] == ["lab"]


def test_the_server_moved(s, experiment):
    record(s, experiment)
    with FaultProxy(s.uri) as before:
        good_sync(s, before.uri)
    [known] = told(s, "remote", "list")["remotes"]
    assert known["uri"] == before.uri and not known["named"]
    assert in_pipe(s, "remote", "rename", known["name"], "lab")[0] == 0
    s.train("resume", s.id("id"), "stamped", 12, 160, T0)
    bad_sync(s, "lab", "cannot connect", deadline=3)
    with FaultProxy(s.uri) as after:
        assert in_pipe(s, "remote", "set-url", "lab", after.uri)[0] == 0
        assert told(s, "remote", "list")["remotes"][0]["uri"] == after.uri
        rc, said = in_terminal(s, "sync")  # the only destination there is
        assert rc == 0, said
        assert "POST runs/create" not in after.endpoints(), "what was delivered is known"
        sent = sum(r.endpoint == "POST runs/log-batch" for r in after.log)
        assert 1 <= sent <= 3, after.endpoints()
    check(s, experiment)


def test_another_server_behind_the_new_address(build, mlflow3, mlflow2, tmp_path, experiment):
    from scenario import Scenario

    s = Scenario(build, tmp_path, mlflow3.uri)
    record(s, experiment)
    in_pipe(s, "remote", "add", "lab", mlflow3.uri)
    good_sync(s, "lab")
    s.train("resume", s.id("id"), "stamped", 12, 130, T0)
    assert in_pipe(s, "remote", "set-url", "lab", mlflow2.uri)[0] == 0
    bad_sync(s, "lab", "another server")
    assert in_pipe(s, "remote", "set-url", "lab", mlflow3.uri)[0] == 0
    good_sync(s, "lab")
    check(s, experiment)


def test_remote_beside_a_live_trainer(s, experiment):
    trainer = s.start("start", experiment, "live", "id", "id", "stamped", 12, 50, T0, "flush", "delivered", 60000, "id",
                      "there", "await", s.folder / "go", deliver=True)
    until = time.monotonic() + 90
    while not (s.folder / "there").exists() and time.monotonic() < until:
        time.sleep(0.1)
    [known] = told(s, "remote", "list")["remotes"]
    err = refused(s, "remote", "rename", known["name"], "lab", rc=OTHER, says=["right now", f"process {trainer.pid}"])
    assert "end it, or wait" in err
    refused(s, "remote", "remove", known["name"], "--yes", rc=OTHER, says="right now")
    rc, _, err = in_pipe(s, "remote", "set-url", known["name"], s.uri.replace("127.0.0.1", "localhost"))
    assert rc == 0 and f"process {trainer.pid}" in err and "old address" in err
    (s.folder / "go").write_text("")
    assert s._finish(trainer, 60, 0) == 0
    assert in_pipe(s, "remote", "rename", known["name"], "lab")[0] == 0
    good_sync(s, "lab")
    assert s.rest.by_uid(experiment, s.id("id")).status == "FINISHED"


def test_remote_remove_asks(s, experiment):
    record(s, experiment)
    in_pipe(s, "remote", "add", "lab", s.uri)
    in_pipe(s, "remote", "add", "other", "http://127.0.0.1:9")
    good_sync(s, "lab")
    refused(s, "remote", "remove", "other", rc=USAGE, says=["points wait for other", "--yes"])
    rc, shown = in_terminal(s, "remote", "remove", "other", answer="n")
    assert rc == OTHER and "nothing was changed" in shown
    rc, shown = in_terminal(s, "remote", "remove", "other", answer="y")
    assert rc == 0, shown
    assert in_pipe(s, "remote", "remove", "lab")[0] == 0  # nothing waits: nothing to ask
    assert told(s, "remote", "list")["remotes"] == []
    good_sync(s, s.uri)  # a new ledger finds what is there, by mlops.uid
    check(s, experiment)


def test_remote_bad_input(s, experiment):
    record(s, experiment)
    refused(s, "remote", "add", "a/b", s.uri, rc=USAGE, says="letters, digits")
    err = refused(s, "remote", "add", "lab", "http://ann:secret@127.0.0.1:5000", rc=USAGE, says="MLFLOW_TRACKING_USERNAME")
    assert "secret" not in err
    refused(s, "remote", "add", "lab", "nowhere", rc=USAGE, says="no scheme")
    refused(s, "remote", "rename", "none", "lab", rc=NOT_FOUND, says="no remote")
    refused(s, "remote", "set-url", "none", s.uri, rc=NOT_FOUND, says="no remote")
    refused(s, "remote", "remove", "none", rc=NOT_FOUND, says="no remote")
    in_pipe(s, "remote", "add", "lab", s.uri)
    refused(s, "remote", "add", "lab", "http://127.0.0.1:9", rc=OTHER, says="set-url lab")
    refused(s, "remote", "add", "other", s.uri, rc=OTHER, says="remote rename lab other")
    refused(s, "remote", "set-url", "lab", "http://u:secret@h", rc=USAGE, says="remove user and password")
    refused(s, "sync", "--to", "nowhere", rc=USAGE, says="mlops remote list")
    assert in_pipe(s, "remote", "add", "lab")[0] == USAGE and in_pipe(s, "remote")[0] == USAGE
    (s.root / "remotes").write_text("mlops-remotes 9\n")
    refused(s, "remote", "list", rc=OTHER, says="not a list of remotes of this version")
    s.train("start", experiment, "still", "points", 1, 1, 5, 0, 1)  # a damaged list stops no trainer
