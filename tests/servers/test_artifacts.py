"""Artifacts out: a C++ program logs files, also offline; MLflow 3.x and 2.22 before a folder and 3.x before an S3 server
hold every byte of them, read back by the official Python client; a run ends when its files are there; a server that goes
away, lost answers and SIGKILL in the middle leave the same state.

MLOPS_EACH_FAULT=1 tries all five faults at each request of the scripted session, else one of them at every second one,
other ones on each server."""

import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import proxy
import servers
from rest import Rest
from scenario import Scenario, peak_mib
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


class PartCounter:
    """In front of the S3 server: which part of which upload began to arrive how often. A part is recorded, as far as is
    seen from here, when the connection that brought it begins with the next one; `again` are those that came once more."""

    def __init__(self, port):
        self.target, self.parts, self.recorded, self.again = port, {}, set(), []
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
        before = None  # the part before on this connection
        try:
            while data := source.recv(1 << 16):
                if count and data.startswith(b"PUT ") and b"partNumber=" in data[:2000]:
                    line = data.split(b"\r\n", 1)[0].split(b" ")[1].decode()
                    query = dict(pair.split("=", 1) for pair in line.split("?", 1)[1].split("&") if "=" in pair)
                    key = (query["uploadId"], int(query["partNumber"]))
                    self.parts[key] = self.parts.get(key, 0) + 1
                    if before not in (None, key):
                        self.recorded.add(before)
                    if key in self.recorded:
                        self.again.append(key)
                    before = key
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
    kills, peak = 0, 0
    for _ in range(int(os.environ.get("MLOPS_KILLS", "20"))):
        process = s.start_mlops("sync", "--to", mlflow3.uri)
        wanted, until = sum(counter.parts.values()) + rng.randrange(1, 8), time.monotonic() + 60
        while process.poll() is None and sum(counter.parts.values()) < wanted and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        if process.poll() is not None:
            break
        peak = max(peak, peak_mib(process))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    s.sync()
    counter.close()
    run = s.server_run(experiment, s.id("run"))
    assert run.status == "FINISHED"
    assert len({upload for upload, _ in counter.parts}) == 1, counter.parts  # never begun again
    extra = sum(times - 1 for times in counter.parts.values())
    print(f"{kills} kills, {len(counter.parts)} parts, {len(counter.recorded)} seen recorded, {extra} sent again, {peak - (idle := s.idle_mib()):.1f} MiB above idle")
    assert kills > 0 and peak - idle <= 20
    assert counter.recorded and not counter.again
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


def test_a_trainer_that_is_killed_after_its_calls(build, mlflow3, tmp_path, experiment):
    """SIGKILL right after the last call returned: what was accepted is delivered, files that are moved or gone since too."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    files = make_files(tmp_path / "files", small=100)
    process = s.start("start", experiment, "killed", "id", "run", "files", files, "kill")
    assert process.wait(120) == -signal.SIGKILL
    want = tree(files)
    for path in files.rglob("*"):
        if path.is_file():
            path.write_bytes(b"somebody else's now")
    s.sync()
    run = s.server_run(experiment, s.id("run"))
    got = official(mlflow3, run.run_id, tmp_path / "back")
    assert got == {"files": want, "status": "KILLED"}


def test_kills_while_ten_thousand_files_are_logged_and_delivered(build, mlflow3, tmp_path, experiment):
    """MLOPS_MANY_FILES=10000 is the whole of it. A trainer and then a delivery killed in the middle; each file once in effect."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    count = int(os.environ.get("MLOPS_MANY_FILES", "1000"))
    files = tmp_path / "files"
    for i in range(count):
        path = files / f"d{i % 7}" / f"f{i:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{i} ".encode() * (i % 40))
    s.train("start", experiment, "many", "id", "run", "files", files, "end", "finished", "flush", "durable", 300_000, seconds=600)
    for _ in range(2):
        process = s.start_mlops("sync", "--to", mlflow3.uri)
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    s.sync(seconds=900)
    run = s.server_run(experiment, s.id("run"))
    got = official(mlflow3, run.run_id, tmp_path / "back")
    assert got["files"] == tree(files) and got["status"] == "FINISHED"


def test_a_file_and_a_folder_of_one_name(build, mlflow3, tmp_path, experiment):
    """A server that keeps folders cannot take both: one is given up with the reason, the other is there, and the run ends."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    for name in ("clash", "below"):
        random_file(tmp_path / name, 1_000, seed=ord(name[0]))
    s.train("start", experiment, "clash", "id", "run", "file", tmp_path / "clash", ".", "file", tmp_path / "below", "clash", "end", "finished")
    s.mlops("sync", "--to", mlflow3.uri, rc=None)
    assert s.server_run(experiment, s.id("run")).status == "FINISHED"
    (stuck,) = json.loads(s.mlops("stuck", "list", "--json"))["stuck"]
    assert "Log it under another path" in json.dumps(stuck)


def test_artifacts_of_attached_processes(build, mlflow3, tmp_path, experiment):
    """No file is named as its folder: MLflow's client does not download guest/guest."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    for name in ("owner", "guest"):
        random_file(tmp_path / name, 300_000, seed=ord(name[0]))
    go = tmp_path / "go"
    owner = s.start("start", experiment, "shared", "id", "run", "file", tmp_path / "owner", ".", "await", go, "end", "finished")
    until = time.monotonic() + 60
    while not (tmp_path / "run").exists():
        assert time.monotonic() < until and owner.poll() is None
        time.sleep(0.01)
    run_id = s.id("run")
    s.train("attach", run_id, "file", tmp_path / "guest", "attached", "end", "finished")
    s.mlops("artifacts", "put", tmp_path / "guest", "--run", run_id, "--path", "by/command")
    go.touch()
    assert owner.wait(60) == 0
    s.sync()
    run = s.server_run(experiment, run_id)
    got = official(mlflow3, run.run_id, tmp_path / "back")
    have = {name: tree(tmp_path)[name] for name in ("owner", "guest")}
    assert got == {"files": {"owner": have["owner"], "attached/guest": have["guest"], "by/command/guest": have["guest"]},
                   "status": "FINISHED"}


def test_a_run_ends_after_the_files_of_its_guests(build, mlflow3, tmp_path, experiment):
    """The owner delivers live, a guest without a network: the run is RUNNING until somebody brings the guest's file."""
    with proxy.FaultProxy(mlflow3.uri, faults={}) as between:
        s = Scenario(build, tmp_path, between.uri)
        go = tmp_path / "go"
        for name in ("owner", "guest"):
            random_file(tmp_path / name, 300_000, seed=ord(name[0]))
        owner = s.start("start", experiment, "shared", "id", "run", "file", tmp_path / "owner", ".", "await", go, "end", "finished",
                        deliver=True, exit_ms=5_000)
        until = time.monotonic() + 60
        while not (tmp_path / "run").exists():
            assert time.monotonic() < until and owner.poll() is None
            time.sleep(0.01)
        s.train("attach", s.id("run"), "file", tmp_path / "guest", "attached", "end", "finished")
        go.touch()
        assert owner.wait(60) == 0
        runs = s.rest.runs(experiment)
        assert [r.status for r in runs] in ([], ["RUNNING"])
        s.sync()
        run = s.server_run(experiment, s.id("run"))
        got = official(mlflow3, run.run_id, tmp_path / "back")
        assert set(got["files"]) == {"owner", "attached/guest"} and got["status"] == "FINISHED"
        asked = [entry.path for entry in between.log]
        put = max(i for i, words in enumerate(asked) if "attached/guest" in words)
        assert put < max(i for i, words in enumerate(asked) if "runs/update" in words)


def test_put_by_the_command_and_verified(build, mlflow3, tmp_path, experiment):
    s = Scenario(build, tmp_path, mlflow3.uri)
    files = make_files(tmp_path / "files", small=3)
    run_id = s.mlops("run", "start", "--experiment", experiment).strip()
    mark = s.mark()
    s.mlops("artifacts", "put", tmp_path / "nothing", "--run", run_id, rc=3)
    assert "nothing" in s.said(mark) and len(s.said(mark).strip().splitlines()) <= 2
    done = json.loads(s.mlops("artifacts", "put", files, "--run", run_id, "--json"))
    assert done == {"run": run_id, "accepted": 1}
    s.mlops("artifacts", "put", files / "plain.bin", "--run", run_id, "--path", "logs")
    s.mlops("run", "end", "--run", run_id)
    counted = json.loads(s.mlops("sync", "--to", mlflow3.uri, "--dry-run", "--json"))
    assert (counted["files_waiting"], counted["runs"]) == (len(tree(files)) + 1, 1)
    assert f"{len(tree(files)) + 1} files" in s.mlops("sync", "--to", mlflow3.uri, "--dry-run")
    s.sync()
    assert json.loads(s.mlops("sync", "--to", mlflow3.uri, "--dry-run", "--json"))["files_waiting"] == 0
    run = s.server_run(experiment, run_id)
    want = {**tree(files), "logs/plain.bin": tree(files)["plain.bin"]}
    assert official(mlflow3, run.run_id, tmp_path / "back")["files"] == want

    verify = ["verify", run_id, "--to", mlflow3.uri]
    report = json.loads(s.mlops(*verify, "--artifacts", "--json"))
    assert report["ok"] and report["files_checked"] == len(want) and report["files_waiting"] == 0
    assert f"{len(want)} files compared by size and digest" in s.mlops(*verify, "--artifacts")
    there = mlflow3.folder / "artifacts" / run.artifact_uri.removeprefix("mlflow-artifacts:/")
    held = (there / "plain.bin").read_bytes()
    (there / "plain.bin").write_bytes(bytes(len(held)))
    assert json.loads(s.mlops(*verify, "--json"))["ok"]  # by size
    report = json.loads(s.mlops(*verify, "--artifacts", "--json", rc=1))
    assert [(d["kind"], "digest" in d["what"]) for d in report["differences"]] == [("altered", True)]
    (there / "plain.bin").write_bytes(held[:-1])
    assert "altered: artifact plain.bin" in s.mlops(*verify, rc=1)
    (there / "plain.bin").unlink()
    assert "missing: artifact plain.bin" in s.mlops(*verify, rc=1)


@pytest.mark.parametrize("parts", ["on", "off"])
def test_multipart_on_and_off(build, mlflow3_s3, s3, tmp_path, experiment, parts):  # noqa: F811
    big = random_file(tmp_path / "big", 70_000_001)
    refuse = lambda r: proxy.answer(501, "not here") if parts == "off" and "/mpu/" in r.path else None  # noqa: E731
    with proxy.FaultProxy(mlflow3_s3.uri, rule=refuse) as between:
        s = Scenario(build, tmp_path, between.uri)
        s.train("start", experiment, "big", "id", "run", "file", big, "a b", "end", "finished")
        s.sync()
        whole = [r.path for r in between.log if r.method == "PUT"]
        assert len(whole) == (1 if parts == "off" else 0), whole
        assert any("/mpu/complete/" in r.path for r in between.log) == (parts == "on")
    run = Scenario(build, tmp_path, mlflow3_s3.uri).server_run(experiment, s.id("run"))
    got = official(mlflow3_s3, run.run_id, tmp_path / "back")
    assert got == {"files": {"a b/big": tree(tmp_path)["big"]}, "status": "FINISHED"}
    assert not s3.uploads("mlf")


def test_a_bucket_that_is_missing_and_credentials_that_expired(build, mlflow3, s3, tmp_path, experiment):  # noqa: F811
    bucket = "later-" + experiment[-8:].lower()
    Rest(mlflow3.uri).call("POST", "experiments/create", {"name": experiment, "artifact_location": f"s3://{bucket}/x"})
    file = random_file(tmp_path / "file", 5_000)
    s = Scenario(build, tmp_path, mlflow3.uri, env=s3.env())
    s.train("start", experiment, "refused", "id", "run", "file", file, ".", "points", 1, 1, 5, 0, 1, "end", "finished")
    mark = s.mark()
    expired = {"AWS_SESSION_TOKEN": "expired-token"}
    s.mlops("sync", "--to", mlflow3.uri, "--deadline", 5, env=expired, rc=None)
    assert s.last_rc != 0 and "AWS_SESSION_TOKEN" in s.said(mark), s.said(mark)
    run = s.server_run(experiment, s.id("run"))
    assert run.status == "RUNNING" and len(Rest(mlflow3.uri).points(run)) == 5  # its points did not wait
    s.sync(rc=None)
    stuck = s.mlops("stuck")
    assert "artifact file" in stuck and "bucket does not exist" in stuck, stuck
    assert s.server_run(experiment, s.id("run")).status == "FINISHED"
    s3.make_bucket(bucket)
    s.mlops("stuck", "retry", "--all", rc=None)
    s.sync()
    got = official(mlflow3, run.run_id, tmp_path / "back", env=s3.server_env())
    assert got["files"] == {"file": tree(tmp_path)["file"]}
    assert "artifact file" not in s.mlops("stuck")


FAULTS = [proxy.drop_response(), proxy.lose_request(), proxy.cut_response(), proxy.answer(500, "oops"),
          proxy.answer(503, "busy", Retry_After="0")]


def state_of(server, experiment, name, uid):
    """All that the server holds of the session, without what a server numbers: read by REST and from the disk."""
    rest = Rest(server.uri)
    run = rest.by_uid(experiment, uid)
    found = rest.call("GET", "registered-models/get", name=name)["registered_model"]
    versions = rest.call("GET", "model-versions/search", filter=f"name='{name}'", max_results=100).get("model_versions", [])
    folder = pathlib.Path(server.stored) / run.artifact_uri.removeprefix("mlflow-artifacts:/").split("/")[0]
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            where = re.sub(r"m-[0-9a-f]{32}", "MODEL", str(path.relative_to(folder)).replace(run.run_id, "RUN"))
            ours = path.name in ("MLmodel", "mlops-manifest.json")  # they name the model and the time
            assert where not in files
            files[where] = "" if ours else hashlib.sha256(path.read_bytes()).hexdigest()
    tags = lambda v: sorted(re.sub("[0-9a-f]{32}", "UID", t["key"]) for t in v.get("tags", []))  # noqa: E731
    return {
        "status": run.status, "params": run.params, "files": files, "runs": len(rest.runs(experiment)),
        "points": sorted((key, step, str(value)) for key, _, step, value in rest.points(run).elements()),
        "aliases": sorted((a["alias"], str(a["version"])) for a in found.get("aliases", [])), "model tags": tags(found),
        "versions": [(str(v["version"]), v.get("run_id") == run.run_id, v["status"], tags(v)) for v in versions],
    }


def differences(state, wanted):
    """What differs, and nothing else, so that a log that is cut still has it."""
    flat = lambda of: {**{k: v for k, v in of.items() if k != "files"}, **{f"file {k}": v[:8] for k, v in of["files"].items()}}  # noqa: E731
    is_, should = flat(state), flat(wanted)
    return [f"{key} is {is_.get(key)}, not {should.get(key)}" for key in sorted({*is_, *should}) if is_.get(key) != should.get(key)]


@pytest.mark.parametrize("kind", ["mlflow3_s3", "mlflow2"])
def test_a_session_with_each_fault_at_each_request(build, request, tmp_path, experiment, kind):
    """Three artifacts, one in parts, a model, registered, aliased, promoted: whatever happens to one request, the server
    holds the same in the end."""
    server = request.getfixturevalue(kind)
    server.stored = str(server.folder / "artifacts")
    files = tmp_path / "files"
    (files / "d").mkdir(parents=True)
    for name in ("a", "d/c"):
        random_file(files / name, 5_000, seed=len(name))
    random_file(files / "big", 1_000)
    if kind == "mlflow3_s3":
        server.stored = str(request.getfixturevalue("s3").folder / "buckets" / "mlf" / "root")
        random_file(files / "big", (64 << 20) + 1)
    random_file(tmp_path / "weights.bin", 3_000)

    def session(tag, faults):
        s = Scenario(build, tmp_path / tag, server.uri)
        name = f"{experiment}-{tag}"
        s.train("start", name, "lost", "id", "run", "param", "lr", 1, "special", "m", "files", files, "model", "net",
                tmp_path / "weights.bin", name, "end", "finished")
        with proxy.FaultProxy(server.uri, faults=faults) as between:
            s.mlops("sync", "--to", between.uri)
            count = len(between.log)
        state = state_of(server, name, name, s.id("run"))
        shutil.rmtree(tmp_path / tag)
        return state, count

    wanted, count = session("none", {})
    assert wanted["status"] == "FINISHED" and [a for a, _ in wanted["aliases"]] == ["candidate", "champion"]
    assert len(wanted["versions"]) == 1 and count > 15
    each = os.environ.get("MLOPS_EACH_FAULT")
    for index in range(count) if each else range(len(kind) % 2, count, 2):
        for fault in range(len(FAULTS)) if each else [(index // 2 + len(kind)) % len(FAULTS)]:
            state, _ = session(f"{index}-{fault}", {index: FAULTS[fault]})
            other = differences(state, wanted)
            assert not other, f"request {index}, {FAULTS[fault]}: " + "; ".join(other)
