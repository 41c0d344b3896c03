"""The registry on real servers. What is there is read by MLflow's own Python client, never by our code."""

import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
import uuid

import pytest

from proxy import FaultProxy, drop_response, lose_request
from scenario import Scenario, peak_mib
from servers import ROOT

OFFICIAL = """
import json, sys
from mlflow.tracking import MlflowClient

def read(client, *names):
    out = {}
    for name in names:
        try:
            m = client.get_registered_model(name)
        except Exception:
            continue
        versions, token = [], None
        while True:
            page = client.search_model_versions(f"name='{name}'", max_results=1000, page_token=token)
            versions += page
            token = page.token
            if not token:
                break
        few = len(versions) < 20
        out[name] = {"description": m.description, "tags": dict(m.tags), "aliases": {k: str(v) for k, v in m.aliases.items()},
                     "versions": {str(v.version): {"source": v.source, "run_id": v.run_id, "tags": dict(v.tags),
                                                   "description": v.description, "stage": v.current_stage,
                                                   "uri": few and client.get_model_version_download_uri(name, v.version)}
                                  for v in versions}}
    return out

def upload(client, folder):
    found = client.get_experiment_by_name("pull")
    run = client.create_run(found.experiment_id if found else client.create_experiment("pull"))
    client.log_artifacts(run.info.run_id, folder, "model")
    return run.info.run_id

for line in sys.stdin:
    verb, uri, *words = json.loads(line)
    print("=" + json.dumps({"read": read, "upload": upload}[verb](MlflowClient(uri, uri), *words)), flush=True)
"""


class Official:
    """MLflow's own client, in a process of its own that stays: it takes seconds to load."""

    process = None

    def ask(self, *words):
        if self.process is None or self.process.poll() is not None:
            env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
            self.process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", OFFICIAL], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("="):
                return json.loads(line[1:])
        raise AssertionError(f"MLflow's client died over {words}")


client = Official()


@pytest.fixture(scope="module", autouse=True)
def official_client():
    yield
    if client.process is not None:
        client.process.kill()
        client.process.wait()


def official(uri, *names):
    """-> name: what MLflow's client says of the model."""
    return client.ask("read", uri, *names)


@pytest.fixture(params=["mlflow3", "mlflow2"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def s(build, server, tmp_path):
    return Scenario(build, tmp_path, server.uri, env={"MLFLOW_TRACKING_URI": server.uri, "LOGNAME": "ann"})


@pytest.fixture
def name():
    return "model-" + uuid.uuid4().hex[:10]


WRITES = {"create", "register", "alias", "promote", "rollback", "describe", "tag", "rename", "copy", "stage", "shares", "delete"}


def models(s, *words, rc=0, **more):
    """The command's JSON. A write waits as long as a loaded machine's server takes for its first one."""
    patience = ["--wait", 120] if words[0] in WRITES else []
    out = s.mlops("models", *words, *patience, "--json", rc=rc, **more)
    return json.loads(out) if out.strip() else None


def test_everything_is_read_back_by_the_official_client(s, name):
    made = models(s, "create", name, "--description", "hand's \"own\" written", "--tag", "team=vision")
    assert made["state"] == "done" and made["verb"] == "create_model"
    assert models(s, "register", name, "s3://bucket/one", "--tag", "kind=small", "--description", "first")["version"] == "1"
    assert models(s, "register", name, "s3://bucket/two")["version"] == "2"
    models(s, "alias", name, "candidate", "2")
    up = models(s, "promote", name, "1", "champion", "--why", "it is the first", "--if-absent")
    assert up["state"] == "done" and up["from"] == ""
    up = models(s, "promote", name, "2", "champion", "--why", "better", "--who", "bob", "--if-still", "1")
    assert (up["from"], up["version"]) == ("1", "2")
    models(s, "tag", name, "checked=yes", "--version", "2")
    models(s, "tag", name, "owner=ann")
    models(s, "describe", name, "second", "--version", "2")
    models(s, "stage", name, "1", "Staging")
    models(s, "shares", name, "champion=90", "candidate=10")
    copied = models(s, "copy", name, "1", name + "-prod")
    got = official(s.uri, name, name + "-prod")
    m = got[name]
    assert m["description"] == "hand's \"own\" written" and m["aliases"] == {"candidate": "2", "champion": "2"}
    assert m["tags"]["team"] == "vision" and m["tags"]["owner"] == "ann" and m["tags"]["mlops.uid"] == made["id"]
    assert m["tags"]["mlops.shares"] == "champion=90,candidate=10"
    assert sorted(m["versions"]) == ["1", "2"]
    one, two = m["versions"]["1"], m["versions"]["2"]
    assert one["source"] == one["uri"] == "s3://bucket/one" and one["description"] == "first" and one["stage"] == "Staging"
    assert one["tags"]["kind"] == "small" and two["tags"]["checked"] == "yes" and two["description"] == "second"
    story = json.loads(two["tags"][f"mlops.promotion.{up['id']}"])
    assert (story["alias"], story["from"], story["to"], story["who"], story["why"]) == ("champion", "1", "2", "bob", "better")
    copy = got[name + "-prod"]["versions"]["1"]
    assert copied["version"] == "1" and copy["uri"] == "s3://bucket/one" and copy["tags"]["kind"] == "small"

    back = models(s, "rollback", name, "champion", "--why", "slow")
    assert (back["state"], back["from"], back["version"]) == ("done", "2", "1")
    told = models(s, "history", name)["history"]
    assert [(h["verb"], h["from"], h["to"], h["who"]) for h in told] == [
        ("promote", "", "1", "ann"), ("promote", "1", "2", "bob"), ("rollback", "2", "1", "ann")]
    assert official(s.uri, name)[name]["aliases"]["champion"] == "1"
    picked = {models(s, "pick", name, "--key", str(i))["alias"] for i in range(40)}
    assert picked == {"champion", "candidate"}

    models(s, "alias", name, "candidate", "--delete")
    models(s, "tag", name, "owner", "--delete")
    models(s, "delete", name, "--version", "2", "--yes")
    models(s, "rename", name, name + "-old")
    got = official(s.uri, name, name + "-old")
    assert name not in got and list(got[name + "-old"]["versions"]) == ["1"]
    assert got[name + "-old"]["aliases"] == {"champion": "1"} and "owner" not in got[name + "-old"]["tags"]
    models(s, "delete", name + "-old", "--yes")
    assert official(s.uri, name + "-old") == {}


def test_conditions_and_refusals_change_nothing(s, name):
    models(s, "register", name, "s3://b/1")
    models(s, "register", name, "s3://b/2")
    models(s, "alias", name, "champion", "1")
    before = official(s.uri, name)
    failed = models(s, "promote", name, "2", "champion", "--if-still", "7", rc=1)
    assert failed["state"] == "condition_failed" and "stands for version 1" in failed["message"]
    assert models(s, "alias", name, "champion", "2", "--if-absent", rc=1)["state"] == "condition_failed"
    assert models(s, "alias", name, "nobody", "--delete", "--if-still", "2", rc=1)["state"] == "condition_failed"
    assert models(s, "create", name, "--if-absent", rc=1)["state"] == "condition_failed"
    assert models(s, "create", name)["state"] == "done"
    assert models(s, "alias", name, "champion", "99", rc=3)["code"] == "not_found"
    assert models(s, "rollback", name, "champion", rc=5)["state"] == "refused"
    assert models(s, "register", "no-such-" + name, "s3://b/1", "--no-create", rc=3)["code"] == "not_found"
    assert models(s, "delete", "no-such-" + name, "--yes", rc=3)["state"] == "refused"
    assert official(s.uri, name, "no-such-" + name) == before
    s.mlops("models", "show", "no-such-" + name, rc=3)
    s.mlops("models", "show", f"models:/{name}@nobody", rc=3)
    assert "version     2" in s.mlops("models", "show", f"models:/{name}/latest")


@pytest.mark.parametrize("words", [
    ("create", "a/b"), ("create", "a:b"), ("create", ""), ("create", "x" * 300), ("create", "."), ("create", "  "),
    ("create", "m", "--description", "d" * 5001), ("create", "m", "--tag", "k=" + "v" * 5001), ("create", "m", "--tag", "k#=1"),
    ("alias", "m", "latest", "1"), ("alias", "m", "Latest", "1"), ("alias", "m", "v1", "1"), ("alias", "m", "with space", "1"),
    ("alias", "m", "", "1"), ("alias", "m", "a" * 256, "1"), ("alias", "m", "ok", "seven"), ("alias", "m", "ok", "0"),
    ("register", "m", "/etc"), ("register", "m", "s3://b/../k"), ("register", "m", "s3://" + "x" * 500),
    ("rename", "m", "x/y"), ("stage", "m", "1", "Live"), ("shares", "m", "champion=many"), ("shares", "m", "v2=5"),
    ("promote", "m", "1", "champion", "--if-absent", "--if-still", "3")])
def test_bad_input_is_refused_before_it_is_promised(build, tmp_path, words):
    s = Scenario(build, tmp_path)
    mark = s.mark()
    s.mlops("models", *words, rc=2)
    assert len(s.said(mark).strip().splitlines()) <= 4
    assert s.mlops("models", "pending", "--all", "--json", rc=None).strip() in ("", '{"pending":[]}')


def test_offline_then_delivered_and_resolved_after_a_restart(s, name):
    offline = {"MLFLOW_TRACKING_URI": ""}
    first = models(s, "register", name, "s3://b/1", env=offline)
    assert first["state"] == "waiting"
    second = models(s, "promote", name, f"pending:{first['id'][:12]}", "champion", env=offline)
    assert [p["state"] for p in models(s, "pending", env=offline)["pending"]] == ["waiting", "waiting"]
    assert official(s.uri, name) == {}
    s.sync()
    told = {p["id"]: p for p in models(s, "pending", "--all")["pending"]}
    assert told[first["id"]]["state"] == "done" and told[first["id"]]["version"] == "1"
    assert told[second["id"]]["state"] == "done" and told[second["id"]]["version"] == "1"
    assert models(s, "pending")["pending"] == []
    got = official(s.uri, name)[name]
    assert got["aliases"] == {"champion": "1"} and got["versions"]["1"]["tags"]["mlops.uid"] == first["id"]


def test_the_example_from_end_to_end(build, server, tmp_path, name):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
    got = subprocess.run([str(pathlib.Path(ROOT, "examples/registry/run.sh")), str(build.dir), server.uri, name], env=env, cwd=tmp_path,
                         capture_output=True, text=True, timeout=300)
    assert got.returncode == 0, got.stdout + got.stderr
    m = official(server.uri, name)[name]
    assert sorted(m["versions"]) == ["1", "2"] and m["aliases"] == {"champion": "1"}
    place = "^models:/m-" if server.kind == "mlflow3" else r"/artifacts/line$"
    for v in m["versions"].values():
        assert re.search(place, v["source"]) and v["run_id"] and re.fullmatch("[0-9a-f]{64}", v["tags"]["mlops.manifest"]), m
    assert "version 2 serves\n" in got.stdout and "version 1 serves again\n" in got.stdout
    served = re.findall(r"^version (\d), every file as it was logged: f\(2\) = (\S+)$", got.stdout, re.M)
    assert served == [("2", "6.000"), ("1", "6.000")], got.stdout


def test_gate(s, name):
    def trained(loss, acc):
        run = s.mlops("run", "start", "--experiment", name).strip()
        s.mlops("log", "--run", run, f"loss={loss}", f"val/acc={acc}")
        s.mlops("run", "end", "--run", run)
        s.sync()
        server_id = json.loads(s.mlops("show", run, "--json"))["server_id"]
        return models(s, "register", name, f"runs:/{server_id}/model")["version"]

    first, second, worse = trained(0.5, 0.9), trained(0.3, 0.95), trained(0.31, 0.5)
    junit, summary = s.folder / "junit.xml", s.folder / "summary.md"
    gate = ["gate", "val/acc >= champion + 0.002", "loss < 0.4", "--model", name]
    out = json.loads(s.mlops(*gate, "--version", second, "--json", rc=1))
    assert [c["passed"] for c in out["checks"]] == [False, True] and "alias" in out["checks"][0]["message"]
    s.mlops(*gate, "--version", first, "--allow-first", rc=1)
    models(s, "promote", name, first, "champion")
    out = s.mlops(*gate, "--version", second, "--promote", "champion", "--junit", junit, "--markdown", summary)
    assert f"{name} {second} (from {first})" in out
    assert official(s.uri, name)[name]["aliases"] == {"champion": second}
    assert "passed: val/acc >= champion + 0.002; loss < 0.4" in models(s, "history", name)["history"][-1]["why"]
    empty = {"MLOPS_HOME": str(s.folder / "elsewhere")}  # every run is asked for at the server
    out = json.loads(s.mlops("models", *gate, "--version", worse, "--junit", junit, "--json", rc=1, env=empty))
    assert [(c["passed"], c["value"], c["limit"]) for c in out["checks"]] == [(False, 0.5, pytest.approx(0.952)), (True, 0.31, 0.4)]
    import xml.etree.ElementTree as ET
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1") and len(suite.findall("testcase/failure")) == 1
    assert "| `loss < 0.4` | 0.3 | 0.4 | passed |" in summary.read_text()
    s.mlops("gate", "loss", "--model", name, "--version", first, rc=2)
    s.mlops("gate", "loss < 1", "--model", name, "--version", "99", rc=3)
    s.mlops("gate", "nothing < 1", "--model", name, "--version", first, rc=1)


def test_versions_through_kills_and_lost_answers(build, server, tmp_path, name):
    """Writes made offline, `mlops sync` killed and answers lost again and again: as many versions, in order. The whole
    figure is MLOPS_INTENTS=1000 MLOPS_KILLS=20."""
    count, kills = int(os.environ.get("MLOPS_INTENTS", "80")), int(os.environ.get("MLOPS_KILLS", "5"))
    s = Scenario(build, tmp_path, server.uri)
    s.train("register", name, count)
    lost = set()

    def rule(request):
        if request.endpoint == "POST model-versions/create" and len(lost) < kills and request.index % 23 == 0:
            lost.add(request.index)
            return drop_response() if len(lost) % 4 else lose_request()

    chance, peak = random.Random(7), 0
    with FaultProxy(server.uri, rule=rule) as proxy:
        for _ in range(kills):
            going = s.start_mlops("sync", "--to", proxy.uri)
            before, until = len(proxy.log), time.monotonic() + 60
            wanted = before + chance.randrange(5, 60 if count > 500 else 25)
            while going.poll() is None and len(proxy.log) < wanted and time.monotonic() < until:
                time.sleep(0.005)
            if going.poll() is None:
                peak = max(peak, peak_mib(going))
            going.send_signal(signal.SIGKILL)
            going.wait()
        s.mlops("sync", "--to", proxy.uri, seconds=1800)
    idle = s.idle_mib()
    print(f"{len(lost)} answers lost, {peak - idle:.1f} MiB above idle")
    assert lost and peak - idle <= 20
    versions = official(s.uri, name)[name]["versions"]
    assert len(versions) == count
    assert [versions[str(n)]["source"] for n in range(1, count + 1)] == [f"s3://bucket/{n}" for n in range(1, count + 1)]


def upload(s, name, files, manifest="right", extra=None):
    """A version whose files the official client uploaded, with a manifest beside them. -> its number"""
    folder = s.folder / uuid.uuid4().hex
    for path, data in {**files, **(extra or {})}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    tag = []
    if manifest:
        listed = [{"path": p, "size": len(d), "sha256": hashlib.sha256(d if manifest == "right" else b"else").hexdigest()}
                  for p, d in files.items()]
        text = json.dumps({"version": 1, "files": listed}).encode()
        (folder / "mlops-manifest.json").write_bytes(text)
        tag = ["--tag", "mlops.manifest=" + hashlib.sha256(text).hexdigest()]
    run = client.ask("upload", s.uri, str(folder))
    return models(s, "register", name, f"runs:/{run}/model", *tag)["version"]


def held(folder):
    there = pathlib.Path(folder).resolve()
    return {str(p.relative_to(there)): p.read_bytes() for p in there.rglob("*") if p.is_file() and p.name != "mlops-manifest.json"}


def test_pull(s, name):
    one = {"MLmodel": b"flavors: {}\n", "data/weights.bin": os.urandom(300_000), "with space/a%b": b""}
    two = {**one, "data/weights.bin": os.urandom(10)}
    first = upload(s, name, one)
    models(s, "promote", name, first, "champion")
    serving = s.folder / "serving"
    uri = f"models:/{name}@champion"
    with FaultProxy(s.uri) as proxy:
        pull = lambda *more, **kw: models(s, "pull", uri, serving, "--cache", s.folder / "cache", "--to", proxy.uri, *more, **kw)
        got = pull()
        assert (got["changed"], got["fetched"], got["offline"], got["verified"]) == (True, True, False, True)
        assert held(serving) == one
        before = len(proxy.log)
        got = pull()
        assert len(proxy.log) - before == 1, [r.path for r in proxy.log[before:]]
        assert (got["changed"], got["fetched"], got["version"]) == (False, False, first)
        open_before = open(serving / "data/weights.bin", "rb")
        second = upload(s, name, two, manifest=None)
        models(s, "promote", name, second, "champion")
        got = pull()
        assert (got["changed"], got["fetched"], got["verified"]) == (True, True, False) and held(serving) == two
        assert open_before.read() == one["data/weights.bin"]
        models(s, "rollback", name, "champion")
        before = len(proxy.log)
        got = pull()
        assert (got["changed"], got["fetched"]) == (True, False) and len(proxy.log) - before == 1 and held(serving) == one
        wrong = upload(s, name, two, manifest="wrong")
        models(s, "alias", name, "wrong", wrong)
        mark = s.mark()
        s.mlops("models", "pull", f"models:/{name}@wrong", serving, "--cache", s.folder / "cache", rc=5)
        assert "not what the manifest says" in s.said(mark) and held(serving) == one
    got = models(s, "pull", uri, serving, "--cache", s.folder / "cache", "--to", proxy.uri)  # nobody answers there now
    assert got["offline"] and got["version"] == first and held(serving) == one
    s.mlops("models", "pull", uri, serving, "--cache", s.folder / "cache", "--to", proxy.uri, "--online", rc=4)
    s.mlops("models", "pull", uri, serving, "--cache", s.folder / "other", "--to", proxy.uri, rc=4)
    s.mlops("models", "pull", f"models:/{name}@nobody", serving, rc=3)
    s.mlops("models", "pull", name, serving, rc=2)
    plain = s.folder / "plain"
    plain.mkdir()
    (plain / "mine").write_text("kept")
    s.mlops("models", "pull", uri, plain, rc=5)
    assert (plain / "mine").read_text() == "kept"

    # Neither a link of somebody else's nor what a pull brought is written to; a slash behind a name is no other name.
    (s.folder / "own").symlink_to(plain)
    for where in (s.folder / "own", serving / "inside"):
        s.mlops("models", "pull", uri, where, "--cache", s.folder / "cache", rc=5)
    s.mlops("models", "pull", uri, serving, "--layout", "triton", "--cache", s.folder / "cache", rc=5)
    assert (s.folder / "own").resolve() == plain and held(serving) == one
    assert not models(s, "pull", uri, f"{serving}/", "--cache", s.folder / "cache")["changed"]
    extra = upload(s, name, one, extra={"data/more.py": b"import os"})
    mark = s.mark()
    s.mlops("models", "pull", f"models:/{name}/{extra}", s.folder / "extra", "--cache", s.folder / "new", rc=5)
    assert "the manifest does not name it" in s.said(mark) and not (s.folder / "extra").exists()


def test_pull_triton_and_watch(s, name):
    one, two = ({"model.bin": os.urandom(1000)} for _ in range(2))
    first, second = upload(s, name, one), upload(s, name, two)
    models(s, "promote", name, first, "champion")
    repository = s.folder / "repository"
    got = models(s, "pull", f"models:/{name}@champion", repository, "--layout", "triton", "--cache", s.folder / "cache")
    assert got["path"] == str(repository / name / first) and held(repository / name / first) == one
    out = s.folder / "out"
    with open(out, "w") as o:
        watching = subprocess.Popen([str(s.build.mlops), "models", "pull", f"models:/{name}@champion", "live", "--watch", "--every",
                                     "0.2", "--cache", "cache", "--json"], env=s.env, cwd=s.folder, stdout=o, stderr=o)
    try:
        def lines(count):
            until = time.monotonic() + 60
            while len(out.read_text().splitlines()) < count:
                assert time.monotonic() < until and watching.poll() is None, out.read_text()
                time.sleep(0.05)
            return [json.loads(line) for line in out.read_text().splitlines()]

        assert lines(1)[0]["version"] == first and held(s.folder / "live") == one
        models(s, "promote", name, second, "champion")
        assert lines(2)[1]["version"] == second and held(s.folder / "live") == two
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(30) == 0
        assert len(out.read_text().splitlines()) == 2
    finally:
        if watching.poll() is None:
            watching.kill()
            watching.wait()
