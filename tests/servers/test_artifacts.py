"""Artifacts out: a C++ program logs files, also offline; MLflow 3.x and 2.22 before a folder and 3.x before an S3 server
hold every byte of them, read back by the official Python client; a run ends when its files are there; a server that goes
away, lost answers and SIGKILL in the middle leave the same state."""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest

import proxy
import servers
from scenario import Scenario
from test_store import mlflow3_s3, random_file, s3  # noqa: F401 (fixtures)

NAMES = ["plain.bin", "a b/c d.txt", "p%q/100%.bin", "a+b&c=d.bin", "é日/ü~!$'(),.bin", "d/" + "n" * 200, "empty"]

READ_BACK = """
import hashlib, json, mlflow, pathlib, sys
uri, run = sys.argv[1:3]
mlflow.set_tracking_uri(uri)
folder = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run, dst_path=sys.argv[3]))
digests = {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}
print(json.dumps({"files": digests, "status": mlflow.get_run(run).info.status}))
"""


def tree(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def official(server, run, folder, kind="mlflow3", env=None):
    """What the official client reads of a run: its files' digests, its status."""
    python = servers.venv(kind) / "bin" / "python"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_", "AWS_"))}
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([str(python), "-c", READ_BACK, server.uri, run, str(folder)], env={**clean, "MLFLOW_DISABLE_TELEMETRY": "true", **(env or {})},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def make_files(folder, small=40):
    for i, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        random_file(path, 0 if name == "empty" else 1_000 * (i + 1), seed=i)
    for i in range(small):
        path = folder / "small" / f"f{i:05}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(1024))
    return folder


@pytest.fixture(params=["mlflow3", "mlflow2", "mlflow3_s3"])
def place(request):
    return request.getfixturevalue(request.param)


def test_every_byte_is_read_back_by_the_official_client(build, place, tmp_path, experiment):
    s = Scenario(build, tmp_path, place.uri)
    files = make_files(tmp_path / "files", small=int(os.environ.get("MLOPS_SMALL_FILES", "200")))
    s.train("start", experiment, "files", "id", "run", "files", files, "points", 1, 1, 50, 0, 1, "end", "finished")
    said = s.sync()
    assert "files (" in said, said
    run = s.server_run(experiment, s.id("run"))
    got = official(place, run.run_id, tmp_path / "back", place.kind)
    assert got["files"] == tree(files)
    assert got["status"] == "FINISHED"
    status = json.loads(s.mlops("status", "--json"))
    assert status["destinations"][0]["files_waiting"] == 0
    assert status["destinations"][0]["files_delivered"] == len(tree(files))


def test_live_delivery_ends_the_run_after_its_files(build, mlflow3, tmp_path, experiment):
    s = Scenario(build, tmp_path, mlflow3.uri)
    big = random_file(tmp_path / "big", 30_000_000)
    s.train("start", experiment, "live", "id", "run", "file", big, "models", "end", "finished", "flush", "delivered", 60_000, deliver=True)
    run = s.server_run(experiment, s.id("run"))
    got = official(mlflow3, run.run_id, tmp_path / "back")
    assert got["files"] == {"models/big": tree(tmp_path)["big"]}
    assert got["status"] == "FINISHED"


@pytest.mark.parametrize("kind", ["mlflow3", "mlflow2"])
@pytest.mark.parametrize("how", ["drop_response", "lose_request"])
def test_a_lost_message_at_each_request(build, request, tmp_path, experiment, kind, how):
    server = request.getfixturevalue(kind)
    files = tmp_path / "files"
    (files / "d").mkdir(parents=True)
    for name in ("a", "b b", "d/c"):
        random_file(files / name, 5_000, seed=len(name))
    for index in range(0, 14, 2):
        name = f"{experiment}-{index}"
        with proxy.FaultProxy(server.uri, faults={index: getattr(proxy, how)()}) as between:
            s = Scenario(build, tmp_path / str(index), between.uri)
            s.train("start", name, "lost", "id", "run", "files", files, "end", "finished")
            s.sync()
        run = Scenario(build, tmp_path / str(index), server.uri).server_run(name, s.id("run"))
        assert run.status == "FINISHED", index
        assert official(server, run.run_id, tmp_path / f"back{index}", kind)["files"] == tree(files), index


class PartCounter:
    """In front of the S3 server: which part of which upload began to arrive how often."""

    def __init__(self, port):
        self.target, self.parts, self.stopped = port, {}, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source, sink, count):
        try:
            while data := source.recv(1 << 16):
                if count and data.startswith(b"PUT ") and b"partNumber=" in data[:2000]:
                    line = data.split(b"\r\n", 1)[0].split(b" ")[1].decode()
                    query = dict(pair.split("=", 1) for pair in line.split("?", 1)[1].split("&") if "=" in pair)
                    key = (query["uploadId"], int(query["partNumber"]))
                    self.parts[key] = self.parts.get(key, 0) + 1
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def test_sigkill_in_a_multipart_upload_sends_no_recorded_part_again(build, mlflow3, s3, tmp_path, experiment):  # noqa: F811
    from rest import Rest

    bucket = "kills"
    s3.make_bucket(bucket)
    counter = PartCounter(s3.port)
    Rest(mlflow3.uri).call("POST", "experiments/create", {"name": experiment, "artifact_location": f"s3://{bucket}/{experiment}"})
    env = {**s3.env(), "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{counter.port}"}
    s = Scenario(build, tmp_path, mlflow3.uri, env=env)
    size = int(os.environ.get("MLOPS_KILL_BYTES", str(160 << 20)))
    big = random_file(tmp_path / "big", size)
    s.train("start", experiment, "big", "id", "run", "file", big, ".", "end", "finished")
    rng = random.Random(5)
    kills = 0
    for _ in range(int(os.environ.get("MLOPS_KILLS", "20"))):
        process = s.start_mlops("sync", "--to", mlflow3.uri)
        time.sleep(rng.uniform(0.05, 0.4))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    s.sync()
    counter.close()
    run = s.server_run(experiment, s.id("run"))
    assert run.status == "FINISHED"
    assert len({upload for upload, _ in counter.parts}) == 1, counter.parts  # never begun again
    extra = sum(times - 1 for times in counter.parts.values())
    print(f"{kills} kills, {len(counter.parts)} parts, {extra} sent again")
    assert kills > 0
    assert extra <= 4 * kills, counter.parts  # those in flight, over at most four connections
    got = official(mlflow3, run.run_id, tmp_path / "back", env=s3.server_env())
    assert got["files"] == {"big": tree(tmp_path)["big"]}


def test_a_server_that_is_away_in_the_middle(build, tmp_path, experiment):
    server = servers.MlflowServer("mlflow3").start()
    try:
        s = Scenario(build, tmp_path, server.uri)
        files = make_files(tmp_path / "files", small=150)
        s.train("start", experiment, "away", "id", "run", "files", files, "end", "finished")
        server.pause()
        s.mlops("sync", "--to", server.uri, "--deadline", 1, rc=None)
        assert s.last_rc != 0
        server.start()
        process = s.start_mlops("sync", "--to", server.uri)
        time.sleep(0.5)
        server.pause()
        time.sleep(1)
        server.start()
        assert process.wait(120) == 0, s.tail()
        run = s.server_run(experiment, s.id("run"))
        assert run.status == "FINISHED"
        assert official(server, run.run_id, tmp_path / "back")["files"] == tree(files)
    finally:
        server.stop()
