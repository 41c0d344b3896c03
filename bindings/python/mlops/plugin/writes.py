"""Writes: logging to runs of the buffer, and their life. A call that returns has been accepted."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from mlflow.entities import Metric, Param, Run, RunInfo, RunStatus, RunTag
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.utils.async_logging.run_operations import RunOperations
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_MODELS, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.validation import (
    _validate_batch_log_data,
    _validate_batch_log_limits,
    _validate_metric,
    _validate_param,
    _validate_param_keys_unique,
    _validate_run_id,
    _validate_tag,
)

from .. import _core
from ..exceptions import AlreadyExists, Error, FailedPrecondition
from .buffer import Buffer, Open, plainly, without_mlflows


_log = logging.getLogger("mlops")
_SERVER = "_MLFLOW_SERVER_FILE_STORE"  # what MLflow's server tells its workers the store by


class Writes(Buffer):
    def log_metric(self, run_id: str, metric: Metric) -> None:
        if getattr(metric, "model_id", None) is None:
            try:
                self._runs[run_id].logs[metric.key](metric.value, metric.step, metric.timestamp)
                return
            except (KeyError, Error):
                pass
        _validate_run_id(run_id)
        _validate_metric(metric.key, metric.value, metric.timestamp, metric.step)
        if not self._points(run_id, [metric]):
            super().log_metric(run_id, metric)

    @plainly
    def _points(self, run_id: str, metrics: list[Metric]) -> bool:
        run = self._run(run_id)
        if run is None:
            return False
        seen = set()
        for one in metrics:
            point = (one.key, one.value, one.step, one.timestamp)
            if point not in seen:
                seen.add(point)
                run.log(one.key)(one.value, one.step, one.timestamp)
        linked = [one for one in metrics if getattr(one, "model_id", None) is not None]
        if linked:
            self._model_points(run.handle.id, linked)
        return True

    def log_param(self, run_id: str, param: Param) -> None:
        _validate_run_id(run_id)
        param = _validate_param(param.key, param.value)
        if not self._params(run_id, [param], one=True):
            super().log_param(run_id, param)

    @plainly
    def _params(self, run_id: str, params: list[Param], one: bool = False) -> bool:
        run = self._run(run_id)
        if run is None:
            return False
        self._check_params(run_id, run, params, one)
        pairs = [(each.key, str(each.value)) for each in params if each.key not in run.params]
        try:
            run.handle.log_params(pairs)
        except AlreadyExists:  # logged by another process
            run.params.update(self._known(run.handle.id).params)
            self._check_params(run_id, run, params, one)
            raise
        run.params.update(pairs)
        return True

    @staticmethod
    def _check_params(run_id: str, run: Open, params: list[Param], one: bool) -> None:
        changed = [
            {"key": each.key, "old_value": run.params[each.key], "new_value": each.value}
            for each in params
            if run.params.get(each.key, str(each.value)) != str(each.value)
        ]
        if changed and one:
            raise MlflowException(
                "Changing param values is not allowed. Param with key='{}' was already"
                " logged with value='{}' for run ID='{}'. Attempted logging new value"
                " '{}'.".format(changed[0]["key"], changed[0]["old_value"], run_id, changed[0]["new_value"]),
                INVALID_PARAMETER_VALUE,
            )
        if changed:
            raise MlflowException(
                f"Changing param values is not allowed. Params were already logged='{changed}' for run ID='{run_id}'.",
                INVALID_PARAMETER_VALUE,
            )

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        _validate_run_id(run_id)
        tag = _validate_tag(tag.key, tag.value)
        if not self._tags(run_id, [tag]):
            super().set_tag(run_id, tag)

    @plainly
    def _tags(self, run_id: str, tags: Iterable[RunTag]) -> bool:
        run = self._run(run_id)
        if run is None:
            return False
        plain = []
        for tag in tags:
            if tag.key == MLFLOW_RUN_NAME:
                run.handle.set_name(tag.value)
            else:
                plain.append((tag.key, str(tag.value)))
        if plain:
            run.handle.set_tags(plain)
        return True

    @plainly
    def delete_tag(self, run_id: str, key: str) -> None:
        run = self._run(run_id)
        if run is None:
            super().delete_tag(run_id, key)
            return
        if key not in self._known(run_id).tags:
            raise MlflowException(f"No tag with name: {key} in run with id {run_id}", error_code=RESOURCE_DOES_NOT_EXIST)
        run.handle.delete_tag(key)

    def log_batch(self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> None:
        _validate_run_id(run_id)
        metrics, params, tags = _validate_batch_log_data(metrics, params, tags)
        _validate_batch_log_limits(metrics, params, tags)
        _validate_param_keys_unique(params)
        if params and not self._params(run_id, params):
            super().log_batch(run_id, metrics, params, tags)
        elif not self._points(run_id, metrics):
            super().log_batch(run_id, metrics, params, tags)
        else:
            self._tags(run_id, tags)

    def log_batch_async(
        self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]
    ) -> RunOperations:
        done: Future[None] = Future()
        try:
            self.log_batch(run_id, metrics, params, tags)
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)
        return RunOperations(operation_futures=[done])

    def record_logged_model(self, run_id: str, mlflow_model: Any) -> None:
        """MLflow 2.x: what models a run has is a tag."""
        from mlflow.models import Model

        if not isinstance(mlflow_model, Model):
            raise TypeError(f"Argument 'mlflow_model' should be mlflow.models.Model, got '{type(mlflow_model)}'")
        summary = self._find(run_id)
        if summary is None:
            super().record_logged_model(run_id, mlflow_model)
            return
        known = json.loads(summary.tags.get(MLFLOW_LOGGED_MODELS, "[]"))
        value = json.dumps([*known, mlflow_model.get_tags_dict()])
        self._tags(run_id, [_validate_tag(MLFLOW_LOGGED_MODELS, value)])

    # The life of a run.

    @plainly
    def create_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: list[RunTag], run_name: str | None
    ) -> Run:
        experiment = self.get_experiment(experiment_id)
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise MlflowException(
                f"The experiment {experiment.experiment_id} must be in the 'active' state. "
                f"Current state is {experiment.lifecycle_stage}.",
                INVALID_PARAMETER_VALUE,
            )
        given = {tag.key: str(tag.value) for tag in tags or []}
        named = given.pop(MLFLOW_RUN_NAME, None)
        if run_name and named and run_name != named:
            raise MlflowException(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with "
                f"different values (run_name='{run_name}', mlflow.runName='{named}').",
                INVALID_PARAMETER_VALUE,
            )
        options = {
            "name": run_name or named or _generate_random_name(),
            "parent_id": given.pop(MLFLOW_PARENT_RUN_ID, None),
            "tags": list(given.items()),
            "start_ms": start_time or 0,
            "source_tags": False,  # MLflow's client sets them
            "log_system_metrics": False,  # MLflow's client does
        }
        handle = self._client().start_run(self._name_of(experiment_id), options)
        self._hold(handle, {}, handle.id)
        return self.get_run(handle.id)

    def _hold(self, handle: Any, params: dict[str, str], *ids: str) -> Open:
        """A run that this process is the owner of. A server's workers, which any request may reach, leave it to all."""
        if _SERVER in os.environ:
            handle.leave()
            handle = self._client().start_run("", {"attach_id": handle.id, "log_system_metrics": False})
        run = Open(handle, _SERVER not in os.environ, params)
        with self._opening:
            self._runs.update(dict.fromkeys(ids, run))
        return run

    @plainly
    def update_run_info(self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None) -> RunInfo:
        run = self._run(run_id)
        if run is None:
            adopted = self._adopt(run_id) if run_status == RunStatus.RUNNING else None
            if adopted is None:
                return super().update_run_info(run_id, run_status, end_time, run_name)
            run = adopted
        if run_name:
            run.handle.set_name(run_name)
        if run_status is not None:
            self._set_status(run_id, run, run_status, end_time or 0)
        return self.get_run(run_id).info

    def _set_status(self, run_id: str, run: Open, status: int, end_ms: int) -> None:
        name = RunStatus.to_string(status)
        if not RunStatus.is_terminated(status):
            if status == RunStatus.RUNNING and not run.owner:
                handle, known = self._resume(run_id)
                self._hold(handle, known.params, run_id, known.id)
            return  # SCHEDULED: a run of the buffer runs until it ends
        handle = run.handle
        if not run.owner:
            handle.leave()  # joined: only this object goes
            try:
                self._client().end_run(handle.id, name, end_ms)
                self._forget(run_id)
                return
            except FailedPrecondition:  # it has ended, or a living process has it
                known = self._known(run_id)
                if known.status == name and end_ms in (0, known.end_ms):
                    self._forget(run_id)
                    return
            handle, _ = self._resume(run_id)
        handle.end(name, end_ms)
        self._forget(run_id)
        if self._known(run_id).status != name:
            _log.info("run %s belongs to a living process, which ends it itself", run_id)

    def _resume(self, run_id: str) -> tuple[Any, Any]:
        """Goes on with a run as its owner; beside a living process that is that, only to log. -> handle, summary."""
        with self._opening:
            known = self._known(run_id)
            old = self._runs.get(run_id)
            if old is not None and not old.handle.ended:
                old.handle.leave()
            self._forget(run_id)
            return self._client().start_run("", {"resume_id": known.id, "log_system_metrics": False}), known

    def _adopt(self, run_id: str) -> Open | None:
        """A run that only the server has is gone on with here. None: it is not one."""
        return None

    @plainly
    def delete_run(self, run_id: str) -> None:
        summary = self._find(run_id)
        if summary is None:
            super().delete_run(run_id)
            return
        self._delete([summary.id])

    def _delete(self, run_ids: list[str]) -> None:
        if run_ids:
            with without_mlflows():
                _core.delete_runs(self._client().root, run_ids)
            self._wait(run_ids, True)
        for one in run_ids:
            run = self._runs.get(one)
            if run is not None:
                run.deleted, run.logs = True, {}

    @plainly
    def restore_run(self, run_id: str) -> None:
        summary = self._find(run_id)
        if summary is None:
            super().restore_run(run_id)
            return
        self._restore([summary.id])

    def _restore(self, run_ids: list[str]) -> None:
        if run_ids:
            with without_mlflows():
                _core.restore_runs(self._client().root, run_ids)
            self._wait(run_ids, False)

    def _wait(self, run_ids: list[str], deleted: bool) -> None:
        """Until readers see it: what is written beside a living slot comes with its next beat."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            if all((found := self._find(one)) is None or found.deleted == deleted for one in run_ids):
                return
            time.sleep(0.02)
