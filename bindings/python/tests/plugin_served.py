"""plugin_served.py SERVER up|away|back: MLflow's own client through mlops+http://, with its server there, away, and there
again. Runs with a Python that has mlflow and this package, in a folder that the three share; fails by assertion."""

import contextlib
import json
import os
import pathlib
import sys
import time

import mlflow
from mlflow.entities import RunStatus

SERVER, PART = sys.argv[1:]
URI = mlflow.get_tracking_uri()
NEW = int(mlflow.__version__.split(".")[0]) >= 3
client = mlflow.MlflowClient()
direct = mlflow.MlflowClient(tracking_uri=SERVER)


@contextlib.contextmanager
def as_the_server():
    """MLflow 2's repositories of artifacts take the process's tracking URI, whatever client they are for."""
    mlflow.set_tracking_uri(SERVER)
    yield
    mlflow.set_tracking_uri(URI)


def delivered(run_id, seconds=60):
    """The run on the server, once it is there as it is here."""
    until = time.monotonic() + seconds
    while True:
        found = direct.search_runs([one.experiment_id for one in direct.search_experiments()], f"tags.`mlops.uid` = '{run_id}'")
        here = client.get_run(run_id)
        if found and found[0].info.status == here.info.status and found[0].data.metrics == here.data.metrics:
            return found[0]
        assert time.monotonic() < until, (found, here)
        time.sleep(0.2)


def up():
    theirs = direct.create_experiment("digits")
    foreign = direct.create_run(theirs, run_name="foreign", tags={"kind": "foreign"})
    foreign = foreign.info.run_id
    direct.log_metric(foreign, "loss", 0.75, step=1)
    direct.log_param(foreign, "lr", "0.5")
    with as_the_server():
        direct.log_text(foreign, "theirs", "theirs.txt")
    assert mlflow.set_experiment("digits").experiment_id == theirs

    with mlflow.start_run(run_name="ours", tags={"kind": "ours"}) as run:
        ours = run.info.run_id
        mlflow.log_param("lr", 0.1)
        for step in range(100):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_text("hello", "deep/words.txt")
        mlflow.log_dict({"a": 1}, "a.json")
        assert client.get_run(ours).data.metrics == {"loss": 0.01}, "read your writes"
        with mlflow.start_run(run_name="child", nested=True) as child:
            mlflow.log_metric("loss", 0.5)
    assert mlflow.artifacts.load_text(f"runs:/{ours}/deep/words.txt") == "hello"
    assert [one.path for one in client.list_artifacts(ours)] == ["a.json", "deep"]
    there = delivered(ours)
    assert there.info.run_id != ours and there.data.params == {"lr": "0.1"} and there.info.experiment_id == theirs
    assert delivered(child.info.run_id).data.tags["mlflow.parentRunId"] == there.info.run_id

    # One list of what is here and there, each run once, in order, page by page.
    order = ["metrics.loss ASC"]
    names = [one.info.run_name for one in client.search_runs([theirs], order_by=order)]
    assert names == ["ours", "child", "foreign"], names
    paged, token = [], None
    while True:
        page = client.search_runs([theirs], order_by=order, max_results=1, page_token=token)
        paged += [one.info.run_name for one in page]
        token = page.token
        if not token:
            break
    assert paged == names, paged
    assert [one.info.run_name for one in client.search_runs([theirs], "tags.kind = 'foreign' AND metrics.loss > 0.7")] == ["foreign"]
    assert len(mlflow.search_runs(experiment_names=["digits"])) == 3

    # Either id, everywhere.
    assert client.get_run(there.info.run_id).info.run_id == ours
    client.set_tag(there.info.run_id, "late", "yes")
    assert client.get_run(ours).data.tags["late"] == "yes"
    assert len(client.get_metric_history(there.info.run_id, "loss")) == 100
    assert mlflow.artifacts.load_text(f"runs:/{there.info.run_id}/deep/words.txt") == "hello"

    # A run of the server's: read, written to, gone on with.
    assert client.get_run(foreign).data.params == {"lr": "0.5"}
    assert mlflow.artifacts.load_text(f"runs:/{foreign}/theirs.txt") == "theirs"
    client.set_tag(foreign, "seen", "yes")
    assert direct.get_run(foreign).data.tags["seen"] == "yes"
    os.environ["MLFLOW_RUN_ID"] = foreign
    with mlflow.start_run() as again:
        mlflow.log_metric("loss", 0.25, step=2)
        mlflow.log_metric("new", 1)
        now = mlflow.get_run(again.info.run_id)
        assert now.data.metrics == {"loss": 0.25, "new": 1.0} and now.data.params == {"lr": "0.5"}, now.data
    until = time.monotonic() + 60
    while direct.get_run(foreign).data.metrics != {"loss": 0.25, "new": 1.0} or direct.get_run(foreign).info.status != "FINISHED":
        assert time.monotonic() < until, direct.get_run(foreign)
        time.sleep(0.2)
    assert len(client.search_runs([theirs])) == 3

    mlflow.set_experiment("before")
    with mlflow.start_run(run_name="old"):
        mlflow.log_metric("loss", 1)
    [old] = mlflow.search_runs(output_format="list")
    delivered(old.info.run_id)
    client.rename_experiment(old.info.experiment_id, "after")
    assert mlflow.set_experiment("after").experiment_id == old.info.experiment_id
    with mlflow.start_run(run_name="new") as new:
        mlflow.log_metric("loss", 2)
    assert {one.info.run_name for one in mlflow.search_runs(output_format="list")} == {"old", "new"}
    assert delivered(new.info.run_id).info.experiment_id == old.info.experiment_id
    assert direct.get_experiment_by_name("before") is None
    mlflow.set_experiment("digits")

    autologged()
    try:
        client.get_run("0" * 32)
        raise AssertionError("a run that is nowhere was found")
    except mlflow.MlflowException as error:
        assert error.error_code == "RESOURCE_DOES_NOT_EXIST"
    pathlib.Path("up.json").write_text(json.dumps({"ours": ours, "there": there.info.run_id, "experiment": theirs}))


def autologged():
    """scikit-learn's autologging with models, a dataset, and the registry."""
    import pandas
    from sklearn.linear_model import LogisticRegression

    frame = pandas.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0, 0, 1, 1]})
    mlflow.sklearn.autolog()
    with mlflow.start_run(run_name="auto") as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="frame"), context="training")
        LogisticRegression(C=3.0).fit(frame[["x"]], frame["y"])
        uri = "model"
        if NEW:
            mlflow.sklearn.autolog(disable=True)
            info = mlflow.sklearn.log_model(LogisticRegression().fit(frame[["x"]], frame["y"]), name="byhand")
            loaded = mlflow.sklearn.load_model(info.model_uri)
        else:
            loaded = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/{uri}")
        assert list(loaded.predict(frame[["x"]])) == [0, 0, 1, 1]
    mlflow.sklearn.autolog(disable=True)
    run = client.get_run(run.info.run_id)
    assert run.data.params["C"] == "3.0" and "training_score" in run.data.metrics
    assert "frame" in [one.dataset.name for one in run.inputs.dataset_inputs]
    there = delivered(run.info.run_id)
    assert there.data.params["C"] == "3.0"
    if NEW:
        assert run.outputs.model_outputs and {one.model_id for one in run.outputs.model_outputs} == {
            one.model_id for one in direct.get_run(there.info.run_id).outputs.model_outputs}
        assert client.search_logged_models([run.info.experiment_id])
    source = info.model_uri if NEW else f"runs:/{run.info.run_id}/{uri}"
    version = mlflow.register_model(source, "auto")
    assert version.version in (1, "1")
    loaded = mlflow.sklearn.load_model("models:/auto/1")
    assert list(loaded.predict(frame[["x"]])) == [0, 0, 1, 1]
    client.set_registered_model_alias("auto", "best", "1")
    assert client.get_model_version_by_alias("auto", "best").run_id == there.info.run_id
    assert [one.version for one in client.search_model_versions(f"run_id = '{run.info.run_id}'")] == [version.version]


def away():
    before = json.loads(pathlib.Path("up.json").read_text())
    begin = time.monotonic()
    assert client.get_run(before["ours"]).data.metrics == {"loss": 0.01}
    assert client.get_run(before["there"]).info.run_id == before["ours"]
    mlflow.set_experiment("offline")
    with mlflow.start_run(run_name="away") as run:
        mlflow.log_param("lr", 1)
        mlflow.log_metric("loss", 2.0, step=1)
        mlflow.log_text("far", "far.txt")
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/far.txt") == "far"
    assert [one.info.run_name for one in mlflow.search_runs(output_format="list")] == ["away"]
    assert {"offline", "digits"} <= {one.name for one in mlflow.search_experiments()}
    assert mlflow.get_experiment_by_name("offline").experiment_id == run.info.experiment_id
    try:
        client.get_registered_model("auto")
        raise AssertionError("the registry was read without its server")
    except mlflow.MlflowException as error:
        assert "does not answer" in str(error), error
    assert time.monotonic() - begin < 60, "calls wait for a server that is away"

    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.autolog()
    with mlflow.start_run(run_name="auto") as auto:
        LogisticRegression(C=3.0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    found = client.get_run(auto.info.run_id)
    assert found.data.params["C"] == "3.0" and found.data.metrics["training_score"] == 1.0
    assert list(mlflow.sklearn.load_model(f"runs:/{auto.info.run_id}/model").predict([[9.0]])) == [1]
    if NEW:
        [made] = found.outputs.model_outputs
        assert list(mlflow.sklearn.load_model(f"models:/{made.model_id}").predict([[9.0]])) == [1]
    pathlib.Path("away.json").write_text(json.dumps(
        {"run": run.info.run_id, "experiment": run.info.experiment_id, "auto": auto.info.run_id}))


def back():
    before = json.loads(pathlib.Path("away.json").read_text())
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="waker"):
        mlflow.log_metric("loss", 1.0)
    there = delivered(before["run"])
    assert there.info.status == RunStatus.to_string(RunStatus.FINISHED)
    real = direct.get_experiment_by_name("offline").experiment_id
    assert client.get_run(before["run"]).info.experiment_id == real
    assert client.get_experiment(before["experiment"]).experiment_id == real, "the id of before still names it"
    assert [one.info.run_name for one in client.search_runs([before["experiment"]])] == ["auto", "away"]
    auto = delivered(before["auto"]).info.run_id
    with as_the_server():
        assert direct.list_artifacts(there.info.run_id)[0].path == "far.txt"
        assert "model/MLmodel" in [one.path for one in direct.list_artifacts(auto, "model")]


{"up": up, "away": away, "back": back}[PART]()
