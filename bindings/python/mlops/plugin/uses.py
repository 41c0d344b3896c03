"""Uses: what runs of a served root use and make: datasets through the buffer, logged models on the server.

A model that is logged while the server is away, or has not got the run yet, is one of this process: its files are the
run's, below the model's name, delivered like all of them, as they are on servers without logged models.
"""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking.rest_store import RestStore

from .. import _core
from .buffer import OLD, Buffer, plainly
from .inputs import log_dataset
from .runs import Buffered
from .server import Server

_log = logging.getLogger("mlops")


class Uses(Buffered, RestStore):
    server: Server

    def _begin_uses(self) -> None:
        self._used_here: dict[str, tuple[list[Any], list[Any], list[Any]]] = {}  # datasets, models in, models out
        self._models: dict[str, Any] = {}  # logged models that the server does not have

    # Of a subclass.

    def _real(self, experiment_id: str) -> str:
        raise NotImplementedError

    def _placed(self, uri: str | None) -> str | None:
        raise NotImplementedError

    def _server_id(self, run_id: str, seconds: float = 0.0) -> str:
        raise NotImplementedError

    def _delivered(self, run_id: str | None, what: str) -> str | None:
        raise NotImplementedError

    def _note(self, run_id: str, column: int, more: list[Any] | None) -> None:
        self._used_here.setdefault(run_id, ([], [], []))[column].extend(more or [])

    @plainly
    def log_inputs(self, run_id: str, datasets: Any = None, models: Any = None) -> None:
        run = self._run(run_id)
        if run is None:
            super().log_inputs(run_id, datasets, *([] if OLD else [models]))
            return
        known = {(one.dataset.name, one.dataset.digest) for one in self._used_here.get(run.handle.id, ([], [], []))[0]}
        for one in datasets or []:
            log_dataset(run.handle, one)
        for one in models or []:
            if one.model_id not in self._models:
                _core.log_model_input(run.handle, one.model_id)
        self._note(run.handle.id, 0, [one for one in datasets or [] if (one.dataset.name, one.dataset.digest) not in known])
        self._note(run.handle.id, 1, models)

    @plainly
    def log_outputs(self, run_id: str, models: list[Any]) -> None:
        there = [one for one in models if one.model_id not in self._models]
        if there:
            super().log_outputs(self._delivered(run_id, "log_outputs"), there)
        summary = self._find(run_id)
        if summary is not None:
            self._note(summary.id, 2, models)

    def _model_points(self, run_id: str, metrics: list[Metric]) -> None:
        """The same points once more, now with the model: the server keeps each once."""
        linked = [one for one in metrics if one.model_id not in self._models]
        if not linked:
            return
        try:
            there = self._delivered(run_id, "a metric of a model")
            for one in linked:
                super(Buffer, self).log_metric(there, one)
        except MlflowException as error:
            _log.warning("metrics of run %s are not linked to their model: %s", run_id, error)

    # Logged models.

    def _model(self, model: Any) -> Any:
        model._artifact_location = self._placed(model.artifact_location)
        return model

    @plainly
    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Any = None,
        params: Any = None,
        model_type: str | None = None,
    ) -> Any:
        ours = self._find(source_run_id) if source_run_id else None
        if ours is not None and not (self.server.here() and self._server_id(ours.id, 10.0)):
            return self._model_here(ours, experiment_id, name, tags, params, model_type)
        source = self._delivered(source_run_id, "a logged model")
        return self._model(super().create_logged_model(self._real(experiment_id), name, source, tags, params, model_type))

    def _model_here(self, run: Any, experiment_id: str, name: str | None, tags: Any, params: Any, model_type: str | None) -> Any:
        from mlflow.entities import LoggedModel, LoggedModelStatus
        from mlflow.utils.name_utils import _generate_random_name
        from mlflow.utils.validation import _validate_logged_model_name

        _validate_logged_model_name(name)
        name = name or _generate_random_name()
        taken = {one.name for one in self._models.values() if one.source_run_id == run.id}
        folder = next(one for one in [name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))] if one not in taken)
        now = int(time.time() * 1000)
        made = LoggedModel(
            experiment_id=experiment_id,
            model_id=f"m-{uuid.uuid4().hex}",
            name=folder,
            artifact_location=f"{self._artifacts_of(run.id, experiment_id)}/{folder}",
            creation_timestamp=now,
            last_updated_timestamp=now,
            model_type=model_type,
            source_run_id=run.id,
            status=LoggedModelStatus.PENDING,
            tags=list(tags or []),
            params=list(params or []),
        )
        self._models[made.model_id] = made
        _log.warning(
            "model %r of run %s: its server does not have the run yet, so its files are the run's, in folder %r", name, run.id, folder
        )
        return made

    def get_logged_model(self, model_id: str, *args: Any, **kwargs: Any) -> Any:
        return self._models.get(model_id) or self._model(super().get_logged_model(model_id, *args, **kwargs))

    def finalize_logged_model(self, model_id: str, status: Any) -> Any:
        known = self._models.get(model_id)
        if known is None:
            return self._model(super().finalize_logged_model(model_id, status))
        known._status = status
        return known

    def set_logged_model_tags(self, model_id: str, tags: list[Any]) -> None:
        if model_id in self._models:
            self._models[model_id]._tags.update({tag.key: tag.value for tag in tags})
        else:
            super().set_logged_model_tags(model_id, tags)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        if model_id in self._models:
            self._models[model_id]._tags.pop(key, None)
        else:
            super().delete_logged_model_tag(model_id, key)

    def log_logged_model_params(self, model_id: str, params: list[Any]) -> None:
        if model_id in self._models:
            self._models[model_id]._params.update({one.key: one.value for one in params})
        else:
            super().log_logged_model_params(model_id, params)

    def delete_logged_model(self, model_id: str) -> None:
        if self._models.pop(model_id, None) is None:
            super().delete_logged_model(model_id)

    def search_logged_models(self, experiment_ids: list[str], *args: Any, **kwargs: Any) -> Any:
        if not self.server.here():
            wanted = set(experiment_ids)
            return PagedList([one for one in self._models.values() if one.experiment_id in wanted], None)
        found = super().search_logged_models([self._real(one) for one in experiment_ids], *args, **kwargs)
        for one in found:
            self._model(one)
        return found
