"""The run that an integration logs to, and names and values as it takes them: a training is never stopped by either."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from .. import fluent
from ..exceptions import AlreadyExists

_NO_KEY = re.compile(r"[^\w\-./: ]")


def run_of(run: Any) -> Any:
    """The run given, else the thread's active one, else a new one."""
    return run if run is not None else fluent._active()


def key(name: str) -> str:
    """The name of a metric or param: `@` is `_at_`, as MLflow's autologging has it, and what else no key may hold `_`."""
    return _NO_KEY.sub("_", name.replace("@", "_at_"))[:250]


def log_params(run: Any, values: Mapping[str, Any]) -> None:
    """Each under its key. What the run has already, from a training before this one, stays as it is, with one warning."""
    kept: list[str] = []
    for name, value in values.items():
        try:
            run.log_param(key(name), value)
        except AlreadyExists:
            kept.append(name)
    if kept:
        more = f" and {len(kept) - 5} more" if len(kept) > 5 else ""
        warnings.warn(f"the run has these params with other values, and keeps them: {', '.join(kept[:5])}{more}", stacklevel=3)


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
