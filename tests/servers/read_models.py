"""The official client reads what a C++ program logged. Run with the Python of a server's environment:

read_models.py MODELS_SITE EXPECTED.json folders NAME=FOLDER...     loads model directories
read_models.py MODELS_SITE EXPECTED.json server URI RUN_ID FOLDER   reads a server; downloads go to FOLDER
Prints one JSON object. MODELS_SITE: where onnx, xgboost and lightgbm are; searched last.
"""

import json
import os
import pathlib
import sys

sys.path.append(sys.argv[1])
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

expected = json.loads(pathlib.Path(sys.argv[2]).read_text())
rows = np.array(expected["rows"])
frame = pd.DataFrame(rows, columns=["c0", "c1", "c2", "c3"])


def predictions(name, uri):
    """-> predictions by pyfunc and by the flavor's own loader."""
    import mlflow.lightgbm
    import mlflow.onnx
    import mlflow.xgboost

    pyfunc = mlflow.pyfunc.load_model(uri)
    if name == "linear":
        import onnxruntime

        by_pyfunc = pyfunc.predict({"x": rows.astype(np.float32)})["y"]
        own = mlflow.onnx.load_model(uri)
        session = onnxruntime.InferenceSession(own.SerializeToString(), providers=["CPUExecutionProvider"])
        by_flavor = session.run(None, {"x": rows.astype(np.float32)})[0]
    elif name == "boosted":
        import xgboost

        by_pyfunc = pyfunc.predict(frame)
        by_flavor = mlflow.xgboost.load_model(uri).predict(xgboost.DMatrix(frame))
    else:
        by_pyfunc = pyfunc.predict(frame)
        by_flavor = mlflow.lightgbm.load_model(uri).predict(rows)
    return {"pyfunc": np.asarray(by_pyfunc).tolist(), "flavor": np.asarray(by_flavor).tolist()}


def about(uri):
    info = mlflow.models.get_model_info(uri)
    model = mlflow.models.Model.load(uri)
    out = {"flavors": sorted(info.flavors), "uuid": info.model_uuid, "metadata": info.metadata,
           "inputs": info.signature.inputs.to_dict() if info.signature else None,
           "outputs": info.signature.outputs.to_dict() if info.signature and info.signature.outputs else None}
    if model.saved_input_example_info:
        example = model.load_input_example(uri if os.path.isdir(uri) else mlflow.artifacts.download_artifacts(uri))
        if isinstance(example, dict):  # of named tensors; ours have one
            (example,) = example.values()
        out["example"] = np.asarray(example).tolist()
    return out


def of_folders():
    out = {}
    for name, folder in (argument.split("=", 1) for argument in sys.argv[4:]):
        out[name] = about(folder)
        if name in expected:
            out[name].update(predictions(name, folder))
    return out


def of_server():
    uri, run_id, folder = sys.argv[4:7]
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    run = client.get_run(run_id)
    out = {"status": run.info.status, "datasets": [], "models": {}, "metrics": dict(run.data.metrics)}
    for used in run.inputs.dataset_inputs:
        d = used.dataset
        out["datasets"].append({"name": d.name, "digest": d.digest, "source_type": d.source_type, "source": d.source,
                                "schema": d.schema, "profile": d.profile, "tags": {t.key: t.value for t in used.tags}})
    if hasattr(client, "search_logged_models"):
        out["model_inputs"] = [m.model_id for m in run.inputs.model_inputs]
        out["outputs"] = {m.model_id: m.step for m in run.outputs.model_outputs}
        for m in client.search_logged_models([run.info.experiment_id]):
            out["models"][m.name] = {
                "uri": f"models:/{m.model_id}", "id": m.model_id, "status": str(m.status.value), "type": m.model_type,
                "params": m.params, "tags": m.tags, "run": m.source_run_id,
                "metrics": sorted([x.key, x.step, repr(x.value), x.dataset_name, x.dataset_digest] for x in m.metrics or [])}
    else:
        history = json.loads(run.data.tags.get("mlflow.log-model.history", "[]"))
        for entry in history:
            out["models"][entry["artifact_path"]] = {"uri": f"runs:/{run_id}/{entry['artifact_path']}", "entry": entry}
    for name, model in out["models"].items():
        where = pathlib.Path(folder) / name.replace(" ", "_")
        where.mkdir(parents=True, exist_ok=True)
        mlflow.artifacts.download_artifacts(model["uri"], dst_path=str(where))
        model["folder"] = str(where)
        model.update(about(model["uri"]))
        if name in expected:
            model.update(predictions(name, model["uri"]))
    return out


print(json.dumps(of_folders() if sys.argv[3] == "folders" else of_server()))
