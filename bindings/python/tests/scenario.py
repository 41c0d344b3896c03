"""scenario.py MODULE: an ordinary tracking script, run once with mlflow and once with mlops; prints what its reads gave,
without what must differ (ids, times, the experiment's number)."""

import hashlib
import importlib
import json
import math
import sys

import numpy

mlflow = importlib.import_module(sys.argv[1])
MlflowClient = importlib.import_module(sys.argv[1] + ".tracking").MlflowClient
said = {}


def seen(run):
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith(("mlflow.", "mlops."))}
    kept = ("mlflow.runName", "mlflow.note.content", "mlflow.user", "mlflow.source.name", "mlflow.source.type")
    tags.update({k: run.data.tags[k] for k in kept if k in run.data.tags})
    metrics = {k: "nan" if math.isnan(v) else v for k, v in run.data.metrics.items()}
    return {"name": run.info.run_name, "status": run.info.status, "stage": run.info.lifecycle_stage, "params": run.data.params,
            "metrics": metrics, "tags": tags, "ended": run.info.end_time is not None}


mlflow.set_experiment(sys.argv[2])
client = MlflowClient()
with mlflow.start_run(run_name="first", tags={"a": "1", "b": "None"}, description="note") as first:
    said["param"] = mlflow.log_param("lr", 1e-3)
    mlflow.log_params({"n": 10, "flag": False, "text": "a b", "list": [1, 2], "big": 1e22, "none": None})
    for step in range(20):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metric("same", 1, step=1)
    mlflow.log_metric("same", 5, step=0)  # a smaller step: not the latest
    mlflow.log_metrics({"acc": 0.5, "nan": float("nan"), "int": 3}, step=2)
    mlflow.log_metric("when", 1.5, step=3, timestamp=1_700_000_000_123)
    mlflow.set_tag("stage", "one")
    mlflow.set_tag("stage", "two")
    mlflow.set_tags({"x": 1.5, "y": True})
    mlflow.set_tag("gone", "x")
    mlflow.delete_tag("gone")
    with mlflow.start_run(run_name="below", nested=True) as below:
        mlflow.log_metric("inner", 2)
    said["active"] = mlflow.active_run().info.run_name
said["after"] = mlflow.active_run() is None
said["last"] = mlflow.last_active_run().info.run_name
said["first"] = seen(mlflow.get_run(first.info.run_id))
said["below"] = seen(client.get_run(below.info.run_id))
children = mlflow.search_runs(filter_string=f"tags.mlflow.parentRunId = '{first.info.run_id}'", output_format="list")
said["children"] = [run.info.run_name for run in children]
top = mlflow.search_runs(filter_string="tags.mlflow.parentRunId IS NULL", output_format="list")
said["top"] = [run.info.run_name for run in top]
with mlflow.start_run(tags={"mlflow.runName": "by tag", "mlflow.parentRunId": first.info.run_id}) as tagged:
    said["tagged"] = tagged.info.run_name
    mlflow.set_tag("mlflow.runName", "renamed by tag")
said["renamed by tag"] = seen(client.get_run(tagged.info.run_id))
said["parent by tag"] = mlflow.get_parent_run(tagged.info.run_id).info.run_name
said["parent"] = mlflow.get_parent_run(below.info.run_id).info.run_name
said["history"] = [(m.key, m.step, m.value) for m in client.get_metric_history(first.info.run_id, "loss")]
said["when"] = [(m.step, m.value, m.timestamp) for m in client.get_metric_history(first.info.run_id, "when")]
try:
    with mlflow.start_run(run_name="broken") as broken:
        mlflow.log_metric("x", 1)
        raise ValueError("no")
except ValueError as error:
    said["error"] = str(error)
said["broken"] = seen(mlflow.get_run(broken.info.run_id))
with mlflow.start_run(run_id=broken.info.run_id):
    said["resumed"] = mlflow.get_run(broken.info.run_id).info.status
    mlflow.log_metric("x", 2, step=1)
said["broken again"] = seen(mlflow.get_run(broken.info.run_id))
made = client.create_run(first.info.experiment_id, tags={"k": "v"}, run_name="made")
client.log_metric(made.info.run_id, "m", 7, step=1)
client.log_param(made.info.run_id, "p", "q")
client.set_tag(made.info.run_id, "t", 1)
said["open"] = seen(client.get_run(made.info.run_id))
client.set_terminated(made.info.run_id, "FAILED")
said["made"] = seen(client.get_run(made.info.run_id))
mlflow.start_run(run_name="plain")
mlflow.log_metric("loss", 0.4)
mlflow.end_run("KILLED")
for name, query in {"all": "", "metric": "metrics.loss < 0.1", "param": "params.n = '10'", "tag": "tags.stage = 'two'",
                    "status": "attributes.status = 'FAILED'", "like": "attributes.run_name LIKE 'b%'", "and": "metrics.x > 1 and status = 'FINISHED'",
                    "ilike": "tags.stage ILIKE 'TW%'", "not": "params.n != '11'", "none": "metrics.loss > 9"}.items():
    found = mlflow.search_runs(filter_string=query, order_by=["attributes.run_name ASC"], output_format="list")
    said[f"search {name}"] = [run.info.run_name for run in found]
ordered = mlflow.search_runs(order_by=["metrics.loss DESC"], output_format="list")
said["ordered"] = [run.info.run_name for run in ordered][:2]
page = client.search_runs([first.info.experiment_id], order_by=["attributes.run_name ASC"], max_results=2)
said["page"] = [run.info.run_name for run in page]
said["next"] = [r.info.run_name for r in client.search_runs([first.info.experiment_id], order_by=["attributes.run_name ASC"],
                                                            max_results=2, page_token=page.token)]
client.delete_run(made.info.run_id)
said["deleted"] = [r.info.run_name for r in client.search_runs([first.info.experiment_id], run_view_type=2)]
said["stage"] = client.get_run(made.info.run_id).info.lifecycle_stage
client.restore_run(made.info.run_id)
said["restored"] = len(client.search_runs([first.info.experiment_id]))
said["experiment"] = mlflow.get_experiment_by_name(sys.argv[2]).name == sys.argv[2]
said["absent"] = mlflow.get_experiment_by_name("no such thing") is None
for name, call in {"no run": lambda: mlflow.get_run("0" * 32),
                   "filter": lambda: mlflow.search_runs(filter_string="metrics.loss <", output_format="list"),
                   "key": lambda: client.log_param(first.info.run_id, "a*b", 1)}.items():
    try:
        call()
        said[f"raises {name}"] = None
    except mlflow.exceptions.MlflowException as error:
        said[f"raises {name}"] = error.error_code

try:  # a value is written once; ours says RESOURCE_ALREADY_EXISTS, MLflow's INVALID_PARAMETER_VALUE
    client.log_param(first.info.run_id, "lr", 2)
except mlflow.exceptions.MlflowException:
    said["raises twice"] = True
# Files, and the registry: on the server when the calls are back, or read from here.
with open("model.bin", "wb") as file:
    file.write(bytes(range(256)))
with mlflow.start_run(run_name="files") as files:
    mlflow.log_artifact("model.bin", "net")
    mlflow.log_text("grüße", "texts/a.txt")
    mlflow.log_dict({"a": 1, "b": [None, 2.5]}, "d.json")
    mlflow.log_table({"n": [1, 2], "t": ["x", "y"]}, "t.json")
    mlflow.log_metric("judged", 0.5, step=1, dataset=mlflow.data.from_numpy(numpy.arange(4.0), name="valid"))
    mlflow.log_metrics({"judged": 0.75, "too": 1}, step=2, dataset=mlflow.data.from_numpy(numpy.arange(4.0), name="valid"))
with mlflow.start_run(run_name="more files") as more:
    mlflow.log_table({"n": [3], "t": ["z"]}, "t.json")
for path in (None, "net", "texts"):
    said[f"list {path}"] = [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(files.info.run_id, path)]
for path in ("net/model.bin", "texts/a.txt", "d.json"):
    with open(client.download_artifacts(files.info.run_id, path), "rb") as file:
        said[f"bytes {path}"] = hashlib.sha256(file.read()).hexdigest()
said["judged"] = client.get_run(files.info.run_id).data.metrics
table = mlflow.load_table("t.json", extra_columns=["run_id"])
said["table"] = sorted((int(n), t, one == files.info.run_id) for n, t, one in zip(table["n"], table["t"], table["run_id"]))
said["one table"] = mlflow.load_table("t.json", run_ids=[more.info.run_id]).to_dict(orient="list")
try:
    mlflow.load_table("none.json")
except mlflow.exceptions.MlflowException as error:
    said["no table"] = error.error_code
said["load"] = mlflow.artifacts.load_dict(f"runs:/{files.info.run_id}/d.json")
named = sys.argv[2].replace(" ", "-")
client.create_registered_model(named, tags={"team": "x"}, description="words")
try:
    client.create_registered_model(named)
except mlflow.exceptions.MlflowException as error:
    said["raises model"] = error.error_code
version = client.create_model_version(named, f"runs:/{files.info.run_id}/net", files.info.run_id, description="first")
said["version"] = str(version.version)
client.set_registered_model_alias(named, "champion", "1")
client.set_model_version_tag(named, "1", "k", "v")
client.set_registered_model_tag(named, "t", 1)
client.update_model_version(named, "1", description="better")
found = client.get_model_version_by_alias(named, "champion")
said["found"] = [str(found.version), found.description, found.status, found.tags.get("k"), found.name == named]
model = client.get_registered_model(named)
said["model"] = [model.description, model.tags["team"], model.tags["t"], {k: str(v) for k, v in model.aliases.items()}]
client.create_model_version(named, f"runs:/{files.info.run_id}/net", files.info.run_id)
said["latest"] = [[str(v.version) for v in m.latest_versions]
                  for m in (client.get_registered_model(named), *client.search_registered_models(f"name = '{named}'"))]
said["as pairs"] = sorted(set(dict(client.get_registered_model(named))) & {"name", "tags", "latest_versions", "_client"})
said["info as pairs"] = sorted(set(dict(files.info)) & {"run_id", "status", "artifact_uri", "start_time", "run_name"})
said["models"] = [m.name == named for m in client.search_registered_models(f"name = '{named}'")]
said["versions"] = [str(v.version) for v in client.search_model_versions(f"name = '{named}'")]
client.delete_registered_model_alias(named, "champion")
client.delete_model_version_tag(named, "1", "k")
client.rename_registered_model(named, named + "-2")
said["renamed"] = client.get_registered_model(named + "-2").description
client.delete_model_version(named + "-2", "1")
client.delete_registered_model(named + "-2")
for name, call in {"no model": lambda: client.get_registered_model(named), "no version": lambda: client.get_model_version(named, "1")}.items():
    try:
        call()
        said[f"raises {name}"] = None
    except mlflow.exceptions.MlflowException as error:
        said[f"raises {name}"] = error.error_code
print(json.dumps(said))
if sys.argv[1] == "mlops":
    mlflow.sync(timeout=120)
