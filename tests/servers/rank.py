"""One rank of test_ranks.py, started by mpirun: runs a trainer, kills it once at a moment of its own, and runs it again.

rank.py FOLDER POINTS SEED COMMAND... : COMMAND is the trainer with all but its verbs; lane and metrics are the rank's.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import expect


def main():
    folder, points, seed, command = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
    counter = expect.Counter(folder / "counter")
    verbs = ["param", "lr", "0.1", "points", str(rank), "1", str(points), "500", "2"]
    kill_at = random.Random(f"{seed}/{rank}").randrange(0, points * 2 // 3)
    trainer = subprocess.Popen([*command, *verbs])
    until = time.monotonic() + 120
    while counter[rank] < kill_at and trainer.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    trainer.kill()
    killed = trainer.wait() == -signal.SIGKILL
    if killed:
        counter.died([rank])
    (folder / f"rank{rank}").write_text(json.dumps({"killed": killed, "kill_at": kill_at, "maybe": sorted(counter.maybe[rank])}))
    return subprocess.call([*command, *verbs])


sys.exit(main())
