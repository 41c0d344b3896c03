"""Keras 3: model.fit(..., callbacks=[MlopsCallback()])."""

from __future__ import annotations

from typing import Any

import keras

from ._run import key, log_params, run_of


class MlopsCallback(keras.callbacks.Callback):
    """Logs what an epoch came to (`loss`, `val_loss`, …) with the epoch as step, and the model's settings as params;
    with `every_n_batches` also `batch/<name>`, by the batch's number since the start."""

    def __init__(self, run: Any = None, *, every_n_batches: int = 0, params: bool = True) -> None:
        super().__init__()
        self._given, self._every, self._with_params = run, every_n_batches, params
        self._run: Any = None
        self._batch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._run = run_of(self._given)
        self._batch = 0
        if not self._with_params:
            return
        values = {name: value for name, value in (self.params or {}).items() if name in ("epochs", "steps")}
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            values["optimizer_name"] = optimizer.name
            values["optimizer_learning_rate"] = float(optimizer.learning_rate)
        values["parameters"] = self.model.count_params()
        log_params(self._run, values)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batch += 1
        if self._every and self._batch % self._every == 0:
            self._log(logs, self._batch, "batch/")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._log(logs, epoch)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._run is None:  # evaluate() alone
            self._log(logs, 0, "test/")

    def _log(self, logs: dict[str, Any] | None, step: int, prefix: str = "") -> None:
        run = self._run if self._run is not None else run_of(self._given)
        for name, value in (logs or {}).items():
            run.metric(key(prefix + name)).log(value, step)
