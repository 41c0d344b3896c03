"""mlops: experiment tracking that never waits. `import mlops as mlflow` runs an ordinary MLflow tracking script.

What a logging call accepted survives the death of the process; it lands in a local buffer (./.mlops, found upwards, or
MLOPS_HOME) and is delivered from there, exactly once in effect, to the server of MLFLOW_TRACKING_URI or
set_tracking_uri. Without one the buffer is the store.
"""

from __future__ import annotations


from . import _later, artifacts, client, data, entities, exceptions, tracking
from ._core import LoggedModel, Metric
from ._registry import register_model, search_model_versions, search_registered_models, set_model_version_tag
from ._version import __version__
from .artifacts import (
    get_artifact_uri,
    log_artifact,
    log_artifacts,
    log_dict,
    log_figure,
    log_image,
    log_input,
    log_inputs,
    log_model,
    log_stream,
    log_table,
    log_text,
)
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
    load_table,
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

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any

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
    "LoggedModel",
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
    "artifacts",
    "client",
    "create_experiment",
    "data",
    "delete_run",
    "delete_tag",
    "end_run",
    "entities",
    "exceptions",
    "flush_async_logging",
    "get_artifact_uri",
    "get_experiment",
    "get_experiment_by_name",
    "get_parent_run",
    "get_run",
    "get_tracking_uri",
    "is_tracking_uri_set",
    "last_active_run",
    "load_table",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_history",
    "log_image",
    "log_input",
    "log_inputs",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_param",
    "log_params",
    "log_stream",
    "log_table",
    "log_text",
    "read",
    "register_model",
    "restore_run",
    "search_experiments",
    "search_model_versions",
    "search_registered_models",
    "search_runs",
    "set_experiment",
    "set_model_version_tag",
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
