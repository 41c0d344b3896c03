"""Optuna: study.optimize(objective, n_trials=50, callbacks=[MlopsCallback()])."""

from __future__ import annotations

from typing import Any

from .. import fluent
from ._run import key, log_params, run_of


class MlopsCallback:
    """A run for each finished trial, below the active one (or `run`), with its params, values and state; in the parent
    the best value so far, a point a trial. Thread-safe: trials may run in parallel."""

    def __init__(self, run: Any = None, *, metric: str | list[str] = "value", nested: bool = True) -> None:
        self._given, self._nested = run, nested
        self._metric = [metric] if isinstance(metric, str) else list(metric)
        self._run: Any = run_of(run) if nested else None  # of the thread that makes it: workers have none

    def _names(self, count: int) -> list[str]:
        if len(self._metric) == count:
            return self._metric
        return [f"{self._metric[0]}_{i}" for i in range(count)]

    def __call__(self, study: Any, trial: Any) -> None:
        options: dict[str, Any] = {"parent_run_id": self._run.info.run_id} if self._run is not None else {}
        with fluent.start_run(run_name=f"trial {trial.number}", nested=True, **options) as run:
            log_params(run, {**trial.params, "direction": ", ".join(one.name.lower() for one in study.directions)})
            run.set_tags({"optuna.state": trial.state.name, "optuna.study": study.study_name, "optuna.number": trial.number})
            for name, value in trial.user_attrs.items():
                run.set_tag(key(f"optuna.user.{name}"), value)
            for step, value in trial.intermediate_values.items():
                run.metric(key(f"intermediate_{self._names(1)[0]}")).log(value, step)
            for name, value in zip(self._names(len(trial.values or [])), trial.values or []):
                run.metric(key(name)).log(value)
            if trial.state.name == "FAIL":
                run.end("FAILED")
        if self._run is not None and len(study.directions) == 1:
            try:
                self._run.metric(key(f"best_{self._names(1)[0]}")).log(study.best_value, trial.number)
            except ValueError:
                pass  # no trial has completed yet
