"""MLflow's own Python client as a peer: log_artifacts of a folder; prints the seconds it took.

Usage: official_files.py URI FOLDER. Timed is the call; importing, making the run and ending it are not.
"""

import logging
import sys
import time

import mlflow

result, sys.stdout = sys.stdout, sys.stderr  # MLflow prints there, too
uri, folder = sys.argv[1:3]
mlflow.set_tracking_uri(uri)
logging.getLogger("mlflow").setLevel(logging.ERROR)
mlflow.set_experiment("bench")
with mlflow.start_run():
    mlflow.log_text("warm", "warm.txt")
    begin = time.perf_counter()
    mlflow.log_artifacts(folder, "files")
    seconds = time.perf_counter() - begin
print(seconds, file=result)
