"""Models: logged models of a root without a server. MLflow's database keeps and shows them; the buffer is told of each, so
that `mlops sync --to` delivers them with the run that made them. Those without a run stay here.

A model's files lie below `.mlflow/artifacts`; when it is finalized they are logged to the buffer, as they are then.
"""

from __future__ import annotations

import os
from typing import Any

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from .. import _core
from .places import artifacts_place, files_of
from .buffer import Buffer, plainly
from .told import Told, for_later


def _pairs(items: Any) -> list[tuple[str, str]]:
    return [(one.key, str(one.value)) for one in items or []]


class Models(Buffer, SqlAlchemyStore):
    told: Told

    def _begin_models(self) -> None:
        self.told = Told(self.place.root)

    def _told_model(self, model_id: str, on_run: str | None = None) -> Any | None:
        """The model as the buffer has it, to log to by its own run or by another; None: it was not told."""
        known = self.told.get(f"model {model_id}")
        if known is None:
            return None
        run = self._run(on_run or known["run"])
        return None if run is None else _core.logged_model(run.handle, known["uid"], known["name"])

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
        made = super().create_logged_model(experiment_id, name, source_run_id, tags, params, model_type)
        with for_later(f"logged model {made.name!r}"):
            run = self._run(source_run_id) if source_run_id else None
            if run is not None:
                model = _core.start_model(run.handle, made.name, model_type or "", _pairs(params), _pairs(tags))
                self.told.add(f"model {made.model_id}", {"uid": model.uid, "run": run.handle.id, "name": made.name})
        return made

    def _tell(self, model_id: str, what: str, say: Any) -> None:
        with for_later(f"{what} of logged model {model_id}"):
            model = self._told_model(model_id)
            if model is not None:
                say(model)

    def set_logged_model_tags(self, model_id: str, tags: Any) -> None:
        super().set_logged_model_tags(model_id, tags)
        self._tell(model_id, "tags", lambda model: model.set_tags(_pairs(tags)))

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        super().delete_logged_model_tag(model_id, key)
        self._tell(model_id, "a tag's deletion", lambda model: model.delete_tag(key))

    def log_logged_model_params(self, model_id: str, params: Any) -> None:
        super().log_logged_model_params(model_id, params)
        self._tell(model_id, "params", lambda model: model.log_params(_pairs(params)))

    def delete_logged_model(self, model_id: str) -> None:
        super().delete_logged_model(model_id)
        self._tell(model_id, "the deletion", lambda model: model.remove())

    def finalize_logged_model(self, model_id: str, status: Any) -> Any:
        done = super().finalize_logged_model(model_id, status)
        ready = str(getattr(status, "value", status)) == "READY"

        def end(model: Any) -> None:
            folder = files_of(artifacts_place(done.artifact_location))
            if os.path.isdir(folder):
                model.log_folder(folder, "")
            model.finalize(ready)

        self._tell(model_id, "the end", end)
        return done

    def _tell_use(self, run_id: str, models: Any, what: str, say: Any) -> None:
        for one in models or []:
            with for_later(f"logged model {one.model_id} as an {what}"):
                model, run = self._told_model(one.model_id, run_id), self._run(run_id)
                if model is not None and run is not None:
                    say(run.handle, model, one)

    @plainly
    def _tell_outputs(self, run_id: str, models: Any) -> None:
        self._tell_use(
            run_id, models, "output", lambda run, model, one: _core.log_model_output(run, model, one.step)
        )

    @plainly
    def _tell_inputs(self, run_id: str, models: Any) -> None:
        self._tell_use(run_id, models, "input", lambda run, model, _: _core.log_model_used(run, model))

    def _tell_points(self, run_id: str, metrics: Any) -> None:
        """The run has these points already: the same once more, as the model's, is merged."""
        for one in metrics:
            with for_later(f"metric {one.key!r} of logged model {one.model_id}"):
                model = self._told_model(one.model_id, run_id)
                if model is not None:
                    named = getattr(one, "dataset_name", None)
                    data = {"name": named, "digest": one.dataset_digest or ""} if named else None
                    model.log_metric(one.key, one.value, one.step, data, one.timestamp)
