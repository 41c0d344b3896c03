"""Reads: runs of the buffer, searched and shown as MLflow's own stores do, and their points."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunInputs, RunTag
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.entities.metric import MetricWithRunId
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_USER
from mlflow.utils.search_utils import SearchUtils

from ..exceptions import NotFound
from .buffer import OLD, Buffer, plainly

_BY_START = "attributes.start_time DESC", "attribute.start_time DESC", "start_time DESC"


class Reads(Buffer):
    @plainly
    def get_run(self, run_id: str) -> Run:
        summary = self._find(run_id)
        if summary is None:
            return super().get_run(run_id)
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

    def _search(self, experiment_ids: list[str], filter_string: str, view_type: int, order_by: list[str]) -> Sequence[Run]:
        """The runs of the buffer that a search finds, in order; what they used is still to be added."""
        names = {name: one for one in experiment_ids for name in self._names_of(one)}
        found = [one for one in self._summaries(view_type) if one.experiment in names]
        default = not order_by or (len(order_by) == 1 and order_by[0] in _BY_START)
        if not filter_string and default:
            found.sort(key=lambda one: (-one.start_ms, one.id))
            return _Lazy(found, lambda one: self._entity(one, names[one.experiment]))
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
            return super().get_metric_history(run_id, metric_key, max_results, page_token)
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
            first, last = bisect.bisect_left(steps, start), bisect.bisect_right(steps, end)
        total = last - first
        if total <= count:
            chosen = list(range(first, last))
        else:
            size, larger = divmod(total, count)
            chosen = [first + part * size + min(part, larger) for part in range(count)]
            chosen[-1] = last - 1
        return [(steps[i], times[i], values[i]) for i in chosen]


class _Lazy(Sequence[Any]):
    """A list of what is made when it is looked at."""

    def __init__(self, items: list[Any], make: Callable[[Any], Any]) -> None:
        self.items, self.make = items, make

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return map(self.make, self.items)

    def __getitem__(self, which: Any) -> Any:
        return [self.make(one) for one in self.items[which]] if isinstance(which, slice) else self.make(self.items[which])


def _order(value: float) -> float:
    return 0.0 if math.isnan(value) else value
