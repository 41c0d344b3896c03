"""Eight ranks of one mpirun log into one run (MLOPS_RUN=job), each killed once and started again: what was accepted is on
the server, and nothing else."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from scenario import Scenario

RANKS, POINTS = 8, 900
HERE = pathlib.Path(__file__).resolve().parent


@pytest.mark.parametrize("live", [True, False], ids=["live", "offline"])
def test_eight_ranks_in_one_run(build, mlflow3, tmp_path, experiment, live):
    assert shutil.which("mpirun"), "no mpirun: scripts/setup packages installs it"
    s = Scenario(build, tmp_path, mlflow3.uri)
    seed = int(os.environ.get("MLOPS_TEST_SEED", "20261125"))
    command = [str(build.trainer), f"counter={s.counter.path}", f"root={s.root}", f"seed={s.seed}", "exit_ms=60000",
               *([f"uri={s.uri}"] if live else ["deliver=0"]), "start", experiment, "together"]
    env = {**s.env, "MLOPS_RUN": "job", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    with open(s.log, "a") as out:
        got = subprocess.run(["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", str(RANKS), sys.executable,
                              str(HERE / "rank.py"), str(s.folder), str(POINTS), str(seed), *command],
                             env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=s.folder, timeout=300)
    assert got.returncode == 0, s.tail()
    killed = 0
    for rank in range(RANKS):
        said = json.loads((s.folder / f"rank{rank}").read_text())
        s.counter.maybe[rank].update(said["maybe"])
        killed += said["killed"]
    assert killed == RANKS, "a rank ended before it could be killed"
    s.sync()
    want = s.expected()
    for rank in range(RANKS):
        want.points(s.counter, rank, 2)
    assert want.accepted == RANKS * (POINTS - 1)
    runs = s.rest.runs(experiment)
    assert len(runs) == 1, [(r.name, r.uid) for r in runs]
    run = s.check(experiment, runs[0].uid, want)
    assert (run.name, run.status, run.params) == ("together", "FINISHED", {"lr": "0.1"})
    assert run.tags["mlops.ranks"] == str(RANKS)
    hosts = {run.tags[f"mlops.rank.{rank}"].split("/")[0] for rank in range(RANKS)}
    pids = {run.tags[f"mlops.rank.{rank}"].split("/")[1] for rank in range(RANKS)}
    assert len(hosts) == 1 and len(pids) == RANKS
