"""Logged models of a root without a server: what is read is what was said, by whoever said it; bad input promises nothing."""

import json

import pytest
from conftest import script

import mlops
from mlops import MlflowClient
from mlops.entities import LoggedModelInput, LoggedModelOutput


def names(words=None, **more):
    return [one.name for one in mlops.search_logged_models(filter_string=words, output_format="list", **more)]


def test_from_begin_to_end(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"weights")
    client = MlflowClient()
    assert names() == []
    with mlops.start_run() as run:
        model = mlops.initialize_logged_model("net", tags={"stage": "new"}, params={"depth": 3}, model_type="tree")
        assert (model.status, model.source_run_id, model.experiment_id) == ("PENDING", run.info.run_id, "tests")
        assert model.model_uri == f"models:/{model.model_id}" and len(model.model_id) == 32 and model.server_id is None
        client.log_model_artifact(model.model_id, tmp_path / "w.bin", "deep")
        mlops.log_model_params({"width": 4}, model.model_id)
        mlops.set_logged_model_tags(model.model_id, {"stage": "old", "k": 1})
        mlops.delete_logged_model_tag(model.model_id, "k")
        mlops.log_outputs([LoggedModelOutput(model.model_id, step=3)])
        mlops.log_metric("acc", 0.5, step=3, model_id=model.model_id)
        logged = mlops.log_model(tmp_path / "w.bin", "whole")
        assert mlops.last_logged_model().name == "whole"
        mlops.log_input(model=LoggedModelInput(logged.model_id))
    assert mlops.finalize_logged_model(model.model_id, "READY").status == "READY"  # beyond its run's end
    assert mlops.finalize_logged_model(model.model_id, "READY").status == "READY"
    with pytest.raises(mlops.FailedPrecondition, match="READY already"):
        mlops.finalize_logged_model(model.model_id, "FAILED")
    found = mlops.get_logged_model(model.model_id)
    assert (found.params, found.tags["stage"], "k" in found.tags) == ({"depth": "3", "width": "4"}, "old", False)
    assert [(m.key, m.value, m.step, m.model_id) for m in found.metrics] == [("acc", 0.5, 3, model.model_id)]
    assert client.list_logged_model_artifacts(model.model_id)[0].path == "deep"
    assert [(f.path, f.file_size) for f in client.list_logged_model_artifacts(model.model_id, "deep")] == [("deep/w.bin", 7)]
    assert client.list_artifacts(run.info.run_id) == []
    assert sorted(names()) == ["net", "whole"] and mlops.get_logged_model(logged.model_id).status == "READY"
    assert mlops.get_run(run.info.run_id).data.metrics == {"acc": 0.5}
    client.delete_logged_model(logged.model_id)
    assert names() == ["net"]
    with pytest.raises(LookupError, match=logged.model_id):
        mlops.get_logged_model(logged.model_id)


def test_other_processes_and_other_runs_say_more(root):
    with mlops.start_run() as run:
        model = mlops.initialize_logged_model("net")
        run.flush("durable")
        said = script("""
            import json, sys, mlops
            mlops.set_tracking_uri("mlops:" + sys.argv[1])
            mlops.set_experiment("tests")
            client = mlops.MlflowClient()
            model = mlops.get_logged_model(sys.argv[2])
            client.set_logged_model_tags(model.model_id, {"from": "there"})
            client.log_model_params(model.model_id, {"depth": 3})
            refused = []
            for call in (lambda: client.log_model_artifact(model.model_id, sys.executable),
                         lambda: client.finalize_logged_model(model.model_id, "READY")):
                try:
                    call()
                except mlops.FailedPrecondition as error:
                    refused.append(str(error))
            with mlops.start_run() as judge:
                mlops.log_metric("judged", 0.75, step=1, model_id=model.model_id)
            print(json.dumps(["another process" in one for one in refused]))
            """, root, model.model_id).stdout
        assert json.loads(said) == [True, True]
        found = mlops.get_logged_model(model.model_id)
        assert (found.status, found.tags["from"], found.params) == ("PENDING", "there", {"depth": "3"})
        assert [(m.key, m.value) for m in found.metrics] == [("judged", 0.75)]


def test_what_a_dead_process_left_is_gone_on_with(tmp_path):
    said = script("""
        import os, signal, sys, mlops
        mlops.set_tracking_uri("mlops:" + sys.argv[1])
        mlops.start_run()
        model = mlops.initialize_logged_model("killed", params={"a": 1})
        mlops.set_logged_model_tags(model.model_id, {"k": "v"})
        print(model.model_id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """, tmp_path / "own", check=False).stdout.strip()
    said = script("""
        import json, sys, time, mlops
        mlops.set_tracking_uri("mlops:" + sys.argv[1])
        with mlops.start_run() as run:  # takes over what it left
            run.flush("durable")
        client = mlops.MlflowClient()
        found = client.get_logged_model(sys.argv[2])
        client.log_model_artifact(sys.argv[2], sys.argv[3])
        done = client.finalize_logged_model(sys.argv[2], "READY").status
        print(json.dumps([found.name, found.params, found.tags["k"], found.status, done, client.list_logged_model_artifacts(sys.argv[2])[0].path]))
        """, tmp_path / "own", said, __file__).stdout
    assert json.loads(said) == ["killed", {"a": "1"}, "v", "PENDING", "READY", "test_models.py"]


def test_search_says_what_is_wrong():
    with mlops.start_run():
        for name in ("one", "two"):
            mlops.create_external_model(name, params={"p.q": name, "n": 1}, tags={"a b": "x"})
    for words, found in {"": ["one", "two"], "name='one'": ["one"], 'name = "two"': ["two"], "params.p.q = 'one'": ["one"],
                         "params.`p.q` LIKE 't%'": ["two"], 'tags."a b" = \'x\' AND name IN (\'two\')': ["two"],
                         "NAME = 'one'".lower(): ["one"], "status = 'READY'": ["one", "two"], "name like 'O%'": [], "name ilike 'O%'": ["one"],
                         "attributes.name != 'one'": ["two"]}.items():
        assert sorted(names(words)) == found, words
    for words in ("name", "name = one", "name = 'one' OR name = 'two'", "name = 'one' name = 'two'", "name > 'a'", "nothing = 'a'",
                  "metrics.m = 'x'", "params.n IN '1'", "name = 'one' AND", "creation_time > 'now'"):
        with pytest.raises(ValueError):
            names(words)
    with pytest.raises(ValueError, match="dataset_name"):
        names(datasets=[{"dataset_digest": "x"}])
    with pytest.raises(ValueError, match="params.n"):
        names(order_by=[{"field_name": "params.n"}])
    assert names(order_by=[{"field_name": "name"}], max_results=1) == ["one"]
    assert names(experiment_ids=["other"]) == []


def test_bad_input_promises_nothing():
    with pytest.raises(mlops.FailedPrecondition, match="start_run"):
        mlops.initialize_logged_model("net")
    with pytest.raises(NotImplementedError, match="set_tracking_uri"):
        mlops.set_registry_uri("http://elsewhere:5000")
    mlops.set_registry_uri(mlops.get_registry_uri())
    with mlops.start_run() as run:
        for wrong in ("", "a/b", "a:b", 7):
            with pytest.raises((ValueError, TypeError)):
                mlops.initialize_logged_model(wrong)
        with pytest.raises(ValueError, match="tests"):
            MlflowClient().create_logged_model("other", "net", run.info.run_id)
        with pytest.raises(ValueError):
            mlops.initialize_logged_model("net", params={"x" * 300: 1})
        model = mlops.initialize_logged_model(params={"p": 1})  # a name is found for it
        for call in (lambda: mlops.log_model_params({"p": 1}, model.model_id), lambda: mlops.log_model_params({"q": 1}),
                     lambda: mlops.finalize_logged_model(model.model_id, "DONE"), lambda: mlops.log_outputs([LoggedModelOutput(model.model_id, -1)]),
                     lambda: mlops.log_input(), lambda: mlops.set_logged_model_tags(model.model_id, {"k": "v" * 8001})):
            with pytest.raises(ValueError):
                call()
        with pytest.raises(TypeError):
            mlops.log_outputs(["m"])
        for call in (lambda: mlops.get_logged_model("m-" + "0" * 32), lambda: mlops.delete_logged_model_tag(model.model_id, "none"),
                     lambda: MlflowClient().log_model_artifact(model.model_id, "nofile"), lambda: mlops.log_metric("x", 1, model_id="none")):
            with pytest.raises(LookupError):
                call()
    assert len(names()) == 1
    for name in ("set_active_model", "get_active_model_id", "clear_active_model", "ActiveModel"):
        with pytest.raises(NotImplementedError, match="model_id"):
            getattr(mlops, name)()
    with pytest.raises(NotImplementedError, match="loaded and run"):
        mlops.pyfunc.load_model("x")
