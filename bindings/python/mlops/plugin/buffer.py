"""Buffer: what a tracking store of MLflow's needs of a buffer to keep its runs there: client, reader, runs that are open.

A run that the buffer does not have is left to the store behind. Any thread may call. Failures of the buffer become
MlflowException, with the words of MLflow's own stores where those have some.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Metric, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from .. import _state
from ..exceptions import Error, InvalidArgument, NotFound
from .places import Place

if TYPE_CHECKING:
    from mlflow.store.tracking.abstract_store import AbstractStore as Behind
else:
    Behind = object  # the store behind comes later in the order of classes

OLD = int(mlflow.__version__.split(".")[0]) < 3  # 2.x: no logged models, other page tokens


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
def without_mlflows() -> Generator[None, None, None]:
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


class Buffer(Behind):
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

    def _names_of(self, experiment_id: str) -> list[str]:
        """All names that runs of the experiment may have in the buffer."""
        name = self._name_of(experiment_id)
        return [] if name is None else [name]

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
        with self._opening, without_mlflows():
            return _state.client(self.place.target)

    def _reader(self) -> Any | None:
        """As of now; None: there is no root yet."""
        try:
            return _state.reader(self.place.target)
        except NotFound:
            return None

    def _find(self, run_id: Any) -> Any | None:
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

    def _known(self, run_id: str) -> Any:
        """A run that must be there."""
        found = self._find(run_id)
        if found is None:
            raise MlflowException(f"Run with id={run_id} not found", RESOURCE_DOES_NOT_EXIST)
        return found

    def _summaries(self, view_type: int = ViewType.ALL) -> list[Any]:
        reader = self._reader()
        return reader.runs(view_type=view_type) if reader is not None else []

    def _run(self, run_id: str) -> Open | None:
        """To log to. None: the buffer does not have it."""
        known = self._runs.get(run_id)
        if known is not None and not known.handle.ended:
            if known.deleted:
                _active(self._known(run_id))
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


def _active(summary: Any) -> None:
    if summary.deleted:
        raise MlflowException(
            f"The run {summary.id} must be in the 'active' state. Current state is deleted.", INVALID_PARAMETER_VALUE
        )
