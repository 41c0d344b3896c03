"""Where artifact bytes go, against real stores: MLflow 3.x and 2.22 before a folder, MLflow 3.x before an S3 server
(versitygw) with and without presigned URLs, and that S3 server itself. What the SDK's room `store` did (through
tests/store/tool) is read back by boto3, MLflow's REST or the disk, never by our code alone; and what others put there is
read by the command."""

import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest

import servers
from rest import Rest

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester-secret", "AWS_REGION": "us-east-1"}
NAMES = ["plain.bin", "a b/c d.txt", "p%q/100%.bin", "a+b&c=d?e;f.bin", "é日/ü~!$'(),.bin", "d/" + "n" * 200]


def random_file(path, size, seed=1):
    block = hashlib.sha256(str(seed).encode()).digest() * 4096
    with open(path, "wb") as f:
        for at in range(0, size, len(block)):
            f.write(at.to_bytes(8, "big") + block[8 : min(len(block), size - at)] if size - at > 8 else b"x" * (size - at))
        f.truncate(size)
    return path


def sha(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Tool:
    """tests/store/tool: one call of a store, its answer."""

    def __init__(self, build, folder, root, env=None, options=()):
        self.program, self.root, self.folder, self.options = build.dir / "tests" / "store_tool", root, folder, list(options)
        assert self.program.exists(), f"{self.program} is not built"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLFLOW_", "MLOPS_"))}
        self.env.update(env or {}, HOME=str(folder))

    def __call__(self, *words, rc=None):
        done = subprocess.run([str(self.program), *self.options, self.root, *map(str, words)], env=self.env,
                              capture_output=True, text=True, timeout=300)
        assert done.stdout, (done.returncode, done.stderr)
        lines = done.stdout.splitlines()
        verdict, status, *learned = lines[0].split(" ", 2)
        answer = dict(verdict=verdict, http=int(status), learned=learned[0] if learned else "", words=lines[1], rest=lines[2:])
        assert (done.returncode == 0) == (verdict == "ok")
        return answer

    def listed(self, path="."):
        answer = self("list", path)
        assert answer["verdict"] == "ok", answer
        return {line.split(" ", 2)[2]: (line[0], int(line.split(" ", 2)[1])) for line in answer["rest"]}


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    server = servers.S3Server(tmp_path_factory.mktemp("s3"), KEYS)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mlflow3_s3(s3, tmp_path_factory):
    s3.make_bucket("mlf")
    server = servers.MlflowServer("mlflow3", artifacts="s3://mlf/root", env=s3.server_env())
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(params=["mlflow3", "mlflow2", "mlflow3_s3"])
def proxied(request):
    return request.getfixturevalue(request.param)


def new_run(server, location=None):
    rest = Rest(server.uri)
    name = f"store-{time.time_ns()}"
    body = {"name": name, **({"artifact_location": location} if location else {})}
    experiment = rest.call("POST", "experiments/create", body)["experiment_id"]
    info = rest.call("POST", "runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]
    return info["run_id"], info["artifact_uri"]


def url_of(server, uri, path):
    root = uri.removeprefix("mlflow-artifacts:/")
    return f"{server.uri}/api/2.0/mlflow-artifacts/artifacts/{root}/{urllib.parse.quote(path)}"


def fetch(url, method="GET", data=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, method=method, data=data), timeout=120) as answer:
        return answer.read()


def test_proxied_names_sizes_and_content(build, proxied, tmp_path):
    run, uri = new_run(proxied)
    tool = Tool(build, tmp_path, uri, options=["--tracking", proxied.uri, "--run", run])
    for i, name in enumerate(NAMES):
        file = random_file(tmp_path / "file", 1_000 * i, seed=i)  # the first is empty
        assert tool("put", name, file)["verdict"] == "ok", name
        assert fetch(url_of(proxied, uri, name)) == file.read_bytes(), name
        assert tool("stat", name)["learned"] == str(1_000 * i), name
        got = tool("get", name, tmp_path / "got")
        assert got["verdict"] == "ok" and (tmp_path / "got").read_bytes() == file.read_bytes(), (name, got)
        (tmp_path / "got").unlink()
    assert tool.listed()["a b"] == ("d", 0) and tool.listed()["plain.bin"] == ("f", 0)
    assert tool.listed("a b") == {"a b/c d.txt": ("f", 1_000)}
    assert tool("stat", "nothing")["verdict"] == "not_found"
    assert tool("stat", "a b")["verdict"] == "not_found"
    assert tool("get", "nothing", tmp_path / "got")["verdict"] == "not_found"
    for bad in ("../x", "/x", "a//b", "a#b", "100%25.bin"):
        answer = tool("put", bad, tmp_path / "file")
        assert answer["verdict"] == "rejected" and answer["http"] == 0, (bad, answer)
    long = tool("put", "n" * 300, tmp_path / "file")
    if proxied.artifacts.startswith("s3"):
        assert long["verdict"] in ("ok", "rejected", "ambiguous")
    else:
        assert long["verdict"] in ("rejected", "ambiguous") and long["words"], long


def test_proxied_before_a_folder_takes_no_parts(build, mlflow3, mlflow2, tmp_path):
    file = random_file(tmp_path / "big", 70 << 20)
    for server in (mlflow3, mlflow2):
        run, uri = new_run(server)
        tool = Tool(build, tmp_path, uri, options=["--tracking", server.uri, "--run", run])
        answer = tool("multipart", "big", file)
        assert answer["verdict"] == "unsupported" and answer["learned"] == "begin", answer
        assert tool("put", "big", file)["verdict"] == "ok"
        assert tool("stat", "big")["learned"] == str(70 << 20)


@pytest.mark.parametrize("presigned", ["yes", "no"])
def test_proxied_before_s3(build, mlflow3_s3, s3, tmp_path, presigned):
    run, uri = new_run(mlflow3_s3)
    options = ["--tracking", mlflow3_s3.uri, "--run", run, "--presigned", presigned]
    tool = Tool(build, tmp_path, uri, options=options)
    file = random_file(tmp_path / "big", 70_000_001)
    key = "root/" + uri.removeprefix("mlflow-artifacts:/")
    assert tool("multipart", "d e/big+1.bin", file) == dict(verdict="ok", http=200, learned="parts 5", words="", rest=[])
    assert s3.sha("mlf", key + "/d e/big+1.bin") == sha(file)
    assert tool("stat", "d e/big+1.bin")["learned"] == "70000001"
    got = tool("get", "d e/big+1.bin", tmp_path / "got")
    assert got["verdict"] == "ok" and sha(tmp_path / "got") == sha(file), got
    if presigned == "yes":  # ranges are the bucket's
        os.truncate(tmp_path / "got", 1_000)
        again = tool("get", "d e/big+1.bin", tmp_path / "got", 1_000)
        assert again["learned"].startswith("from 1000 got 69999001 of 70000001"), again
        assert sha(tmp_path / "got") == sha(file)
    # An upload that was given up leaves nothing; one that is gone is ok to give up, and cannot be finished.
    created = tool("create", "left", 64 << 20)
    upload, parts, urls = created["learned"].split()
    assert parts == urls == "4", created
    assert tool("abort", "left", upload)["verdict"] == "ok"
    assert tool("abort", "left", upload)["verdict"] == "ok"
    assert not s3.uploads("mlf")
    again = tool("twice", "once", file)
    assert again["verdict"] in ("ok", "expired"), again
    assert tool("stat", "once")["learned"] == "70000001"


def test_ten_thousand_parts(build, mlflow3_s3, s3, tmp_path):
    run, uri = new_run(mlflow3_s3)
    size = 640_000 << 20
    for root, options in ((uri, ["--tracking", mlflow3_s3.uri]), ("s3://mlf/direct", [])):
        tool = Tool(build, tmp_path, root, env=s3.env(), options=options)
        created = tool("create", "huge", size)
        upload, parts, _ = created["learned"].split()
        assert created["verdict"] == "ok" and parts == "10000", created
        assert tool("abort", "huge", upload)["verdict"] == "ok"
    assert not s3.uploads("mlf")


def test_s3_itself(build, s3, tmp_path):
    s3.make_bucket("direct")
    tool = Tool(build, tmp_path, "s3://direct/pre fix/x", env=s3.env())
    for i, name in enumerate(NAMES + ["a#b/c#.bin", "p%q/100%25.bin"]):
        file = random_file(tmp_path / "file", 1_000 * i, seed=i)
        assert tool("put", name, file)["verdict"] == "ok", name
        assert s3.sha("direct", "pre fix/x/" + name) == sha(file), name
        assert tool("stat", name)["learned"] == str(1_000 * i), name
        assert tool("get", name, tmp_path / "got")["verdict"] == "ok" and sha(tmp_path / "got") == sha(file), name
        (tmp_path / "got").unlink()
    assert set(tool.listed()) == {"plain.bin", "a b", "p%q", "a+b&c=d?e;f.bin", "é日", "d", "a#b"}
    assert tool.listed("a#b") == {"a#b/c#.bin": ("f", 6_000)}
    assert tool("put", "n" * 300, tmp_path / "file")["verdict"] == "rejected"  # this server keeps objects as files
    big = random_file(tmp_path / "big", 70_000_001)
    assert tool("multipart", "big.bin", big)["verdict"] == "ok"
    assert s3.sha("direct", "pre fix/x/big.bin") == sha(big)
    (tmp_path / "got").write_bytes(b"")
    again = tool("get", "big.bin", tmp_path / "got", 60_000_000)
    assert again["learned"].startswith("from 60000000 got 10000001 of 70000001"), again
    assert tool("stat", "nothing")["verdict"] == "not_found"
    assert tool("get", "nothing", tmp_path / "got")["verdict"] == "not_found"


def test_s3_many_objects(build, s3, tmp_path):
    s3.make_bucket("many")
    for i in range(1_005):
        s3.put("many", f"x/f{i:04}", b"1")
    tool = Tool(build, tmp_path, "s3://many/x", env=s3.env())
    assert len(tool.listed()) == 1_005


def test_s3_that_refuses(build, s3, tmp_path):
    s3.make_bucket("refuses")
    file = random_file(tmp_path / "file", 1_000)

    def answer(root="s3://refuses", **env):
        return Tool(build, tmp_path, root, env={**s3.env(), **env})("put", "f", file)

    missing = answer("s3://no-such-bucket-here")
    assert missing["verdict"] == "rejected" and "bucket does not exist" in missing["words"], missing
    for env, word in (({"AWS_SECRET_ACCESS_KEY": "not-its-secret"}, "AWS_SECRET_ACCESS_KEY"),
                      ({"AWS_ACCESS_KEY_ID": "nobody"}, "AWS_ACCESS_KEY_ID"),
                      ({"AWS_SESSION_TOKEN": "expired-token"}, "AWS_SESSION_TOKEN"),
                      ({"AWS_REGION": "eu-west-9"}, "AWS_REGION")):
        refused = answer(**env)
        assert refused["verdict"] == "auth" and word in refused["words"], (env, refused)
        assert "not-its-secret" not in refused["words"] and KEYS["AWS_SECRET_ACCESS_KEY"] not in refused["words"]
    away = answer(MLFLOW_S3_ENDPOINT_URL="http://127.0.0.1:9")
    assert away["verdict"] == "offline", away
    keyless = Tool(build, tmp_path, "s3://refuses")("put", "f", file)
    assert keyless["verdict"] == "unopened" and "AWS_ACCESS_KEY_ID" in keyless["words"], keyless


def test_the_servers_own_bucket_is_missing(build, s3, tmp_path):
    server = servers.MlflowServer("mlflow3", artifacts="s3://never-made/x", env=s3.server_env())
    try:
        server.start()
        run, uri = new_run(server)
        file = random_file(tmp_path / "file", 1_000)
        tool = Tool(build, tmp_path, uri, options=["--tracking", server.uri, "--run", run])
        put = tool("put", "f", file)
        assert put["verdict"] in ("rejected", "ambiguous") and put["words"], put
        begun = tool("create", "f", 64 << 20)
        assert begun["verdict"] in ("rejected", "ambiguous") and begun["words"], begun
    finally:
        server.stop()


def test_presigned_upload_without_keys(build, mlflow3_s3, s3, tmp_path):
    """A run whose root is a bucket that this machine has no keys for."""
    s3.make_bucket("elsewhere")
    run, uri = new_run(mlflow3_s3, "s3://elsewhere/exp")
    assert uri.startswith("s3://elsewhere/exp/")
    tool = Tool(build, tmp_path, uri, options=["--tracking", mlflow3_s3.uri, "--run", run])
    file = random_file(tmp_path / "file", 300_000)
    for name in ("m/f.bin", "a b/ü+1.txt"):
        assert tool("put", name, file)["verdict"] == "ok"
        assert s3.sha("elsewhere", uri.removeprefix("s3://elsewhere/") + "/" + name) == sha(file)
        assert tool("stat", name)["learned"] == "300000"
        got = tool("get", name, tmp_path / "got")
        assert got["verdict"] == "ok" and sha(tmp_path / "got") == sha(file), got
    assert set(tool.listed()) == {"m", "a b"}
    assert tool("stat", "nothing")["verdict"] == "not_found"


class Cutter:
    """Passes a TCP connection on until so many bytes went one way, then resets both."""

    def __init__(self, port, after, downwards):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.target, self.after, self.downwards = self.listener.getsockname()[1], port, after, downwards
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, sink, counted in ((client, server, not self.downwards), (server, client, self.downwards)):
                threading.Thread(target=self.pump, args=(source, sink, counted), daemon=True).start()

    def pump(self, source, sink, counted):
        passed = 0
        try:
            while data := source.recv(65536):
                passed += len(data)
                if counted and passed > self.after:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def test_a_connection_cut_in_mid_body(build, mlflow3, mlflow2, s3, tmp_path):
    s3.make_bucket("cut")
    file = random_file(tmp_path / "file", 6_000_000)
    for name, port in (("mlflow3", mlflow3.port), ("mlflow2", mlflow2.port), ("s3", s3.port)):
        uris = {}
        for downwards in (False, True):
            cutter = Cutter(port, 1_000_000, downwards)
            if name == "s3":
                root, options, env = "s3://cut/x", [], s3.env()
                direct = Tool(build, tmp_path, root, env=env)
                env = {**env, "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{cutter.port}"}
            else:
                server = mlflow3 if name == "mlflow3" else mlflow2
                run, root = uris.setdefault(name, new_run(server))
                options, env = ["--tracking", f"http://127.0.0.1:{cutter.port}", "--run", run, "--presigned", "no"], {}
                direct = Tool(build, tmp_path, root, options=["--tracking", server.uri, "--run", run])
            cut = Tool(build, tmp_path, root, env=env, options=options)
            if not downwards:
                answer = cut("put", "f", file)
                assert answer["verdict"] == "ambiguous", (name, answer)
                left = direct("stat", "f")  # 2.22 keeps what came, as if it were whole: the size says so
                assert left["verdict"] == "not_found" or left["learned"] != "6000000", (name, left)
                assert direct("put", "f", file)["verdict"] == "ok"
                assert direct("stat", "f")["learned"] == "6000000"
            else:
                answer = cut("get", "f", tmp_path / "part")
                assert answer["verdict"] == "ambiguous", (name, answer)
            cutter.close()


def artifacts(build, *words, env, rc=0, **more):
    done = subprocess.run([str(build.mlops), "artifacts", *map(str, words)], capture_output=True, text=True, timeout=300,
                          env={**{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLFLOW_", "MLOPS_"))},
                               **env}, **more)
    assert done.returncode == rc, (done.returncode, done.stdout, done.stderr)
    return done


def test_the_command_lists_and_gets(build, proxied, tmp_path):
    run, uri = new_run(proxied)
    content = {"a.txt": b"hello", "d/e f/ü+%.bin": os.urandom(300_000), "d/empty": b"", "big": os.urandom(9_000_000)}
    for name, data in content.items():
        fetch(url_of(proxied, uri, name), "PUT", data)
    env = {"MLFLOW_TRACKING_URI": proxied.uri, "MLOPS_HOME": str(tmp_path / "none"), "HOME": str(tmp_path)}
    listed = json.loads(artifacts(build, "ls", run, "--json", env=env).stdout)["artifacts"]
    assert [(a["path"], a["is_dir"], a["bytes"]) for a in listed] == [("a.txt", False, 5), ("big", False, 9_000_000), ("d", True, 0)]
    below = json.loads(artifacts(build, "ls", run, "d", "-R", "--json", env=env).stdout)["artifacts"]
    assert [a["path"] for a in below] == ["d/e f", "d/e f/ü+%.bin", "d/empty"]
    got = json.loads(artifacts(build, "get", run, "--output", tmp_path / "all", "--json", env=env).stdout)
    assert got["files"] == 4 and got["bytes"] == 9_300_005
    there = {str(p.relative_to(tmp_path / "all")): p.read_bytes() for p in (tmp_path / "all").rglob("*") if p.is_file()}
    assert there == content
    artifacts(build, "get", f"runs:/{run}/d/e f", "--output", tmp_path / "some", env=env)
    assert [str(p.relative_to(tmp_path / "some")) for p in (tmp_path / "some").rglob("*") if p.is_file()] == ["d/e f/ü+%.bin"]
    artifacts(build, "get", uri, "a.txt", "--output", tmp_path / "one", env=env)
    assert (tmp_path / "one" / "a.txt").read_bytes() == b"hello"
    assert "no artifact 'nix'" in artifacts(build, "get", run, "nix", env=env, rc=3, cwd=tmp_path).stderr
    assert artifacts(build, "ls", "0" * 32, env=env, rc=3).stderr
    artifacts(build, "ls", run, env={**env, "MLFLOW_TRACKING_URI": ""}, rc=2)


def test_a_download_goes_on_after_sigkill(build, mlflow3, tmp_path):
    run, uri = new_run(mlflow3)
    data = os.urandom(40_000_000)
    fetch(url_of(mlflow3, uri, "big"), "PUT", data)
    env = {"MLFLOW_TRACKING_URI": mlflow3.uri, "MLOPS_HOME": str(tmp_path / "none"), "HOME": str(tmp_path)}
    slow = Cutter(mlflow3.port, 20_000_000, True)  # so that there is something to go on with
    process = subprocess.Popen([str(build.mlops), "artifacts", "get", run, "--output", str(tmp_path / "out"), "--from",
                                f"http://127.0.0.1:{slow.port}"], env={**os.environ, **env}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not any(p.stat().st_size > 15_000_000 for p in (tmp_path / "out").glob(".mlops-part-*")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    slow.close()
    assert not (tmp_path / "out" / "big").exists()
    got = json.loads(artifacts(build, "get", run, "--output", tmp_path / "out", "--json", env=env).stdout)
    assert got["resumed_bytes"] > 15_000_000, got
    assert (tmp_path / "out" / "big").read_bytes() == data
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["big"]
