"""Hugging Face: Trainer(..., args=TrainingArguments(..., report_to="none"), callbacks=[MlopsCallback()])."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from ._run import flat, key, log_params, run_of


class MlopsCallback(TrainerCallback):
    """Logs what the Trainer logs (`loss`, `learning_rate`, `eval_loss`, …) with its global step, and its arguments and the
    model's configuration as params. Only the main process of a distributed training logs."""

    def __init__(self, run: Any = None, *, params: bool = True) -> None:
        self._given, self._params = run, params
        self._run: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        self._run = run_of(self._given)
        if self._params:
            values = flat(args.to_sanitized_dict())
            config = getattr(model, "config", None)
            if config is not None:
                values.update(flat(config.to_dict(), "model"))
            log_params(self._run, values)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        run = self._run if self._run is not None else run_of(self._given)
        for name, value in (logs or {}).items():
            if isinstance(value, (int, float)):
                run.metric(key(name)).log(value, state.global_step)
