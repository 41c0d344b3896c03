"""MlflowClient: the same by run id, without an active run. Reads this root; writes go the way of all logging. Artifacts, logged models and
the registry are in its bases."""

from __future__ import annotations


from . import _core, _experiments, _files, _later, _models, _registry, _state, fluent
from .entities import Experiment, Metric, PagedList, Run, ViewType
from .exceptions import InvalidArgument, NotFound, WrongType

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any

__all__ = ["MlflowClient"]

_PAGE = 1000


class MlflowClient(_files.Files, _registry.Registered, _models.Logged):
    """tracking_uri: as set_tracking_uri takes it; None: the process's."""

    def __init__(self, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        self._uri = tracking_uri or None
        if self._uri is not None:
            _state._target(self._uri)

    @property
    def tracking_uri(self) -> str:
        return self._uri or _state.tracking_uri()

    def __getattr__(self, name: str) -> Any:
        return _later.method(name)

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: dict[str, Any] | None = None,
        run_name: str | None = None,
    ) -> Run:
        """A run that stays RUNNING until set_terminated, also beyond this process. It starts now."""
        if start_time is not None:
            start_time = None  # a run starts when it is created: the buffer keeps its own clock
        given = dict(_state.pairs(tags, "tag"))
        named = given.pop(_state.NAME_TAG, None)
        if run_name and named and run_name != named:
            raise InvalidArgument(f"run_name {run_name!r} and the tag {_state.NAME_TAG} {named!r} differ: give one of them")
        options = {
            "tags": list(given.items()),
            "name": named if not run_name else _state.name(run_name, "run_name"),
            "log_system_metrics": False,
            "source_tags": False,
        }
        handle = _state.start(fluent._experiment_of(experiment_id), options, uri=self._uri, left_open=True)
        return self.get_run(handle.id)

    def get_run(self, run_id: str) -> Run:
        return Run._of(_state.find(run_id, self._uri))

    def get_parent_run(self, run_id: str) -> Run | None:
        parent = _state.parent_of(_state.find(run_id, self._uri))
        return self.get_run(parent) if parent else None

    def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        """Ends the run, open here or not. Its end is now."""
        status = status or "FINISHED"
        handle = _state.open_runs.get(_state.name(run_id, "run_id"))
        if handle is not None and not handle.ended:
            _state.end(handle, status)
            return
        _state.client(self._uri).end_run(_state.find(run_id, self._uri).id, status)

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        if name is not None:
            _state.handle_for(run_id, self._uri).set_name(_state.name(name, "a run's name"))
        if status is not None and status != "RUNNING":
            self.set_terminated(run_id, status)

    def log_metric(
        self,
        run_id: str,
        key: str,
        value: Any,
        timestamp: int | None = None,
        step: int | None = None,
        synchronous: bool | None = None,
        dataset_name: str | None = None,
        dataset_digest: str | None = None,
        model_id: str | None = None,
    ) -> Any:
        handle = _state.handle_for(run_id, self._uri)
        metric = handle.metric(key)
        dataset = {"name": dataset_name, "digest": dataset_digest or ""} if dataset_name else None
        if not fluent.of_model(handle, {key: value}, step, timestamp, model_id, dataset, link=False):
            metric.log(value, step, timestamp)
        return fluent._operation(synchronous)

    def log_param(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> Any:
        handle = _state.handle_for(run_id, self._uri)
        handle.log_param(_state.name(key, "a param's key"), _state.text(value, f"param {key!r}"))
        return value if synchronous is not False else fluent.Done()

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> Any:
        handle = _state.handle_for(run_id, self._uri)
        _state.set_tags(handle, [(_state.name(key, "a tag's key"), _state.text(value, f"tag {key!r}"))])
        return fluent._operation(synchronous)

    def delete_tag(self, run_id: str, key: str) -> None:
        _state.handle_for(run_id, self._uri).delete_tag(_state.name(key, "a tag's key"))

    def log_batch(
        self,
        run_id: str,
        metrics: Any = (),
        params: Any = (),
        tags: Any = (),
        synchronous: bool | None = None,
    ) -> Any:
        """Lists of entities with MLflow's fields, its own or ours."""
        handle = _state.handle_for(run_id, self._uri)
        try:
            texts = [[(item.key, item.value) for item in some] for some in (params, tags)]
            points = [(item.key, item.value, item.step, item.timestamp) for item in metrics]
        except (AttributeError, TypeError):
            raise WrongType("log_batch takes lists of Metric, Param and RunTag entities") from None
        if texts[0]:
            handle.log_params(_state.pairs(texts[0], "param"))
        _state.set_tags(handle, _state.pairs(texts[1], "tag"))
        for key, value, step, timestamp in points:
            handle.metric(key).log(value, step, timestamp)
        return fluent._operation(synchronous)

    def get_metric_history(self, run_id: str, key: str) -> PagedList[Metric]:
        """Every buffered point of a metric, by step and time."""
        summary = _state.find(run_id, self._uri)
        try:
            columns = _state.reader(self._uri).series(summary.id, key)
        except NotFound:
            return PagedList([])
        return PagedList([Metric(key, value, time, step) for step, time, value in zip(*(c.tolist() for c in columns))])

    def search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = _PAGE,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Run]:
        if isinstance(experiment_ids, str):
            experiment_ids = [experiment_ids]
        names = [fluent._experiment_of(one) for one in experiment_ids]
        found = fluent.matching(names, filter_string, run_view_type, order_by, self._uri) if names else []
        first = _offset(page_token)
        last = first + max_results
        return PagedList((Run._of(one) for one in found[first:last]), str(last) if last < len(found) else None)

    def delete_run(self, run_id: str) -> None:
        summary = _state.find(run_id, self._uri)
        _core.delete_runs(_state.reader(self._uri).root, [summary.id])

    def restore_run(self, run_id: str) -> None:
        summary = _state.find(run_id, self._uri)
        _core.restore_runs(_state.reader(self._uri).root, [summary.id])

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: dict[str, Any] | None = None
    ) -> str:
        return _experiments.make(name, artifact_location, tags, self._uri)

    def get_experiment(self, experiment_id: str) -> Experiment:
        return _experiments.of_id(experiment_id, self._uri)

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        return _experiments.known(self._uri).get(name)

    def search_experiments(
        self,
        view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int | None = 1000,
        filter_string: str | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        found = _experiments.found(view_type, filter_string, order_by, self._uri)
        first = _offset(page_token)
        last = first + (max_results or len(found))
        return PagedList(found[first:last], str(last) if last < len(found) else None)


def _offset(page_token: str | None) -> int:
    if not page_token:
        return 0
    if not str(page_token).isdecimal():
        raise InvalidArgument(f"page_token {str(page_token)[:40]!r} is none that search_runs gave")
    return int(page_token)
