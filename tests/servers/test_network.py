"""A root that several nodes reach: the trainer's node has no network, another node delivers what is published there.

Nodes are namespaces (nodes.py), each with its own /tmp; the root is shared. Every test compares what a real server holds
with what was accepted, counted outside the SDK. A node is given up after SILENCE instead of a minute.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from nodes import Node, shim
from scenario import Scenario

SILENCE = 3.0
LEASE = {"MLOPS_LEASE_MS": str(int(SILENCE * 1000)), "MLOPS_NETWORK_FS": "1", "MLOPS_LOG": "info"}


class Cluster:
    """One folder that all nodes share, and nodes by name. Node a has no network."""

    def __init__(self, build, uri):
        self.build, self.uri = build, uri
        self.shared = pathlib.Path(tempfile.mkdtemp(prefix="mlops-nodes-", dir="/var/tmp"))
        self.nodes, self.running = {}, []
        self.on = {}

    def node(self, name, network=True, env=None):
        """-> a Scenario whose programs run on that node."""
        node = self.nodes[name] = Node(name, self.shared, network)
        s = Scenario(self.build, self.shared, self.uri, env={**LEASE, **(env or {})}, prefix=node.prefix)
        s.log = self.shared / f"{name}.log"
        if self.on:
            s.counter = next(iter(self.on.values())).counter
        self.on[name] = s
        return s

    def follow(self, name):
        process = self.on[name].start_mlops("sync", "--follow", "--to", self.uri)
        self.running.append(process)
        return process

    def slots(self):
        return [p.parent for p in self.shared.glob("root/*/s-*/lock")]

    def halves(self, name):
        return list(self.nodes[name].path("/tmp").glob(f"mlops-{os.geteuid()}/s-*"))

    def close(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()
        for node in self.nodes.values():
            node.close()
        shutil.rmtree(self.shared, ignore_errors=True)


@pytest.fixture
def cluster(build, mlflow3):
    made = Cluster(build, mlflow3.uri)
    yield made
    made.close()


def until(what, seconds=60, words="it did not come true"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (got := what()):
            return got
        time.sleep(0.1)
    raise AssertionError(f"{words} within {seconds} s")


def wait_free(cluster):
    """Until the deliverer gave the dead trainer's slot back: who starts before that takes another one."""
    [slot] = cluster.slots()
    until(lambda: not (slot / "lease").exists(), 30, "the deliverer did not give the slot back")


def status_of(s, experiment, uid):
    run = s.rest.by_uid(experiment, uid)
    return run.status if run else None


def wait_id(s, name="id"):
    until(lambda: (s.folder / name).exists() and s.id(name), 30, "no run was started")
    return s.id(name)


def verify_of(s, uid):
    """What `mlops verify` says on stderr."""
    mark = s.mark()
    s.mlops("verify", uid, "--to", s.uri, rc=None)
    return s.said(mark)


def wait_exact(s, experiment, uid, want, seconds=60):
    s.wait_points(experiment, uid, want.accepted, seconds)
    return s.check(experiment, uid, want)


def test_follow_on_another_node(cluster, experiment):
    a, b = cluster.node("node-a", network=False), cluster.node("node-b")
    a.root.mkdir()
    cluster.follow("node-b")
    trainer = a.start("start", experiment, "far", "id", "id", "params", 100, 20, "points", 0, 2, 3000, 500, 3, "await", a.folder / "stop")
    uid = wait_id(a)
    b.wait_points(experiment, uid, 1000, 120)  # beside the trainer, which waits to be told to stop
    [slot] = cluster.slots()
    # Nothing that is mapped is on the shared file system; it is in the /tmp of the trainer's node, and only there.
    assert not (slot / "control").exists() and not (slot / "journal").exists() and (slot / "outbox").exists()
    [half] = cluster.halves("node-a")
    assert (half / "control").exists() and list((half / "journal").iterdir())
    assert cluster.halves("node-b") == []
    # Reading on the other node: summary, points, the state of delivery.
    [run] = json.loads(b.mlops("runs", "--json"))["runs"]
    assert run["id"] == uid and run["live"]
    shown = json.loads(b.mlops("show", uid, "--json"))
    assert {m["name"] for m in shown["metrics"]} >= {"lane0/m0", "lane1/m2"}
    checks = {c["name"]: c for c in json.loads(b.mlops("doctor", "--json", rc=None))["checks"]}
    assert "node-a" in checks["slots.lease"]["found"] and checks["root.journal"]["ok"]
    # What everybody has is published no more, and on its own node only: that is no damage.
    until(lambda: "verify on that node" in verify_of(b, uid), 30, "verify did not say where the points are")
    (a.folder / "stop").write_text("")
    assert a._finish(trainer, 120, 0) == 0
    want = a.expected().points(a.counter, 0, 3).points(a.counter, 1, 3).text(a.counter, 100, "params")
    assert wait_exact(b, experiment, uid, want)
    until(lambda: status_of(b, experiment, uid) == "FINISHED", 30, "the run's end was not delivered")
    assert cluster.halves("node-a") == [], "what a clean end leaves on its node"
    assert not (slot / "outbox").exists() or not list((slot / "outbox").iterdir())


def test_trainer_killed(cluster, experiment):
    """What was published is delivered at once; the database when its node was silent; the rest when the node is back."""
    a, b = cluster.node("node-a", network=False), cluster.node("node-b")
    a.root.mkdir()
    cluster.follow("node-b")
    trainer = a.start("start", experiment, "far", "id", "id", "points", 0, 1, 10**6, 2000, 3)
    uid = wait_id(a)
    b.wait_points(experiment, uid, 2000)
    trainer.kill()
    trainer.wait()
    killed = time.monotonic()
    a.counter.died([0])
    until(lambda: status_of(b, experiment, uid) == "KILLED", 60, "nobody took the dead trainer's slot over")
    assert time.monotonic() - killed > SILENCE * 0.8, "its lease was taken while it might have lived"
    assert cluster.halves("node-a"), "the journal that is not collected yet is gone"
    want = a.expected().points(a.counter, 0, 3)
    before = sum(b.rest.points(b.server_run(experiment, uid)).values())
    said = b.mlops("sync", "--to", cluster.uri, rc=None) + b.log.read_text()
    assert "node-a" in said and "/tmp/mlops-" in said, "where the rest is was not said"
    # Any process on that node collects it; the other node delivers it.
    wait_free(cluster)
    a.mlops("runs")
    a.train("start", experiment, "next", "id", "id2", "points", 10, 1, 100, 0, 1)
    wait_exact(b, experiment, uid, want)
    assert before < want.accepted + 1
    wait_exact(b, experiment, a.id("id2"), a.expected().points(a.counter, 10, 1))
    assert cluster.halves("node-a") == []


def test_deliverer_killed(cluster, experiment):
    a, b = cluster.node("node-a", network=False), cluster.node("node-b")
    a.root.mkdir()
    trainer = a.start("start", experiment, "far", "id", "id", "tags", 110, 5, "points", 0, 2, 6000, 600, 3)
    uid = wait_id(a)
    for life in range(4):
        follower = cluster.follow("node-b")
        time.sleep(1.2 + 0.35 * life)
        follower.kill()
        follower.wait()
    assert trainer.poll() is None
    cluster.follow("node-b")
    assert a._finish(trainer, 120, 0) == 0
    want = a.expected().points(a.counter, 0, 3).points(a.counter, 1, 3).text(a.counter, 110, "tags")
    wait_exact(b, experiment, uid, want)
    until(lambda: status_of(b, experiment, uid) == "FINISHED", 30)


def test_lease_lost_in_the_middle(cluster, experiment):
    """Where locks do not reach other nodes: a deliverer that was stopped for too long finds another one in its place."""
    local = {"LD_PRELOAD": str(shim(cluster.shared, "LOCAL_FLOCK"))}
    a = cluster.node("node-a", network=False, env=local)
    b, c = cluster.node("node-b", env=local), cluster.node("node-c", env=local)
    a.root.mkdir()
    first = (cluster.follow("node-b"), b.log)
    trainer = a.start("start", experiment, "far", "id", "id", "points", 0, 2, 15000, 800, 3)
    uid = wait_id(a)
    b.wait_points(experiment, uid, 500)
    second = (cluster.follow("node-c"), c.log)
    time.sleep(1.0)
    for _ in range(2):
        (process, log), mark = first, first[1].stat().st_size
        process.send_signal(signal.SIGSTOP)
        held = sum(b.rest.points(b.server_run(experiment, uid)).values())
        b.wait_points(experiment, uid, held + 1500)  # the other one goes on
        process.send_signal(signal.SIGCONT)
        until(lambda: b"lost it to process" in log.read_bytes()[mark:], 20, "it went on as if nothing had been")
        first, second = second, first
    assert a._finish(trainer, 120, 0) == 0
    want = a.expected().points(a.counter, 0, 3).points(a.counter, 1, 3)
    wait_exact(b, experiment, uid, want)
    until(lambda: status_of(b, experiment, uid) == "FINISHED", 30)


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_clocks_differ(cluster, experiment, ahead):
    a = cluster.node("node-a", network=False)
    b = cluster.node("node-b", env={"LD_PRELOAD": str(shim(cluster.shared, f"CLOCK_AHEAD_S={ahead}"))})
    a.root.mkdir()
    cluster.follow("node-b")
    trainer = a.start("start", experiment, "far", "id", "id", "points", 0, 1, 10**6, 1000, 3)
    uid = wait_id(a)
    b.wait_points(experiment, uid, int(SILENCE * 1500))  # for longer than a silent node would keep its lease
    assert status_of(b, experiment, uid) == "RUNNING"
    trainer.kill()
    trainer.wait()
    a.counter.died([0])
    until(lambda: status_of(b, experiment, uid) == "KILLED", 60)
    wait_free(cluster)
    a.train("start", experiment, "next", "id", "id2", "points", 10, 1, 100, 0, 1)
    wait_exact(b, experiment, uid, a.expected().points(a.counter, 0, 3))


def test_a_new_destination_gets_what_was_there(cluster, experiment):
    """What the outbox does not have (any more) is published again for who lacks it, beside an idle trainer."""
    a, b = cluster.node("node-a", network=False), cluster.node("node-b")
    a.train("start", experiment, "old", "id", "old", "points", 3, 1, 2000, 0, 2)
    stop = a.folder / "stop"
    trainer = a.start("resume", a.id("old"), "points", 0, 1, 3000, 0, 2, "flush", "durable", 20000, "id", "id", "await", stop)
    uid = wait_id(a)
    assert uid == a.id("old")
    time.sleep(1.0)
    # Once, not following: it ends when all is delivered although the trainer lives.
    b.sync(seconds=60)
    want = a.expected().points(a.counter, 0, 2).points(a.counter, 3, 2)
    b.check(experiment, uid, want)
    [slot] = cluster.slots()
    until(lambda: not list((slot / "outbox").iterdir()), 30, "the outbox keeps what everybody has")
    b.mlops("sync", "--to", cluster.uri)
    stop.write_text("")
    assert a._finish(trainer, 60, 0) == 0
    b.sync()
    assert b.check(experiment, uid, want).status == "FINISHED"


def test_by_the_switch_on_one_node(build, mlflow3, tmp_path, experiment):
    """The same without namespaces: a directory that is treated as a network one, killed and taken over on its own node."""
    node = tmp_path / "node"
    node.mkdir()
    s = Scenario(build, tmp_path / "s", mlflow3.uri, env={**LEASE, "MLOPS_JOURNAL": str(node)})
    s.root.mkdir()
    follower = s.start_mlops("sync", "--follow", "--to", s.uri)
    try:
        trainer = s.start("start", experiment, "one", "id", "id", "points", 0, 2, 10**6, 1000, 3)
        uid = wait_id(s)
        s.wait_points(experiment, uid, 1500)
        [slot] = [p.parent for p in s.root.glob("*/s-*/lock")]
        assert not (slot / "journal").exists() and list(node.glob("mlops-*/s-*/journal/*"))
        lease = (slot / "lease").read_text().split()
        assert lease[1] == "1" and int(lease[5]) == trainer.pid
        trainer.kill()
        trainer.wait()
        s.counter.died([0, 1])
        want = s.expected().points(s.counter, 0, 3).points(s.counter, 1, 3)
        start = time.monotonic()
        wait_exact(s, experiment, uid, want)
        assert time.monotonic() - start < 20, "on one node the lock decides, and nobody waits for a lease"
        until(lambda: status_of(s, experiment, uid) == "KILLED", 30)
        until(lambda: not list(node.glob("mlops-*/s-*")), 20, "the half of a slot that is done stays")
        assert (s.root / "network").exists()
        s.train("resume", uid, "points", 5, 1, 500, 0, 2, env={"MLOPS_NETWORK_FS": "0"})  # the mark holds all the same
        wait_exact(s, experiment, uid, want.points(s.counter, 5, 2))
    finally:
        assert s.stop(follower, signal.SIGINT) in (0, 130)


def test_journal_elsewhere_on_a_local_root(build, mlflow3, tmp_path, experiment):
    node = tmp_path / "fast"
    s = Scenario(build, tmp_path / "s", mlflow3.uri, env={"MLOPS_JOURNAL": str(node)})
    trainer = s.start("start", experiment, "one", "id", "id", "points", 0, 1, 10**6, 5000, 3)
    uid = wait_id(s)
    until(lambda: s.counter[0] > 2000)
    trainer.kill()
    trainer.wait()
    s.counter.died([0])
    [slot] = [p.parent for p in s.root.glob("*/s-*/lock")]
    assert (slot / "place").exists() and not (slot / "lease").exists() and not (slot / "outbox").exists()
    s.sync(env={"MLOPS_JOURNAL": ""})  # whoever comes next finds it by the slot, not by its own environment
    s.check(experiment, uid, s.expected().points(s.counter, 0, 3))
    assert not list(node.glob("mlops-*/s-*"))


def test_bad_folders_are_named(build, tmp_path):
    s = Scenario(build, tmp_path / "s")
    for folder, words in (("relative/path", "absolute path"), ("/proc/nowhere", "/proc")):
        mark = s.mark()
        assert s.train("start", "e", "n", rc=3, env={"MLOPS_JOURNAL": folder}) == 3
        assert words in s.said(mark)
    mark = s.mark()
    s.train("start", "e", "n", rc=3, env={"MLOPS_NETWORK_FS": "perhaps"})
    assert "MLOPS_NETWORK_FS must be 1 or 0" in s.said(mark)
    other = tmp_path / "other"
    (other / f"mlops-{os.geteuid()}").mkdir(parents=True)
    subprocess.run(["chown", "nobody", other / f"mlops-{os.geteuid()}"], check=True)
    mark = s.mark()
    s.train("start", "e", "n", rc=3, env={"MLOPS_JOURNAL": str(other)})
    assert "mlops-" in s.said(mark) and "user" in s.said(mark)
