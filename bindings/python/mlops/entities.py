"""Entities: what reading gives back, with MLflow's names and fields.

An experiment's id is its name: experiments are made on a server when their first run is delivered there, so offline
there is no number, and a name is one everywhere. "0" stands for "Default", as in MLflow.
"""

from __future__ import annotations


from . import _core
from ._records import Entity, field, record

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any, Iterable, TypeVar

    T = TypeVar("T")
else:
    T = None

__all__ = [
    "Experiment",
    "ExperimentTag",
    "LifecycleStage",
    "LoggedModel",
    "LoggedModelInput",
    "LoggedModelOutput",
    "LoggedModelStatus",
    "Metric",
    "PagedList",
    "Param",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunStatus",
    "RunTag",
    "ViewType",
]

class ViewType:
    """Which runs a search shows."""

    ACTIVE_ONLY = 1
    DELETED_ONLY = 2
    ALL = 3


class LifecycleStage:
    ACTIVE = "active"
    DELETED = "deleted"


class LoggedModelStatus:
    """What has become of a logged model, in MLflow's words."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"


class RunStatus:
    """MLflow's numbers and names of a run's state."""

    RUNNING = 1
    SCHEDULED = 2
    FINISHED = 3
    FAILED = 4
    KILLED = 5

    _NAMES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}

    @staticmethod
    def to_string(status: int) -> str:
        return RunStatus._NAMES[status]

    @staticmethod
    def from_string(name: str) -> int:
        return {name: number for number, name in RunStatus._NAMES.items()}[name]

    @staticmethod
    def is_terminated(status: int) -> bool:
        return status in (3, 4, 5)


@record(frozen=True)
class Metric(Entity):
    """One point. `timestamp`: milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int = 0
    dataset_name: str | None = field(default=None, repr=False)
    dataset_digest: str | None = field(default=None, repr=False)
    model_id: str | None = field(default=None, repr=False)
    run_id: str | None = field(default=None, repr=False)


@record(frozen=True)
class LoggedModelInput(Entity):
    model_id: str


@record(frozen=True)
class LoggedModelOutput(Entity):
    model_id: str
    step: int = 0


@record(frozen=True)
class Param(Entity):
    key: str
    value: str


@record(frozen=True)
class RunTag(Entity):
    key: str
    value: str


@record(frozen=True)
class ExperimentTag(Entity):
    key: str
    value: str


class PagedList(list[T]):
    """A list with the token of the next page; None: that was all."""

    def __init__(self, items: Iterable[T], token: str | None = None) -> None:
        super().__init__(items)
        self.token = token

    def to_list(self) -> list[T]:
        return list(self)


@record
class LoggedModel(Entity):
    """A logged model as it was when it was read."""

    experiment_id: str  #: the experiment's name
    model_id: str  #: ours: 32 hex digits, never changes; every call takes the server's too
    name: str
    artifact_location: str | None = None  #: where a server keeps its files is known there
    creation_timestamp: int = 0  #: milliseconds since 1970
    last_updated_timestamp: int = 0
    model_type: str | None = None
    source_run_id: str | None = None  #: ours, of the run that made it
    status: str = LoggedModelStatus.PENDING
    tags: dict[str, str] = field(default_factory=dict[str, str])
    params: dict[str, str] = field(default_factory=dict[str, str])
    metrics: list[Metric] = field(default_factory=list[Metric])
    server_id: str | None = None  #: "m-…", once it is there

    @property
    def model_uri(self) -> str:
        return f"models:/{self.model_id}"

    def to_dictionary(self) -> dict[str, Any]:
        return dict(vars(self))


@record
class RunInfo(Entity):
    run_id: str  #: ours: 32 hex digits, never changes; every call takes the server's too
    experiment_id: str  #: the experiment's name
    run_name: str
    status: str  #: "RUNNING", "FINISHED", "FAILED", "KILLED"
    start_time: int  #: milliseconds since 1970
    end_time: int | None = None
    user_id: str = ""
    lifecycle_stage: str = LifecycleStage.ACTIVE
    artifact_uri: str | None = None  #: runs:/ID: what artifacts.download_artifacts takes
    server_id: str | None = None  #: the run's id on the server, once it is there

    @property
    def run_uuid(self) -> str:
        return self.run_id


class RunData(Entity):
    """Params, tags, and the latest value of each metric."""

    __match_args__ = ("metrics", "params", "tags")

    def __init__(self, metrics: list[Metric], params: dict[str, str], tags: dict[str, str]) -> None:
        self._metric_objs = metrics
        self.params = params
        self.tags = tags

    @property
    def metrics(self) -> dict[str, float]:
        return {metric.key: metric.value for metric in self._metric_objs}

    def to_dictionary(self) -> dict[str, Any]:
        return {"metrics": self.metrics, "params": self.params, "tags": self.tags}


@record
class RunInputs(Entity):
    """Datasets and models a run read: they are on the server, and not read back here."""

    dataset_inputs: list[Any] = field(default_factory=list[object])
    model_inputs: list[Any] = field(default_factory=list[object])


class Run(Entity):
    """A run as it was when it was read. Copied or pickled it is a plain one, also where it is open."""

    __match_args__ = ("info", "data", "inputs")

    def __init__(self, info: RunInfo, data: RunData | None, inputs: RunInputs | None = None) -> None:
        self._info = info
        self._data = data
        self._inputs = inputs or RunInputs()

    @classmethod
    def _of(cls, summary: _core.RunSummary) -> Run:
        run = Run.__new__(_ReadRun)
        run._summary = summary
        run._inputs = RunInputs()
        return run

    @property
    def info(self) -> RunInfo:
        return self._info

    @property
    def data(self) -> RunData:
        return self._data or RunData([], {}, {})

    @property
    def inputs(self) -> RunInputs:
        return self._inputs

    def to_dictionary(self) -> dict[str, Any]:
        return {"info": dict(vars(self.info)), "data": self.data.to_dictionary(), "inputs": vars(self.inputs)}

    def __reduce__(self) -> tuple[Any, ...]:
        return Run, (self.info, self.data, self.inputs)

    def __repr__(self) -> str:
        info = self.info
        return f"<{type(self).__name__}: {info.run_name!r} {info.status}, id {info.run_id}, experiment {info.experiment_id!r}>"

    def _repr_html_(self) -> str:
        from . import _html

        return _html.run(self)


class _ReadRun(Run):
    """A run whose fields are made from the reader's summary when they are asked for: lists of many are cheap."""

    _summary: _core.RunSummary

    @property
    def info(self) -> RunInfo:
        if not hasattr(self, "_info"):
            self._info = info_of(self._summary)
        return self._info

    @property
    def data(self) -> RunData:
        if not hasattr(self, "_data"):
            self._data = data_of(self._summary)
        return self._data or RunData([], {}, {})


Run.__qualname__ = _ReadRun.__qualname__ = "Run"
_ReadRun.__name__ = "Run"


def info_of(summary: _core.RunSummary) -> RunInfo:
    tags = summary.tags
    return RunInfo(
        run_id=summary.id,
        experiment_id=summary.experiment,
        run_name=summary.name,
        status=summary.status,
        start_time=summary.start_ms,
        end_time=summary.end_ms or None,
        user_id=tags.get("mlflow.user", ""),
        lifecycle_stage=LifecycleStage.DELETED if summary.deleted else LifecycleStage.ACTIVE,
        artifact_uri=f"runs:/{summary.id}",
        server_id=summary.server_id or None,
    )


def data_of(summary: _core.RunSummary) -> RunData:
    metrics = [Metric(name, row[0], row[2], row[1]) for name, row in summary.metrics.items()]
    tags = summary.tags
    tags.setdefault("mlflow.runName", summary.name)
    if summary.parent_id:
        tags.setdefault("mlflow.parentRunId", summary.parent_id)
    return RunData(metrics, summary.params, tags)


@record
class Experiment(Entity):
    experiment_id: str  #: the name
    name: str
    artifact_location: str | None = None
    lifecycle_stage: str = LifecycleStage.ACTIVE
    tags: dict[str, str] = field(default_factory=dict[str, str])
    creation_time: int | None = None  #: the start of its first run here
    last_update_time: int | None = None  #: the start of its newest run here

    def _repr_html_(self) -> str:
        from . import _html

        return _html.experiment(self)
