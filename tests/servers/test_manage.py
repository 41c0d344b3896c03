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


def test_a_mistyped_uri_leaves_no_destination(s, experiment):
    record(s, experiment)
    for wrong in ("http://127.0.0.1:9", s.uri + "/no/such/prefix"):
        bad_sync(s, wrong, "forgets it again", deadline=3)
    assert told(s, "remote", "list")["remotes"] == [] and told(s, "status")["destinations"] == []
    good_sync(s, s.uri)
    bad_sync(s, "http://127.0.0.1:9", "forgets it again", deadline=3)
    assert [(d["uri"], d["reached"]) for d in told(s, "status")["destinations"]] == [(s.uri, True)]
    assert told(s, "gc", "--older-than", "0s", "--dry-run")["runs"][0]["id"] == s.id("id")
    check(s, experiment)


def test_a_destination_that_was_never_reached_is_told(s, experiment):
    record(s, experiment)
    good_sync(s, s.uri)
    via(s, "http://127.0.0.1:9").train("resume", s.id("id"), "points", 1, 1, 20, 0, 1, deliver=True, exit_ms=3000)
    good_sync(s, s.uri)
    never = next(d for d in told(s, "status", rc=1)["destinations"] if d["uri"] == "http://127.0.0.1:9")  # it may be up tomorrow
    mend = f"a typo? `mlops remote remove {never['name']}`"
    assert not never["reached"] and never["waiting"] > 20 and f"never reached; {mend}" in never["advice"]
    assert mend in in_pipe(s, "status")[1] and mend in in_pipe(s, "doctor", "--to", never["uri"])[1]
    bad_sync(s, never["uri"], f"Never reached; {mend}", deadline=3)
    [note] = told(s, "gc", "--older-than", "0s", "--dry-run")["notes"]
    assert note.startswith(f"1 run stays: not delivered whole to {never['name']}") and mend in note
    assert told(s, "verify", s.id("id"))["ok"]  # with the one that ever answered
    assert in_pipe(s, "artifacts", "ls", s.id("id"))[0] == 0
    refused(s, "sync", rc=USAGE, says=[f"{never['uri']}; never reached)", "give --to URI or NAME"])  # what is delivered is not taken back
    assert in_pipe(s, "remote", "remove", never["name"], "--yes")[0] == 0
    assert [r["id"] for r in told(s, "gc", "--older-than", "0s", "--dry-run")["runs"]] == [s.id("id")]


def test_a_follower_keeps_its_destination(s, experiment):
    record(s, experiment)
    follower = s.start_mlops("sync", "--to", "http://127.0.0.1:9", "--follow")
    until = time.monotonic() + 60
    while not told(s, "remote", "list")["remotes"]:
        assert time.monotonic() < until, s.tail()
        time.sleep(0.1)
    assert s.stop(follower) == 0
    [remote] = told(s, "remote", "list")["remotes"]
    assert remote["uri"] == "http://127.0.0.1:9"


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


# -- stuck -------------------------------------------------------------------------------------------------------------
def sums(s):
    """accepted = delivered + merged + dropped + waiting, for the only destination; -> its health."""
    status = json.loads(s.mlops("status", "--json", rc=None))
    [d] = status["destinations"]
    quota = status["dropped"].get("quota", 0)
    assert status["accepted"] == d["delivered"] + status["merged"] + quota + d["dropped"] + d["waiting"], status
    return d


def conflict(s, experiment, **options):
    """A finished, delivered run, and on the server a param that its next `late` will collide with. -> the server's run"""
    record(s, experiment, **options)
    good_sync(s, s.uri)
    run = s.rest.by_uid(experiment, s.id("id"))
    s.rest.call("POST", "runs/log-parameter", {"run_id": run.run_id, "key": "late", "value": "theirs"})
    s.train("resume", s.id("id"), "param", "late", "ours", "points", 1, 1, 20, 0, 1)
    return run


def test_a_refused_param_is_corrected(s, experiment):
    run = conflict(s, experiment)
    good_sync(s, s.uri)
    [item] = told(s, "stuck")["stuck"]
    assert (item["kind"], item["state"], item["run_id"]) == ("record", "refused", s.id("id"))
    assert item["what"].startswith("param late = ours") and "theirs" in item["reason"] and item["records"] == 1
    assert abs(item["since_ms"] - time.time() * 1000) < 600_000 and item["experiment"] == experiment
    assert sums(s)["dead_letters"] == 1 and sums(s)["dropped"] == 0
    rc, shown = in_terminal(s, "stuck")
    assert rc == 0 and item["id"] in shown and "param late = ours" in shown
    rc, shown = in_terminal(s, "stuck", "show", item["id"][:4])
    assert rc == 0 and "theirs" in shown

    assert told(s, "stuck", "retry", item["id"]) == {"changed": 1, "notes": []}
    assert [i["state"] for i in told(s, "stuck", "list")["stuck"]] == ["retrying"]
    good_sync(s, s.uri)  # the server has not changed its mind
    assert [i["state"] for i in told(s, "stuck", "list")["stuck"]] == ["refused"]

    assert told(s, "stuck", "edit", item["id"], "--key", "late_2", "--value", "ours 2")["changed"] == 1
    good_sync(s, s.uri)
    after = s.rest.run(run.run_id)
    assert after.params["late"] == "theirs" and after.params["late_2"] == "ours 2"
    assert told(s, "stuck")["stuck"] == []
    [done] = told(s, "stuck", "list", "--all")["stuck"]
    assert (done["state"], done["key"], done["value"]) == ("corrected", "late_2", "ours 2")
    assert sums(s)["dead_letters"] == 0
    rc, out, _ = in_pipe(s, "stuck", "export")
    assert rc == 0 and json.loads(out)["state"] == "corrected"
    refused(s, "stuck", "retry", item["id"], rc=OTHER, says="settled")


def test_refused_points_wait_again_and_arrive(s, experiment):
    """A gateway that refuses one metric: its points are dropped until they are put back."""
    s.train("start", experiment, "short", "id", "id", "points", 1, 1, 30, 0, 3)
    no = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such metric here"})
    from proxy import answer

    def rule(r):
        return answer(400, no, "application/json") if r.path.endswith("log-batch") and b"lane1/m1" in r.body else None

    with FaultProxy(s.uri, rule=rule) as proxy:
        good_sync(s, proxy.uri)
        d = sums(s)
        assert (d["delivered"], d["dropped"], d["waiting"], d["dead_letters"]) == (20, 10, 0, 10)
        items = told(s, "stuck")["stuck"]
        assert len(items) == 10 and all("no such metric here" in i["reason"] for i in items)
        assert told(s, "stuck", "retry", *[i["id"] for i in items[:4]])["changed"] == 4
        d = sums(s)
        assert (d["dropped"], d["waiting"]) == (6, 4)
        good_sync(s, proxy.uri)
        assert sums(s)["dropped"] == 10
        assert told(s, "stuck", "edit", items[0]["id"], "--key", "renamed")["changed"] == 1
        assert told(s, "stuck", "drop", items[1]["id"], "--yes")["changed"] == 1
        proxy.rule = None
        assert told(s, "stuck", "retry", "--all")["changed"] == 9  # the one with its new name among them
        assert sums(s)["waiting"] == 9
        good_sync(s, proxy.uri)
        d = sums(s)
        assert (d["delivered"], d["dropped"], d["waiting"]) == (29, 1, 0)
    run = s.rest.by_uid(experiment, s.id("id"))
    points = s.rest.points(run)
    assert sum(points.values()) == 29 and len(s.rest.history(run.run_id, "renamed")) == 1
    assert [i["state"] for i in told(s, "stuck", "list", "--all")["stuck"]].count("dropped") == 1


def test_stuck_beside_a_live_trainer(s, experiment):
    """The process that holds the ledger does what it is asked, and goes on delivering."""
    trainer = s.start("start", experiment, "live", "id", "id", "points", 1, 1, 20, 0, 1, "flush", "delivered", 60000, "await",
                      s.folder / "go", "param", "late", "ours", "flush", "delivered", 60000, "id", "there", "await",
                      s.folder / "end", "points", 1, 1, 40, 0, 1, deliver=True)
    until = time.monotonic() + 90
    while not (s.folder / "id").exists() or not s.rest.by_uid(experiment, s.id("id")):
        assert time.monotonic() < until, s.tail()
        time.sleep(0.1)
    run = s.rest.by_uid(experiment, s.id("id"))
    s.rest.call("POST", "runs/log-parameter", {"run_id": run.run_id, "key": "late", "value": "theirs"})
    (s.folder / "go").write_text("")
    while not (s.folder / "there").exists():
        assert time.monotonic() < until, s.tail()
        time.sleep(0.1)
    [item] = told(s, "stuck")["stuck"]
    assert told(s, "stuck", "edit", item["id"], "--key", "late_2") == {"changed": 1, "notes": []}
    while "late_2" not in s.rest.run(run.run_id).params:
        assert time.monotonic() < until, s.tail()
        time.sleep(0.1)
    assert trainer.poll() is None
    (s.folder / "end").write_text("")
    assert s._finish(trainer, 60, 0) == 0
    assert s.rest.run(run.run_id).status == "FINISHED" and sum(s.rest.points(run).values()) == 40
    assert told(s, "stuck")["stuck"] == [] and sums(s)["waiting"] == 0


def test_a_parked_run_goes_on_or_is_dropped(s, experiment):
    record(s, experiment)
    good_sync(s, s.uri)
    run = s.rest.by_uid(experiment, s.id("id"))
    s.rest.call("POST", "runs/delete", {"run_id": run.run_id})
    s.train("resume", s.id("id"), "points", 1, 1, 20, 0, 1)
    bad_sync(s, s.uri, "need somebody")
    [item] = told(s, "stuck")["stuck"]
    assert (item["kind"], item["state"], item["points"]) == ("run", "parked", 20) and "deleted" in item["reason"]
    assert sums(s)["waiting"] == 20
    refused(s, "stuck", "edit", item["id"], "--key", "x", rc=USAGE, says="parked run")
    s.rest.call("POST", "runs/restore", {"run_id": run.run_id})
    assert told(s, "stuck", "retry", item["id"])["changed"] == 1
    good_sync(s, s.uri)
    assert told(s, "stuck")["stuck"] == [] and sums(s)["waiting"] == 0

    s.rest.call("POST", "runs/delete", {"run_id": run.run_id})
    s.train("resume", s.id("id"), "points", 1, 1, 50, 0, 1)
    bad_sync(s, s.uri, "need somebody")
    [item] = told(s, "stuck")["stuck"]
    rc, shown = in_terminal(s, "stuck", "drop", item["id"], answer="n")
    assert rc == OTHER and "for good?" in shown
    refused(s, "stuck", "drop", item["id"], rc=USAGE, says="--yes")
    rc, shown = in_terminal(s, "stuck", "drop", item["id"], answer="y")
    assert rc == 0, shown
    d = sums(s)
    assert (d["dropped"], d["waiting"]) == (30, 0)
    good_sync(s, s.uri)
    assert told(s, "stuck")["stuck"] == []


def test_stuck_bad_input(s, experiment):
    conflict(s, experiment)
    good_sync(s, s.uri)
    [item] = told(s, "stuck")["stuck"]
    refused(s, "stuck", "show", "ffffffff", rc=NOT_FOUND, says="mlops stuck")
    refused(s, "stuck", "retry", "ffffffff", rc=NOT_FOUND, says="mlops stuck")
    refused(s, "stuck", "retry", rc=USAGE, says="--all")
    refused(s, "stuck", "drop", "--yes", rc=USAGE, says="--all")
    refused(s, "stuck", "edit", item["id"], rc=USAGE, says="--key or --value")
    refused(s, "stuck", "edit", item["id"], "--key", "a//b", rc=USAGE, says="plain path")
    refused(s, "stuck", "edit", item["id"], "--value", "x" * 6001, rc=USAGE, says="6000")
    assert in_pipe(s, "stuck", "nonsense")[0] == USAGE
    refused(s, "stuck", "--root", s.folder / "nowhere", rc=NOT_FOUND, says="no buffer")
    rc, shown = in_terminal(s, "stuck", "edit", item["id"], "--key", "")
    assert rc == USAGE and "--key or --value" in shown


# -- delete and restore --------------------------------------------------------------------------------------------------
def stage(s, run_id):
    return s.rest.call("GET", "runs/get", run_id=run_id)["run"]["info"]["lifecycle_stage"]


def listed(s, *words):
    return [r["id"] for r in told(s, "runs", *words)["runs"]]


def test_delete_and_restore_are_delivered(s, experiment):
    record(s, experiment)
    uid = s.id("id")
    assert told(s, "delete", uid[:8]) == {"changed": 1}
    assert told(s, "delete", uid) == {"changed": 0}
    assert listed(s) == [] and listed(s, "--deleted") == [uid] and listed(s, "--all") == [uid]
    assert told(s, "show", uid)["deleted"] is True
    good_sync(s, s.uri)  # everything is delivered, and then the run is deleted
    run = s.rest.by_uid(experiment, uid)
    assert stage(s, run.run_id) == "deleted" and run.status == "FINISHED"
    assert s.rest.runs(experiment, view="ACTIVE_ONLY") == []
    check(s, experiment)
    assert told(s, "restore", uid) == {"changed": 1}
    assert listed(s) == [uid] and listed(s, "--deleted") == []
    good_sync(s, s.uri)
    assert stage(s, run.run_id) == "active"
    # Delivered, then deleted; the answer is lost.
    assert told(s, "delete", run.run_id) == {"changed": 1}  # by the server's id
    from proxy import drop_response

    lost = []

    def rule(r):
        if r.path.endswith("runs/delete") and not lost:
            lost.append(r.index)
            return drop_response()
        return None

    with FaultProxy(s.uri, rule=rule) as proxy:
        in_pipe(s, "remote", "set-url", told(s, "remote", "list")["remotes"][0]["name"], proxy.uri)
        rc, shown = in_terminal(s, "sync")
        assert rc == 0 and lost, shown
    assert stage(s, run.run_id) == "deleted" and told(s, "stuck")["stuck"] == []
    check(s, experiment)


def test_delete_a_killed_run(s, experiment):
    trainer = s.start("start", experiment, "killed", "id", "id", "points", 1, 1, 500, 0, 2, "flush", "durable", 20000, "id",
                      "there", "await", s.folder / "never")
    until = time.monotonic() + 60
    while not (s.folder / "there").exists():
        assert time.monotonic() < until, s.tail()
        time.sleep(0.05)
    trainer.kill()
    trainer.wait()
    assert told(s, "delete", s.id("id")) == {"changed": 1}
    good_sync(s, s.uri)
    run = s.check(experiment, s.id("id"), s.expected().points(s.counter, 1, 2))
    assert run.status == "KILLED" and stage(s, run.run_id) == "deleted"
    assert told(s, "stuck")["stuck"] == [] and sums(s)["waiting"] == 0
    s.train("resume", s.id("id"), "points", 1, 1, 600, 0, 2, rc=3)  # not while it is deleted
    assert "mlops restore" in s.tail()
    assert told(s, "restore", s.id("id")) == {"changed": 1}
    s.train("resume", s.id("id"), "points", 1, 1, 600, 0, 2)
    good_sync(s, s.uri)
    run = s.check(experiment, s.id("id"), s.expected().points(s.counter, 1, 2))
    assert run.status == "FINISHED" and stage(s, run.run_id) == "active"


def test_delete_beside_a_live_trainer(s, experiment):
    trainer = s.start("start", experiment, "live", "id", "id", "points", 1, 1, 20, 0, 1, "flush", "delivered", 60000, "id",
                      "there", "await", s.folder / "go", "points", 1, 1, 40, 0, 1, deliver=True, exit_ms=1500)
    until = time.monotonic() + 90
    while not (s.folder / "there").exists():
        assert time.monotonic() < until, s.tail()
        time.sleep(0.1)
    uid = s.id("id")
    assert told(s, "delete", uid) == {"changed": 1}
    assert listed(s) == [] and trainer.poll() is None
    good_sync(s, s.uri)
    run = s.rest.by_uid(experiment, uid)
    assert stage(s, run.run_id) == "deleted"
    (s.folder / "go").write_text("")
    s._finish(trainer, 60, 0)  # what it logs now waits
    assert sum(i["points"] for i in told(s, "stuck")["stuck"]) == 20
    assert told(s, "restore", uid) == {"changed": 1}
    in_pipe(s, "sync", "--to", s.uri)  # the restoring goes first; who was parked comes next
    good_sync(s, s.uri)
    run = s.check(experiment, uid, s.expected().points(s.counter, 1))
    assert run.status == "FINISHED" and stage(s, run.run_id) == "active" and sums(s)["waiting"] == 0


def test_delete_bad_input(s, experiment):
    record(s, experiment)
    refused(s, "delete", s.id("id"), "ffffffff", rc=NOT_FOUND, says="mlops runs")
    assert listed(s) == [s.id("id")]  # all or nothing
    refused(s, "restore", "ab", rc=NOT_FOUND, says="4 characters")
    assert in_pipe(s, "delete")[0] == USAGE
    rc, shown = in_terminal(s, "delete", "ffffffff")
    assert rc == NOT_FOUND and "no run" in shown
    refused(s, "delete", s.id("id"), "--root", s.folder / "nowhere", rc=NOT_FOUND, says="no buffer")


# -- gc ------------------------------------------------------------------------------------------------------------------
def test_gc_takes_what_is_delivered_everywhere(s, experiment):
    record(s, experiment)
    s.train("start", experiment + "-b", "second", "id", "id2", "points", 1, 1, 500, 0, 2)
    assert told(s, "gc", "--older-than", "0s", "--dry-run")["runs"] == []  # nothing is delivered: the buffer is the store
    good_sync(s, s.uri)
    assert told(s, "gc", "--dry-run")["runs"] == []  # nor old
    plan = told(s, "gc", "--older-than", "0s", "--dry-run")
    assert {r["id"] for r in plan["runs"]} == {s.id("id"), s.id("id2")} and not plan["removed"]
    assert plan["points"] == told(s, "status")["accepted"] and plan["bytes"] > 0
    assert [r["id"] for r in told(s, "gc", "--older-than", "0s", "--experiment", experiment, "--dry-run")["runs"]] == [s.id("id")]
    assert told(s, "gc", "--older-than", "0s", "--keep", 1, "--dry-run")["runs"] == []
    in_pipe(s, "remote", "add", "other", "http://127.0.0.1:9")  # which has nothing
    assert told(s, "gc", "--older-than", "0s", "--dry-run")["runs"] == []
    in_pipe(s, "remote", "remove", "other", "--yes")

    got, out, err = in_pipe(s, "gc", "--older-than", "0s", "--experiment", experiment)
    assert got == USAGE and s.id("id") in out and "--yes" in err  # what would go is printed first
    rc, shown = in_terminal(s, "gc", "--older-than", "0s", "--experiment", experiment, answer="n")
    assert rc == OTHER and "1 run, " in shown
    rc, shown = in_terminal(s, "gc", "--older-than", "0s", "--experiment", experiment, answer="y")
    assert rc == 0 and "are gone" in shown, shown
    assert [r["id"] for r in told(s, "gc", "--older-than", "0s", "--dry-run")["runs"]] == [s.id("id2")]
    done = told(s, "gc", "--older-than", "0s", "--yes")
    assert done["removed"] and done["points"] == 500 and told(s, "gc", "--older-than", "0s", "--yes")["runs"] == []
    shown = told(s, "show", s.id("id2"))  # the summary stays
    assert shown["points"] == 500 and sum(m["count"] for m in shown["metrics"]) == 500
    assert told(s, "show", s.id("id2"), "--metric", shown["metrics"][0]["name"])["value"] == []
    verified = told(s, "verify", s.id("id2"))
    assert verified["ok"] and verified["evicted"] == 500
    assert sums(s)["waiting"] == 0
    good_sync(s, s.uri)
    check(s, experiment)


def test_gc_leaves_living_slots_and_what_waits(s, experiment):
    record(s, experiment)
    good_sync(s, s.uri)
    trainer = s.start("start", experiment, "live", "id", "id2", "points", 1, 1, 20, 0, 1, "flush", "durable", 20000, "id",
                      "there", "await", s.folder / "end")
    until = time.monotonic() + 60
    while not (s.folder / "there").exists():
        assert time.monotonic() < until, s.tail()
        time.sleep(0.05)
    plan = told(s, "gc", "--older-than", "0s", "--yes")  # the trainer took the slot over
    assert plan["runs"] == [] and f"process {trainer.pid}" in plan["notes"][0]
    (s.folder / "end").write_text("")
    assert s._finish(trainer, 60, 0) == 0
    done = told(s, "gc", "--older-than", "0s", "--yes")
    assert [r["id"] for r in done["runs"]] == [s.id("id")]  # the other one waits
    good_sync(s, s.uri)
    assert sum(s.rest.points(s.rest.by_uid(experiment, s.id("id2"))).values()) == 20


def test_gc_of_deleted_runs_that_were_never_delivered(s, experiment):
    record(s, experiment)
    told(s, "delete", s.id("id"))
    assert told(s, "gc", "--older-than", "0s", "--dry-run")["runs"] == []
    done = told(s, "gc", "--older-than", "0s", "--deleted", "--yes")
    assert [(r["id"], r["delivered"], r["deleted"]) for r in done["runs"]] == [(s.id("id"), False, True)]
    assert listed(s, "--deleted") == [s.id("id")]
    s.mlops("sync", "--to", s.uri)  # a new destination is told what is no longer there
    d = sums(s)
    assert d["delivered"] == 0 and d["waiting"] == 0 and d["dropped"] == told(s, "status")["accepted"]


def test_gc_bad_input(s, experiment):
    record(s, experiment)
    for bad in ("30", "d", "-1d", "3w", "1 d", ""):
        assert in_pipe(s, "gc", f"--older-than={bad}")[0] == USAGE
    refused(s, "gc", "--older-than", "30", rc=USAGE, says="30d")
    refused(s, "gc", "--root", s.folder / "nowhere", rc=NOT_FOUND, says="no buffer")
    assert in_pipe(s, "gc", "--keep", "x")[0] == USAGE
    rc, shown = in_terminal(s, "gc", "--older-than", "3w")
    assert rc == USAGE and "30d" in shown


# -- roots ---------------------------------------------------------------------------------------------------------------
def test_roots(s, experiment):
    record(s, experiment)
    here = s.folder
    below, hidden = here / "a" / "b" / ".mlops", here / ".cache" / ".mlops"
    below.mkdir(parents=True), hidden.mkdir(parents=True)
    [force, other] = told(s, "roots")["roots"]
    assert (force["path"], force["from"], force["in_force"], force["runs"]) == (str(s.root.resolve()), "MLOPS_HOME", True, 1)
    assert force["bytes"] > 0 and force["waiting"] == 0  # no destination is known
    assert (other["path"], other["from"], other["runs"]) == (str(below.resolve()), "below", 0)
    assert len(told(s, "roots", "--depth", 1)["roots"]) == 1
    in_pipe(s, "remote", "add", "lab", s.uri)
    assert told(s, "roots")["roots"][0]["waiting"] == told(s, "status", rc=1)["accepted"]
    [given, *_] = told(s, "roots", "--root", here / "none")["roots"]
    assert given["from"] == "given" and not given["exists"]
    rc, shown = in_terminal(s, "roots")
    assert rc == 0 and "in force" in shown and str(below.resolve()) in shown
    refused(s, "roots", "--depth", 99, rc=USAGE, says="0 to 32")
    assert in_pipe(s, "roots", "--depth", "x")[0] == USAGE
