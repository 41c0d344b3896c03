"""XGBoost: xgb.train(params, data, evals=[(valid, "valid")], callbacks=[MlopsCallback()])."""

from __future__ import annotations

import copy
from typing import Any

from xgboost.callback import TrainingCallback

from ._run import flat, key, log_params, run_of


class MlopsCallback(TrainingCallback):
    """Logs each evaluation as `<data>-<metric>`, one point a round; `params` when they are given; at the end the best
    iteration and score, where early stopping found them."""

    def __init__(self, run: Any = None, *, params: dict[str, Any] | None = None, prefix: str = "") -> None:
        super().__init__()
        self._given, self._params, self._prefix = run, params, prefix
        self._run: Any = None
        self._logs: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """In the pickle of a fitted model: without what only this process has."""
        return {**vars(self), "_given": None, "_run": None, "_logs": {}}

    def __deepcopy__(self, memo: Any) -> MlopsCallback:
        """In a clone, which logs to the same run."""
        return type(self)(self._given, params=copy.deepcopy(self._params, memo), prefix=self._prefix)

    def before_training(self, model: Any) -> Any:
        self._run = run_of(self._given)
        self._logs = {}
        if self._params:
            log_params(self._run, flat(self._params))
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, dict[str, Any]]) -> bool:
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                name = f"{self._prefix}{data}-{metric}"
                log = self._logs.get(name)
                if log is None:
                    log = self._logs[name] = self._run.metric(key(name)).log
                last = values[-1]
                log(last[0] if isinstance(last, tuple) else last, epoch)  # of cv: mean and deviation
        return False

    def after_training(self, model: Any) -> Any:
        for name in ("best_iteration", "best_score"):
            value = getattr(model, name, None) if not hasattr(model, "cvfolds") else None
            if value is not None:
                self._run.metric(key(f"{self._prefix}{name}")).log(value)
        self._run, self._logs = None, {}
        return model
