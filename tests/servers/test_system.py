"""System metrics as a server shows them, and beside those of MLflow's own monitor on the same machine."""

import subprocess
import time

import pytest

from scenario import Scenario

OF_MLFLOW = {"system/" + name for name in (
    "cpu_utilization_percentage", "system_memory_usage_megabytes", "system_memory_usage_percentage",
    "disk_usage_percentage", "disk_usage_megabytes", "disk_available_megabytes", "network_receive_megabytes",
    "network_transmit_megabytes")}
OURS = {"system/process_" + name for name in (
    "cpu_utilization_percentage", "memory_usage_megabytes", "disk_read_megabytes", "disk_write_megabytes")}
GPU = ("memory_usage_percentage", "memory_usage_megabytes", "utilization_percentage", "power_usage_watts",
       "power_usage_percentage")

# Runs MLflow's monitor until a file appears; prints the run's id.
MONITOR = """
import os, sys, time
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment(sys.argv[2])
with mlflow.start_run(log_system_metrics=True) as run:
    print(run.info.run_id, flush=True)
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.05)
"""


def on(interval, **more):
    return {"MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": str(interval), **more}


def histories(s, run_id):
    """name -> [(time, step, value)] of the metrics MLflow's user interface shows as system metrics."""
    latest = s.rest.run(run_id).latest
    return {name: s.rest.history(run_id, name) for name in latest if name.startswith("system/")}


def wait_for_step(s, experiment, uid, name, step, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        run = s.rest.by_uid(experiment, uid)
        if run and name in run.latest and s.rest.history(run.run_id, name)[-1][1] >= step:
            return
        time.sleep(0.2)
    raise AssertionError(f"{name} has not come to step {step} in {seconds} s\n{s.tail()}")


def id_when_there(s):
    until = time.monotonic() + 60
    while not (s.folder / "id").exists():
        assert time.monotonic() < until, s.tail()
        time.sleep(0.05)
    return s.id("id")


def test_names_on_the_server(s, build, experiment):
    gpus = build.dir / "tests" / "libnvml_two_gpus.so"
    trainer = s.start("start", experiment, "watched", "id", "id", "points", 0, 1, 100, 0, 2, "await", s.folder / "enough",
                      deliver=True, env=on(0.1, MLOPS_NVML=str(gpus)))
    uid = id_when_there(s)
    wait_for_step(s, experiment, uid, "system/cpu_utilization_percentage", 4)
    (s.folder / "enough").touch()
    assert s._finish(trainer, 60, 0) == 0
    s.sync()
    run = s.check(experiment, uid, s.expected().points(s.counter, 0, 2))  # the user's points are as ever
    assert run.status == "FINISHED"
    got = histories(s, run.run_id)
    gpu = {f"system/gpu_{i}_{what}" for i in (0, 1) for what in GPU} - {"system/gpu_1_utilization_percentage"}
    assert set(got) == OF_MLFLOW | OURS | gpu
    for name, points in got.items():
        assert [step for _, step, _ in points] == list(range(len(points))), name
    assert got["system/gpu_1_power_usage_watts"][0][2] == 701.0
    assert got["system/gpu_0_utilization_percentage"][0][2] == 50.0


def test_beside_mlflows_own_monitor(build, mlflow3, tmp_path, experiment, clean_env):
    s = Scenario(build, tmp_path, mlflow3.uri)
    enough = tmp_path / "enough"
    env = {**clean_env, **on(0.5)}
    trainer = s.start("start", experiment, "ours", "id", "id", "await", enough, deliver=True, env=on(0.5, MLOPS_NVML="none"))
    with open(s.log, "a") as err:
        theirs = subprocess.Popen([str(mlflow3.venv / "bin" / "python"), "-c", MONITOR, mlflow3.uri, experiment, str(enough)],
                                  env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, text=True, cwd=tmp_path)
    try:
        run_id = theirs.stdout.readline().strip()
        assert run_id, s.tail()
        until = time.monotonic() + 120
        while (s.rest.run(run_id).latest.keys() & OF_MLFLOW != OF_MLFLOW
               or len(s.rest.history(run_id, "system/cpu_utilization_percentage")) < 8):
            assert time.monotonic() < until, s.tail()
            time.sleep(0.3)
    finally:
        enough.touch()
        theirs.communicate(timeout=60)
        assert theirs.returncode == 0, s.tail()
        assert s._finish(trainer, 60, 0) == 0
    s.sync()
    want = histories(s, run_id)
    got = histories(s, s.server_run(experiment, s.id("id")).run_id)
    assert set(want) == OF_MLFLOW, "MLflow's monitor has other names now"
    assert set(got) - OURS == set(want)
    assert [p[1] for p in want["system/disk_usage_percentage"]][:3] == [0, 1, 2]
    assert [p[1] for p in got["system/disk_usage_percentage"]][:3] == [0, 1, 2]

    print({name: (got[name][-1], want[name][-1]) for name in sorted(want)})

    def mean(histories, name):
        values = [value for _, _, value in histories["system/" + name][1:]]
        return sum(values) / len(values)

    for name in ("disk_usage_megabytes", "disk_available_megabytes", "disk_usage_percentage"):
        assert mean(got, name) == pytest.approx(mean(want, name), rel=0.05, abs=0.5), name
    memory = [mean(h, "system_memory_usage_megabytes") / mean(h, "system_memory_usage_percentage") for h in (got, want)]
    if memory[0] == pytest.approx(memory[1], rel=0.02):  # no cgroup limits this process: the same whole
        assert mean(got, "system_memory_usage_percentage") == pytest.approx(mean(want, "system_memory_usage_percentage"), abs=10)
    else:
        assert memory[0] < memory[1], "a limit above the machine's memory"
    assert 0 <= mean(got, "cpu_utilization_percentage") <= 110
    # Totals since the beginning: the same traffic, up to what came before the other one began.
    window = [max(h["system/network_receive_megabytes"][0][0] for h in (got, want)),
              min(h["system/network_receive_megabytes"][-1][0] for h in (got, want))]
    for name in ("network_receive_megabytes", "network_transmit_megabytes"):
        grown = []
        for h in (got, want):
            inside = [value for when, _, value in h["system/" + name] if window[0] - 600 <= when <= window[1] + 600]
            assert inside == sorted(inside) and inside[0] >= 0
            grown.append(inside[-1] - inside[0])
        assert grown[0] == pytest.approx(grown[1], rel=0.5, abs=0.5), name
