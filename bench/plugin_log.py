"""plugin_log.py SITE: what one `mlflow.log_metric` costs through the plug-in and without it, in one run: microseconds, p50 and
p99, with the store's own share of it. SITE: the folder in which the package is installed (build/python/site after
scripts/python). Starts an MLflow 3 server of its own; needs a minute."""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = """
import statistics, sys, time
import mlflow
from mlflow.entities import Metric
from mlflow.tracking._tracking_service.utils import _get_store

def row(what, samples):
    samples = sorted(samples)
    print(f"{what:44} {statistics.median(samples):10.2f} {samples[int(len(samples) * 0.99)]:12.2f}   n = {len(samples)}", flush=True)

def timed(count, call):
    samples = []
    for i in range(count):
        begin = time.perf_counter()
        call(i)
        samples.append((time.perf_counter() - begin) * 1e6)
    return samples

def measure(what, uri, count, **options):
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("bench")
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.0, step=0, **options)
        row(what, timed(count, lambda i: mlflow.log_metric("loss", float(i), step=i, **options)))
        if uri.startswith("mlops"):
            store, run_id = _get_store(), run.info.run_id
            points = [Metric("loss", float(i), 1_700_000_000_000 + i, i) for i in range(20_000)]
            row(f"{what}: the store's share", timed(len(points), lambda i: store.log_metric(run_id, points[i])))

server = sys.argv[1]
print(f"{'mlflow.log_metric, us':44} {'p50':>10} {'p99':>12}")
measure("mlops+http://", "mlops+" + server, 3000)
measure("mlops:///folder", "mlops:root", 3000)
measure("http://, sync", server, 60)
measure("http://, synchronous=False", server, 200, synchronous=False)
measure("sqlite://", "sqlite:///direct.db", 60)
"""


def main():
    sys.path.insert(0, str(ROOT / "tests" / "servers"))
    import servers

    site = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        server = servers.MlflowServer("mlflow3").start()
        try:
            environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "MLOPS_"))}
            environment.update(PYTHONPATH=str(site), MLFLOW_DISABLE_TELEMETRY="true", GIT_PYTHON_REFRESH="quiet")
            subprocess.run([str(server.venv / "bin" / "python"), "-c", WORK, server.uri], env=environment, cwd=folder, check=True,
                           stderr=subprocess.DEVNULL)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
