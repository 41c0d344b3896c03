"""A dataset that a run used, from MLflow's entity into the buffer."""

from __future__ import annotations

import logging
from typing import Any

from .. import _core
from ..exceptions import InvalidArgument

_CONTEXT = "mlflow.data.context"
_log = logging.getLogger("mlops")


def log_dataset(handle: Any, used: Any) -> None:
    """Accepted when it returns. What no server takes is said, and not logged."""
    one = used.dataset
    tags = {tag.key: tag.value for tag in used.tags or []}
    context = tags.pop(_CONTEXT, "")
    names = ("name", "digest", "source_type", "source", "schema", "profile")
    fields = {name: getattr(one, name) or "" for name in names}
    try:
        _core.log_input(handle, fields, list(tags.items()), context)
    except InvalidArgument as error:
        _log.warning("dataset %r of run %s will not be delivered: %s", one.name, handle.id, error)
