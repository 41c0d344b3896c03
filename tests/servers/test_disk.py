"""Disks that are full, read-only or somebody else's: the trainer lives on or is told at once what is wrong, drops are
counted, and what was accepted is on the server once there is space."""

import json
import os
import pwd
import time

import pytest

import expect
from disks import MEGABYTE, ReadOnly, SmallDisk
from scenario import Scenario


@pytest.fixture
def s(build, mlflow3, tmp_path):
    return Scenario(build, tmp_path, mlflow3.uri)


def wait_for(condition, what, s, seconds=30):
    until = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < until, f"{what}: not within {seconds} s\n{s.tail()}"
        time.sleep(0.05)


def status(s):
    """mlops status -> (JSON, what it prints for people)."""
    return json.loads(s.mlops("status", "--json", rc=None)), s.mlops("status", rc=None)


def on_disk(s, disk):
    s.prefix = disk.prefix
    s.root = disk.at / "root"
    s.env["MLOPS_HOME"] = str(s.root)
    return s


# -- full --------------------------------------------------------------------------------------------------------------
POINTS = 45_000  # x 32 bytes: more than the one MiB of journal holds that the disk has room for


def fill_while_it_logs(s, disk, experiment, pause_ms=0, **options):
    """A trainer whose disk is full from its 1,001st point on. RocksDB finds no room to preallocate its log, so that the
    next write after that meets the full disk. pause_ms: after there is space, for one that does not wait by itself."""
    disk.fill(leave=5 * MEGABYTE // 2)
    trainer = s.start("start", experiment, "full", "id", "id", "params", 100, 3, "points", 0, 1, 1000, 0, 3, "flush", "delivered",
                      60000, "health", s.folder / "before", "await", s.folder / "filled", "points", 0, 1, POINTS, 0, 3,
                      "health", s.folder / "after", "await", s.folder / "emptied", "sleep", pause_ms, "params", 100, 6, "flush", "delivered", 60000, "health", s.folder / "end",
                      deliver=True, journal_mib=4, **options)
    wait_for(lambda: (s.folder / "before").exists(), "the first points", s)
    disk.fill()
    (s.folder / "filled").touch()
    return trainer


def test_full_while_it_logs(s, experiment, tmp_path):
    """A patient trainer waits for space inside log(): nothing is dropped, everything arrives."""
    with SmallDisk(tmp_path, tmp_path / "small", 32) as disk:
        trainer = fill_while_it_logs(on_disk(s, disk), disk, experiment)
        wait_for(lambda: s.counter[0] > 10_000, "points after the disk was full", s)
        wait_for(lambda: "cannot be written" in s.tail(), "the log says it", s)

        def said():
            machine, people = status(s)
            return (machine, people) if machine["buffer"]["code"] != "ok" else None

        machine, people = wait_for(said, "mlops status says that the buffer cannot be written", s)
        assert machine["buffer"]["code"] == "resource_exhausted" and "free disk space" in machine["buffer"]["message"]
        assert "free disk space" in people
        before = s.counter[0]
        time.sleep(1)
        assert trainer.poll() is None and s.counter[0] == before < POINTS, "it waits, and lives"
        disk.empty()
        (s.folder / "emptied").touch()
        assert s._finish(trainer, 120, 0) == 0
    end = json.loads((s.folder / "end").read_text())
    assert end["buffer"] == "ok" and end["dropped"] == {} and end["accepted"] == POINTS
    run = s.check(experiment, s.id("id"), s.expected().points(s.counter, 0, 3).text(s.counter, 100, "params"))
    assert run.status == "FINISHED" and s.counter[0] == POINTS


def test_full_and_the_trainer_does_not_wait(s, experiment, tmp_path):
    """What a full journal drops is counted, by reason; all the rest arrives."""
    with SmallDisk(tmp_path, tmp_path / "small", 32) as disk:
        trainer = fill_while_it_logs(on_disk(s, disk), disk, experiment, pause_ms=3000, full_wait_ms=20)
        wait_for(lambda: (s.folder / "after").exists(), "the trainer logs on with a full disk", s)
        after = json.loads((s.folder / "after").read_text())
        assert after["buffer"] == "resource_exhausted" and "free disk space" in after["buffer_message"]
        assert list(after["dropped"]) == ["journal_full"] and trainer.poll() is None
        disk.empty()
        (s.folder / "emptied").touch()
        assert s._finish(trainer, 120, 0) == 0
    end = json.loads((s.folder / "end").read_text())
    dropped = end["dropped"]["journal_full"]
    assert dropped > 0 and list(end["dropped"]) == ["journal_full"] and end["buffer"] == "ok"
    run = s.server_run(experiment, s.id("id"))
    held = s.rest.points(run)
    want = s.expected().points(s.counter, 0, 3).text(s.counter, 100, "params")
    assert sum(held.values()) == POINTS - dropped == end["accepted"]
    got = expect.compare(want, run, held)
    assert not got.duplicated and not got.wrong and len(got.lost) == dropped, got
    assert len(run.params) == 6


def test_full_at_open(s, experiment, tmp_path):
    with SmallDisk(tmp_path, tmp_path / "small", 24) as disk:
        on_disk(s, disk)
        disk.fill()
        s.train("start", experiment, "none", rc=3)
        assert "free some space" in s.tail() and "MLOPS_HOME" in s.tail()
        disk.empty()
        # Room for the journal, none for the database: the client opens, the journal holds.
        disk.fill(leave=2 * MEGABYTE + 64 * 1024)
        trainer = s.start("start", experiment, "tight", "id", "id", "points", 0, 1, 500, 0, 2, "await", s.folder / "full", "health",
                          s.folder / "health", "await", s.folder / "emptied", "flush", "durable", 30000, "points", 0, 1, 900, 0, 2,
                          journal_mib=2)
        wait_for(lambda: s.counter[0] == 500, "points", s)
        disk.fill()
        time.sleep(1)
        (s.folder / "full").touch()
        wait_for(lambda: (s.folder / "health").exists(), "health", s)
        disk.empty()
        (s.folder / "emptied").touch()
        s._finish(trainer, 60, 0)
        s.sync()
        assert s.check(experiment, s.id("id"), s.expected().points(s.counter, 0, 2)).status == "FINISHED"


def test_reading_on_a_full_disk(s, experiment, tmp_path):
    """Reading needs no space in the root. Where something is written (export into a file, a reader's own folder in
    $TMPDIR), no space is said, with an exit code, and nothing half written stays."""
    with SmallDisk(tmp_path, tmp_path / "small", 24) as disk:
        on_disk(s, disk)
        s.train("start", experiment, "one", "id", "id", "params", 100, 3, "points", 0, 1, 2000, 0, 2, journal_mib=2)
        run, chart = s.id("id"), ("plot", s.id("id"), "--height", "10", "--width", "60")
        verbs = [("runs",), ("experiments",), ("show", run), ("show", run, "--metric", "lane0/m0"), ("compare", run, "--all"), chart,
                 ("export", run), ("stuck",), ("roots",), ("runs", "--json", "-f", "metrics.`lane0/m0` > -1e300")]
        before = [s.mlops(*words) for words in verbs]
        assert before[6].count("\n") == 2001
        disk.fill()
        sizes = {"roots"}  # the root's size is not the same
        for words, was in zip(verbs, before):
            assert s.mlops(*words) == was or words[0] in sizes, words
        mark = s.mark()
        s.mlops("export", run, "--output", disk.at / "points.csv", rc=5)
        assert "free some space" in s.said(mark) or "No space left" in s.said(mark), s.said(mark)
        s.mlops("plot", run, "-m", "lane0/m0", "--output", disk.at / "m0.svg", rc=5)
        assert sorted(path.name for path in disk.path(disk.at).iterdir()) == ["ballast", "root"], "a half written file stays"
        # The system's folder for temporary files is full, too.
        small = {"TMPDIR": str(disk.at)}
        assert s.mlops("runs", env=small) == before[0]
        for words in (("show", run, "--metric", "lane0/m0"), ("export", run), chart):
            mark = s.mark()
            code, out = None, s.mlops(*words, env=small, rc=None)
            code = s.last_rc
            assert (code == 0 and out == before[verbs.index(words)]) or (code == 5 and "space" in s.said(mark)), f"{words}: {code}: {s.said(mark)}"
        assert sorted(path.name for path in disk.path(disk.at).iterdir()) == ["ballast", "root"]
        assert "free" in s.mlops("doctor", rc=1)
        disk.empty()
        s.sync()
        s.check(experiment, run, s.expected().points(s.counter, 0, 2).text(s.counter, 100, "params"))


def test_a_killed_trainer_on_a_full_disk(s, experiment, tmp_path):
    """Accepted while the disk was full, and only in the journal when it died: sync says what is wrong, then delivers."""
    with SmallDisk(tmp_path, tmp_path / "small", 32) as disk:
        trainer = fill_while_it_logs(on_disk(s, disk), disk, experiment)
        wait_for(lambda: s.counter[0] > 10_000, "points after the disk was full", s)
        time.sleep(0.5)
        trainer.kill()
        trainer.wait()
        s.counter.died([0])
        said = sync_fails(s)
        assert "free disk space" in said, said
        disk.empty()
        s.sync()
    run = s.check(experiment, s.id("id"), s.expected().points(s.counter, 0, 3).text(s.counter, 100, "params"))
    assert run.status == "KILLED" and s.counter[0] > 10_000


def sync_fails(s):
    """mlops sync, which must fail within its deadline -> what it said on both streams."""
    mark = s.mark()
    out = s.mlops("sync", "--to", s.uri, "--deadline", 5, rc=None, seconds=60)
    said = out + s.said(mark)
    machine = json.loads(s.mlops("sync", "--to", s.uri, "--deadline", 5, "--json", rc=None, seconds=60) or "{}")
    assert machine.get("status", "failed") != "ok", said
    return said


# -- read-only, somebody else's, a file --------------------------------------------------------------------------------
def test_read_only(s, experiment, tmp_path):
    s.train("start", experiment, "before", "id", "id", "points", 0, 1, 300, 0, 2)
    with ReadOnly(tmp_path, s.root) as disk:
        s.prefix = disk.prefix
        mark = s.mark()
        s.train("start", experiment, "none", rc=3)
        said = s.said(mark)
        assert "read-only" in said and str(s.root) in said and "MLOPS_HOME" in said, said
        # Looking needs no writing.
        assert s.id("id") in s.mlops("runs")
        assert json.loads(s.mlops("show", s.id("id"), "--json"))["points"] == 300
        assert len(json.loads(s.mlops("show", s.id("id"), "--metric", "lane0/m0", "--json"))["step"]) == 150
        assert json.loads(s.mlops("status", "--json", rc=None))["accepted"] == 300
        said = sync_fails(s)
        assert "read-only" in said, said
        s.prefix = []
    s.sync()
    s.check(experiment, s.id("id"), s.expected().points(s.counter, 0, 2))


def as_nobody():
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: only root can become another user")
    user = pwd.getpwnam("nobody")
    return user, ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]


def reachable(s, tmp_path):
    """Another user can reach the test's folders, and its programs the counter and the log."""
    for folder in (tmp_path, *tmp_path.parents):
        if not os.stat(folder).st_mode & 0o001 and folder != tmp_path.anchor:
            os.chmod(folder, os.stat(folder).st_mode | 0o011)
    os.chmod(tmp_path, 0o777)
    os.chmod(s.counter.path, 0o666)


def test_another_users_root(s, experiment, tmp_path):
    user, prefix = as_nobody()
    reachable(s, tmp_path)
    s.train("start", experiment, "mine", "id", "id", "points", 0, 1, 100, 0, 1)
    s.prefix = prefix
    for mode, word in ((0o700, "another user"), (0o755, "another user"), (0o777, "another user")):
        os.chmod(s.root, mode)
        mark = s.mark()
        s.train("start", experiment, "none", rc=3)
        said = s.said(mark)
        assert word in said and str(s.root) in said and "MLOPS_HOME" in said, f"{mode:o}: {said}"
    os.chmod(s.root, 0o700)
    for words in (("runs",), ("show", s.id("id")), ("status",)):
        mark = s.mark()
        assert s.mlops(*words, rc=5) == ""
        assert "check who owns the path" in s.said(mark)
    said = sync_fails(s)
    assert "owns" in said or "another user" in said, said
    # A folder that cannot be written, no root in it yet.
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    s.root = closed / "root"
    mark = s.mark()
    s.train("start", experiment, "none", rc=3)
    said = s.said(mark)
    assert str(s.root) in said and "check who owns the path and its mode" in said, said
    # And one of its own works, for that user and beside ours.
    s.root = tmp_path / "their_root"
    s.train("start", experiment, "theirs", "id", "theirs", "points", 1, 1, 50, 0, 1, deliver=True)
    assert s.root.stat().st_uid == user.pw_uid
    s.check(experiment, s.id("theirs"), s.expected().points(s.counter, 1))


def test_a_root_that_is_a_file(s, experiment, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    s.root = tmp_path / "file"
    for words in (("runs",), ("status",), ("show", "abcd"), ("sync", "--to", s.uri), ("verify", "abcd", "--to", s.uri)):
        mark = s.mark()
        s.mlops(*words, "--root", s.root, rc=5)
        said = s.said(mark)
        assert str(s.root) in said and said.count("\n") == 2, said
    mark = s.mark()
    s.train("start", experiment, "none", rc=3)
    assert "is a file, and a folder is needed there" in s.said(mark)
