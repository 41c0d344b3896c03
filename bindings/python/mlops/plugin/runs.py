"""Buffered: the runs of a tracking store of MLflow's, kept in the buffer. Mixed in front of the store that has the rest.

Writes are accepted when the call returns; reads see them. A run that the buffer does not have is left to the store
behind. Any thread may call. Errors are MlflowException with the words of MLflow's own stores.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunInputs, RunStatus, RunTag, ViewType
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.entities.metric import MetricWithRunId
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD
from mlflow.utils.async_logging.run_operations import RunOperations
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_MODELS, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_USER
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.search_utils import SearchUtils
from mlflow.utils.validation import (
    _validate_batch_log_data,
    _validate_batch_log_limits,
    _validate_metric,
    _validate_param,
    _validate_param_keys_unique,
    _validate_run_id,
    _validate_tag,
)

from .. import _core, _state
from ..exceptions import AlreadyExists, Error, FailedPrecondition, InvalidArgument, NotFound
from .places import Place

OLD = int(mlflow.__version__.split(".")[0]) < 3  # 2.x: no logged models, other page tokens

_BY_STEP = "attributes.start_time DESC", "attribute.start_time DESC", "start_time DESC"


def said(error: Error) -> MlflowException:
    """Our failure as MLflow says it."""
    try:
        code = ErrorCode.Value(error.error_code)
    except ValueError:
        code = ErrorCode.Value("INTERNAL_ERROR")
    return MlflowException(error.message, error_code=code)


def plainly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Failures of the buffer become MlflowException."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Error as error:
            raise said(error) from error

    return call


class Open:
    """A run that this process logs to."""

    __slots__ = ("deleted", "handle", "logs", "owner", "params")

    def __init__(self, handle: Any, owner: bool, params: dict[str, str]) -> None:
        self.handle = handle
        self.owner = owner  #: its end is ours; else it is joined only to log
        self.params = params
        self.deleted = False
        self.logs: dict[str, Any] = {}  #: by metric: the call that logs a point

    def log(self, key: str) -> Any:
        found = self.logs.get(key)
        if found is None:
            found = self.logs[key] = self.handle.metric(key).log
        return found


_open: dict[str, dict[str, Open]] = {}  # by target; then by every id a run was asked for with


_MLFLOWS = ("MLFLOW_RUN_ID", "MLFLOW_RUN_NAME", "MLFLOW_TRACKING_URI")


@contextlib.contextmanager
def _without_mlflows() -> Iterator[None]:
    """MLflow's client reads these itself; the buffer, which would too, reads the environment when it opens."""
    given = {name: os.environ.pop(name) for name in _MLFLOWS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(given)


@atexit.register
def _leave_open() -> None:
    """Runs that a MlflowClient made stay RUNNING; active ones are ended by MLflow's own handler, which comes later."""
    fluent = sys.modules.get("mlflow.tracking.fluent")
    stack = fluent._active_run_stack.get() if fluent is not None else []
    active = {run.info.run_id for run in stack}
    for runs in _open.values():
        for one in list(runs.values()):
            with contextlib.suppress(Error):
                if one.owner and not one.handle.ended and one.handle.id not in active:
                    one.handle.leave()


class Buffered:
    place: Place

    def _begin(self, place: Place) -> None:
        self.place = place
        self._opening = threading.RLock()
        self._runs = _open.setdefault(place.target, {})

    # What the store behind knows of experiments.

    def _experiment_of(self, name: str) -> str:
        """The id of the experiment that runs with this name in the buffer belong to."""
        raise NotImplementedError

    def _name_of(self, experiment_id: str) -> str | None:
        """The other way round; None: there is no such experiment."""
        raise NotImplementedError

    def _artifacts_of(self, run_id: str, experiment_id: str) -> str:
        raise NotImplementedError

    def _used(self, run_ids: list[str]) -> dict[str, tuple[Any, Any]]:
        """(RunInputs, RunOutputs) of runs, where there are any."""
        return {}

    def _model_points(self, run_id: str, metrics: list[Metric]) -> None:
        """These points are ones of logged models, too."""

    def _server_files(self, run_id: str, path: str) -> list[Any]:
        """What a server lists there."""
        return []

    def _download(self, run_id: str, path: str, file: str) -> bool:
        """From a server; false: it has no such file."""
        return False

    # The buffer.

    def _client(self) -> Any:
        with self._opening, _without_mlflows():
            return _state.client(self.place.target)

    def _reader(self) -> Any | None:
        """As of now; None: there is no root yet."""
        try:
            return _state.reader(self.place.target)
        except NotFound:
            return None

    def _find(self, run_id: str) -> Any | None:
        """The run of that id, ours or the server's, if the buffer has it."""
        reader = self._reader()
        if reader is None or not isinstance(run_id, str):
            return None
        known = self._runs.get(run_id)
        try:
            found = reader.run(known.handle.id if known is not None else run_id)
        except (NotFound, InvalidArgument):
            return None
        return found if known is not None or run_id in (found.id, found.server_id) else None

    def _summaries(self, view_type: int = ViewType.ALL) -> list[Any]:
        reader = self._reader()
        return reader.runs(view_type=view_type) if reader is not None else []

    def _run(self, run_id: str) -> Open | None:
        """To log to. None: the buffer does not have it."""
        known = self._runs.get(run_id)
        if known is not None and not known.handle.ended:
            if known.deleted:
                _active(self._find(run_id))
                known.deleted = False  # somebody restored it
            return known
        with self._opening:
            summary = self._find(run_id)
            if summary is None:
                return None
            known = self._runs.get(summary.id)
            if known is None or known.handle.ended:
                _active(summary)
                handle = self._client().start_run("", {"attach_id": summary.id, "log_system_metrics": False})
                known = Open(handle, False, summary.params)
            self._runs[run_id] = self._runs[summary.id] = known
            return known

    def _forget(self, run_id: str) -> None:
        with self._opening:
            known = self._runs.get(run_id)
            for one in [key for key, value in self._runs.items() if value is known]:
                del self._runs[one]

    # Writes.

    def log_metric(self, run_id: str, metric: Metric) -> None:
        if getattr(metric, "model_id", None) is None:
            try:
                self._runs[run_id].logs[metric.key](metric.value, metric.step, metric.timestamp)
                return
            except (KeyError, Error):
                pass
        _validate_run_id(run_id)
        _validate_metric(metric.key, metric.value, metric.timestamp, metric.step)
        if not self._points(run_id, [metric]):
            super().log_metric(run_id, metric)  # type: ignore[misc]

    @plainly
    def _points(self, run_id: str, metrics: list[Metric]) -> bool:
        run = self._run(run_id)
        if run is None:
            return False
        seen = set()
        for one in metrics:
            point = (one.key, one.value, one.step, one.timestamp)
            if point not in seen:
                seen.add(point)
                run.log(one.key)(one.value, one.step, one.timestamp)
        linked = [one for one in metrics if getattr(one, "model_id", None) is not None]
        if linked:
            self._model_points(run.handle.id, linked)
        return True

    def log_param(self, run_id: str, param: Param) -> None:
        _validate_run_id(run_id)
        param = _validate_param(param.key, param.value)
        if not self._params(run_id, [param], one=True):
            super().log_param(run_id, param)  # type: ignore[misc]

    @plainly
    def _params(self, run_id: str, params: list[Param], one: bool = False) -> bool:
        run = self._run(run_id)
        if run is None:
            return False
        self._check_params(run_id, run, params, one)
        pairs = [(each.key, str(each.value)) for each in params if each.key not in run.params]
        try:
            run.handle.log_params(pairs)
        except AlreadyExists:  # logged by another process
            run.params.update(self._find(run.handle.id).params)
            self._check_params(run_id, run, params, one)
            raise
        run.params.update(pairs)
        return True

    @staticmethod
    def _check_params(run_id: str, run: Open, params: list[Param], one: bool) -> None:
        changed = [
            {"key": each.key, "old_value": run.params[each.key], "new_value": each.value}
            for each in params
            if run.params.get(each.key, str(each.value)) != str(each.value)
        ]
        if changed and one:
            raise MlflowException(
                "Changing param values is not allowed. Param with key='{}' was already"
                " logged with value='{}' for run ID='{}'. Attempted logging new value"
                " '{}'.".format(changed[0]["key"], changed[0]["old_value"], run_id, changed[0]["new_value"]),
                INVALID_PARAMETER_VALUE,
            )
        if changed:
            raise MlflowException(
                f"Changing param values is not allowed. Params were already logged='{changed}' for run ID='{run_id}'.",
                INVALID_PARAMETER_VALUE,
            )

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        _validate_run_id(run_id)
        tag = _validate_tag(tag.key, tag.value)
        if not self._tags(run_id, [tag]):
            super().set_tag(run_id, tag)  # type: ignore[misc]

    @plainly
    def _tags(self, run_id: str, tags: Iterable[RunTag]) -> bool:
        run = self._run(run_id)
        if run is None:
            return False
        plain = []
        for tag in tags:
            if tag.key == MLFLOW_RUN_NAME:
                run.handle.set_name(tag.value)
            else:
                plain.append((tag.key, str(tag.value)))
        if plain:
            run.handle.set_tags(plain)
        return True

    @plainly
    def delete_tag(self, run_id: str, key: str) -> None:
        run = self._run(run_id)
        if run is None:
            super().delete_tag(run_id, key)  # type: ignore[misc]
            return
        if key not in self._find(run_id).tags:
            raise MlflowException(f"No tag with name: {key} in run with id {run_id}", error_code=RESOURCE_DOES_NOT_EXIST)
        run.handle.delete_tag(key)

    def log_batch(self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> None:
        _validate_run_id(run_id)
        metrics, params, tags = _validate_batch_log_data(metrics, params, tags)
        _validate_batch_log_limits(metrics, params, tags)
        _validate_param_keys_unique(params)
        if params and not self._params(run_id, params):
            super().log_batch(run_id, metrics, params, tags)  # type: ignore[misc]
        elif not self._points(run_id, metrics):
            super().log_batch(run_id, metrics, params, tags)  # type: ignore[misc]
        else:
            self._tags(run_id, tags)

    def log_batch_async(
        self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]
    ) -> RunOperations:
        done: Future[None] = Future()
        try:
            self.log_batch(run_id, metrics, params, tags)
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)
        return RunOperations(operation_futures=[done])

    def record_logged_model(self, run_id: str, mlflow_model: Any) -> None:
        """MLflow 2.x: what models a run has is a tag."""
        import json

        from mlflow.models import Model

        if not isinstance(mlflow_model, Model):
            raise TypeError(f"Argument 'mlflow_model' should be mlflow.models.Model, got '{type(mlflow_model)}'")
        summary = self._find(run_id)
        if summary is None:
            super().record_logged_model(run_id, mlflow_model)  # type: ignore[misc]
            return
        known = json.loads(summary.tags.get(MLFLOW_LOGGED_MODELS, "[]"))
        value = json.dumps([*known, mlflow_model.get_tags_dict()])
        self._tags(run_id, [_validate_tag(MLFLOW_LOGGED_MODELS, value)])

    # The life of a run.

    @plainly
    def create_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: list[RunTag], run_name: str | None
    ) -> Run:
        experiment = self.get_experiment(experiment_id)  # type: ignore[attr-defined]
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise MlflowException(
                f"The experiment {experiment.experiment_id} must be in the 'active' state. "
                f"Current state is {experiment.lifecycle_stage}.",
                INVALID_PARAMETER_VALUE,
            )
        given = {tag.key: str(tag.value) for tag in tags or []}
        named = given.pop(MLFLOW_RUN_NAME, None)
        if run_name and named and run_name != named:
            raise MlflowException(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with "
                f"different values (run_name='{run_name}', mlflow.runName='{named}').",
                INVALID_PARAMETER_VALUE,
            )
        options = {
            "name": run_name or named or _generate_random_name(),
            "parent_id": given.pop(MLFLOW_PARENT_RUN_ID, None),
            "tags": list(given.items()),
            "start_ms": start_time or 0,
            "source_tags": False,  # MLflow's client sets them
            "log_system_metrics": False,  # MLflow's client does
        }
        handle = self._client().start_run(self._name_of(experiment_id), options)
        with self._opening:
            self._runs[handle.id] = Open(handle, True, {})
        return self.get_run(handle.id)

    @plainly
    def update_run_info(self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None) -> RunInfo:
        run = self._run(run_id)
        if run is None:
            adopted = self._adopt(run_id) if run_status == RunStatus.RUNNING else None
            if adopted is None:
                return super().update_run_info(run_id, run_status, end_time, run_name)  # type: ignore[misc]
            run = adopted
        if run_name:
            run.handle.set_name(run_name)
        if run_status is not None:
            self._set_status(run_id, run, run_status, end_time or 0)
        return self.get_run(run_id).info

    def _set_status(self, run_id: str, run: Open, status: int, end_ms: int) -> None:
        name = RunStatus.to_string(status)
        if not RunStatus.is_terminated(status):
            if status == RunStatus.RUNNING and not run.owner:
                self._own(run_id)
            return  # SCHEDULED: a run of the buffer runs until it ends
        if not run.owner:
            try:
                self._client().end_run(run.handle.id, name, end_ms)
                self._forget(run_id)
                return
            except FailedPrecondition:  # it has ended, or a living process has it
                known = self._find(run_id)
                if known.status == name and end_ms in (0, known.end_ms):
                    return
            run = self._own(run_id)
        run.handle.end(name, end_ms)
        self._forget(run_id)
        if self._find(run_id).status != name:
            raise MlflowException(f"run {run_id} belongs to a living process, which ends it itself", INVALID_STATE)

    def _own(self, run_id: str) -> Open:
        """Goes on with a run as its owner; beside a living process that is that, only to log."""
        with self._opening:
            summary = self._find(run_id)
            old = self._runs.get(run_id)
            if old is not None and not old.handle.ended:
                old.handle.leave()  # joined: only this object goes
            self._forget(run_id)
            handle = self._client().start_run("", {"resume_id": summary.id, "log_system_metrics": False})
            run = self._runs[run_id] = self._runs[summary.id] = Open(handle, True, summary.params)
            return run

    def _adopt(self, run_id: str) -> Open | None:
        """A run that only the server has is gone on with here. None: it is not one."""
        return None

    @plainly
    def delete_run(self, run_id: str) -> None:
        summary = self._find(run_id)
        if summary is None:
            super().delete_run(run_id)  # type: ignore[misc]
            return
        self._delete([summary.id])

    def _delete(self, run_ids: list[str]) -> None:
        if run_ids:
            _core.delete_runs(self._client().root, run_ids)
            self._wait(run_ids, True)
        for one in run_ids:
            run = self._runs.get(one)
            if run is not None:
                run.deleted, run.logs = True, {}

    @plainly
    def restore_run(self, run_id: str) -> None:
        summary = self._find(run_id)
        if summary is None:
            super().restore_run(run_id)  # type: ignore[misc]
            return
        self._restore([summary.id])

    def _restore(self, run_ids: list[str]) -> None:
        if run_ids:
            _core.restore_runs(self._client().root, run_ids)
            self._wait(run_ids, False)

    def _wait(self, run_ids: list[str], deleted: bool) -> None:
        """Until readers see it: what is written beside a living slot comes with its next beat."""
        import time

        until = time.monotonic() + 5
        while time.monotonic() < until:
            if all((found := self._find(one)) is None or found.deleted == deleted for one in run_ids):
                return
            time.sleep(0.02)

    # Reads.

    @plainly
    def get_run(self, run_id: str) -> Run:
        summary = self._find(run_id)
        if summary is None:
            return super().get_run(run_id)  # type: ignore[misc]
        return self._with_used([self._entity(summary)])[0]

    def _entity(self, summary: Any, experiment_id: str | None = None) -> Run:
        tags = summary.tags
        tags.setdefault(MLFLOW_RUN_NAME, summary.name)
        if summary.parent_id:
            tags.setdefault(MLFLOW_PARENT_RUN_ID, summary.parent_id)
        if experiment_id is None:
            experiment_id = self._experiment_of(summary.experiment)
        values = {
            "run_id": summary.id,
            "experiment_id": experiment_id,
            "user_id": tags.get(MLFLOW_USER, "unknown"),
            "status": summary.status,
            "start_time": summary.start_ms,
            "end_time": summary.end_ms or None,
            "lifecycle_stage": LifecycleStage.DELETED if summary.deleted else LifecycleStage.ACTIVE,
            "artifact_uri": self._artifacts_of(summary.id, experiment_id),
            "run_name": summary.name,
        }
        if OLD:
            values["run_uuid"] = summary.id
        metrics = [Metric(key, one[0], one[2], one[1]) for key, one in summary.metrics.items()]
        params = [Param(key, value) for key, value in summary.params.items()]
        return Run(RunInfo(**values), RunData(metrics, params, [RunTag(*pair) for pair in tags.items()]))

    def _with_used(self, runs: list[Run]) -> list[Run]:
        used = self._used([run.info.run_id for run in runs])
        return [self._with(run, used.get(run.info.run_id)) for run in runs]

    @staticmethod
    def _with(run: Run, used: tuple[Any, Any] | None) -> Run:
        if OLD:
            return Run(run.info, run.data, used[0] if used else RunInputs(dataset_inputs=[]))
        from mlflow.entities import RunOutputs

        inputs, outputs = used or (RunInputs(dataset_inputs=[], model_inputs=[]), RunOutputs([]))
        return Run(run.info, run.data, inputs, outputs)

    def _search(self, experiment_ids: list[str], filter_string: str, view_type: int, order_by: list[str]) -> list[Run]:
        """The runs of the buffer that a search finds, in order; what they used is still to be added."""
        names = {name: one for one in experiment_ids if (name := self._name_of(one)) is not None}
        found = [one for one in self._summaries(view_type) if one.experiment in names]
        default = not order_by or (len(order_by) == 1 and order_by[0] in _BY_STEP)
        if not filter_string and default:
            found.sort(key=lambda one: (-one.start_ms, one.id))
            return _Lazy(found, lambda one: self._entity(one, names[one.experiment]))  # type: ignore[return-value]
        runs = [self._entity(one, names[one.experiment]) for one in found]
        if filter_string and "dataset" in filter_string.lower():
            runs = self._with_used(runs)
        return SearchUtils.sort(SearchUtils.filter(runs, filter_string), order_by)

    @staticmethod
    def _check_search(filter_string: str | None, max_results: int | None, order_by: list[str] | None) -> None:
        limit = None
        if max_results is not None and max_results < 1:
            limit = "a positive integer"
        elif max_results is not None and max_results > SEARCH_MAX_RESULTS_THRESHOLD:
            limit = f"at most {SEARCH_MAX_RESULTS_THRESHOLD}"
        if limit is not None:
            raise MlflowException(
                f"Invalid value {max_results} for parameter 'max_results' supplied. It must be {limit}",
                INVALID_PARAMETER_VALUE,
            )
        SearchUtils.parse_search_filter(filter_string)
        for clause in order_by or []:
            SearchUtils.parse_order_by_for_search_runs(clause)

    @plainly
    def _search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str,
        run_view_type: int,
        max_results: int,
        order_by: list[str],
        page_token: str | None,
    ) -> tuple[list[Run], str | None]:
        self._check_search(filter_string, max_results, order_by)
        offset = SearchUtils.parse_start_offset_from_page_token(page_token)
        found = self._search(experiment_ids, filter_string, run_view_type, order_by or [])
        page = self._with_used(list(found[offset : offset + max_results if max_results else None]))
        more = len(page) == max_results if OLD else len(found) > offset + len(page)
        return page, SearchUtils.create_page_token(offset + max_results) if more and max_results else None

    # Points.

    def _series(self, summary: Any, key: str) -> tuple[Any, Any, Any]:
        try:
            reader = self._reader()
            return reader.series(summary.id, key) if reader is not None and key in summary.metrics else ((), (), ())
        except NotFound:
            return (), (), ()

    def _history(self, summary: Any, key: str) -> list[tuple[int, int, float]]:
        """(step, time, value) by step, each once: a server would not tell them apart."""
        seen: dict[tuple[int, int, float, bool], tuple[int, int, float]] = {}
        for step, time_ms, value in zip(*self._series(summary, key)):
            nan = math.isnan(value)
            seen.setdefault((step, time_ms, 0.0 if nan else value, nan), (step, time_ms, value))
        return [seen[one] for one in sorted(seen)]

    @plainly
    def get_metric_history(
        self, run_id: str, metric_key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        summary = self._find(run_id)
        if summary is None:
            return super().get_metric_history(run_id, metric_key, max_results, page_token)  # type: ignore[misc]
        offset = SearchUtils.parse_start_offset_from_page_token(page_token)
        points = sorted(self._history(summary, metric_key), key=lambda one: (one[1], one[0], _order(one[2])))
        end = len(points) if max_results is None or OLD else offset + max_results
        page = [Metric(metric_key, value, at, step) for step, at, value in points[offset:end]]
        return PagedList(page, SearchUtils.create_page_token(end) if end < len(points) else None)

    @plainly
    def get_metric_history_bulk(self, run_ids: list[str], metric_key: str, max_results: int) -> list[MetricWithRunId]:
        rows = []
        for run_id in sorted(run_ids):
            for one in self._all_points(run_id, metric_key):
                rows.append(MetricWithRunId(run_id=run_id, metric=one))
                if len(rows) == max_results:
                    return rows
        return rows

    def _all_points(self, run_id: str, key: str) -> Iterator[Metric]:
        token = None
        while True:
            page = self.get_metric_history(run_id, key, None if OLD else 25_000, token)
            yield from page
            token = page.token
            if not token:
                return

    @plainly
    def get_max_step_for_metric(self, run_id: str, metric_key: str) -> int:
        summary = self._find(run_id)
        if summary is None:
            return max((one.step for one in self._all_points(run_id, metric_key)), default=0)
        return max(self._series(summary, metric_key)[0], default=0)

    @plainly
    def get_metric_history_bulk_interval_from_steps(
        self, run_id: str, metric_key: str, steps: list[int], max_results: int
    ) -> list[MetricWithRunId]:
        wanted = set(steps)
        summary = self._find(run_id)
        if summary is None:
            points = [one for one in self._all_points(run_id, metric_key) if one.step in wanted]
            points.sort(key=lambda one: (one.step, one.timestamp, _order(one.value)))
        else:
            history = self._history(summary, metric_key)
            points = [Metric(metric_key, value, at, step) for step, at, value in history if step in wanted]
        return [MetricWithRunId(run_id=run_id, metric=one) for one in points[:max_results]]

    @plainly
    def get_metric_history_bulk_interval(
        self, run_ids: list[str], metric_key: str, max_results: int, start_step: int | None, end_step: int | None
    ) -> list[MetricWithRunId]:
        if (start_step is None) != (end_step is None):
            raise MlflowException.invalid_parameter_value(
                "Both start_step and end_step must be specified together, or neither may be specified."
            )
        rows = []
        for run_id in run_ids:
            for step, at, value in self._sample(run_id, metric_key, max(1, max_results), start_step, end_step):
                rows.append(MetricWithRunId(run_id=run_id, metric=Metric(metric_key, value, at, step)))
        return rows

    def _sample(
        self, run_id: str, key: str, count: int, start: int | None, end: int | None
    ) -> list[tuple[int, int, float]]:
        """The first point of each of `count` equally large parts, and the last one, as MLflow's SQL stores choose them."""
        summary = self._find(run_id)
        if summary is None:
            points = [(one.step, one.timestamp, one.value) for one in self._all_points(run_id, key)]
            columns = tuple(zip(*sorted(points, key=lambda one: (one[0], one[1], _order(one[2]))))) or ((), (), ())
        else:
            columns = self._series(summary, key)
        steps, times, values = columns
        first, last = 0, len(steps)
        if start is not None and end is not None:
            import bisect

            first, last = bisect.bisect_left(steps, start), bisect.bisect_right(steps, end)
        total = last - first
        if total <= count:
            chosen = list(range(first, last))
        else:
            size, larger = divmod(total, count)
            chosen = [first + part * size + min(part, larger) for part in range(count)]
            chosen[-1] = last - 1
        return [(steps[i], times[i], values[i]) for i in chosen]


class _Lazy:
    """A list of what is made when it is looked at."""

    def __init__(self, items: list[Any], make: Callable[[Any], Any]) -> None:
        self.items, self.make = items, make

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return map(self.make, self.items)

    def __getitem__(self, which: slice) -> list[Any]:
        return [self.make(one) for one in self.items[which]]


def _order(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _active(summary: Any) -> None:
    if summary.deleted:
        raise MlflowException(
            f"The run {summary.id} must be in the 'active' state. Current state is deleted.", INVALID_PARAMETER_VALUE
        )
