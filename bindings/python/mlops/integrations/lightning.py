"""Lightning: Trainer(logger=MlopsLogger()). For `lightning` 2 and `pytorch_lightning` 2."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

try:
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities.rank_zero import rank_zero_only
except ImportError:
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

from .. import fluent
from ._run import flat, key, log_params


class MlopsLogger(Logger):
    """Logs metrics with Lightning's step and hyperparameters as params, from the process of rank zero.

    run: where to; None: the active run, else a new one named `run_name`, which ends with the training; a later test() or
    fit() of the same logger goes on with it. The metric's name is `prefix`/name.
    """

    def __init__(self, run: Any = None, *, run_name: str | None = None, prefix: str = "", tags: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._run, self._run_name, self._tags = run, run_name, tags
        self._prefix = f"{prefix}/" if prefix else ""
        self._own = False  # started here, and ended here

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run: metric(name), log_param(key, value), set_tag(key, value)."""
        if self._run is None:
            self._run = fluent.active_run()
            if self._run is None:
                self._run, self._own = fluent.start_run(run_name=self._run_name), True
            if self._tags:
                self._run.set_tags(self._tags)
        elif self._own and self._run._handle.ended:
            self._run = fluent.start_run(run_id=self._run.info.run_id)
        return self._run

    @property
    def name(self) -> str:
        return "mlops"

    @property
    def version(self) -> str | None:
        return self._run.info.run_id if self._run is not None else None

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace | None = None, *_: Any, **__: Any) -> None:
        given = vars(params) if isinstance(params, Namespace) else params
        if isinstance(given, Mapping) and given:
            log_params(self.experiment, flat(given, between="/"))

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        for name, value in metrics.items():
            self.experiment.metric(key(self._prefix + name)).log(value, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._own and self._run is not None and not self._run._handle.ended:
            self._run.end("FAILED" if status == "failed" else "FINISHED")
