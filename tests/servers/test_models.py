"""Datasets and models that a C++ program logged, read by the official client: as they lie in the spool, offline, and on
servers with logged models (3.x) and without (2.x)."""

import hashlib
import json
import math
import os
import pathlib
import subprocess

import pytest

import servers


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """.folder with real models, .expected (path), .site: where their libraries are."""
    venv = servers.venv("models")
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([venv / "bin" / "python", servers.HERE / "make_models.py", folder], check=True)
    (site,) = venv.glob("lib/python3*/site-packages")
    return pathlib.Path(folder), folder / "expected.json", site


def read(kind, models, clean_env, *arguments):
    _, expected, site = models
    done = subprocess.run([servers.venv(kind) / "bin" / "python", servers.HERE / "read_models.py", site, expected, *arguments],
                          env=clean_env, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


def log(build, models, clean_env, root, experiment, *uri):
    """-> the run's id, {name: our id of the model}"""
    done = subprocess.run([build.dir / "tests" / "modeler", root, models[0], experiment, *uri], env=clean_env,
                          stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    run, *lines = done.stdout.splitlines()
    return run, dict(line.rsplit(" ", 1) for line in lines)


def close(got, want):
    assert len(got) == len(want)
    for g, w in zip(got, want):
        for a, b in zip(g if isinstance(g, list) else [g], w if isinstance(w, list) else [w]):
            assert a == pytest.approx(b, rel=1e-5, abs=1e-6)


def check_loaded(got, models):
    want = json.loads(models[1].read_text())
    for name in ("linear", "boosted", "light"):
        close(got[name]["pyfunc"], want[name])
        close(got[name]["flavor"], want[name])
    assert got["linear"]["flavors"] == ["onnx", "python_function"]
    assert got["linear"]["inputs"] == [{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]
    assert got["linear"]["metadata"] == {'who: "quoted"': "tab\there, café, del \x7f"}
    assert got["linear"]["example"] == [[0.5, -1.0, 2.0, 0.25]]
    assert got["boosted"]["inputs"] == [{"type": "double", "name": f"c{i}", "required": True} for i in range(4)]
    assert got["boosted"]["example"] == [[0.5, -1.0, 2.0, 0.25]]


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in pathlib.Path(folder).rglob("*") if path.is_file()}


def check_manifest(files):
    """Every file but the manifest is in it, with its size and digest."""
    manifest = json.loads(files["mlops-manifest.json"])
    assert manifest["version"] == 1
    named = {entry["path"]: (entry["size"], entry["sha256"]) for entry in manifest["files"]}
    assert list(named) == sorted(named)
    assert named == {path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()
                     if path != "mlops-manifest.json"}


def from_spool(root):
    """The model directories as they lie in the spool: {our id: {path: bytes}}, put together by their manifests."""
    blobs = {hashlib.sha256(data).hexdigest(): data for data in
             (path.read_bytes() for path in root.glob("*/*/spool/**/*") if path.is_file())}
    out = {}
    for data in blobs.values():
        if not data.startswith(b'{"version": 1, "files": ['):
            continue
        files = {entry["path"]: blobs[entry["sha256"]] for entry in json.loads(data)["files"]}
        files["mlops-manifest.json"] = data
        uid = files["MLmodel"].decode().split('model_uuid: "')[1][:32]
        out[uid] = files
    return out


@pytest.mark.parametrize("kind", ["mlflow3", "mlflow2"])
def test_offline_models_load(kind, build, models, clean_env, tmp_path, experiment):
    """No server was ever there: what was accepted is a whole model directory, loadable as it is."""
    if os.environ.get("MLOPS_SERVERS") and kind not in os.environ["MLOPS_SERVERS"]:
        pytest.skip("not wanted")
    root = tmp_path / "root"
    _, ids = log(build, models, clean_env, root, experiment)
    there = from_spool(root)
    assert set(there) == set(ids.values())
    arguments = []
    for name, uid in ids.items():
        check_manifest(there[uid])
        folder = tmp_path / name.replace(" ", "_")
        for path, data in there[uid].items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        arguments.append(f"{name}={folder}")
    got = read(kind, models, clean_env, "folders", *arguments)
    check_loaded(got, models)
    assert got["engine v1"]["flavors"] == ["cpp"]
    assert set(there[ids["engine v1"]]) == {"MLmodel", "mlops-manifest.json", "weights/a b%+é.bin", "model.txt"}
    assert "run_id" not in there[ids["linear"]]["MLmodel"].decode()


def check_datasets(got, models):
    by_name = {d["name"]: d for d in got["datasets"]}
    assert len(got["datasets"]) == len(by_name) == 3
    train = by_name["train set"]
    assert len(train["digest"]) == 16 and train["source_type"] == "code" and train["tags"] == {"mlflow.data.context": "training"}
    assert json.loads(train["schema"]) == {"mlflow_colspec": [
        {"type": "double", "name": "x", "required": True}, {"type": "integer", "name": "y", "required": True}]}
    assert json.loads(train["profile"]) == {"num_rows": 3, "num_elements": 6}
    file = by_name["onnx file"]
    path = models[0] / "model.onnx"
    assert file["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert json.loads(file["source"]) == {"uri": str(path.resolve())}
    assert file["tags"] == {"mlflow.data.context": "eval"}
    wide = by_name["wide — ümläut"]
    assert wide["digest"] == "0123456789abcdef" * 2 + "0123"
    assert json.loads(wide["source"])["url"] == "http://example.invalid/" + "u" * 60_000
    assert len(json.loads(wide["schema"])["mlflow_colspec"]) == 10_000
    assert json.loads(wide["profile"]) == {"note": "p" * 300_000}
    assert wide["tags"] == {"mlflow.data.context": "test", "shard": "7"}


def test_models_on_a_server(server, rest, build, models, clean_env, tmp_path, experiment):
    root = tmp_path / "root"
    run, ids = log(build, models, clean_env, root, experiment)
    kept = from_spool(root)
    subprocess.run([build.mlops, "sync", "--to", server.uri, "--root", root], env=clean_env, check=True, timeout=300)
    (there,) = [r for r in rest.runs(experiment) if r.uid == run]
    got = read(server.kind, models, clean_env, "server", server.uri, there.run_id, tmp_path / "downloads")
    assert got["status"] == "FINISHED"
    check_datasets(got, models)
    assert set(got["models"]) == set(ids)
    check_loaded(got["models"], models)
    for name, uid in ids.items():
        model = got["models"][name]
        (top,) = [path.parent for path in pathlib.Path(model["folder"]).rglob("MLmodel")]
        files = files_of(top)
        files.pop("registered_model_meta", None)  # the official client's own, written as it downloads
        assert files == kept[uid]  # byte by byte
        assert model["uuid"] == uid
        if server.kind == "mlflow3":
            assert model["status"] == "READY" and model["run"] == there.run_id and model["tags"]["mlops.uid"] == uid
        else:
            assert model["entry"]["model_uuid"] == uid and model["entry"]["run_id"] == there.run_id
    if server.kind == "mlflow3":
        linear = got["models"]["linear"]
        assert linear["params"] == {"depth": "2", "units": "4"} and linear["type"] == "linear"
        assert linear["tags"]["stage"] == "candidate"
        source = {"mlflow.user", "mlflow.source.name", "mlflow.source.type"}  # "Created by", "Logged from" of the model's page
        assert {k: linear["tags"].get(k) for k in source} == {k: there.tags.get(k) for k in source}
        digest = hashlib.sha256((models[0] / "model.onnx").read_bytes()).hexdigest()[:16]
        assert ["accuracy", 10, "0.75", "onnx file", digest] in linear["metrics"]
        assert ["accuracy", 11, "0.8125", None, None] in linear["metrics"]
        assert ["odd", 11, "0.0", None, None] in linear["metrics"]  # 3.17's table of model metrics keeps a NaN as 0
        assert got["outputs"][linear["id"]] == 10 and len(got["outputs"]) == 4
        assert got["model_inputs"] == [linear["id"]]
    assert got["metrics"]["accuracy"] == 0.8125 and math.isnan(got["metrics"]["odd"])
    # The same again by a deliverer that knows nothing: nothing is made twice.
    for folder in root.glob("*/*/delivery"):
        subprocess.run(["rm", "-r", folder], check=True)
    subprocess.run([build.mlops, "sync", "--to", server.uri, "--root", root], env=clean_env, check=True, timeout=300)
    again = read(server.kind, models, clean_env, "server", server.uri, there.run_id, tmp_path / "again")
    for side in (got, again):
        for model in side["models"].values():
            model.pop("folder")
    assert again == got
