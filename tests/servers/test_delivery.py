"""What was accepted is on the server, and nothing else: one way in, one way out, in its three places.

Every test compares by multiset equality with what the server's own REST answers hold (rest.py), where accepted is
counted outside the SDK (expect.py).
"""

import json
import os
import signal
import time

import pytest

from expect import DBL_MAX
from scenario import Scenario


def online(s, experiment):
    s.train("start", experiment, "online", "id", "id", "params", 100, 20, "tags", 110, 10, "points", 0, 4, 1500, 0, 3,
            "named", 10, 200, "many", 11, 50, 8, "stamped", 12, 100, 1700000000000, "flush", "delivered", 60000,
            "health", s.folder / "health", deliver=True)
    want = s.expected()
    for lane in range(4):
        want.points(s.counter, lane, 3)
    want.points(s.counter, 10).many(s.counter, 11, 8).points(s.counter, 12)
    want.text(s.counter, 100, "params").text(s.counter, 110, "tags")
    assert want.accepted == 4 * 1500 + 200 + 50 * 8 + 100
    run = s.check(experiment, s.id("id"), want)
    assert run.status == "FINISHED" and run.name == "online"
    assert run.start_time <= run.end_time
    stamps = [when for key, when, _, _ in s.rest.points(run) if key == "lane12/m0"]
    assert sorted(stamps) == list(range(1700000000000, 1700000000100))
    health = json.loads((s.folder / "health").read_text())
    assert health["accepted"] == want.accepted and health["merged"] == 0 and not any(health["dropped"].values())
    assert health["destinations"] == [{"delivered": want.accepted, "waiting": 0, "dead_letters": 0}]


def offline_then_sync(s, experiment):
    s.train("start", experiment, "offline", "id", "id", "params", 100, 150, "points", 0, 2, 3000, 0, 4)
    assert s.rest.runs(experiment) == []
    want = s.expected().points(s.counter, 0, 4).points(s.counter, 1, 4).text(s.counter, 100, "params")
    s.sync()
    run = s.check(experiment, s.id("id"), want)
    assert run.status == "FINISHED"
    s.sync()  # nothing waits: a second time changes nothing
    again = s.check(experiment, s.id("id"), want)
    assert again == run
    s.mlops("verify", s.id("id"), "--to", s.uri)


def special_values(s, experiment):
    s.train("start", experiment, "special", "id", "id", "special", "odd", "same", "twin", 5, 1700000000000)
    s.sync()
    run = s.server_run(experiment, s.id("id"))
    odd = {step: value for _, step, value in s.rest.history(run.run_id, "odd")}
    assert odd == {0: "NaN", 1: DBL_MAX, 2: -DBL_MAX, 3: 0.0, 4: 0.0, 5: 5e-324, 6: 2.2250738585072014e-308, 7: DBL_MAX,
                   8: -DBL_MAX, 9: 2.220446049250313e-16, 10: 0.1, 11: 1.0 / 3, 12: -1e-300, 2**63 - 1: 1.5, -2**63: 2.5}
    assert s.rest.history(run.run_id, "twin") == [(1700000000000, 7, 0.25)]  # four of five are merged
    status = s.mlops("status", "--json", rc=None)
    assert json.loads(status)["merged"] == 4


def many_params(s, experiment):
    s.train("start", experiment, "wide", "id", "id", "params", 100, 5000, "points", 0, 1, 10, 0, 1)
    s.sync()
    want = s.expected().points(s.counter, 0).text(s.counter, 100, "params")
    assert len(want.params) == 5000
    s.check(experiment, s.id("id"), want)


def test_online(s, experiment):
    online(s, experiment)


def test_offline_then_sync(s, experiment):
    offline_then_sync(s, experiment)


def test_special_values(s, experiment):
    special_values(s, experiment)


def test_many_params(s, experiment):
    many_params(s, experiment)


@pytest.mark.parametrize("what", [online, offline_then_sync, special_values, many_params], ids=lambda f: f.__name__)
def test_postgres(what, build, mlflow3_postgres, tmp_path, experiment):
    what(Scenario(build, tmp_path, mlflow3_postgres.uri), experiment)


def test_follow_beside_a_trainer_without_network(s, experiment):
    s.root.mkdir()
    follower = s.start_mlops("sync", "--follow", "--to", s.uri)
    try:
        trainer = s.start("start", experiment, "live", "id", "id", "points", 0, 2, 4000, 500, 2)
        s.wait_points(experiment, _id_when_there(s), 1000)
        assert trainer.poll() is None, "it was delivered after the trainer, not beside it"
        assert s._finish(trainer, 120, 0) == 0
        uid = s.id("id")
        want = s.expected().points(s.counter, 0, 2).points(s.counter, 1, 2)
        s.wait_points(experiment, uid, want.accepted)
        until = time.monotonic() + 20
        while s.server_run(experiment, uid).status == "RUNNING" and time.monotonic() < until:
            time.sleep(0.3)
        assert s.check(experiment, uid, want).status == "FINISHED"
    finally:
        assert s.stop(follower, signal.SIGINT) in (0, 130)


def test_two_followers_leave_a_free_slot_in_peace(s, experiment):
    """Each looks at it once when the other has worked there; then nobody opens its database any more."""
    s.root.mkdir()
    followers = [s.start_mlops("sync", "--follow", "--to", s.uri) for _ in range(2)]
    try:
        s.train("start", experiment, "first", "id", "id", "points", 0, 1, 500, 0, 2)
        s.wait_points(experiment, s.id("id"), 500)
        (slot,) = s.root.glob("*/s-*")

        def taken():
            return (slot / "lock").read_text(), (slot / "lock").stat().st_mtime_ns, (slot / "db" / "CURRENT").stat().st_mtime_ns

        until = time.monotonic() + 30
        last, since = taken(), time.monotonic()
        while time.monotonic() - since < 4:
            assert time.monotonic() < until, f"taken again and again\n{s.tail()}"
            time.sleep(0.1)
            if taken() != last:
                last, since = taken(), time.monotonic()
        # What the next trainer leaves is delivered all the same.
        s.train("start", experiment, "second", "id", "id2", "points", 1, 1, 700, 0, 2)
        s.wait_points(experiment, s.id("id2"), 700)
    finally:
        for follower in followers:
            assert s.stop(follower, signal.SIGINT) in (0, 130)


def test_resume_by_id_and_by_name(s, experiment):
    s.train("start", experiment, "again", "id", "id", "params", 100, 3, "points", 0, 1, 500, 0, 2, deliver=True)
    uid = s.id("id")
    s.train("resume", uid, "params", 100, 6, "points", 0, 1, 900, 0, 2)  # no network
    s.train("resume-name", experiment, "again", "id", "id2", "points", 0, 1, 1200, 0, 2, "end", "FAILED", deliver=True)
    assert s.id("id2") == uid
    s.sync()
    want = s.expected().points(s.counter, 0, 2).text(s.counter, 100, "params")
    assert want.accepted == 1200
    assert s.check(experiment, uid, want).status == "FAILED"
    assert len(s.rest.runs(experiment)) == 1


def test_nested(s, experiment):
    s.train("start", experiment, "outer", "id", "outer", "points", 0, 1, 50, 0, 1,
            "nested", experiment, "inner1", "id", "inner1", "points", 1, 1, 60, 0, 1, "pop",
            "nested", experiment, "inner2", "id", "inner2", "points", 2, 1, 70, 0, 1, "pop",
            "points", 0, 1, 80, 0, 1)
    s.sync()
    outer = s.check(experiment, s.id("outer"), s.expected().points(s.counter, 0))
    for lane, name in ((1, "inner1"), (2, "inner2")):
        inner = s.check(experiment, s.id(name), s.expected().points(s.counter, lane))
        assert inner.parent == outer.run_id and inner.status == "FINISHED"


def test_attach(s, experiment):
    owner = s.start("start", experiment, "shared", "id", "id", "points", 0, 1, 1500, 0, 2, "await", s.folder / "joined",
                    deliver=True)
    uid = _id_when_there(s)
    s.train("attach", uid, "points", 1, 2, 400, 0, 2, "end", "FAILED", deliver=True)
    assert owner.poll() is None
    assert s.rest.by_uid(experiment, uid) is None or s.rest.by_uid(experiment, uid).status == "RUNNING"
    (s.folder / "joined").touch()
    assert s._finish(owner, 120, 0) == 0
    s.sync()
    want = s.expected()
    for lane in range(3):
        want.points(s.counter, lane, 2)
    assert s.check(experiment, uid, want).status == "FINISHED"  # the attached one's FAILED was not sent
    assert len(s.rest.runs(experiment)) == 1


def test_killed(s, experiment):
    trainer = s.start("start", experiment, "victim", "id", "id", "params", 100, 5, "points", 0, 2, 1000000, 2000, 2, deliver=True)
    _id_when_there(s)
    time.sleep(1.5)
    trainer.kill()
    trainer.wait()
    dead_at = time.time() * 1000
    s.counter.died([0, 1])
    s.sync()
    want = s.expected().points(s.counter, 0, 2).points(s.counter, 1, 2).text(s.counter, 100, "params")
    assert want.accepted > 1000
    run = s.check(experiment, s.id("id"), want)
    assert run.status == "KILLED"
    newest = max(when for _, when, _, _ in s.rest.points(run))
    assert newest <= run.end_time <= dead_at + 50


def test_next_start_takes_over(s, experiment):
    s.train("start", experiment, "first", "id", "first", "points", 0, 1, 700, 0, 2, "kill", rc=-signal.SIGKILL)
    s.train("start", experiment, "second", "id", "second", "points", 1, 1, 300, 0, 2, "flush", "delivered", 60000, deliver=True)
    s.sync()
    first = s.check(experiment, s.id("first"), s.expected().points(s.counter, 0, 2))
    second = s.check(experiment, s.id("second"), s.expected().points(s.counter, 1, 2))
    assert (first.status, second.status) == ("KILLED", "FINISHED")
    slots = [p for p in s.root.glob("*/*/lock")]
    assert len(slots) == 1, f"the second process made a slot of its own: {slots}"


@pytest.mark.parametrize("mode", ["exit", "_exit", "abort"])
def test_fork(s, experiment, mode):
    s.train("start", experiment, "forked", "id", "id", "points", 0, 1, 300, 0, 1,
            "fork", mode, "points", 1, 1, 500, 0, 1, "points", 2, 2, 400, 0, 1, "endfork",
            "points", 4, 1, 600, 0, 1, "wait", "flush", "delivered", 60000, deliver=True)
    s.sync()
    want = s.expected()
    for lane in range(5):
        want.points(s.counter, lane)
    assert want.accepted == 300 + 500 + 2 * 400 + 600
    assert s.check(experiment, s.id("id"), want).status == "FINISHED"


def test_parent_killed_while_a_child_lives(s, experiment):
    trainer = s.start("start", experiment, "orphan", "id", "id", "points", 0, 1, 200, 0, 1,
                      "fork", "_exit", "sleep", 1500, "points", 1, 1, 500, 0, 1, "endfork", "sleep", 60000)
    _id_when_there(s)
    time.sleep(0.7)
    trainer.kill()
    trainer.wait()
    time.sleep(1.0)  # the slot is free although the child lives
    s.train("start", experiment, "heir", "points", 2, 1, 10, 0, 1)
    assert len(list(s.root.glob("*/*/lock"))) == 1
    time.sleep(3.0)
    assert s.counter[1] == 500
    s.sync()
    s.check(experiment, s.id("id"), s.expected().points(s.counter, 0).points(s.counter, 1))


def test_exec(s, experiment):
    s.train("start", experiment, "before", "id", "before", "points", 0, 1, 400, 0, 1,
            "exec", f"counter={s.counter.path}", f"root={s.root}", f"seed={s.seed}", "deliver=0",
            "start", experiment, "after", "id", "after", "points", 1, 1, 300, 0, 1)
    s.sync()
    before = s.check(experiment, s.id("before"), s.expected().points(s.counter, 0))
    after = s.check(experiment, s.id("after"), s.expected().points(s.counter, 1))
    assert (before.status, after.status) == ("KILLED", "FINISHED")


def test_ways_to_end(s, experiment):
    s.train("start", experiment, "unwound", "id", "unwound", "points", 0, 1, 20, 0, 1, "unwind",
            "start", experiment, "failed", "id", "failed", "end", "FAILED",
            "start", experiment, "open", "id", "open", "points", 1, 1, 20, 0, 1, "exit", 7, rc=7)
    s.train("start", experiment, "aborted", "id", "aborted", "points", 2, 1, 20, 0, 1, "abort", rc=-signal.SIGABRT)
    s.train("start", experiment, "left", "id", "left", "points", 3, 1, 20, 0, 1, "_exit", 5, rc=5)
    s.sync()
    status = {name: s.server_run(experiment, s.id(name)).status for name in ("unwound", "failed", "open", "aborted", "left")}
    assert status == {"unwound": "FAILED", "failed": "FAILED", "open": "FINISHED", "aborted": "KILLED", "left": "KILLED"}
    for lane, name in enumerate(("unwound", "open", "aborted", "left")):
        s.check(experiment, s.id(name), s.expected().points(s.counter, lane))


def test_tags_note_and_name(s, experiment):
    s.train("start", experiment, "plain", "id", "id", "tag", "a", "1", "tag", "b", "2", "tag", "a", "3", "delete-tag", "b",
            "tag", "unicode", "größe ≤ 3 µs 🚀", "note", "# what", "rename", "better", "param", "empty", "")
    s.sync()
    run = s.server_run(experiment, s.id("id"))
    assert run.tags["a"] == "3" and "b" not in run.tags and run.tags["unicode"] == "größe ≤ 3 µs 🚀"
    assert run.tags["mlflow.note.content"] == "# what" and run.name == "better" and run.params["empty"] == ""
    assert run.tags["mlflow.user"] and run.tags["mlflow.source.name"]


def test_threads_come_and_go(s, experiment):
    s.train("start", experiment, "brief", "id", "id", "brief", 0, 1000, "health", s.folder / "health")
    s.sync()
    s.check(experiment, s.id("id"), s.expected().points(s.counter, 0))


def test_many_processes_one_root(s, experiment):
    started = [s.start("start", experiment, f"p{n}", "id", f"id{n}", "points", n, 1, 50, 0, 1) for n in range(16)]
    for process in started:
        s._finish(process, 120, 0)
    s.sync()
    for n in range(16):
        s.check(experiment, s.id(f"id{n}"), s.expected().points(s.counter, n))
    assert len(s.rest.runs(experiment)) == 16


def test_server_down_at_the_start(build, mlflow3, tmp_path, experiment):
    """The trainer never notices; what it logged arrives when the server does."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    mlflow3.pause()
    try:
        begin = time.monotonic()
        s.train("start", experiment, "alone", "id", "id", "params", 100, 5, "points", 0, 1, 500, 0, 1, deliver=True, exit_ms=1000)
        assert time.monotonic() - begin < 15
    finally:
        mlflow3.start()
    s.sync()
    want = s.expected().points(s.counter, 0).text(s.counter, 100, "params")
    assert s.check(experiment, s.id("id"), want).status == "FINISHED"


def test_two_destinations(build, mlflow3, mlflow2, tmp_path, experiment):
    """The same root, delivered to one server and later to another: each has everything."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    s.train("start", experiment, "twice", "id", "id", "points", 0, 2, 300, 0, 2)
    want = s.expected().points(s.counter, 0, 2).points(s.counter, 1, 2)
    s.sync()
    s.check(experiment, s.id("id"), want)
    other = Scenario(build, tmp_path, mlflow2.uri)
    other.sync()
    other.check(experiment, s.id("id"), want)


def _id_when_there(s, name="id", seconds=30):
    until = time.monotonic() + seconds
    while not os.path.exists(s.folder / name):
        assert time.monotonic() < until, f"no run started within {seconds} s\n{s.tail()}"
        time.sleep(0.02)
    return s.id(name)
