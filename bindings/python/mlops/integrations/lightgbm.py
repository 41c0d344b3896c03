"""LightGBM: lgb.train(params, data, valid_sets=[valid], callbacks=[mlops_callback()])."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._run import flat, key, log_params, run_of


def mlops_callback(run: Any = None, *, params: bool = True, prefix: str = "") -> Callable[[Any], None]:
    """Logs each evaluation as `<data>-<metric>`, one point an iteration, and the parameters before the first."""
    return _Callback(run, params, prefix)


class _Callback:
    order = 30  # after early stopping and printing have seen the same results
    before_iteration = False

    def __init__(self, run: Any, params: bool, prefix: str) -> None:
        self._given, self._params, self._prefix = run, params, prefix
        self._run: Any = None
        self._logs: dict[str, Any] = {}

    def __call__(self, env: Any) -> None:
        if env.iteration == env.begin_iteration or self._run is None:
            self._run, self._logs = run_of(self._given), {}
            if self._params and env.params:
                log_params(self._run, flat({name: value for name, value in env.params.items() if not callable(value)}))
        for data, metric, value, *_ in env.evaluation_result_list or []:
            name = f"{self._prefix}{data}-{metric}"
            log = self._logs.get(name)
            if log is None:
                log = self._logs[name] = self._run.metric(key(name)).log
            log(value, env.iteration)
