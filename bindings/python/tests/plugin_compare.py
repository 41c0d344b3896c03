"""plugin_compare.py FOLDER: the same calls of MLflow's own client on a SQLite store and through the plug-in on a root.

Runs with a Python that has mlflow and this package. Prints one JSON object: `differences` (what was asked, what SQLite
said, what the plug-in said), `tried` and `untried` public functions. Ids, times of now and places are told apart by
what they stand for, not by their text.
"""

import json
import math
import os
import pathlib
import re
import sys
import tempfile

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.entities._mlflow_object import _MlflowObject

NEW = int(mlflow.__version__.split(".")[0]) >= 3
NOW = 10**12  # times above are of now; those that the scenario gives are below
ID = re.compile(r"(?:m-|tr-|d-)?[0-9a-f]{32}")


class Plain:
    """Answers as plain values that two stores can agree on."""

    def __init__(self, places):
        self.places, self.ids = places, {}

    def text(self, value):
        for place in self.places:
            value = value.replace(place, "<artifacts>")
        value = re.sub(r"work-[ab]\b", "<work>", value)
        value = re.sub(r"\b1[78]\d{11}\b", "<now>", value)
        return ID.sub(lambda found: f"<id {self.ids.setdefault(found[0], len(self.ids))}>", value)

    def __call__(self, value):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, float) and math.isnan(value):
            return "nan"
        if isinstance(value, (int, float)):
            return "now" if value > NOW and value < 1e300 else value
        if isinstance(value, dict):
            return {self.text(str(key)): self(one) for key, one in sorted(value.items(), key=lambda pair: str(pair[0]))}
        if isinstance(value, _MlflowObject):
            words = {key: self(one) for key, one in value}
            if words.get("outputs", 0) in (None, {"": "RunOutputs", "model_outputs": []}):  # of a run just made: none, or empty
                del words["outputs"]
            for unordered in ("metrics", "params", "tags"):
                if isinstance(words.get(unordered), list):
                    words[unordered] = sorted(words[unordered], key=str)
            return {"": type(value).__name__, **words}
        if hasattr(value, "token"):
            return {"page": [self(one) for one in value], "more": bool(value.token)}
        if isinstance(value, (list, tuple, set)):
            return [self(one) for one in value]
        if hasattr(value, "to_dict") and hasattr(value, "columns"):
            return {key: self(list(column)) for key, column in value.astype(object).where(value.notna(), None).to_dict("list").items()}
        if hasattr(value, "to_dictionary"):
            return self(value.to_dictionary())
        return type(value).__name__


class Asked:
    """An object whose public calls are written down."""

    def __init__(self, thing, names, prefix):
        self._thing, self._names, self._prefix = thing, names, prefix

    def __getattr__(self, name):
        self._names.add(self._prefix + name)
        return getattr(self._thing, name)


class Recorder:
    def __init__(self, places):
        self.plain, self.answers = Plain(places), []

    def __call__(self, what, ask, shown=True):
        """Asks; -> the answer, None when it failed. `shown` False: what comes back is not compared."""
        try:
            answer = ask()
        except Exception as error:
            code = getattr(error, "error_code", "")
            self.answers.append((what, {"error": type(error).__name__, "code": code, "words": self.plain(str(error))}))
            return None
        self.answers.append((what, self.plain(answer) if shown else "ok"))
        return answer


def runs(ask, client, fluent, work):
    made = ask("create_experiment", lambda: client.create_experiment("one", tags={"team": "vision"}))
    ask("create_experiment again", lambda: client.create_experiment("one"))
    ask("create_experiment without a name", lambda: client.create_experiment(""))
    ask("get_experiment", lambda: client.get_experiment(made))
    ask("get_experiment unknown", lambda: client.get_experiment("4711"))
    ask("get_experiment_by_name", lambda: client.get_experiment_by_name("one"))
    ask("get_experiment_by_name unknown", lambda: client.get_experiment_by_name("none"))
    ask("set_experiment_tag", lambda: client.set_experiment_tag(made, "k", "v"))
    other = ask("create_experiment two", lambda: client.create_experiment("two"))
    ask("search_experiments", lambda: client.search_experiments(order_by=["experiment_id ASC"]))
    ask("search_experiments page", lambda: client.search_experiments(max_results=2, order_by=["name ASC"]))
    ask("search_experiments filter", lambda: client.search_experiments(filter_string="tags.team = 'vision'"))
    ask("search_experiments bad", lambda: client.search_experiments(filter_string="nonsense"))
    if hasattr(client._thing, "delete_experiment_tag"):
        ask("delete_experiment_tag", lambda: client.delete_experiment_tag(made, "k"))
        ask("delete_experiment_tag again", lambda: client.delete_experiment_tag(made, "k"))

    first = ask("create_run", lambda: client.create_run(made, tags={"a": "1"}, run_name="first"))
    run = first.info.run_id
    ask("create_run unknown experiment", lambda: client.create_run("4711"))
    old = ask("create_run of long ago", lambda: client.create_run(made, start_time=12345, run_name="old"))
    ask("set_terminated long ago", lambda: client.set_terminated(old.info.run_id, end_time=23456))
    ask("get_run of long ago", lambda: client.get_run(old.info.run_id).info)
    ask("set_terminated a little later", lambda: client.set_terminated(old.info.run_id, end_time=34567))
    ask("get_run a little later", lambda: client.get_run(old.info.run_id).info)
    ask("create_run two names", lambda: client.create_run(made, run_name="x", tags={"mlflow.runName": "y"}))
    ask("log_param", lambda: client.log_param(run, "lr", 0.1))
    ask("log_param same", lambda: client.log_param(run, "lr", 0.1))
    ask("log_param other", lambda: client.log_param(run, "lr", 0.2))
    ask("log_param bad key", lambda: client.log_param(run, "l?r\n", 0.2))
    ask("log_param long", lambda: client.log_param(run, "long", "x" * 7000))
    ask("log_param async", lambda: client.log_param(run, "as", 1, synchronous=False).wait())
    for step, value in [(0, 1.0), (2, 0.25), (1, 0.5), (1, 0.5), (3, float("nan"))]:
        ask("log_metric", lambda: client.log_metric(run, "loss", value, timestamp=1000 + step, step=step))
    ask("log_metric no number", lambda: client.log_metric(run, "loss", "high"))
    ask("log_metric bad key", lambda: client.log_metric(run, "lo\nss", 1.0))
    ask("log_metric negative time", lambda: client.log_metric(run, "loss", 1.0, timestamp=-5))
    ask("log_metric long key", lambda: client.log_metric(run, "k" * 251, 1.0))
    ask("log_metric path", lambda: client.log_metric(run, "../up", 1.0))
    ask("log_metric async", lambda: client.log_metric(run, "slow", 3, timestamp=7, step=1, synchronous=False).wait())
    ask("log_metric unknown run", lambda: client.log_metric("0" * 32, "loss", 1.0))
    ask("set_tag", lambda: client.set_tag(run, "stage", "warm"))
    ask("set_tag again", lambda: client.set_tag(run, "stage", "hot"))
    ask("set_tag name", lambda: client.set_tag(run, "mlflow.runName", "renamed"))
    ask("set_tag long", lambda: client.set_tag(run, "words", "w" * 9000))
    ask("set_tag async", lambda: client.set_tag(run, "as", "2", synchronous=False).wait())
    ask("delete_tag", lambda: client.delete_tag(run, "as"))
    ask("delete_tag again", lambda: client.delete_tag(run, "as"))
    ask("log_batch", lambda: client.log_batch(
        run, [Metric("b", 1.5, 10, 1), Metric("b", 2.5, 11, 2), Metric("c", -0.0, 10, 1)],
        [Param("p1", "1"), Param("p2", "2")], [RunTag("t1", "x")]))
    ask("log_batch param changed", lambda: client.log_batch(run, [Metric("d", 1, 1, 1)], [Param("p1", "9")], []))
    ask("log_batch two of one key", lambda: client.log_batch(run, [], [Param("q", "1"), Param("q", "2")], []))
    ask("log_batch many params", lambda: client.log_batch(run, [], [Param(f"m{i}", "1") for i in range(101)], []))
    ask("log_batch async", lambda: client.log_batch(run, [Metric("e", 1, 1, 1)], [], [], synchronous=False).wait())
    ask("get_run", lambda: client.get_run(run))
    ask("get_run unknown", lambda: client.get_run("0" * 32))
    ask("get_metric_history", lambda: client.get_metric_history(run, "loss"))
    ask("get_metric_history of none", lambda: client.get_metric_history(run, "none"))
    if NEW:
        ask("get_metric_history page", lambda: client._thing._tracking_client.store.get_metric_history(run, "loss", 2))
    ask("update_run", lambda: client.update_run(run, name="again"))
    ask("update_run status", lambda: client.update_run(run, status="FAILED"))
    ask("get_run failed", lambda: client.get_run(run).info.status)
    ask("log after the end", lambda: client.log_metric(run, "after", 1.0, timestamp=5))
    ask("set_terminated", lambda: client.set_terminated(run))
    ask("get_run terminated", lambda: client.get_run(run))
    ask("update_run running", lambda: client.update_run(run, status="RUNNING"))
    ask("get_run running", lambda: client.get_run(run).info.status)
    ask("set_terminated killed", lambda: client.set_terminated(run, "KILLED"))
    ask("get_run killed", lambda: client.get_run(run).info.status)
    child = ask("create_run child", lambda: client.create_run(made, tags={"mlflow.parentRunId": run}, run_name="child"))
    ask("get_parent_run", lambda: client.get_parent_run(child.info.run_id).info.run_name)
    ask("get_parent_run of none", lambda: client.get_parent_run(run))
    ask("delete_run", lambda: client.delete_run(child.info.run_id))
    ask("get_run deleted", lambda: client.get_run(child.info.run_id).info.lifecycle_stage)
    ask("log to a deleted one", lambda: client.set_tag(child.info.run_id, "x", "y"))
    ask("restore_run", lambda: client.restore_run(child.info.run_id))
    ask("get_run restored", lambda: client.get_run(child.info.run_id))
    ask("delete_run unknown", lambda: client.delete_run("0" * 32))
    ask("log to a restored one", lambda: client.set_tag(child.info.run_id, "x", "y"))

    for i in range(5):
        one = ask("create_run of many", lambda: client.create_run(other, run_name=f"n{i}", tags={"even": str(i % 2 == 0)}))
        one = one.info.run_id
        client.log_param(one, "i", i)
        if i != 3:
            client.log_metric(one, "acc", [0.3, 0.9, float("nan"), 0, 0.5][i], timestamp=i, step=i)
        client.set_terminated(one, "FINISHED" if i % 2 else "FAILED")
    for order in (None, ["metrics.acc ASC"], ["metrics.acc DESC"], ["params.i DESC"], ["tags.even ASC", "params.i ASC"],
                  ["attributes.run_name DESC"], ["attribute.end_time ASC"], ["nonsense"]):
        names = lambda page: ([one.info.run_name for one in page], bool(page.token))  # noqa: E731
        ask(f"search_runs by {order}", lambda: names(client.search_runs([other], order_by=order)))
        ask(f"search_runs by {order}, page", lambda: names(client.search_runs([other], order_by=order, max_results=2)))
    for words in ("metrics.acc > 0.4", "metrics.acc != 0.9", "params.i = '3'", "params.i IN ('1', '2')", "tags.even = 'True'",
                  "attributes.status = 'FAILED'", "attributes.run_name LIKE 'n%'", "run_name ILIKE 'N4'", "params.none = '1'",
                  "metrics.acc > 0.1 AND params.i != '1'", "tags.mlflow.runName = 'n1'", "metrics.`acc` <= 0.5",
                  "attributes.start_time > 5", "attributes.end_time < 5", "tags.even IS NULL", "params.i IS NOT NULL",
                  "metrics.acc = 'x'", "nonsense", "metrics.acc >", "attributes.lifecycle = 'x'", "dataset.name = 'none'",
                  "attributes.user_id = 'unknown'"):
        ask(f"search_runs {words}", lambda: sorted(one.info.run_name for one in client.search_runs([other], words)))
    page = ask("search_runs first page", lambda: client.search_runs([other], max_results=2, order_by=["params.i ASC"]))
    ask("search_runs next page", lambda: client.search_runs([other], max_results=2, order_by=["params.i ASC"], page_token=page.token))
    ask("search_runs too many", lambda: client.search_runs([other], max_results=10**9))
    ask("search_runs none", lambda: client.search_runs([other], max_results=0))
    ask("search_runs bad token", lambda: client.search_runs([other], page_token="!"))
    ask("search_runs of no experiment", lambda: client.search_runs([]))
    ask("search_runs of an unknown one", lambda: client.search_runs(["4711"]))
    ask("search_runs of all", lambda: len(client.search_runs([made, other], run_view_type=ViewType.ALL)))
    ask("delete_run to search", lambda: client.delete_run(child.info.run_id))
    ask("search_runs deleted", lambda: client.search_runs([made], run_view_type=ViewType.DELETED_ONLY))
    ask("rename_experiment", lambda: client.rename_experiment(other, "two and a half"))
    ask("get_experiment renamed", lambda: client.get_experiment(other))
    ask("search_runs renamed", lambda: len(client.search_runs([other])))
    again = ask("create_experiment of the old name", lambda: client.create_experiment("two"))
    ask("create_run there", lambda: client.create_run(again, run_name="there").info.experiment_id)
    ask("search_runs there", lambda: [one.info.run_name for one in client.search_runs([again])])
    ask("delete_experiment", lambda: client.delete_experiment(other))
    ask("search_runs in a deleted one", lambda: len(client.search_runs([other])))
    ask("search_runs deleted with it", lambda: len(client.search_runs([other], run_view_type=ViewType.DELETED_ONLY)))
    ask("create_run in a deleted one", lambda: client.create_run(other))
    ask("restore_experiment", lambda: client.restore_experiment(other))
    ask("search_runs restored", lambda: len(client.search_runs([other])))
    return made, run


def used(ask, client, fluent, work, made, run):
    dataset = DatasetInput(Dataset("digits", "1234abcd", "local", '{"uri": "x"}', "{}", "{}"), [InputTag("mlflow.data.context", "training")])
    ask("log_inputs", lambda: client.log_inputs(run, [dataset]))
    ask("log_inputs again", lambda: client.log_inputs(run, [dataset]))
    ask("get_run with inputs", lambda: client.get_run(run).inputs)
    ask("search_runs by dataset", lambda: [one.info.run_name for one in client.search_runs([made], "dataset.name = 'digits'")])
    ask("search_runs with inputs", lambda: client.search_runs([made])[-1].inputs)

    text = work / "a.txt"
    text.write_text("hello")
    folder = work / "folder" / "deep"
    folder.mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (work / "folder" / "c.txt").write_text("c")
    ask("log_artifact", lambda: client.log_artifact(run, str(text)))
    ask("log_artifact below", lambda: client.log_artifact(run, str(text), "sub/x"))
    ask("log_artifact missing", lambda: client.log_artifact(run, str(work / "none")), shown=False)
    ask("log_artifact up", lambda: client.log_artifact(run, str(text), "../x"))
    ask("log_artifacts", lambda: client.log_artifacts(run, str(work / "folder"), "all"))
    ask("log_text", lambda: client.log_text(run, "words", "t/words.txt"))
    ask("log_dict", lambda: client.log_dict(run, {"a": [1, 2]}, "d.json"))
    ask("log_table", lambda: client.log_table(run, {"x": [1, 2]}, "table.json"))
    ask("log_table more", lambda: client.log_table(run, {"x": [3]}, "table.json"))
    ask("load_table", lambda: client.load_table(made, "table.json"))
    for path in (None, "all", "all/deep", "a.txt", "none", "sub"):
        ask(f"list_artifacts {path}", lambda: client.list_artifacts(run, path))
    ask("download_artifacts", lambda: pathlib.Path(client.download_artifacts(run, "all", str(work))).joinpath("deep/b.txt").read_text())
    ask("download_artifacts one", lambda: pathlib.Path(client.download_artifacts(run, "a.txt", str(work))).read_text())
    ask("download_artifacts none", lambda: client.download_artifacts(run, "none.txt", str(work)), shown=False)
    ask("runs:/", lambda: fluent.artifacts.load_text(f"runs:/{run}/t/words.txt"))
    ask("load_dict", lambda: fluent.artifacts.load_dict(f"runs:/{run}/d.json"))
    import numpy as np

    if hasattr(client._thing, "log_stream"):
        import io

        ask("log_stream", lambda: client.log_stream(run, io.BytesIO(b"stream"), "s/x.bin"))
    ask("log_image of a series", lambda: client.log_image(run, np.zeros((4, 4, 3), dtype=np.uint8), key="pictures", step=1))
    from matplotlib.figure import Figure

    ask("log_figure", lambda: client.log_figure(run, Figure(), "f.png"))
    ask("list_artifacts of them", lambda: [(one.path, one.is_dir) for one in client.list_artifacts(run)])
    ask("log_image", lambda: client.log_image(run, np.zeros((4, 4, 3), dtype=np.uint8), "i.png"))


def models(ask, client, fluent, work, made, run):
    ask("create_registered_model", lambda: client.create_registered_model("digits", {"a": "b"}, "words"))
    ask("create_registered_model again", lambda: client.create_registered_model("digits"))
    ask("create_model_version", lambda: client.create_model_version("digits", f"runs:/{run}/all", run, tags={"x": "y"}))
    ask("create_model_version of a path", lambda: client.create_model_version("digits", "s3://bucket/x"))
    ask("get_registered_model", lambda: client.get_registered_model("digits"))
    ask("get_model_version", lambda: client.get_model_version("digits", "1"))
    ask("get_model_version_download_uri", lambda: client.get_model_version_download_uri("digits", "1"))
    ask("update_registered_model", lambda: client.update_registered_model("digits", "more words"))
    ask("update_model_version", lambda: client.update_model_version("digits", "1", "first"))
    ask("set_registered_model_tag", lambda: client.set_registered_model_tag("digits", "k", "v"))
    ask("delete_registered_model_tag", lambda: client.delete_registered_model_tag("digits", "a"))
    ask("set_model_version_tag", lambda: client.set_model_version_tag("digits", "1", "k", "v"))
    ask("delete_model_version_tag", lambda: client.delete_model_version_tag("digits", "1", "x"))
    ask("set_registered_model_alias", lambda: client.set_registered_model_alias("digits", "best", "1"))
    ask("get_model_version_by_alias", lambda: client.get_model_version_by_alias("digits", "best"))
    ask("delete_registered_model_alias", lambda: client.delete_registered_model_alias("digits", "best"))
    ask("get_latest_versions", lambda: client.get_latest_versions("digits"))
    ask("get_model_version_stages", lambda: client.get_model_version_stages("digits", "1"))
    ask("transition_model_version_stage", lambda: client.transition_model_version_stage("digits", "1", "Staging"))
    ask("search_registered_models", lambda: client.search_registered_models("name LIKE 'dig%'"))
    ask("search_model_versions", lambda: client.search_model_versions(f"run_id = '{run}'"))
    ask("copy_model_version", lambda: client.copy_model_version("models:/digits/1", "copied"))
    ask("delete_model_version", lambda: client.delete_model_version("digits", "2"))
    ask("rename_registered_model", lambda: client.rename_registered_model("copied", "copy"))
    ask("delete_registered_model", lambda: client.delete_registered_model("copy"))
    ask("get_registered_model gone", lambda: client.get_registered_model("copy"))


def logged_models(ask, client, fluent, work, made, run):
    from mlflow.entities import LoggedModelInput, LoggedModelOutput, LoggedModelStatus

    model = ask("create_logged_model", lambda: client.create_logged_model(made, "m", run, {"t": "1"}, {"p": "2"}, "tree")).model_id
    ask("finalize_logged_model", lambda: client.finalize_logged_model(model, LoggedModelStatus.READY))
    ask("get_logged_model", lambda: client.get_logged_model(model))
    ask("set_logged_model_tags", lambda: client.set_logged_model_tags(model, {"u": "3"}))
    ask("delete_logged_model_tag", lambda: client.delete_logged_model_tag(model, "t"))
    ask("log_model_artifact", lambda: client.log_model_artifact(model, str(work / "a.txt")))
    ask("log_model_artifacts", lambda: client.log_model_artifacts(model, str(work / "folder")))
    ask("list_logged_model_artifacts", lambda: client.list_logged_model_artifacts(model))
    ask("log_model_params", lambda: client.log_model_params(model, {"q": "3"}))
    ask("log_outputs", lambda: client.log_outputs(run, [LoggedModelOutput(model, 3)]))
    ask("log_inputs of a model", lambda: client.log_inputs(run, models=[LoggedModelInput(model)]))
    ask("log_metric of a model", lambda: client.log_metric(run, "auc", 0.5, timestamp=9, step=1, model_id=model))
    ask("get_run with models", lambda: client.get_run(run))
    ask("get_logged_model with metrics", lambda: client.get_logged_model(model))
    ask("search_logged_models", lambda: client.search_logged_models([made], "metrics.auc > 0.1"))
    ask("search_logged_models none", lambda: client.search_logged_models([made], "metrics.auc > 0.6"))
    ask("get_logged_model unknown", lambda: client.get_logged_model("m-" + "0" * 32))
    ask("delete_logged_model", lambda: client.delete_logged_model(model))
    ask("get_logged_model deleted", lambda: client.get_logged_model(model))


def traces(ask, client, fluent, work, made, run):
    root = ask("start_trace", lambda: client.start_trace("root", inputs={"a": 1}, experiment_id=made, run_id=run), shown=False)
    trace = root.trace_id
    span = ask("start_span", lambda: client.start_span("child", trace, root.span_id, inputs={"b": 2}), shown=False)
    ask("end_span", lambda: client.end_span(trace, span.span_id, outputs={"c": 3}))
    ask("end_trace", lambda: client.end_trace(trace, outputs={"d": 4}))
    mlflow.flush_trace_async_logging()
    ask("get_trace", lambda: [(one.name, one.outputs) for one in client.get_trace(trace, display=False).data.spans])
    ask("set_trace_tag", lambda: client.set_trace_tag(trace, "k", "v"))
    ask("search_traces", lambda: [one.info.tags.get("k") for one in client.search_traces([made])])
    ask("search_traces of a run", lambda: len(client.search_traces([made], run_id=run)))
    ask("delete_trace_tag", lambda: client.delete_trace_tag(trace, "k"))
    ask("link_traces_to_run", lambda: client.link_traces_to_run([trace], run))
    ask("link_traces_to_run of none", lambda: client.link_traces_to_run([trace], "0" * 32))
    ask("unlink_traces_from_run", lambda: client.unlink_traces_from_run([trace], run))
    ask("delete_traces", lambda: client.delete_traces(made, trace_ids=[trace]))
    ask("get_trace deleted", lambda: client.get_trace(trace, display=False))


def prompts(ask, client, fluent, work, made, run):
    ask("register_prompt", lambda: client.register_prompt("ask", "Say {{word}}", tags={"a": "b"}))
    ask("create_prompt", lambda: client.create_prompt("empty", "words", {"x": "y"}))
    ask("create_prompt_version", lambda: client.create_prompt_version("ask", "Tell {{word}}"))
    ask("get_prompt", lambda: client.get_prompt("ask"))
    ask("get_prompt_version", lambda: client.get_prompt_version("ask", 1))
    ask("set_prompt_alias", lambda: client.set_prompt_alias("ask", "best", 1))
    ask("get_prompt_version_by_alias", lambda: client.get_prompt_version_by_alias("ask", "best"))
    ask("load_prompt", lambda: client.load_prompt("prompts:/ask@best"))
    ask("parse_prompt_uri", lambda: client.parse_prompt_uri("prompts:/ask/1"))
    ask("set_prompt_tag", lambda: client.set_prompt_tag("ask", "k", "v"))
    ask("delete_prompt_tag", lambda: client.delete_prompt_tag("ask", "k"))
    ask("set_prompt_version_tag", lambda: client.set_prompt_version_tag("ask", 1, "k", "v"))
    ask("delete_prompt_version_tag", lambda: client.delete_prompt_version_tag("ask", 1, "k"))
    ask("search_prompts", lambda: client.search_prompts())
    ask("search_prompt_versions", lambda: client.search_prompt_versions("ask"))
    ask("link_prompt_version_to_run", lambda: client.link_prompt_version_to_run(run, "prompts:/ask/1"))
    ask("list_logged_prompts", lambda: client.list_logged_prompts(run))
    ask("detach_prompt_from_run", lambda: client.detach_prompt_from_run(run, "prompts:/ask/1"))
    ask("link_prompt_version_to_model", lambda: client.link_prompt_version_to_model("ask", "1", "m-" + "0" * 32))
    ask("link_prompt_versions_to_trace", lambda: client.link_prompt_versions_to_trace([], "tr-" + "0" * 32))
    ask("delete_prompt_alias", lambda: client.delete_prompt_alias("ask", "best"))
    ask("delete_prompt_version", lambda: client.delete_prompt_version("ask", "1"))
    ask("delete_prompt", lambda: client.delete_prompt("empty"))


def beside(ask, client, fluent, work, made, run):
    """Evaluation datasets, webhooks, MCP servers, workspaces."""
    dataset = ask("create_dataset", lambda: client.create_dataset("answers", made, {"a": "b"}), shown=False)
    known = dataset.dataset_id
    ask("get_dataset", lambda: client.get_dataset(known), shown=False)
    ask("search_datasets", lambda: [one.name for one in client.search_datasets([made])])
    ask("set_dataset_tags", lambda: client.set_dataset_tags(known, {"k": "v"}))
    ask("delete_dataset_tag", lambda: client.delete_dataset_tag(known, "k"))
    ask("add_dataset_to_experiments", lambda: client.add_dataset_to_experiments(known, ["0"]), shown=False)
    ask("remove_dataset_from_experiments", lambda: client.remove_dataset_from_experiments(known, ["0"]), shown=False)
    ask("delete_dataset", lambda: client.delete_dataset(known))
    hook = ask("create_webhook", lambda: client.create_webhook("hook", "https://example.com/x", ["model_version.created"]))
    hook = hook.webhook_id if hook is not None else "none"
    ask("get_webhook", lambda: client.get_webhook(hook))
    ask("list_webhooks", lambda: client.list_webhooks())
    ask("update_webhook", lambda: client.update_webhook(hook, description="words"))
    ask("delete_webhook", lambda: client.delete_webhook(hook))
    ask("create_mcp_server", lambda: client.create_mcp_server("io.example/tools", "words"))
    ask("get_mcp_server", lambda: client.get_mcp_server("io.example/tools"))
    ask("search_mcp_servers", lambda: client.search_mcp_servers())
    ask("update_mcp_server", lambda: client.update_mcp_server("io.example/tools", description="more"))
    ask("set_mcp_server_tag", lambda: client.set_mcp_server_tag("io.example/tools", "k", "v"))
    ask("delete_mcp_server_tag", lambda: client.delete_mcp_server_tag("io.example/tools", "k"))
    ask("search_mcp_server_versions", lambda: client.search_mcp_server_versions("io.example/tools"))
    ask("search_mcp_access_endpoints", lambda: client.search_mcp_access_endpoints())
    ask("delete_mcp_server", lambda: client.delete_mcp_server("io.example/tools"))
    ask("list_workspaces", lambda: client.list_workspaces())
    ask("get_workspace", lambda: client.get_workspace("none"))
    ask("create_workspace", lambda: client.create_workspace("none"))
    ask("update_workspace", lambda: client.update_workspace("none"))
    ask("delete_workspace", lambda: client.delete_workspace("none"))
    ask("get_workspace_store_uri", lambda: client.get_workspace_store_uri(), shown=False)


def fluently(ask, client, fluent, work, made, run):
    ask("set_experiment", lambda: fluent.set_experiment("fluent"))
    ask("set_experiment again", lambda: fluent.set_experiment("fluent"))
    with fluent.start_run(run_name="outer", tags={"k": "v"}, description="words") as outer:
        own = outer.info.run_id
        ask("active_run", lambda: fluent.active_run().info)
        ask("log_param", lambda: fluent.log_param("lr", 0.1))
        ask("log_params", lambda: fluent.log_params({"a": 1, "b": None}))
        ask("log_metric", lambda: fluent.log_metric("loss", 0.5, step=1, timestamp=5))
        ask("log_metrics", lambda: fluent.log_metrics({"x": 1, "y": 2}, step=2, timestamp=6))
        ask("log_metric synchronous=False", lambda: fluent.log_metric("z", 1, timestamp=6, synchronous=False).wait())
        ask("set_tag", lambda: fluent.set_tag("t", 1))
        ask("set_tags", lambda: fluent.set_tags({"u": 2, "w": 3}))
        ask("delete_tag", lambda: fluent.delete_tag("u"))
        ask("log_text", lambda: fluent.log_text("x", "x.txt"))
        ask("log_dict", lambda: fluent.log_dict({"x": 1}, "x.json"))
        ask("log_artifact", lambda: fluent.log_artifact(str(work / "a.txt")))
        ask("log_artifacts", lambda: fluent.log_artifacts(str(work / "folder"), "f"))
        ask("log_table", lambda: fluent.log_table({"x": [1]}, "t.json"))
        ask("get_artifact_uri", lambda: fluent.get_artifact_uri("x.txt"))
        frame = __import__("pandas").DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
        ask("log_input", lambda: fluent.log_input(fluent.data.from_pandas(frame, name="frame", targets="y"), context="eval"))
        with fluent.start_run(run_name="inner", nested=True):
            ask("nested", lambda: fluent.active_run().data.tags)
        ask("start_run twice", lambda: fluent.start_run())
    ask("flush_async_logging", lambda: fluent.flush_async_logging())
    ask("last_active_run", lambda: fluent.last_active_run().info.status)
    ask("get_run", lambda: fluent.get_run(own))
    ask("get_parent_run", lambda: fluent.get_parent_run(own))
    with fluent.start_run(run_id=own):
        ask("resumed", lambda: fluent.active_run().info.status)
        ask("log more", lambda: fluent.log_metric("more", 1, timestamp=8))
    os.environ["MLFLOW_RUN_ID"] = own
    with fluent.start_run() as by_id:
        ask("MLFLOW_RUN_ID", lambda: by_id.info.run_id)
    os.environ.pop("MLFLOW_RUN_ID", None)
    try:
        with fluent.start_run(run_name="fails"):
            raise ValueError("no")
    except ValueError:
        pass
    ask("search_runs", lambda: fluent.search_runs(order_by=["attributes.start_time ASC"]))
    ask("search_runs as list", lambda: fluent.search_runs(output_format="list", filter_string="params.lr = '0.1'"))
    ask("search_runs by name", lambda: len(fluent.search_runs(experiment_names=["fluent"])))
    ask("search_runs everywhere", lambda: len(fluent.search_runs(search_all_experiments=True)))
    ask("search_experiments", lambda: fluent.search_experiments(order_by=["name ASC"]))
    ask("get_experiment_by_name", lambda: fluent.get_experiment_by_name("fluent"))
    ask("create_experiment", lambda: fluent.create_experiment("by fluent"))
    ask("set_experiment_tags", lambda: fluent.set_experiment_tags({"a": 1}))
    ask("set_experiment_tag", lambda: fluent.set_experiment_tag("b", 2))
    ask("delete_experiment", lambda: fluent.delete_experiment(fluent.get_experiment_by_name("by fluent").experiment_id))
    ask("delete_run", lambda: fluent.delete_run(own))
    ask("get_run deleted", lambda: fluent.get_run(own).info.lifecycle_stage)
    ask("register_model", lambda: fluent.register_model(f"runs:/{run}/all", "fluent model"))
    ask("search_registered_models", lambda: fluent.search_registered_models())
    ask("search_model_versions", lambda: fluent.search_model_versions())
    ask("is_tracking_uri_set", lambda: fluent.is_tracking_uri_set())


def scenario(uri, places, work, names):
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri("")
    mlflow.tracking.fluent._active_experiment_id = None
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    client = Asked(mlflow.MlflowClient(), names, "MlflowClient.")
    fluent = Asked(mlflow, names, "mlflow.")
    ask = Recorder(places)
    work.mkdir()
    os.chdir(work)
    made, run = runs(ask, client, fluent, work)
    used(ask, client, fluent, work, made, run)
    models(ask, client, fluent, work, made, run)
    if NEW:
        for part in (logged_models, traces, prompts, beside):
            part(ask, client, fluent, work, made, run)
    fluently(ask, client, fluent, work, made, run)
    return ask.answers


def public():
    import inspect

    names = {f"MlflowClient.{name}" for name, _ in inspect.getmembers(mlflow.MlflowClient, inspect.isfunction) if name[0] != "_"}
    return names


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    names = set()
    (folder / "sql").mkdir(parents=True)
    os.chdir(folder)
    theirs = scenario(f"sqlite:///{folder}/sql/mlflow.db", [f"{folder}/mlruns", f"{folder}/sql"], folder / "work-a", names)
    ours = scenario(f"mlops:{folder}/root", [f"mlops:{folder}/root/.mlflow/artifacts", f"mlops://{folder}/root/.mlflow/artifacts"],
                    folder / "work-b", names)
    differences = [{"asked": a[0], "sqlite": a[1], "mlops": b[1]} for a, b in zip(theirs, ours) if a != b]
    print(json.dumps({"differences": differences, "asked": len(theirs), "as_many": len(theirs) == len(ours),
                      "tried": sorted(names & public()), "untried": sorted(public() - names)}))


if __name__ == "__main__":
    main()
