"""What a disk lost after it was delivered: the end of RocksDB's log, the database, the ledger. Nothing is skipped, nothing is
doubled on the server. And folders full of rubbish: the command says so and never crashes."""

import json
import random
import shutil

import pytest

from scenario import Scenario


def slot(s):
    (lock,) = s.root.glob("*/*/lock")
    return lock.parent


def killed_after_delivery(s, experiment):
    """Delivered to the end, then killed, so that the database's log was never flushed away."""
    s.train("start", experiment, "lossy", "id", "id", "params", 100, 5, "tags", 110, 3, "points", 0, 2, 2500, 0, 3, "flush",
            "delivered", 60000, "kill", rc=-9, deliver=True)
    return s.expected().points(s.counter, 0, 3).points(s.counter, 1, 3).text(s.counter, 100, "params").text(s.counter, 110, "tags")


def truncate_log(folder):
    """The newest log of the database ends after its first third, as after a power loss."""
    log = max((folder / "db").glob("*.log"), key=lambda path: path.stat().st_size)
    size = log.stat().st_size
    assert size > 10_000, "the test's points are not in the log"
    with open(log, "r+b") as file:
        file.truncate(size // 3)


LOSSES = {
    "log_truncated": truncate_log,
    "database_gone": lambda folder: shutil.rmtree(folder / "db"),
    "ledger_gone": lambda folder: shutil.rmtree(folder / "delivery"),
    "both_gone": lambda folder: (shutil.rmtree(folder / "db"), shutil.rmtree(folder / "delivery")),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_lost_after_delivery(s, experiment, loss):
    want = killed_after_delivery(s, experiment)
    before = s.check(experiment, s.id("id"), want)
    LOSSES[loss](slot(s))
    # The same run goes on: what is new arrives, what was there stays, nothing comes twice.
    s.train("resume", s.id("id"), "points", 2, 1, 700, 0, 2, "params", 100, 9, "flush", "delivered", 60000, deliver=True)
    s.sync()
    want = s.expected().points(s.counter, 0, 3).points(s.counter, 1, 3).points(s.counter, 2, 2)
    want.text(s.counter, 100, "params").text(s.counter, 110, "tags")
    after = s.check(experiment, s.id("id"), want)
    assert after.run_id == before.run_id and after.status == "FINISHED" and len(s.rest.runs(experiment)) == 1


def test_lost_before_a_new_run(s, experiment):
    """The database is gone, and the next process starts a run of its own in the slot."""
    want = killed_after_delivery(s, experiment)
    shutil.rmtree(slot(s) / "db")
    s.train("start", experiment, "second", "id", "second", "points", 2, 1, 300, 0, 2)
    s.sync()
    s.check(experiment, s.id("id"), want)
    s.check(experiment, s.id("second"), s.expected().points(s.counter, 2, 2))
    assert len(s.rest.runs(experiment)) == 2


def test_retention(build, mlflow3, mlflow2, tmp_path, experiment):
    """What is delivered is evicted above retention, its summary stays, verify goes by counts, and a new destination is told
    what is no longer there."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    s.train("start", experiment, "old", "id", "old", "points", 0, 1, 5000, 0, 3, "flush", "delivered", 60000, deliver=True)
    s.sync()
    old = s.expected().points(s.counter, 0, 3)
    s.train("start", experiment, "new", "id", "new", "points", 1, 1, 400, 0, 3, "flush", "delivered", 60000, "sleep", 8000,
            deliver=True, retention_mib=1)
    report = json.loads(s.mlops("verify", s.id("old"), "--to", s.uri, "--json"))
    assert report["evicted"] == 5000 and report["differences"] == [], report
    assert json.loads(s.mlops("verify", s.id("new"), "--to", s.uri, "--json"))["evicted"] == 0, "a run that has not ended stays"
    assert json.loads(s.mlops("show", s.id("old"), "--json"))["points"] == 5000
    s.check(experiment, s.id("old"), old)
    other = Scenario(build, tmp_path, mlflow2.uri)
    mark = other.mark()
    out = other.mlops("sync", "--to", other.uri, rc=None)
    assert "removed by retention before this destination had them" in other.said(mark) and "mlops stuck" in out
    other.check(experiment, s.id("new"), s.expected().points(s.counter, 1, 3))
    assert other.rest.by_uid(experiment, s.id("old")) is None, "of a run that is all gone nothing is made up"


def test_rubbish_in_the_root(build, tmp_path):
    """Random bytes in every file of a root: an answer or a clear error each time, never a crash, never a hang."""
    s = Scenario(build, tmp_path)
    s.train("start", "rubbish", "r", "id", "id", "params", 100, 5, "points", 0, 1, 3000, 0, 3, "flush", "durable", 20000, "kill",
            rc=-9)
    (s.root / "a file").write_text("x")
    (s.root / "a folder" / "s-00000000").mkdir(parents=True)
    whole = tmp_path / "whole"
    s.root.rename(whole)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.stat().st_size > 0)
    seed = random.SystemRandom().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for turn in range(25):
        shutil.rmtree(s.root, ignore_errors=True)
        shutil.copytree(whole, s.root)
        chosen = rng.choice(files)
        data = bytearray((s.root / chosen).read_bytes())
        if rng.random() < 0.3:
            data = data[: rng.randrange(len(data))]
        else:
            for _ in range(rng.choice([1, 10, 200])):
                data[rng.randrange(len(data))] = rng.randrange(256)
        (s.root / chosen).write_bytes(data)
        for words in (("runs",), ("show", s.id("id")), ("show", s.id("id"), "--metric", "lane0/m0"), ("status",),
                      ("sync", "--to", "http://127.0.0.1:9", "--deadline", 1)):
            mark = s.mark()
            s.mlops(*words, rc=None, seconds=30)
            said = s.said(mark)
            assert "terminate called" not in said and "Sanitizer" not in said, f"seed {seed}, turn {turn}, {chosen}: {said}"
            assert s.last_rc >= 0, f"seed {seed}, turn {turn}, {chosen}: mlops {words[0]} ended by signal {-s.last_rc}\n{said}"


def test_the_command_names_what_is_wrong(build, tmp_path):
    s = Scenario(build, tmp_path)
    s.train("start", "e", "one", "id", "id", "points", 0, 1, 10, 0, 1)
    for rc, words, needle in (
        (3, ("runs", "--root", tmp_path / "nowhere"), "nowhere"),
        (3, ("show", "ffffffff"), "mlops runs"),
        (3, ("show", s.id("id"), "--metric", "nope"), "lane0/m0"),
        (2, ("sync", "--to", "no uri at all"), "no uri at all"),
        (2, ("sync", "--to", "ftp://host/"), "http"),
        (2, ("sync",), "--to"),
        (2, ("sync", "--to", "http://127.0.0.1:99999"), "99999"),
        (4, ("sync", "--to", "http://127.0.0.1:9", "--deadline", "3"), "cannot connect"),
        (3, ("verify", s.id("id"), "--to", "http://127.0.0.1:9"), "mlops sync"),
        (2, ("nonsense",), "nonsense"),
    ):
        mark = s.mark()
        s.mlops(*words, rc=rc)
        said = s.said(mark)
        assert needle in said, f"{words}: {said}"


def test_verify_names_the_differences(build, mlflow3, tmp_path, experiment):
    s = Scenario(build, tmp_path, mlflow3.uri)
    s.train("start", experiment, "checked", "id", "id", "params", 100, 2, "stamped", 12, 100, 1700000000000)
    s.sync()
    s.mlops("verify", s.id("id"), "--to", s.uri)
    run = s.server_run(experiment, s.id("id"))
    # Somebody logs a point and a param of their own, and changes a tag.
    for call, body in (("log-metric", {"key": "lane12/m0", "value": 4.5, "timestamp": 1, "step": 1 << 40}),
                       ("log-parameter", {"key": "theirs", "value": "x"}),
                       ("set-tag", {"key": "mlflow.user", "value": "somebody else"})):
        s.rest.call("POST", f"runs/{call}", {"run_id": run.run_id, **body})
    report = json.loads(s.mlops("verify", s.id("id"), "--to", s.uri, "--json", rc=1))
    kinds = sorted((d["kind"], d["what"].split()[0]) for d in report["differences"])
    assert kinds == [("altered", "tag"), ("extra", "metric"), ("extra", "param")], report
