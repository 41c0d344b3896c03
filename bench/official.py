"""MLflow's own Python client as a peer: logs N points with mlflow.log_metric, one per call; prints points per second.

Usage: official.py URI sync|async N. Timed from the first call to the last point on the server (async: after
flush_async_logging); importing, making the run and ending it are not.
"""

import logging
import sys
import time

import mlflow
from mlflow.tracking import MlflowClient

result, sys.stdout = sys.stdout, sys.stderr  # MLflow prints there, too
uri, mode, points = sys.argv[1], sys.argv[2], int(sys.argv[3])
mlflow.set_tracking_uri(uri)
logging.getLogger("mlflow").setLevel(logging.ERROR)
mlflow.set_experiment("bench")
with mlflow.start_run() as run:
    mlflow.log_metric("warm", 0.0, step=0)
    begin = time.perf_counter()
    for i in range(points):
        mlflow.log_metric("loss", 1.0 / (i + 1), step=i, synchronous=mode == "sync")
    if mode == "async":
        mlflow.flush_async_logging()
    seconds = time.perf_counter() - begin
held = len(MlflowClient(uri).get_metric_history(run.info.run_id, "loss"))
if held != points:
    sys.exit(f"{held} of {points} points are on the server")
print(points / seconds, file=result)
