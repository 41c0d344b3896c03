"""64 processes on one root that start within a second and log, one of them killed every 100 ms and replaced, delivered
beside them by one `mlops sync --follow`: what the server holds is what was accepted, counted outside the SDK.

MLOPS_SCALE_SECONDS: how long each process logs (default 3; the figures in docs/figures.md are of 10).
"""

import json
import os
import random
import signal
import time

import expect
from scenario import Scenario

PROCESSES = 64
RATE = 1000  # points/s of each
SECONDS = int(os.environ.get("MLOPS_SCALE_SECONDS", "3"))
SEED = 64


class Life:
    """A trainer with a run and a lane of its own."""

    def __init__(self, s, experiment, lane):
        self.lane, self.id_file, self.killed = lane, s.folder / f"id{lane}", False
        self.process = s.start("start", experiment, f"life{lane}", "id", self.id_file, "points", lane, 1, SECONDS * RATE, RATE, 3)

    def uid(self):
        return self.id_file.read_text().strip() if self.id_file.exists() else None


def wait_delivered(s, seconds):
    """Until nothing waits, by what the root's files say."""
    until = time.monotonic() + seconds
    while True:
        left = json.loads(s.mlops("sync", "--dry-run", "--json", "--to", s.uri))
        if left["waiting"] == 0:
            return
        assert time.monotonic() < until, f"{left} after {seconds} s\n{s.tail()}"
        time.sleep(1)


def test_64_processes_on_one_root(build, mlflow3, tmp_path, experiment):
    rng = random.Random(SEED)
    s = Scenario(build, tmp_path, mlflow3.uri, seed=SEED)
    lives, begin = [], time.monotonic()
    follow = None
    try:
        for lane in range(PROCESSES):
            lives.append(Life(s, experiment, lane))
            time.sleep(max(0, begin + lane / PROCESSES - time.monotonic()))
        follow = s.start_mlops("sync", "--follow", "--to", s.uri)
        begin = time.monotonic()
        for kill in range(10 * SECONDS):
            time.sleep(max(0, begin + 0.1 * kill - time.monotonic()))
            alive = [life for life in lives if life.process.poll() is None]
            if not alive:
                break
            victim = rng.choice(alive)
            victim.process.kill()
            victim.killed = victim.process.wait() == -signal.SIGKILL
            lives.append(Life(s, experiment, len(lives)))
        for life in lives:
            rc = life.process.wait(300)
            assert rc == (-signal.SIGKILL if life.killed else 0), f"life {life.lane} ended with {rc}\n{s.tail()}"
        s.counter.died([life.lane for life in lives if life.killed])
        wait_delivered(s, 600)
        assert follow.poll() is None, s.tail()
        mark = s.mark()
        assert s.stop(follow) == 0, s.tail()
        assert " wait" not in s.said(mark), s.said(mark)
    finally:
        for process in [life.process for life in lives] + ([follow] if follow else []):
            if process.poll() is None:
                process.kill()
                process.wait()

    assert sum(life.killed for life in lives) > 0
    held = s.rest.runs(experiment)
    by_uid = {run.uid: run for run in held}
    assert len(by_uid) == len(held), "a run was created twice"
    accepted = 0
    for life in lives:
        want = s.expected().points(s.counter, life.lane, 3)
        accepted += want.accepted
        if life.uid() is None:  # killed before it was told its id
            assert want.accepted == 0
            continue
        run = by_uid.pop(life.uid(), None)
        assert run is not None, f"life {life.lane}: run {life.uid()} is not on the server\n{s.tail()}"
        got = expect.compare(want, run, s.rest.points(run))
        assert got.ok, f"life {life.lane}: {got}\n{s.tail()}"
        if not life.killed or want.accepted < SECONDS * RATE:  # else the kill may have come after the run's end
            assert run.status == ("KILLED" if life.killed else "FINISHED")
    assert all(not run.latest for run in by_uid.values()), "points in a run that nobody was told of"
    assert accepted >= (PROCESSES - 1) * SECONDS * RATE
