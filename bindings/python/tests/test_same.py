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


def run(python, module, uri, cwd, **more):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
    environment.update(MLFLOW_TRACKING_URI=uri, USER="someone", **more)
    done = subprocess.run([str(python), str(HERE / "scenario.py"), module, f"by {module}"], env=environment, cwd=cwd, text=True,
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
