"""scenario_models.py MODULE EXPERIMENT: logged models by the same calls of mlflow and of mlops; prints what its reads gave,
without what must differ (ids, times, tags of the source)."""

import importlib
import json
import os
import sys

mlflow = importlib.import_module(sys.argv[1])
entities = importlib.import_module(sys.argv[1] + ".entities")
client = importlib.import_module(sys.argv[1] + ".tracking").MlflowClient()
said = {}


def seen(model):
    tags = {key: value for key, value in (model.tags or {}).items() if not key.startswith(("mlops.", "mlflow.source."))}
    metrics = sorted((m.key, m.step, m.value, m.dataset_name, m.dataset_digest) for m in model.metrics or [])
    return {"name": model.name, "type": model.model_type, "status": str(model.status), "params": model.params or {}, "tags": tags,
            "metrics": metrics, "uri": model.model_uri == f"models:/{model.model_id}", "run": model.source_run_id in runs}


def raised(call):
    try:
        call()
        return None
    except mlflow.exceptions.MlflowException as error:
        return error.error_code


runs = set()
os.makedirs("folder/deep", exist_ok=True)
for name in ("w.bin", "folder/a.txt", "folder/deep/b.txt"):
    with open(name, "w") as file:
        file.write(name)
mlflow.set_experiment(sys.argv[2])
said["none yet"] = mlflow.last_logged_model() is None
with mlflow.start_run(run_name="trainer") as run:
    runs.add(run.info.run_id)
    model = mlflow.initialize_logged_model(name="net", tags={"stage": "new", "gone": 1}, params={"depth": 3}, model_type="classifier")
    said["begun"] = seen(model)
    mlflow.log_model_params({"width": 4, "kind": "wide"}, model_id=model.model_id)
    mlflow.set_logged_model_tags(model.model_id, {"stage": "old", "n": 1.5})
    mlflow.delete_logged_model_tag(model.model_id, "gone")
    client.log_model_artifact(model.model_id, "w.bin")
    client.log_model_artifacts(model.model_id, "folder", "below")
    mlflow.log_metric("acc", 0.5, step=1, timestamp=5000, model_id=model.model_id)
    client.log_metric(run.info.run_id, "acc", 0.75, timestamp=6000, step=2, dataset_name="valid", dataset_digest="0123", model_id=model.model_id)
    mlflow.log_metrics({"loss": 0.25, "f1": 1}, step=3, timestamp=7000, model_id=model.model_id)
    mlflow.log_outputs([entities.LoggedModelOutput(model.model_id, step=3)])
    said["pending"] = seen(mlflow.get_logged_model(model.model_id))
    said["ready"] = seen(mlflow.finalize_logged_model(model.model_id, "READY"))
    kept = mlflow.initialize_logged_model(name="kept")
    late = mlflow.initialize_logged_model(name="late", params={"depth": 5})
    failed = client.create_logged_model(run.info.experiment_id, "failed", run.info.run_id, {"stage": "x"}, {"depth": "7"}, "other")
    external = mlflow.create_external_model(name="elsewhere", params={"depth": 1}, tags={"k": "v"})
    said["external"] = seen(external)
    said["last"] = mlflow.last_logged_model().name
said["failed"] = seen(client.finalize_logged_model(failed.model_id, "FAILED"))
said["late"] = seen(mlflow.finalize_logged_model(late.model_id, "READY"))  # beyond the run's end
mlflow.set_logged_model_tags(late.model_id, {"when": "later"})
with mlflow.start_run(run_name="judge") as judge:
    runs.add(judge.info.run_id)
    mlflow.log_metric("judged", 0.9, step=7, timestamp=8000, model_id=model.model_id)
said["kept"] = seen(mlflow.get_logged_model(kept.model_id))
said["judged"] = seen(mlflow.get_logged_model(model.model_id))
for path in (None, "below", "below/deep"):
    said[f"list {path}"] = [(f.path, f.is_dir, f.file_size) for f in client.list_logged_model_artifacts(model.model_id, path)]
said["list external"] = [f.path for f in client.list_logged_model_artifacts(external.model_id)]


def found(words=None, **more):
    return [one.name for one in mlflow.search_logged_models(filter_string=words, output_format="list", **more)]


by_name = [{"field_name": "name", "ascending": True}]
said["all"] = found(order_by=by_name)
for words in ("name = 'net'", "name LIKE 'e%'", "name ILIKE 'NE_'", "name IN ('net', 'kept')", "name NOT IN ('net', 'kept')",
              "model_type = 'classifier'", "model_type != 'classifier'", "params.depth = '3'", "params.depth != '3'",
              "params.`depth` LIKE '%' AND tags.stage = 'old'", "metrics.acc > 0.6", "metrics.acc <= 0.5 and metrics.loss < 1",
              "metrics.none > 0", "tags.k = 'v'", "creation_timestamp > 5", f"source_run_id = '{run.info.run_id}' AND name = 'kept'",
              f"model_id = '{model.model_id}'"):
    said[f"search {words}".replace(run.info.run_id, "RUN").replace(model.model_id, "MODEL")] = found(words, order_by=by_name)
said["metric"] = found(order_by=[{"field_name": "metrics.acc", "ascending": False}, *by_name])
said["time"] = found(order_by=[{"field_name": "creation_time", "ascending": True}])[0]
said["most"] = len(found(max_results=2))
said["dataset"] = found(datasets=[{"dataset_name": "valid", "dataset_digest": "0123"}])
said["dataset acc"] = found("metrics.acc > 0", datasets=[{"dataset_name": "valid", "dataset_digest": "0123"}])
said["no dataset"] = found("metrics.acc < 0.7", datasets=[{"dataset_name": "valid", "dataset_digest": "0123"}])
page = client.search_logged_models([run.info.experiment_id], max_results=3, order_by=by_name)
said["page"] = [one.name for one in page]
said["next"] = [one.name for one in client.search_logged_models([run.info.experiment_id], max_results=3, order_by=by_name, page_token=page.token)]
frame = mlflow.search_logged_models(filter_string="name = 'net'")
said["frame"] = [list(frame["name"]), [str(one) for one in frame["status"]], list(frame["model_type"])]
client.delete_logged_model(failed.model_id)
said["deleted"] = found(order_by=by_name)
for name, call in {"deleted": lambda: mlflow.get_logged_model(failed.model_id), "none": lambda: mlflow.get_logged_model("m-none"),
                   "name": lambda: mlflow.initialize_logged_model(name="a/b", source_run_id=run.info.run_id),
                   "tag": lambda: mlflow.delete_logged_model_tag(model.model_id, "none"),
                   "field": lambda: found(order_by=[{"field_name": "nothing"}]), "filter": lambda: found("name >> 3"),
                   "attribute": lambda: found("params.depth > '3'")}.items():
    said[f"raises {name}"] = raised(call)
said["raises twice"] = raised(lambda: mlflow.log_model_params({"depth": 3}, model_id=model.model_id)) is not None
version = mlflow.register_model(f"models:/{model.model_id}", sys.argv[2].replace(" ", "-"))
said["version"] = str(version.version)
latest = client.get_latest_versions(sys.argv[2].replace(" ", "-"))
said["latest"] = [(str(one.version), one.current_stage) for one in latest]
print(json.dumps(said))
if sys.argv[1] == "mlops":
    mlflow.sync(timeout=120)
