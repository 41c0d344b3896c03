"""The API without a server: MLflow's functions and what is beyond them, on a root of the test's own."""

import array
import copy
import inspect
import json
import math
import pickle
import threading
import time

import pytest
from conftest import script

import mlops
from mlops import MlflowClient


def test_a_run_as_mlflow_has_it():
    with mlops.start_run(run_name="first", tags={"a": 1}, description="why") as run:
        assert mlops.active_run() is run
        assert run.info.status == "RUNNING" and run.info.experiment_id == "tests"
        assert mlops.log_param("lr", 0.1) == 0.1
        mlops.log_params({"depth": 3, "flag": True, "none": None})
        mlops.log_metric("loss", 1.5, step=1)
        mlops.log_metric("loss", 0.5, step=2, timestamp=1_700_000_000_000)
        mlops.log_metrics({"a": 1, "b": float("nan")}, step=7)
        mlops.set_tag("gone", "x")
        mlops.delete_tag("gone")
        mlops.set_tags({"t": 2.5})
    assert mlops.active_run() is None
    assert mlops.last_active_run().info.run_id == run.info.run_id
    back = mlops.get_run(run.info.run_id)
    assert back.info.status == "FINISHED" and back.info.run_name == "first"
    assert back.info.end_time >= back.info.start_time
    assert back.data.params == {"lr": "0.1", "depth": "3", "flag": "True", "none": "None"}
    assert back.data.metrics["loss"] == 0.5 and back.data.metrics["a"] == 1.0 and math.isnan(back.data.metrics["b"])
    tags = back.data.tags
    assert tags["a"] == "1" and tags["t"] == "2.5" and "gone" not in tags and tags["mlflow.note.content"] == "why"
    assert tags["mlflow.runName"] == "first" and tags["mlflow.source.type"] == "LOCAL"
    history = MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(m.key, m.step, m.value) for m in history] == [("loss", 1, 1.5), ("loss", 2, 0.5)]
    assert history[1].timestamp == 1_700_000_000_000
    assert MlflowClient().get_metric_history(run.info.run_id, "none") == []


def test_logging_without_a_run_starts_one():
    mlops.log_metric("x", 1)
    run = mlops.active_run()
    assert run is not None
    mlops.end_run("KILLED")
    assert mlops.get_run(run.info.run_id).info.status == "KILLED"


def test_nested_runs():
    with mlops.start_run() as parent:
        with pytest.raises(RuntimeError, match="already active"):
            mlops.start_run()
        with mlops.start_run(nested=True) as child:
            mlops.log_metric("inner", 1)
        assert mlops.active_run() is parent
        mlops.log_metric("outer", 2)
    assert mlops.get_parent_run(child.info.run_id).info.run_id == parent.info.run_id
    assert mlops.get_run(child.info.run_id).data.metrics == {"inner": 1.0}
    assert mlops.get_run(parent.info.run_id).data.metrics == {"outer": 2.0}


def test_children_are_found_by_mlflows_tag():
    with mlops.start_run(run_name="parent") as parent:
        with mlops.start_run(run_name="child", nested=True):
            pass
    tag = {"mlflow.parentRunId": parent.info.run_id}
    with mlops.start_run(run_name="tagged", tags=tag) as tagged:
        pass
    made = MlflowClient().create_run("tests", tags=tag, run_name="made")
    MlflowClient().set_terminated(made.info.run_id)

    def names(query):
        return sorted(run.info.run_name for run in mlops.search_runs(filter_string=query, output_format="list"))

    assert names(f"tags.mlflow.parentRunId = '{parent.info.run_id}'") == ["child", "made", "tagged"]
    assert names("tags.mlflow.parentRunId IS NULL") == ["parent"]
    for run in (tagged, made):
        assert mlops.get_run(run.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert mlops.get_parent_run(run.info.run_id).info.run_name == "parent"
    mlops.set_tag("mlflow.parentRunId", parent.info.run_id)  # later, of a run that stands alone
    assert mlops.get_parent_run(mlops.active_run().info.run_id).info.run_name == "parent"


def test_a_name_given_as_mlflows_tag():
    def name(run):
        back = mlops.get_run(run.info.run_id)
        assert back.data.tags["mlflow.runName"] == back.info.run_name
        return back.info.run_name

    client = MlflowClient()
    with mlops.start_run(tags={"mlflow.runName": "T"}) as run:
        assert run.info.run_name == name(run) == "T"
        mlops.set_tag("mlflow.runName", "U")
        assert name(run) == "U"
        mlops.set_tags({"mlflow.runName": "V", "a": 1})
        assert name(run) == "V" and mlops.get_run(run.info.run_id).data.tags["a"] == "1"
        client.set_tag(run.info.run_id, "mlflow.runName", "W")
        assert name(run) == "W"
        client.log_batch(run.info.run_id, tags=[mlops.entities.RunTag("mlflow.runName", "X")])
        assert name(run) == "X"
    with mlops.start_run(run_name="said", tags={"mlflow.runName": "tag"}) as run:
        assert name(run) == "said"
    made = client.create_run("tests", tags={"mlflow.runName": "made"})
    assert made.info.run_name == name(made) == "made"
    with pytest.raises(mlops.InvalidArgument, match="differ"):
        client.create_run("tests", tags={"mlflow.runName": "a"}, run_name="b")


def test_resume():
    with mlops.start_run() as run:
        mlops.log_metric("x", 1, step=1)
    with mlops.start_run(run_id=run.info.run_id) as again:
        assert again.info.run_id == run.info.run_id and again.info.experiment_id == "tests"
        assert mlops.get_run(run.info.run_id).info.status == "RUNNING"
        mlops.log_metric("x", 2, step=2)
    back = mlops.get_run(run.info.run_id)
    assert back.info.status == "FINISHED" and back.data.metrics == {"x": 2.0}
    assert len(MlflowClient().get_metric_history(run.info.run_id, "x")) == 2


def test_a_resumed_run_is_renamed():
    with mlops.start_run(run_name="old") as run:
        pass
    with mlops.start_run(run_id=run.info.run_id, run_name="new") as again:
        assert again.info.run_name == "new"
    back = mlops.get_run(run.info.run_id)
    assert back.info.run_name == back.data.tags["mlflow.runName"] == "new"


@pytest.mark.parametrize("opened", [False, True])
def test_the_run_of_the_environment(root, opened):
    """MLFLOW_RUN_ID: the first run is that one, with what is given for it; the variable is gone then."""
    uri = {"MLFLOW_TRACKING_URI": f"mlops:{root}"}
    theirs = script("""
        import mlops
        mlops.set_experiment("tests")
        with mlops.start_run(run_name="theirs", tags={"z": "1"}) as run:
            print(run.info.run_id)
        """, env=uri).stdout.strip()
    start = mlops.get_run(theirs).info.start_time
    said = script("""
        import json, os, sys, mlops
        if sys.argv[1] == "True":
            mlops.set_experiment("tests")  # opens the client
        with mlops.start_run(tags={"a": "1"}, description="note") as run:
            info = run.info
            assert info == mlops.get_run(info.run_id).info, mlops.get_run(info.run_id).info
            assert "MLFLOW_RUN_ID" not in os.environ
        with mlops.start_run(tags={"b": "2"}, description="own") as other:
            pass
        tags = mlops.get_run(other.info.run_id).data.tags
        print(json.dumps([info.run_id, info.experiment_id, info.run_name, info.start_time, other.info.run_id, tags["b"],
                          tags["mlflow.note.content"]]))
        """, opened, env={**uri, "MLFLOW_RUN_ID": theirs}).stdout
    back = mlops.get_run(theirs)
    *same, other, tag, note = json.loads(said)
    assert same == [theirs, "tests", "theirs", start] and back.info.start_time == start
    assert other != theirs and (tag, note) == ("2", "own")
    tags = {key: back.data.tags.get(key) for key in ("z", "a", "mlflow.note.content", "b")}
    assert tags == {"z": "1", "a": "1", "mlflow.note.content": "note", "b": None} and back.info.status == "FINISHED"


@pytest.mark.parametrize("user", [{}, {"USER": "b"}, {"LOGNAME": "a", "USER": "b"}])
def test_an_active_run_says_what_reading_it_says(monkeypatch, user):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in user.items():
        monkeypatch.setenv(name, value)
    with mlops.start_run() as run:
        mlops.log_text("words", "file.txt")
        assert mlops.artifacts.load_text(run.info.artifact_uri + "/file.txt") == "words"
        back = mlops.get_run(run.info.run_id).info
        run.info.start_time = back.start_time  # taken a moment apart
        assert run.info == back


def test_a_failed_block_names_the_exception():
    with pytest.raises(ZeroDivisionError):
        with mlops.start_run() as run:
            1 / 0  # noqa: B018
    back = mlops.get_run(run.info.run_id)
    assert back.info.status == "FAILED" and back.data.tags["mlops.exception"] == "ZeroDivisionError: division by zero"


def test_each_thread_has_its_own_active_run():
    seen = {}

    def work(i):
        with mlops.start_run(run_name=f"thread{i}") as run:
            for step in range(200):
                mlops.log_metric("i", i, step)
            seen[i] = run.info.run_id

    with mlops.start_run() as main:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert mlops.active_run() is main
    for i, run_id in seen.items():
        assert list(mlops.read(run_id, "i", format="memoryview").value) == [float(i)] * 200


def test_client_by_id():
    client = MlflowClient()
    run = client.create_run("tests", tags={"k": "v"}, run_name="made")
    run_id = run.info.run_id
    assert run.info.status == "RUNNING" and run.data.tags["k"] == "v"
    client.log_metric(run_id, "m", 3, step=4)
    client.log_param(run_id, "p", 1)
    client.log_batch(run_id, metrics=[mlops.entities.Metric("b", 1.5, 1_700_000_000_000, 2)],
                     params=[mlops.entities.Param("q", "2")], tags=[mlops.entities.RunTag("t", "3")])
    client.set_terminated(run_id, "FAILED")
    back = client.get_run(run_id)
    assert back.info.status == "FAILED" and back.data.metrics == {"m": 3.0, "b": 1.5}
    assert back.data.params == {"p": "1", "q": "2"} and back.data.tags["t"] == "3"
    client.set_tag(run_id, "late", "yes")  # after its end
    assert client.get_run(run_id).data.tags["late"] == "yes" and client.get_run(run_id).info.status == "FAILED"
    client.update_run(run_id, name="renamed")
    assert client.get_run(run_id).info.run_name == "renamed"


def test_fluent_calls_with_a_run_id():
    with mlops.start_run() as one:
        pass
    with mlops.start_run() as two:
        mlops.log_metric("x", 1, run_id=one.info.run_id)
        mlops.log_metrics({"y": 2}, run_id=one.info.run_id)
        mlops.log_params({"p": 1}, run_id=one.info.run_id)
        mlops.log_metric("z", 3)
    assert mlops.get_run(one.info.run_id).data.metrics == {"x": 1.0, "y": 2.0}
    assert mlops.get_run(two.info.run_id).data.metrics == {"z": 3.0}


def test_a_client_has_the_experiments_of_its_own_root(tmp_path):
    here, there = MlflowClient(), MlflowClient(f"mlops:{tmp_path / 'there'}")
    assert there.create_experiment("far", tags={"k": "v"}) == "far"
    there.set_terminated(there.create_run("farther").info.run_id)
    here.create_experiment("near")
    assert {one.name for one in there.search_experiments()} == {"far", "farther"}
    assert {one.name for one in here.search_experiments()} == {one.name for one in mlops.search_experiments()} == {"near", "tests"}
    assert there.get_experiment_by_name("far").tags == {"k": "v"} and there.get_experiment("farther").name == "farther"
    assert there.get_experiment_by_name("near") is here.get_experiment_by_name("far") is mlops.get_experiment_by_name("far") is None
    with pytest.raises(mlops.NotFound):
        there.get_experiment("near")
    with pytest.raises(mlops.AlreadyExists):
        there.create_experiment("farther")
    mlops.set_tracking_uri(f"mlops:{tmp_path / 'there'}")
    assert mlops.get_experiment("far").name == "far" and mlops.get_experiment_by_name("near") is None
    assert mlops.create_experiment("near") == "near"


def test_an_active_run_stays_in_its_root(tmp_path):
    with mlops.start_run() as run:
        mlops.log_metric("x", 1)
        mlops.set_tracking_uri(f"mlops:{tmp_path / 'other'}")
        mlops.log_metric("x", 2)
        mlops.log_param("p", "q")
        assert run.data.metrics == {"x": 2.0} and run.data.params == {"p": "q"}
    assert run.data.metrics == {"x": 2.0}
    made = MlflowClient(f"mlops:{tmp_path / 'third'}").create_run("tests", run_name="third")
    with mlops.start_run(run_id=made.info.run_id) as run:  # it is open here
        assert run.info.run_name == "third" and run.data.tags["mlflow.runName"] == "third"


def test_entities_are_copied_pickled_and_iterated():
    with mlops.start_run(run_name="r", tags={"a": "1"}) as run:
        mlops.log_metric("x", 1)
        model = mlops.initialize_logged_model("m")
        back = mlops.get_run(run.info.run_id)
        for one in (run, back, mlops.search_runs(output_format="list")[0], mlops.active_run()):
            for twin in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), copy.copy(one)):
                assert type(twin) is mlops.Run and twin.info.run_id == run.info.run_id
                assert twin.data.metrics == {"x": 1.0} and twin.data.tags["a"] == "1" and twin.inputs == back.inputs
        assert set(dict(run)) == set(dict(back)) == {"info", "data", "inputs"}
        assert dict(back.data)["metrics"] == {"x": 1.0}
    info = mlops.get_run(run.info.run_id).info
    assert dict(info) == vars(info) and dict(info)["run_name"] == "r"
    entities = (info, mlops.get_logged_model(model.model_id), mlops.get_experiment("tests"), mlops.entities.Param("a", "b"),
                mlops.entities.Metric("k", 1.5, 1, 2), MlflowClient().get_metric_history(info.run_id, "x")[0])
    for one in entities:
        assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one and dict(one) == vars(one)


def test_search_delete_restore():
    ids = []
    for i in range(6):
        with mlops.start_run(run_name=f"r{i}") as run:
            mlops.log_metric("loss", 10 - i)
            mlops.log_param("parity", i % 2)
            ids.append(run.info.run_id)
    found = mlops.search_runs(filter_string="metrics.loss < 8 and params.parity = '1'", order_by=["metrics.loss ASC"],
                              output_format="list")
    assert [run.info.run_name for run in found] == ["r5", "r3"]
    page = MlflowClient().search_runs(["tests"], order_by=["metrics.loss DESC"], max_results=4)
    rest = MlflowClient().search_runs(["tests"], order_by=["metrics.loss DESC"], max_results=4, page_token=page.token)
    assert [r.info.run_id for r in page + rest] == ids and rest.token is None
    mlops.delete_run(ids[0])
    assert len(mlops.search_runs(output_format="list")) == 5
    assert mlops.get_run(ids[0]).info.lifecycle_stage == "deleted"
    only = mlops.search_runs(run_view_type=mlops.entities.ViewType.DELETED_ONLY, output_format="list")
    assert [run.info.run_id for run in only] == [ids[0]]
    MlflowClient().restore_run(ids[0])
    assert len(mlops.search_runs(output_format="list")) == 6
    assert mlops.search_runs(experiment_names=["elsewhere"], output_format="list") == []
    with pytest.raises(ValueError, match="metrics.loss <"):
        mlops.search_runs(filter_string="metrics.loss <", output_format="list")


def test_search_as_pandas():
    pandas = pytest.importorskip("pandas")
    for i in range(3):
        with mlops.start_run():
            mlops.log_metric("loss", i)
            if i:
                mlops.log_param("p", i)
    frame = mlops.search_runs(order_by=["metrics.loss ASC"])
    assert isinstance(frame, pandas.DataFrame) and list(frame["metrics.loss"]) == [0.0, 1.0, 2.0]
    assert frame["params.p"].isna().tolist() == [True, False, False]
    assert str(frame["start_time"].dtype).startswith("datetime64") and "tags.mlflow.runName" in frame.columns


def test_experiments():
    assert mlops.get_experiment_by_name("other") is None
    made = mlops.create_experiment("other", tags={"k": "v"})
    assert mlops.get_experiment(made).name == "other"
    with pytest.raises(mlops.AlreadyExists):
        mlops.create_experiment("other")
    with mlops.start_run(experiment_id=made):
        pass
    assert {one.name for one in mlops.search_experiments()} >= {"other"}
    assert len(mlops.search_runs([made], output_format="list")) == 1
    with pytest.raises(LookupError, match="nothere"):
        mlops.get_experiment("nothere")


def test_history_of_many_values():
    with mlops.start_run() as run:
        mlops.log_history("list", [1, 2.5, 3], first_step=10)
        run.log_history("array", array.array("f", [0.1, 0.2]), [5, 6], timestamps=[1000, 2000])
        run.log_history("long", array.array("q", range(100_000)))
    step, ms, value = mlops.read(run.info.run_id, "list", format="memoryview")
    assert step.tolist() == [10, 11, 12] and value.tolist() == [1.0, 2.5, 3.0]
    step, ms, value = mlops.read(run.info.run_id, "array", format="memoryview")
    assert ms.tolist() == [1000, 2000] and value.tolist() == array.array("f", [0.1, 0.2]).tolist()
    assert mlops.read(run.info.run_id, "long", format="memoryview").value.tolist() == list(map(float, range(100_000)))
    assert set(mlops.read(run.info.run_id)) == {"list", "array", "long"}


def test_numpy_numbers_and_columns():
    numpy = pytest.importorskip("numpy")
    with mlops.start_run() as run:
        mlops.log_metric("f32", numpy.float32(0.1), step=numpy.int64(3))
        mlops.log_metric("f16", numpy.float16(0.1))
        mlops.log_metric("zero", numpy.array(2.5))
        mlops.log_metric("one", numpy.array([2.5]))
        mlops.log_metric("bool", numpy.bool_(True))
        run.log_history("strided", numpy.arange(10.0)[::3], numpy.arange(4, dtype=numpy.int32))
        run.log_history("half", numpy.array([0.1, -2, numpy.inf, 6e-8], dtype=numpy.float16))
    metrics = mlops.get_run(run.info.run_id).data.metrics
    assert metrics["f32"] == float(numpy.float32(0.1)) and metrics["f16"] == float(numpy.float16(0.1))
    assert metrics["zero"] == 2.5 and metrics["one"] == 2.5 and metrics["bool"] == 1.0
    columns = mlops.read(run.info.run_id, "strided")
    assert isinstance(columns.value, numpy.ndarray) and columns.value.tolist() == [0.0, 3.0, 6.0, 9.0]
    half = numpy.array([0.1, -2, numpy.inf, 6e-8], dtype=numpy.float16).astype(float)
    assert mlops.read(run.info.run_id, "half").value.tolist() == half.tolist()
    pytest.importorskip("pandas")
    frame = mlops.read(run.info.run_id, format="pandas")
    assert set(frame["metric"]) == {"f32", "f16", "zero", "one", "bool", "strided", "half"}


def test_handles():
    with mlops.start_run() as run:
        loss = run.metric("loss")
        assert loss.name == "loss" and run.info.run_id in repr(loss)
        for step in range(5000):
            loss.log(step / 2, step)
        loss.log(value=7, step=None, timestamp=time.time() * 1000)
    with pytest.raises(mlops.FailedPrecondition, match="has ended"):
        loss.log(1)
    assert len(mlops.read(run.info.run_id, "loss", format="memoryview").step) == 5001


def test_status_counts():
    with mlops.start_run() as run:
        for step in range(1000):
            mlops.log_metric("x", step, step)
        run.flush("durable")
        now = mlops.status()
    assert now.accepted >= 1000 and now.durable >= 1000 and now.dropped == {} and now.destinations == []
    assert "1000 accepted" in str(now)


def test_html():
    with mlops.start_run(run_name="<b>&") as run:
        mlops.log_history("loss: a/b", [3, 2, 1, float("nan"), 1.7e308, -1.7e308])
        mlops.log_param("p", "<script>")
    html = mlops.get_run(run.info.run_id)._repr_html_()
    assert "<svg" in html and "&lt;b&gt;&amp;" in html and "<script" not in html and "loss: a/b" in html
    assert "nan" not in html.partition("<svg")[2].partition("</svg>")[0]
    assert "&lt;b&gt;&amp;" in mlops.get_experiment_by_name("tests")._repr_html_()


def test_what_is_not_there_says_so():
    for name in ("set_active_model", "autolog", "evaluate", "delete_experiment"):
        with pytest.raises(NotImplementedError, match=name):
            getattr(mlops, name)("x")
    with pytest.raises(mlops.Error, match="search_traces"):
        MlflowClient().search_traces("m")
    with pytest.raises(NotImplementedError, match="sklearn"):
        mlops.sklearn.log_model()
    with pytest.raises(AttributeError):
        mlops.no_such_name  # noqa: B018
    with pytest.raises(NotImplementedError, match="http"):
        mlops.set_tracking_uri("sqlite:///x.db")


def test_synchronous_false_gives_something_to_wait_for():
    with mlops.start_run() as run:
        mlops.log_metric("a", 1, synchronous=False).wait()
        mlops.log_metrics({"b": 1}, synchronous=False).wait()
        mlops.set_tag("t", 1, synchronous=False).wait()
    assert mlops.get_run(run.info.run_id).data.metrics == {"a": 1.0, "b": 1.0}


def test_columns_of_each_type_in_place_or_copied():
    numpy = pytest.importorskip("numpy")
    numbers = numpy.arange(3_000) % 120
    with mlops.start_run() as run:
        for kind in "?bBhHiIqQefd":
            values, steps = numbers.astype(kind), numpy.arange(3_000, dtype=kind if kind in "hHiIq" else "q")
            run.log_history(f"plain {numpy.dtype(kind)}", values)
            run.log_history(f"steps {numpy.dtype(kind)}", values[::-1], steps[::-1])
            run.log_history(f"times {numpy.dtype(kind)}", values[::7], steps[::7], numpy.arange(5, 434, dtype="q"))
        run.log_history("big endian", numbers.astype(">f8"))
        run.log_history("step beyond", [1.0], numpy.array([2**63 - 1]))
        with pytest.raises(ValueError, match="2 values and 3 steps"):
            run.log_history("x", numpy.zeros(2), numpy.arange(3))
        with pytest.raises(ValueError, match="one dimension"):
            run.log_history("x", numpy.zeros((2, 2)))
        with pytest.raises(TypeError):
            run.log_history("x", numpy.zeros(2), numpy.zeros(2) + 0.5)
        frozen = numpy.arange(4.0)
        frozen.flags.writeable = False
        run.log_history("frozen", frozen)
        own = numpy.arange(4.0)
        run.log_history("own", own)
        own.resize(8)  # which numpy refuses while anybody holds the memory
    for kind in "?bBhHiIqQefd":
        wanted = numbers.astype(kind).astype(float).tolist()
        got = mlops.read(run.info.run_id, f"plain {numpy.dtype(kind)}")
        assert got.value.tolist() == wanted and got.step.tolist() == list(range(3_000)), kind
        got = mlops.read(run.info.run_id, f"steps {numpy.dtype(kind)}")
        assert got.value.tolist() == wanted and got.step.tolist() == list(range(3_000)), kind
        got = mlops.read(run.info.run_id, f"times {numpy.dtype(kind)}")
        assert got.time_ms.tolist() == list(range(5, 434)) and got.value.tolist() == wanted[::7], kind
    assert mlops.read(run.info.run_id, "big endian").value.tolist() == numbers.astype(float).tolist()
    assert mlops.read(run.info.run_id, "step beyond").step.tolist() == [2**63 - 1]
    assert "x" not in mlops.get_run(run.info.run_id).data.metrics


def test_mlflows_own_uri_in_the_same_process(monkeypatch, tmp_path):
    """mlflow.set_tracking_uri sets the variable; a client of another root has nothing to do with it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/theirs.db")
    client = mlops.MlflowClient(tracking_uri=f"mlops:{tmp_path}/ours")
    run = client.create_run("e")
    client.log_metric(run.info.run_id, "m", 2.0)
    client.set_terminated(run.info.run_id)
    assert client.get_run(run.info.run_id).data.metrics == {"m": 2.0}
    assert [one.info.run_id for one in client.search_runs(["e"])] == [run.info.run_id]
    client.delete_run(run.info.run_id)
    mlops.set_tracking_uri("")
    with pytest.raises(NotImplementedError, match="sqlite"):
        mlops.start_run()


def test_records_are_as_dataclasses_are():
    metric = mlops.entities.Metric("m", 1.5, 10, step=3)
    assert repr(metric) == "Metric(key='m', value=1.5, timestamp=10, step=3)"
    assert metric == mlops.entities.Metric("m", 1.5, 10, 3) and metric != mlops.entities.Metric("m", 1.5, 10)
    assert metric != ("m", 1.5, 10, 3) and len({metric, mlops.entities.Metric("m", 1.5, 10, 3)}) == 1
    with pytest.raises(AttributeError, match="step"):
        metric.step = 4
    assert copy.deepcopy(metric) == pickle.loads(pickle.dumps(metric)) == metric
    one, two = mlops.entities.Experiment("e", "e"), mlops.entities.Experiment("e", "e")
    one.tags["k"] = "v"
    assert two.tags == {} and one != two and one.lifecycle_stage == "active"
    with pytest.raises(TypeError):
        mlops.entities.Metric("m")
    with pytest.raises(TypeError):
        hash(one)
    assert inspect.signature(mlops.entities.Param) == inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="str") for name in ("key", "value")],
        return_annotation="None")
