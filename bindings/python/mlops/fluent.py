"""Fluent: the functions of `import mlops as mlflow`. The active run is the thread's own, as in MLflow."""

from __future__ import annotations

import os
import sys
import time
from _thread import _local as local  # what threading calls local

from . import _core, _experiments, _files, _state
from ._core import log_metric as log_metric, log_metrics as log_metrics  # as: exported from here
from .entities import Experiment, Run, RunData, RunInfo, ViewType, data_of, info_of
from .exceptions import FailedPrecondition, InvalidArgument, NotFound, WrongType

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal, overload

SEARCH_MAX_RESULTS_PANDAS = 100_000


class _Stack(local):
    def __init__(self) -> None:
        self.runs: list[ActiveRun] = []


_stack = _Stack()
_last_id: str | None = None
_experiment: str | None = None


class Done:
    """What MLflow gives back for synchronous=False: here the call was accepted when it returned."""

    def wait(self) -> None:
        return None


class ActiveRun(Run):
    """A run that is open here. `with` ends it: FINISHED, or FAILED with the exception named in a tag."""

    def __init__(self, handle: _core.RunHandle, info: RunInfo) -> None:
        super().__init__(info, None)
        self._handle = handle
        self._home = _state.home(handle.id)

    @property
    def data(self) -> RunData:
        """As of now: read from the buffer."""
        return data_of(_state.seen(self._handle.id, self._home))

    def metric(self, name: str) -> _core.Metric:
        """The handle of a metric: look up once, then log(value, step)."""
        return self._handle.metric(name)

    def log_metric(self, key: str, value: Any, step: int | None = None, timestamp: int | None = None) -> None:
        self._handle.metric(key).log(value, step, timestamp)

    def log_history(self, name: str, values: Any, steps: Any = None, timestamps: Any = None, *, first_step: int = 0) -> None:
        """Many values of one metric: an array, tensor or sequence. Steps count from `first_step` when not given."""
        self._handle.log_history(name, values, steps, timestamps, first_step)

    def log_param(self, key: str, value: Any) -> Any:
        self._handle.log_param(_state.name(key, "a param's key"), _state.text(value, f"param {key!r}"))
        return value

    def log_params(self, params: dict[str, Any]) -> None:
        self._handle.log_params(_state.pairs(params, "param"))

    def set_tag(self, key: str, value: Any) -> None:
        _state.set_tags(self._handle, [(_state.name(key, "a tag's key"), _state.text(value, f"tag {key!r}"))])

    def set_tags(self, tags: dict[str, Any]) -> None:
        _state.set_tags(self._handle, _state.pairs(tags, "tag"))

    def delete_tag(self, key: str) -> None:
        self._handle.delete_tag(_state.name(key, "a tag's key"))

    def server_id(self, timeout: float = 10.0) -> str:
        """The run's id on the server; waits until delivery has made it there."""
        return self._handle.server_id(timeout)

    def flush(self, level: Literal["buffered", "durable", "delivered"] = "durable", timeout: float = 10.0) -> None:
        """Waits until what was accepted has reached `level`; Ctrl-C works."""
        self._handle.flush(getattr(_core.Level, level), timeout)

    def end(self, status: str = "FINISHED") -> None:
        _remove(self)
        if not self._handle.ended:
            _state.end(self._handle, status)
        self.info.status = status
        self.info.end_time = int(time.time() * 1000)

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if self._handle.ended:
            _remove(self)
        elif error is not None:
            _remove(self)
            self.info.status = "FAILED"
            _state.fail(self._handle, error)
        else:
            self.end()
        return False


def _push(run: ActiveRun) -> None:
    global _last_id
    _stack.runs.append(run)
    _last_id = run.info.run_id
    _core.activate(run._handle)


def _remove(run: ActiveRun) -> None:
    global _last_id
    if run in _stack.runs:
        _last_id = run.info.run_id
        _stack.runs.remove(run)
    _core.activate(_stack.runs[-1]._handle if _stack.runs else None)


def _source_tags() -> dict[str, str]:
    """The script is the source, not the interpreter. MLFLOW_RUN_CONTEXT and the library's own say the rest."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return {"mlflow.source.name": main} if main else {}


def _user() -> str:
    """As the library says it in the run's tags; no name service is asked."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if os.environ.get(variable):
            return os.environ[variable]
    me = str(os.geteuid())
    try:
        with open("/etc/passwd", encoding="utf-8", errors="surrogateescape") as lines:
            return next((row[0] for row in (line.split(":") for line in lines) if row[2:3] == [me]), "")
    except OSError:
        return ""


def _chosen() -> str:
    return _experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or _experiments.DEFAULT


def _experiment_of(experiment_id: Any) -> str:
    if experiment_id is None:
        return _experiment or ""
    return _experiments.named(experiment_id)


def _environment_run() -> str | None:
    """The run that MLFLOW_RUN_ID names, for the first that is started without an id: the variable is gone then, as with
    MLflow. Beside MLOPS_RUN it says nothing."""
    if not os.environ.get("MLFLOW_RUN_ID") or os.environ.get("MLOPS_RUN"):
        return None
    _state.client()  # a client opened with the variable takes the slot of that run, where its process is dead
    return os.environ.pop("MLFLOW_RUN_ID")


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: dict[str, Any] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
) -> ActiveRun:
    """Starts a run, or with `run_id` goes on with one, and makes it this thread's active run. Valid offline."""
    above = _stack.runs[-1] if _stack.runs else None
    if above is not None and above._handle.ended:  # ended by its id, elsewhere
        _remove(above)
        above = _stack.runs[-1] if _stack.runs else None
    if above is not None and not nested and parent_run_id is None and run_id != above.info.run_id:
        raise FailedPrecondition(
            f"run {above.info.run_id} is already active: call end_run() first, or start_run(nested=True) for a run below it"
        )
    if run_id is None:
        run_id = _environment_run()
    given = dict(_state.pairs(tags, "tag"))
    options: dict[str, Any] = {"log_system_metrics": log_system_metrics}
    if description is not None:
        if "mlflow.note.content" in given:
            raise InvalidArgument("description and the tag mlflow.note.content are the same: give one of them")
        given["mlflow.note.content"] = _state.text(description, "description")
    if run_id is not None:
        known = _state.open_runs.get(_state.name(run_id, "run_id"))
        if known is not None and not known.ended:
            _state.adopt(known.id)
            handle = known
        else:
            handle = _state.start("", {**options, "resume_id": run_id})
        if run_name:
            handle.set_name(_state.name(run_name, "run_name"))
        _state.set_tags(handle, list(given.items()))
        info = info_of(_state.seen(handle.id, _state.home(handle.id)))
        info.status, info.end_time = "RUNNING", None
        return _made(handle, info)
    parent = parent_run_id or (above.info.run_id if above is not None and nested else None)
    experiment = _experiment_of(experiment_id)
    named = given.pop(_state.NAME_TAG, None)
    options.update(
        name=named if not run_name else _state.name(run_name, "run_name"),
        parent_id=None if parent is None else _state.name(parent, "parent_run_id"),
        tags=list({**_source_tags(), **given}.items()),
    )
    handle = _state.start(experiment, options)
    return _made(
        handle,
        RunInfo(
            run_id=handle.id,
            experiment_id=experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or _experiments.DEFAULT,
            run_name=handle.name,
            status="RUNNING",
            start_time=int(time.time() * 1000),
            user_id=given.get("mlflow.user") or _user(),
            artifact_uri=f"runs:/{handle.id}",
        ),
    )


def _made(handle: _core.RunHandle, info: RunInfo) -> ActiveRun:
    run = ActiveRun(handle, info)
    _push(run)
    return run


def end_run(status: str = "FINISHED") -> None:
    """Ends this thread's active run, if there is one."""
    if _stack.runs:
        _stack.runs[-1].end(status)


def active_run() -> ActiveRun | None:
    """This thread's active run."""
    return _stack.runs[-1] if _stack.runs else None


def last_active_run() -> Run | None:
    """The run that was active last, in any thread, as it is now."""
    return None if _last_id is None else get_run(_last_id)


def _active() -> ActiveRun:
    return _stack.runs[-1] if _stack.runs else start_run()


def _operation(synchronous: bool | None) -> Any:
    return Done() if synchronous is False else None


def of_model(
    handle: _core.RunHandle,
    points: dict[str, Any],
    step: Any,
    timestamp: Any,
    model_id: Any,
    dataset: dict[str, str] | None,
    *,
    link: bool = True,
) -> bool:
    """Logs points of a run that are a model's, too, measured on a dataset; False: no model is named."""
    if model_id is None:
        return False
    from . import _models

    model = _models.of_run(handle, model_id, link=link)
    for key, value in points.items():
        model.log_metric(key, value, step, dataset, timestamp)
    return True


def _log_metric_to(
    key: str,
    value: Any,
    step: int | None = None,
    synchronous: bool | None = None,
    timestamp: int | None = None,
    run_id: str | None = None,
    model_id: str | None = None,
    dataset: Any = None,
) -> Any:
    handle = _active()._handle if run_id is None else _state.handle_for(run_id)
    metric = handle.metric(key)
    used = None if dataset is None else _files.used(handle, dataset)
    if not of_model(handle, {key: value}, step, timestamp, model_id, used):
        metric.log(value, step, timestamp)
    return _operation(synchronous)


def _log_metrics_to(
    metrics: Any,
    step: int | None = None,
    synchronous: bool | None = None,
    run_id: str | None = None,
    timestamp: int | None = None,
    model_id: str | None = None,
    dataset: Any = None,
) -> Any:
    try:
        points = dict(metrics)
    except (TypeError, ValueError):
        raise WrongType(f"metrics must be a dictionary, not {type(metrics).__name__}") from None
    handle = _active()._handle if run_id is None else _state.handle_for(run_id)
    used = None if dataset is None else _files.used(handle, dataset)
    if not of_model(handle, points, step, timestamp, model_id, used):
        with _Within(handle):
            log_metrics(points, step, timestamp=timestamp)
    return _operation(synchronous)


class _Within:
    """The fast calls go to `handle` inside the block."""

    def __init__(self, handle: _core.RunHandle) -> None:
        self.handle = handle

    def __enter__(self) -> None:
        _core.activate(self.handle)

    def __exit__(self, *_: object) -> None:
        _core.activate(_stack.runs[-1]._handle if _stack.runs else None)


_core.set_hooks(_active, _log_metric_to, _log_metrics_to)


def log_history(
    key: str, values: Any, steps: Any = None, timestamps: Any = None, *, first_step: int = 0, run_id: str | None = None
) -> None:
    """Many values of one metric in one call: an array, tensor or sequence. Not in MLflow."""
    handle = _active()._handle if run_id is None else _state.handle_for(run_id)
    handle.log_history(key, values, steps, timestamps, first_step)


def log_param(key: str, value: Any, synchronous: bool | None = None) -> Any:
    _active().log_param(key, value)
    return value if synchronous is not False else Done()


def log_params(params: dict[str, Any], synchronous: bool | None = None, run_id: str | None = None) -> Any:
    handle = _active()._handle if run_id is None else _state.handle_for(run_id)
    handle.log_params(_state.pairs(params, "param"))
    return _operation(synchronous)


def set_tag(key: str, value: Any, synchronous: bool | None = None) -> Any:
    _active().set_tag(key, value)
    return _operation(synchronous)


def set_tags(tags: dict[str, Any], synchronous: bool | None = None) -> Any:
    _active().set_tags(tags)
    return _operation(synchronous)


def delete_tag(key: str) -> None:
    _active().delete_tag(key)


def get_run(run_id: str) -> Run:
    """A run of this root, by our id, the server's, or a unique start of one."""
    return Run._of(_state.find(run_id))


def get_parent_run(run_id: str) -> Run | None:
    parent = _state.parent_of(_state.find(run_id))
    return get_run(parent) if parent else None


def delete_run(run_id: str) -> None:
    """Out of sight, here and on the server, until it is restored."""
    summary = _state.find(run_id)
    _core.delete_runs(_root(), [summary.id])


def restore_run(run_id: str) -> None:
    """Takes delete_run back."""
    summary = _state.find(run_id)
    _core.restore_runs(_root(), [summary.id])


def _root() -> str:
    return _state.reader().root


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> Experiment:
    """Runs started from now on belong to this experiment, which is made with its first run."""
    global _experiment
    if (experiment_name is None) == (experiment_id is None):
        raise InvalidArgument("give experiment_name or experiment_id, one of them")
    chosen = _state.name(experiment_name, "experiment_name") if experiment_name is not None else _experiment_of(experiment_id)
    _experiments.checked(chosen)
    _state.client().experiment(chosen, [], "")
    _experiment = chosen
    found = get_experiment_by_name(chosen)
    return found if found is not None else _experiments.remember(Experiment(chosen, chosen), None)


def create_experiment(name: str, artifact_location: str | None = None, tags: dict[str, Any] | None = None) -> str:
    """Names an experiment; its tags and artifact location are used when a server makes it. Returns its id: the name."""
    return _experiments.make(name, artifact_location, tags)


def get_experiment_by_name(name: str) -> Experiment | None:
    """An experiment that has a run in this root, or was named in this process."""
    return _experiments.known().get(name)


def get_experiment(experiment_id: str) -> Experiment:
    return _experiments.of_id(experiment_id)


def search_experiments(
    view_type: int = ViewType.ACTIVE_ONLY,
    max_results: int | None = None,
    filter_string: str | None = None,
    order_by: list[str] | None = None,
) -> list[Experiment]:
    """The experiments of this root, newest run first."""
    return _experiments.found(view_type, filter_string, order_by)[:max_results]


def matching(
    experiments: list[str] | None, filter_string: str, view_type: int, order_by: list[str] | None, uri: str | None = None
) -> list[_core.RunSummary]:
    """The runs a search finds, in order; None: of all experiments."""
    only = experiments[0] if experiments is not None and len(experiments) == 1 else ""
    try:
        runs = _state.reader(uri).runs(filter_string or "", list(order_by or []), only, view_type, 0)
    except NotFound:
        return []  # no root yet
    if experiments is not None and not only:
        wanted = set(experiments)
        runs = [run for run in runs if run.experiment in wanted]
    return runs


if TYPE_CHECKING:

    @overload
    def search_runs(
        experiment_ids: list[str] | None = ...,
        filter_string: str = ...,
        run_view_type: int = ...,
        max_results: int = ...,
        order_by: list[str] | None = ...,
        *,
        output_format: Literal["list"],
        search_all_experiments: bool = ...,
        experiment_names: list[str] | None = ...,
    ) -> list[Run]: ...

    @overload
    def search_runs(
        experiment_ids: list[str] | None = ...,
        filter_string: str = ...,
        run_view_type: int = ...,
        max_results: int = ...,
        order_by: list[str] | None = ...,
        output_format: str = ...,
        search_all_experiments: bool = ...,
        experiment_names: list[str] | None = ...,
    ) -> Any: ...


def search_runs(
    experiment_ids: list[str] | None = None,
    filter_string: str = "",
    run_view_type: int = ViewType.ACTIVE_ONLY,
    max_results: int = SEARCH_MAX_RESULTS_PANDAS,
    order_by: list[str] | None = None,
    output_format: str = "pandas",
    search_all_experiments: bool = False,
    experiment_names: list[str] | None = None,
) -> Any:
    """Runs of this root by MLflow's search language: a DataFrame, or with output_format="list" a list of Run."""
    if experiment_ids and experiment_names:
        raise InvalidArgument("give experiment_ids or experiment_names, one of them")
    if output_format not in ("pandas", "list"):
        raise InvalidArgument(f'output_format must be "pandas" or "list", not {output_format!r}')
    chosen: list[str] | None = None
    if experiment_ids or experiment_names:
        chosen = [_experiment_of(one) for one in experiment_ids or []] + list(experiment_names or [])
    elif not search_all_experiments:
        chosen = [_chosen()]
    found = matching(chosen, filter_string, run_view_type, order_by)[:max_results]
    if output_format == "list":
        return [Run._of(summary) for summary in found]
    from . import _frames

    return _frames.runs(found)


def load_table(artifact_file: str, run_ids: list[str] | None = None, extra_columns: list[str] | None = None) -> Any:
    """The tables that log_table wrote there, of the experiment's runs or of those named, as one DataFrame; extra_columns:
    of search_runs, beside them ("run_id", "params.lr", …)."""
    from . import _frames

    return _frames.table(_state.name(artifact_file, "artifact_file"), run_ids, extra_columns, _chosen(), None)


def set_tracking_uri(uri: Any) -> None:
    """http(s)://… delivers there; mlops:///folder keeps runs there, without a server; "" is the environment again."""
    _state.set_tracking_uri(uri)


def get_tracking_uri() -> str:
    return _state.tracking_uri()


def is_tracking_uri_set() -> bool:
    return not get_tracking_uri().startswith("mlops:")


def flush_async_logging() -> None:
    """Waits until all that was accepted is durable: the calls themselves were never waiting."""
    client = _state.current()
    if client is not None:
        client.flush(_core.Level.durable, 60.0)
