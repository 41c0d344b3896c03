"""The run that an integration logs to, and values as params."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import fluent


def run_of(run: Any) -> Any:
    """The run given, else the thread's active one, else a new one."""
    return run if run is not None else fluent._active()


def flat(values: Mapping[str, Any], above: str = "", between: str = ".") -> dict[str, str]:
    """Nested settings as params: a.b = value. Long values are cut by the run, as MLflow does."""
    found: dict[str, str] = {}
    for key, value in values.items():
        name = f"{above}{between}{key}" if above else str(key)
        if isinstance(value, Mapping) and value:
            found.update(flat(value, name, between))
        else:
            found[name] = str(value)
    return found
