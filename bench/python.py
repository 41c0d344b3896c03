#!/usr/bin/env python3
"""bench/python.py [--server URI] [--mlflow PYTHON] [--trackio PYTHON] [--calls N]: what a call costs in Python: mlops, and
in the same run MLflow's own client (file store; synchronous and asynchronous to the server) and trackio, each in a process
of its own with the Python that has it. The installed package `mlops` is that of the Python that runs this.

One thread, calls as fast as they come, in batches of which each gives a mean; printed: the median batch in ns per call, and
the ratio of the goals. `empty` is a FASTCALL method of the interpreter with the same arguments, `dict.get(a, b)`.
`./scripts/bench python` builds the package, starts a server and runs it. Without --server, --mlflow or --trackio those rows are
left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

PRELUDE = """
import json, statistics, sys, time
def cost(call, times, batches=15):
    rows = []
    for b in range(batches):
        began = time.perf_counter_ns()
        for i in range(times):
            call(i)
        rows.append((time.perf_counter_ns() - began) / times)
    return statistics.median(rows)
def loop(source, times, batches=15, **names):
    # The call written out in the loop: no lambda around it.
    scope = dict(names)
    exec(f"def body(n):\\n for i in range(n):\\n  {source}\\n", scope)
    rows = []
    for b in range(batches):
        began = time.perf_counter_ns(); scope["body"](times); rows.append((time.perf_counter_ns() - began) / times)
    return statistics.median(rows)
"""
OURS = PRELUDE + """
import mlops
N = int(sys.argv[1])
out = {}
run = mlops.start_run()
handle, items = run.metric("loss"), {f"m{i}": i * 0.5 for i in range(10)}
nothing = loop("pass", N)
out["loop"] = nothing
out["empty"] = loop("get(1.0, i)", N, get={}.get) - nothing
out["handle.log(v, i)"] = loop("log(0.5, i)", N, log=handle.log) - nothing
time.sleep(1.5)
out["log_metric(name, v, step=i)"] = loop("log('loss2', 0.5, step=i)", N, log=mlops.log_metric) - nothing
time.sleep(1.5)
out["log_metrics of 10, per metric"] = (loop("log(items, step=i)", N // 10, log=mlops.log_metrics, items=items) - nothing) / 10
time.sleep(1.5)
try:
    import numpy
    values, steps = numpy.random.default_rng(1).random(100_000), numpy.arange(100_000)
    rows = []
    for b in range(7):
        began = time.perf_counter_ns(); run.log_history(f"h{b}", values, steps); rows.append((time.perf_counter_ns() - began) / 100_000)
        time.sleep(0.7)
    out["log_history, per point"] = statistics.median(rows)
except ImportError:
    pass
dropped = mlops.status().dropped
out["dropped"] = sum(dropped.values())
print(json.dumps(out))
"""
SEARCH = PRELUDE + """
import mlops
for i in range(int(sys.argv[1])):
    with mlops.start_run(run_name=f"r{i}"):
        mlops.log_metric("loss", 1 / (i + 1)); mlops.log_param("i", i)
mlops.flush_async_logging()
rows = []
for b in range(7):
    began = time.perf_counter(); found = mlops.search_runs(output_format="list"); rows.append((time.perf_counter() - began) * 1e3)
print(json.dumps({"runs": len(found), "search_runs, ms": statistics.median(rows)}))
"""
THEIRS = PRELUDE + """
import mlflow
mlflow.set_experiment("bench")
run = mlflow.start_run()
synchronous = sys.argv[2] == "sync"
N = int(sys.argv[1])
print(json.dumps({"ns": cost(lambda i: mlflow.log_metric("loss", 0.5, step=i, synchronous=synchronous), N, 5)}))
sys.stdout.flush()
import os; os._exit(0)
"""
TRACKIO = PRELUDE + """
import trackio
trackio.init(project="bench")
print(json.dumps({"ns": cost(lambda i: trackio.log({"loss": 0.5}, step=i), int(sys.argv[1]), 5)}))
sys.stdout.flush()
import os; os._exit(0)
"""
START = """
import time; began = time.perf_counter()
import mlops
mlops.start_run(); mlops.log_metric("loss", 0.5, step=0)
print((time.perf_counter() - began) * 1e3)
"""


def process(python, text, *words, folder, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
    clean.update(environment, GIT_PYTHON_REFRESH="quiet")
    done = subprocess.run([str(python), "-c", text, *map(str, words)], env=clean, cwd=folder, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    return done.stdout.strip().splitlines()[-1]


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--server", default="")
    words.add_argument("--mlflow", default="")
    words.add_argument("--trackio", default="")
    words.add_argument("--calls", type=int, default=100_000)
    words.add_argument("--runs", type=int, default=2_000)
    given = words.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        home = {"MLOPS_HOME": f"{folder}/root"}
        ours = json.loads(process(sys.executable, OURS, given.calls, folder=folder, **home))
        goals = {"handle.log(v, i)": 150, "log_metric(name, v, step=i)": 300, "log_metrics of 10, per metric": 60,
                 "log_history, per point": 10}
        for name in ("empty", *goals):
            if name in ours:
                ratio = f", {ours[name] / ours['empty']:.1f} x empty" if name in list(goals)[:2] else ""
                rows.append((name, f"{ours[name]:.1f} ns", f"goal {goals[name]} ns{ratio}" if name in goals else ""))
        rows.append(("dropped", str(ours["dropped"]), ""))
        point = ours["log_metric(name, v, step=i)"]
        peers = []
        if given.mlflow:
            peers.append(("mlflow, file store", given.mlflow, THEIRS, 200, "sync",
                          {"MLFLOW_TRACKING_URI": f"file://{folder}/mlruns", "MLFLOW_ALLOW_FILE_STORE": "true"}))
            if given.server:
                for kind, times in (("sync", 40), ("async", 400)):
                    peers.append((f"mlflow, {kind}", given.mlflow, THEIRS, times, kind, {"MLFLOW_TRACKING_URI": given.server}))
        if given.trackio:
            peers.append(("trackio", given.trackio, TRACKIO, 1000, "", {"TRACKIO_DIR": f"{folder}/trackio", "HF_HOME": f"{folder}/hf"}))
        for name, python, text, times, kind, more in peers:
            try:
                ns = json.loads(process(python, text, times, kind, folder=folder, **more))["ns"]
                rows.append((f"{name}: log_metric", f"{ns / 1000:.1f} us", f"{ns / point:.0f} x log_metric here"))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                rows.append((f"{name}: log_metric", "-", str(error)[:100]))
        start = statistics.median(float(process(sys.executable, START, folder=folder, MLOPS_HOME=f"{folder}/start")) for _ in range(9))
        rows.append(("import and first point", f"{start:.1f} ms", "goal 60 ms"))
        if given.runs:
            found = json.loads(process(sys.executable, SEARCH, given.runs, folder=folder, MLOPS_HOME=f"{folder}/many"))
            rows.append((f"search_runs of {found['runs']} as list", f"{found['search_runs, ms']:.1f} ms", "goal 150 ms of 10,000"))
    wide = max(len(name) for name, *_ in rows)
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, {time.strftime('%Y-%m-%d')}")
    for name, value, note in rows:
        print(f"{name.ljust(wide)}  {value.rjust(10)}  {note}".rstrip())


if __name__ == "__main__":
    main()
