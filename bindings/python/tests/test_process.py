"""What happens to processes: crashes, kills, forks, Ctrl-C, exits. Each on a root of its own, in a process of its own."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import script

import mlops


def test_a_crashed_script_ends_failed(tmp_path):
    done = script("""
        import mlops
        run = mlops.start_run()
        mlops.log_metric("x", 1)
        print(run.info.run_id)
        raise OSError("the disk ate it")
        """, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "the disk ate it" in done.stderr
    mlops.set_tracking_uri(f"mlops:{tmp_path}/.mlops")
    run = mlops.get_run(done.stdout.strip())
    assert run.info.status == "FAILED" and run.data.tags["mlops.exception"] == "OSError: the disk ate it"
    assert run.data.metrics == {"x": 1.0}


@pytest.mark.parametrize("ending, status", [("", "FINISHED"), ("raise SystemExit(0)", "FINISHED"),
                                            ("raise KeyboardInterrupt", "FAILED"), ("mlops.end_run('KILLED')", "KILLED")])
def test_endings(tmp_path, ending, status):
    done = script(f"""
        import mlops
        print(mlops.start_run().info.run_id, flush=True)
        made = mlops.MlflowClient().create_run("0")
        print(made.info.run_id, flush=True)
        {ending}
        """, cwd=tmp_path, check=False)
    active, made = done.stdout.split()
    mlops.set_tracking_uri(f"mlops:{tmp_path}/.mlops")
    assert mlops.get_run(active).info.status == status
    assert mlops.get_run(made).info.status == "RUNNING"  # until somebody terminates it
    mlops.MlflowClient().set_terminated(made)
    assert mlops.get_run(made).info.status == "FINISHED"


def test_ctrl_c_during_a_flush_that_cannot_end(tmp_path):
    """Nothing listens at that port: delivered never comes, and the flush would take its 60 seconds."""
    process = subprocess.Popen([sys.executable, "-c", """if True:
        import mlops
        run = mlops.start_run()
        mlops.log_metric("x", 1)
        print("flushing", flush=True)
        try:
            run.flush("delivered", 60)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        mlops.end_run()
        """], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={
        **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))},
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLOPS_EXIT_DEADLINE_MS": "3000"})
    assert process.stdout.readline() == "flushing\n"
    time.sleep(0.5)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n" and time.monotonic() - sent < 5
    assert process.wait(30) == 0


def test_other_threads_run_while_one_waits(tmp_path):
    """The GIL is free during a flush."""
    done = script("""
        import threading, time, mlops
        mlops.set_tracking_uri("http://127.0.0.1:9")
        run = mlops.start_run()
        mlops.log_metric("x", 1)
        beats = []
        def beat():
            while not over.is_set():
                beats.append(time.monotonic())
                time.sleep(0.01)
        over = threading.Event()
        thread = threading.Thread(target=beat)
        thread.start()
        try:
            run.flush("delivered", 2)
        except TimeoutError as error:
            print(error)
        over.set()
        thread.join()
        gaps = [b - a for a, b in zip(beats, beats[1:])]
        print(len(beats), max(gaps))
        """, cwd=tmp_path, env={"MLOPS_EXIT_DEADLINE_MS": "1000"})
    count, longest = done.stdout.split()[-2:]
    assert int(count) > 20 and float(longest) < 1.5, done.stdout


TRAINER = """
import os, struct, sys, mmap, mlops
seen = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 8)
mlops.set_experiment("kills")
run = mlops.start_run()
loss = run.metric("loss")
print(run.info.run_id, flush=True)
step = 0
while True:
    if step % 3 == 0:
        loss.log(step / 2, step)
    elif step % 3 == 1:
        mlops.log_metric("loss", step / 2, step)
    else:
        mlops.log_metrics({"loss": step / 2}, step)
    step += 1
    seen[:8] = struct.pack("<q", step)  # counted outside the package, after the call returned
"""


def test_kill_9_loses_nothing_accepted(tmp_path):
    """SIGKILL at random moments (MLOPS_KILLS of them): every point whose call returned is there, once, and the run ends KILLED."""
    kills = int(os.environ.get("MLOPS_KILLS", "6"))
    seed = int(os.environ.get("MLOPS_SEED", time.time_ns() % 100_000))
    print("seed", seed)
    dice = random.Random(seed)
    runs = {}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
    for i in range(kills):
        count = tmp_path / f"count{i}"
        count.write_bytes(b"\0" * 8)
        process = subprocess.Popen([sys.executable, "-c", TRAINER, str(count)], cwd=tmp_path, env=environment,
                                   stdout=subprocess.PIPE, text=True)
        run_id = process.stdout.readline().strip()
        assert run_id, f"trainer {i} did not start"
        time.sleep(dice.uniform(0, 0.25))
        process.kill()
        process.wait()
        process.stdout.close()
        runs[run_id] = int.from_bytes(count.read_bytes(), "little")
    # The next start takes the slot over, with what the dead left in it.
    script("import mlops\nwith mlops.start_run() as run: mlops.log_metric('x', 1)", cwd=tmp_path)
    mlops.set_tracking_uri(f"mlops:{tmp_path}/.mlops")
    assert sum(runs.values()) > kills
    for run_id, accepted in runs.items():
        found = mlops.get_run(run_id)
        if accepted == 0 and "loss" not in found.data.metrics:
            continue
        step, _, value = mlops.read(run_id, "loss", format="memoryview")
        # One call may have been in flight: its point may be there.
        assert len(step) in (accepted, accepted + 1), f"seed {seed}: {run_id}"
        assert step.tolist() == list(range(len(step))) and value.tolist() == [s / 2 for s in step]
        assert found.info.status == "KILLED", f"seed {seed}: {run_id}"


def _child(i):
    for step in range(50):
        mlops.log_metric(f"child{i % 8}", i, step=step * 1000 + i)
    if i % 3 == 0:
        with mlops.start_run(run_name=f"own{i}", nested=True):
            mlops.log_metric("own", i)


def test_a_storm_of_forks(tmp_path):
    """Children (MLOPS_FORKS of them) of a process with threads, an open database and an active run: all their points are there."""
    forks = int(os.environ.get("MLOPS_FORKS", "40")) // 10 * 10
    done = script("""
        import multiprocessing, os, sys, threading
        sys.path.insert(0, os.environ["MLOPS_TESTS"])
        import mlops
        from test_process import _child
        run = mlops.start_run(run_name="parent")
        stop = threading.Event()
        def busy():
            step = 0
            with mlops.start_run(run_name="beside"):
                while not stop.is_set():
                    mlops.log_metric("busy", step, step)
                    step += 1
        thread = threading.Thread(target=busy)
        thread.start()
        context = multiprocessing.get_context("fork")
        for first in range(0, int(sys.argv[1]), 10):
            children = [context.Process(target=_child, args=(i,)) for i in range(first, first + 10)]
            [child.start() for child in children]
            [child.join(60) for child in children]
            assert [child.exitcode for child in children] == [0] * 10, [child.exitcode for child in children]
        stop.set()
        thread.join()
        assert mlops.active_run() is run
        mlops.log_metric("after", 1)
        print(run.info.run_id)
        """, forks, cwd=tmp_path, env={"MLOPS_TESTS": os.path.dirname(__file__)})
    mlops.set_tracking_uri(f"mlops:{tmp_path}/.mlops")
    run_id = done.stdout.strip()
    found = mlops.get_run(run_id)
    assert found.info.status == "FINISHED" and found.data.metrics["after"] == 1.0
    for column in range(8):
        step, _, _ = mlops.read(run_id, f"child{column}", format="memoryview")
        assert sorted(step.tolist()) == sorted(s * 1000 + i for i in range(column, forks, 8) for s in range(50))
    own = mlops.search_runs(filter_string="run_name LIKE 'own%'", output_format="list", search_all_experiments=True)
    assert sorted(run.data.metrics["own"] for run in own) == [float(i) for i in range(0, forks, 3)]
    assert {run.data.tags["mlflow.parentRunId"] for run in own} == {run_id}


def test_a_child_that_exits_ends_nothing_of_its_parent(tmp_path):
    done = script("""
        import os, sys, mlops
        run = mlops.start_run()
        if os.fork() == 0:
            mlops.log_metric("child", 1)
            sys.exit(0)  # atexit runs in the child
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        mlops.log_metric("parent", 2)
        print(run.info.run_id)
        """, cwd=tmp_path)
    mlops.set_tracking_uri(f"mlops:{tmp_path}/.mlops")
    run = mlops.get_run(done.stdout.strip())
    assert run.info.status == "FINISHED" and run.data.metrics == {"child": 1.0, "parent": 2.0}


def test_spawned_workers_log_to_the_run_by_its_id(tmp_path):
    mlops.set_tracking_uri(f"mlops:{tmp_path}/shared")
    with mlops.start_run() as run:
        script(f"""
            import mlops
            mlops.set_tracking_uri("mlops:{tmp_path}/shared")
            for step in range(10):
                mlops.log_metric("worker", step, step=step, run_id="{run.info.run_id}")
            """)
        mlops.log_metric("main", 1)
    assert mlops.get_run(run.info.run_id).data.metrics["main"] == 1.0
    deadline = time.monotonic() + 20
    while "worker" not in mlops.get_run(run.info.run_id).data.metrics and time.monotonic() < deadline:
        time.sleep(0.2)  # another process's points are seen at its beat
    assert mlops.read(run.info.run_id, "worker", format="memoryview").step.tolist() == list(range(10))


@pytest.mark.parametrize("seconds", [0, 0, 0.02, 0.05, 0.1])
def test_threads_that_outlive_the_interpreter(tmp_path, seconds):
    """They log, fail, and wait for the GIL while it goes."""
    done = script(f"""
        import threading, time, mlops
        run = mlops.start_run()
        loss = run.metric("loss")
        def go():
            i = 0
            while True:
                try:
                    loss.log(i, i)
                except mlops.Error:
                    pass
                i += 1
        for _ in range(3):
            threading.Thread(target=go, daemon=True).start()
        time.sleep({seconds})
        print(run.info.run_id)
        """, cwd=tmp_path)
    mlops.set_tracking_uri(f"mlops:{tmp_path}/.mlops")
    assert mlops.get_run(done.stdout.strip()).info.status == "FINISHED"
