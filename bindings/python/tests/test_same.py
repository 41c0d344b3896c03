"""The same script with mlflow and with mlops, against a real MLflow server: the reads agree, and so does what the server
holds afterwards, read by plain REST."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import HERE, SOURCE, script

sys.path.insert(0, str(SOURCE / "tests" / "servers"))
servers = pytest.importorskip("servers")
rest = pytest.importorskip("rest")


@pytest.fixture(scope="module")
def server():
    with_server = servers.MlflowServer("mlflow3").start()
    yield with_server
    with_server.stop()


def run(python, module, uri, cwd, file="scenario.py", **more):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
    environment.update(MLFLOW_TRACKING_URI=uri, USER="someone", **more)
    done = subprocess.run([str(python), str(HERE / file), module, f"by {module}"], env=environment, cwd=cwd, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def held(uri, experiment):
    """What the server has of the experiment: by run name, without ids and times of its own."""
    reader = rest.Rest(uri)
    found = reader.call("GET", "experiments/get-by-name", experiment_name=experiment)["experiment"]
    runs = reader.call("POST", "runs/search", {"experiment_ids": [found["experiment_id"]], "max_results": 100})["runs"]
    all_runs = {}
    for one in runs:
        info, data = one["info"], one["data"]
        metrics = {}
        for metric in data.get("metrics", []):
            history = reader.call("GET", "metrics/get-history", run_id=info["run_id"], metric_key=metric["key"], max_results=1000)
            metrics[metric["key"]] = sorted((int(m.get("step", 0)), str(m["value"])) for m in history["metrics"])
        tags = {t["key"]: t["value"] for t in data.get("tags", []) if not t["key"].startswith(("mlops.", "mlflow.log-model"))}
        for key in ("mlflow.parentRunId", *[key for key in tags if key.startswith("mlflow.source.git.")]):
            tags.pop(key, None)
        all_runs[info["run_name"]] = {"status": info["status"], "metrics": metrics, "tags": tags,
                                      "params": {p["key"]: p["value"] for p in data.get("params", [])},
                                      "datasets": [used["dataset"]["name"] for used in one.get("inputs", {}).get("dataset_inputs", [])]}
    return all_runs


def test_the_same_script_says_the_same(server, tmp_path):
    theirs = run(server.venv / "bin" / "python", "mlflow", server.uri, tmp_path, GIT_PYTHON_REFRESH="quiet")
    ours = run(sys.executable, "mlops", server.uri, tmp_path)
    for key in sorted(set(theirs) | set(ours)):
        assert ours.get(key) == theirs.get(key), key
    assert held(server.uri, "by mlops") == held(server.uri, "by mlflow")
    assert pathlib.Path(tmp_path / ".mlops").exists()


def models_held(uri, experiment):
    """What the server has of the experiment's logged models, by name, and what runs say of them."""
    reader = rest.Rest(uri)
    found = reader.call("GET", "experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
    models = reader.call("POST", "logged-models/search", {"experiment_ids": [found], "max_results": 50}).get("models", [])
    names = {one["info"]["model_id"]: one["info"]["name"] for one in models}
    held, used = {}, {}
    for one in models:
        info, data = one["info"], one.get("data", {})
        files = reader.call("GET", f"logged-models/{info['model_id']}/artifacts/directories").get("files", [])
        held[info["name"]] = {
            "type": info.get("model_type"), "status": info["status"], "files": sorted((f["path"], f["is_dir"], f.get("file_size")) for f in files),
            "tags": {t["key"]: t["value"] for t in info.get("tags", []) if not t["key"].startswith(("mlops.", "mlflow.source.git"))},
            "params": {p["key"]: p["value"] for p in data.get("params", [])},
            "metrics": sorted((m["key"], int(m.get("step", 0)), m["value"], m["timestamp"], m.get("dataset_name"), m.get("dataset_digest"))
                              for m in data.get("metrics", []))}
        for key in ("mlflow.source.name", "mlflow.modelVersions"):  # they name the script and the registered model
            held[info["name"]]["tags"].pop(key, None)
        if info["name"] == "elsewhere":  # its MLmodel says other things
            held["elsewhere"]["files"] = [path for path, *_ in held["elsewhere"]["files"]]
    for one in reader.call("POST", "runs/search", {"experiment_ids": [found], "max_results": 100})["runs"]:
        one = reader.call("GET", "runs/get", run_id=one["info"]["run_id"])["run"]
        used[one["info"]["run_name"]] = {
            "status": one["info"]["status"],
            "in": sorted(names[m["model_id"]] for m in one.get("inputs", {}).get("model_inputs", [])),
            "out": sorted((names[m["model_id"]], int(m.get("step", 0))) for m in one.get("outputs", {}).get("model_outputs", []))}
    return held, used


def test_logged_models_are_the_same(server, tmp_path):
    theirs = run(server.venv / "bin" / "python", "mlflow", server.uri, tmp_path, "scenario_models.py", GIT_PYTHON_REFRESH="quiet")
    ours = run(sys.executable, "mlops", server.uri, tmp_path, "scenario_models.py")
    for key in sorted(set(theirs) | set(ours)):
        assert ours.get(key) == theirs.get(key), key
    models, used = models_held(server.uri, "by mlflow")
    assert len(models) == 4 and models["net"]["params"] == {"depth": "3", "width": "4", "kind": "wide"}
    ours_held, ours_used = models_held(server.uri, "by mlops")
    assert ours_held == models
    assert ours_used == used


def test_points_of_a_model_on_a_server(server, tmp_path):
    (tmp_path / "net.bin").write_bytes(b"w")
    said = script("""
        import mlops, numpy, json
        mlops.set_experiment("of models")
        with mlops.start_run() as run:
            model = mlops.log_model("net.bin", "net")
            data = mlops.data.from_numpy(numpy.arange(4.0), name="valid")
            mlops.log_metric("acc", 0.5, step=2, timestamp=5000, model_id=model.model_id, dataset=data)
            there = model.server_id(60)
            mlops.log_metric("acc", 0.75, step=3, model_id=there)
        mlops.sync(timeout=120)
        print(json.dumps([there, data.digest]))
        """, env={"MLFLOW_TRACKING_URI": server.uri}, cwd=tmp_path).stdout
    there, digest = json.loads(said.splitlines()[-1])
    model = rest.Rest(server.uri).call("GET", f"logged-models/{there}")["model"]
    points = sorted((m["step"], m["value"], m.get("dataset_name"), m.get("dataset_digest")) for m in model["data"]["metrics"])
    assert points == [(2, 0.5, "valid", digest), (3, 0.75, None, None)]
