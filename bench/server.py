"""The real MLflow server of the benchmarks: prints "URI PYTHON" once it answers, serves until its input ends.

server.py      artifacts in a folder
server.py s3   artifacts in a bucket of a real S3-compatible server, which is handed out by presigned URLs

A line on its input is answered: "cpu" by the CPU seconds that MLflow's processes have used. With s3: "put FILE" by the
seconds that boto3 took to bring it to the bucket, in parts over several connections, past MLflow; "direct" by the
environment of a client with the bucket's keys, once an experiment of this name has its artifacts there; "clear", once
the bucket is empty.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "servers"))
import servers  # noqa: E402


def cpu_seconds(group):
    ticks = 0
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group:
                ticks += sum(map(int, fields[11:15]))  # its own and its dead children's
    return ticks / os.sysconf("SC_CLK_TCK")


def make_experiment(uri, name, artifacts):
    body = json.dumps({"name": name, "artifact_location": artifacts}).encode()
    request = urllib.request.Request(uri + "/api/2.0/mlflow/experiments/create", body, {"Content-Type": "application/json"})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).close()


with tempfile.TemporaryDirectory(prefix="mlops-bench-s3-") as folder:
    s3 = None
    if sys.argv[1:] == ["s3"]:
        s3 = servers.S3Server(folder, {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_REGION": "us-east-1"})
        s3.start().make_bucket("bench")
    server = servers.MlflowServer("mlflow3", **({"artifacts": "s3://bench/root", "env": s3.server_env()} if s3 else {})).start()
    print(server.uri, server.venv / "bin" / "python", flush=True)
    try:
        client = s3.client() if s3 else None
        for line in sys.stdin:
            verb, _, file = line.strip().partition(" ")
            if verb == "put":
                begin = time.perf_counter()
                client.upload_file(file, "bench", "raw")
                print(time.perf_counter() - begin, flush=True)
            elif verb == "direct":
                make_experiment(server.uri, "direct", "s3://bench/direct")
                print(*(f"{name}={value}" for name, value in s3.env().items()), flush=True)
            elif verb == "clear":
                shutil.rmtree(s3.folder / "buckets" / "bench")
                s3.make_bucket("bench")
                print("cleared", flush=True)
            else:
                print(cpu_seconds(server.process.pid), flush=True)
    except KeyboardInterrupt:
        pass
    server.stop()
    if s3:
        s3.stop()
