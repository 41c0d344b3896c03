"""mlops: experiment tracking that never waits. `import mlops as mlflow` runs an ordinary MLflow tracking script.

What a logging call accepted survives the death of the process; it lands in a local buffer (./.mlops, found upwards, or
MLOPS_HOME) and is delivered from there, exactly once in effect, to the server of MLFLOW_TRACKING_URI or
set_tracking_uri. Without one the buffer is the store.
"""

from __future__ import annotations

from typing import Any

from . import _later, client, entities, exceptions, tracking
from ._core import Metric
from ._version import __version__
from .client import MlflowClient
from .entities import Experiment, Run
from .exceptions import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    MlflowException,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
    WrongType,
)
from .fluent import (
    ActiveRun,
    active_run,
    create_experiment,
    delete_run,
    delete_tag,
    end_run,
    flush_async_logging,
    get_experiment,
    get_experiment_by_name,
    get_parent_run,
    get_run,
    get_tracking_uri,
    is_tracking_uri_set,
    last_active_run,
    log_history,
    log_metric,
    log_metrics,
    log_param,
    log_params,
    restore_run,
    search_experiments,
    search_runs,
    set_experiment,
    set_tag,
    set_tags,
    set_tracking_uri,
    start_run,
)
from .local import Columns, Delivered, Status, read, status, sync, verify

__all__ = [
    "ActiveRun",
    "AlreadyExists",
    "Columns",
    "DataLoss",
    "DeadlineExceeded",
    "Delivered",
    "Error",
    "Experiment",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "Metric",
    "MlflowClient",
    "MlflowException",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "Run",
    "Status",
    "Unavailable",
    "Unimplemented",
    "WrongType",
    "__version__",
    "active_run",
    "client",
    "create_experiment",
    "delete_run",
    "delete_tag",
    "end_run",
    "entities",
    "exceptions",
    "flush_async_logging",
    "get_experiment",
    "get_experiment_by_name",
    "get_parent_run",
    "get_run",
    "get_tracking_uri",
    "is_tracking_uri_set",
    "last_active_run",
    "log_history",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "read",
    "restore_run",
    "search_experiments",
    "search_runs",
    "set_experiment",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "start_run",
    "status",
    "sync",
    "tracking",
    "verify",
]


def __getattr__(name: str) -> Any:
    return _later.function(name)
