"""LocalStore: a root as a tracking store, without a server (mlops:///folder).

Runs are in the buffer. What a buffer does not hold is kept by MLflow's own SQLite store, in `.mlflow/mlflow.db` of the
root: ids, tags and life of experiments, logged models (the buffer is told of them: models.py), what runs used and made,
traces and all that belongs to them.
Opening and reading lock no slot of the buffer, so any number of processes read beside those that write.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Generator
from typing import Any
from urllib.parse import quote

import mlflow
import sqlalchemy
from mlflow.entities import Experiment, ExperimentTag, Metric, RunInputs, ViewType
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE
from mlflow.store.db.utils import _initialize_tables
from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlExperimentTag, SqlRun
from mlflow.utils.uri import append_to_uri_path

from .buffer import OLD, plainly
from .inputs import log_dataset
from .models import Models
from .places import ARTIFACTS, store_place
from .runs import Buffered

BUFFER_NAME = "mlops.bufferName"  # tag of an experiment whose runs have another name in the buffer; not shown


@contextlib.contextmanager
def database(root: str) -> Generator[str, None, None]:
    """The URI of MLflow's database of a root; one process at a time is inside, so that one makes it."""
    folder = os.path.join(root, ".mlflow")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = os.path.join(folder, "mlflow.db")
        if not os.path.exists(file):
            with contextlib.suppress(OSError):
                shutil.copyfile(_empty_database(), file + ".new")
                os.replace(file + ".new", file)
        try:
            yield f"sqlite:///{file}"
        except Exception as error:
            if "Can't locate revision" not in str(error):
                raise
            raise MlflowException(
                f"{file} was made by a newer MLflow than this one ({mlflow.__version__}): use that, or another root; the runs "
                "themselves are in the buffer and know no version of MLflow",
                INVALID_STATE,
            ) from None


def _empty_database() -> str:
    """One with MLflow's tables: making them takes its migrations seconds, once for each version of MLflow."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    file = os.path.join(cache, "mlops", f"mlflow-{mlflow.__version__}.db")
    if not os.path.exists(file):
        os.makedirs(os.path.dirname(file), exist_ok=True)
        made = f"{file}.{os.getpid()}"
        engine = sqlalchemy.create_engine(f"sqlite:///{made}")
        _initialize_tables(engine)
        engine.dispose()
        os.replace(made, file)
    return file


class LocalStore(Buffered, Models):
    def __init__(self, store_uri: str) -> None:
        self._begin(store_place(store_uri))
        self._begin_models()
        self._names: dict[str, str] = {}  # of the buffer: id
        with database(self.place.root) as uri:
            super().__init__(uri, f"mlops://{quote(self.place.root)}{ARTIFACTS}")

    def _writing(self) -> Any:
        return self.ManagedSessionMaker() if OLD else self.ManagedSessionMaker(read_only=False)

    # Experiments: MLflow's database has them; those that only the buffer has come in when they are first seen.

    def _load_names(self) -> None:
        with self.ManagedSessionMaker() as session:
            found = {name: str(one) for one, name in session.query(SqlExperiment.experiment_id, SqlExperiment.name)}
            tags = session.query(SqlExperimentTag.experiment_id, SqlExperimentTag.value)
            for one, name in tags.filter(SqlExperimentTag.key == BUFFER_NAME).all():
                found = {key: value for key, value in found.items() if value != str(one)}
                found[name] = str(one)
        self._names = found

    def _see(self) -> None:
        """Every experiment of the buffer has its id."""
        unknown = {one.experiment for one in self._summaries()} - self._names.keys()
        if unknown:
            self._load_names()
            for name in sorted(unknown - self._names.keys()):
                self._experiment_of(name)

    def _experiment_of(self, name: str) -> str:
        if name not in self._names:
            self._load_names()
        if name not in self._names:
            try:
                super().create_experiment(name)
            except MlflowException:  # another process was first, or it is a name that a renamed one has now
                self._load_names()
                if name not in self._names:
                    made = super().create_experiment(f"{name} (buffer)")
                    self._set_buffer_name(made, name)
            self._load_names()
        return self._names[name]

    def _name_of(self, experiment_id: str) -> str | None:
        for again in (False, True):
            for name, one in self._names.items():
                if one == str(experiment_id):
                    return name
            if not again:
                self._see()
                self._load_names()
        return None

    def _set_buffer_name(self, experiment_id: str, name: str) -> None:
        with self._writing() as session:
            session.merge(SqlExperimentTag(experiment_id=experiment_id, key=BUFFER_NAME, value=name))
        self._load_names()

    @staticmethod
    def _shown(experiment: Experiment) -> Experiment:
        experiment._tags.pop(BUFFER_NAME, None)
        return experiment

    @plainly
    def get_experiment(self, experiment_id: str) -> Experiment:
        try:
            return self._shown(super().get_experiment(experiment_id))
        except MlflowException:
            if not hasattr(self, "_runs"):
                raise
            self._see()
            return self._shown(super().get_experiment(experiment_id))

    @plainly
    def get_experiment_by_name(self, experiment_name: str) -> Experiment | None:
        found = super().get_experiment_by_name(experiment_name)
        if found is None:
            self._see()
            found = super().get_experiment_by_name(experiment_name)
        return found and self._shown(found)

    @plainly
    def search_experiments(self, *args: Any, **kwargs: Any) -> Any:
        self._see()
        found = super().search_experiments(*args, **kwargs)
        for one in found:
            self._shown(one)
        return found

    @plainly
    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: list[ExperimentTag] | None = None
    ) -> str:
        self._see()
        made = super().create_experiment(name, artifact_location, tags)
        if name in self._names:  # an experiment that was renamed has this name in the buffer
            self._set_buffer_name(made, f"{name} ({made})")
        else:
            self._names[name] = made
        return made

    @plainly
    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        name = self._name_of(experiment_id)
        super().rename_experiment(experiment_id, new_name)
        if name is not None and name != new_name:
            self._set_buffer_name(experiment_id, name)

    def _run_ids(self, experiment_id: str, view_type: int) -> list[str]:
        name = self._name_of(experiment_id)
        return [one.id for one in self._summaries(view_type) if one.experiment == name]

    @plainly
    def delete_experiment(self, experiment_id: str) -> None:
        ids = self._run_ids(experiment_id, ViewType.ACTIVE_ONLY)
        super().delete_experiment(experiment_id)
        self._delete(ids)

    @plainly
    def restore_experiment(self, experiment_id: str) -> None:
        ids = self._run_ids(experiment_id, ViewType.DELETED_ONLY)
        super().restore_experiment(experiment_id)
        self._restore(ids)

    # Runs: what refers to one in MLflow's database needs a row there.

    def _artifacts_of(self, run_id: str, experiment_id: str) -> str:
        location = self._locations().get(experiment_id) or self._get_artifact_location(experiment_id)
        return append_to_uri_path(location, run_id, "artifacts")

    def _locations(self) -> dict[str, str]:
        """Where experiments keep their artifacts; it never changes."""
        known: dict[str, str] | None = getattr(self, "_located", None)
        if known is None or len(known) < len(self._names):
            with self.ManagedSessionMaker() as session:
                rows = session.query(SqlExperiment.experiment_id, SqlExperiment.artifact_location).all()
            known = self._located = {str(one): where for one, where in rows}
        return known

    def _row(self, run_id: str) -> str:
        """Makes it; -> our id."""
        summary = self._find(run_id)
        if summary is None:
            return run_id
        run = self._entity(summary)
        with self._writing() as session:
            if session.get(SqlRun, summary.id) is None:
                session.add(
                    SqlRun(
                        run_uuid=summary.id,
                        name=summary.name,
                        artifact_uri=run.info.artifact_uri,
                        experiment_id=int(run.info.experiment_id),
                        source_type="UNKNOWN",
                        source_name="",
                        entry_point_name="",
                        user_id=run.info.user_id,
                        status="RUNNING",
                        start_time=summary.start_ms,
                        source_version="",
                        lifecycle_stage=LifecycleStage.DELETED if summary.deleted else LifecycleStage.ACTIVE,
                    )
                )
        return str(summary.id)

    def _delete(self, run_ids: list[str]) -> None:
        super()._delete(run_ids)
        self._rows(run_ids, self._mark_run_deleted)

    def _restore(self, run_ids: list[str]) -> None:
        super()._restore(run_ids)
        self._rows(run_ids, self._mark_run_active)

    def _rows(self, run_ids: list[str], change: Any) -> None:
        with self._writing() as session:
            for one in run_ids:
                row = session.get(SqlRun, one)
                if row is not None:
                    change(session, row)

    def _used(self, run_ids: list[str]) -> dict[str, tuple[Any, Any]]:
        if not run_ids:
            return {}
        with self.ManagedSessionMaker() as session:
            datasets = self._get_run_inputs(run_uuids=run_ids, session=session)
            if OLD:
                return {one: (RunInputs(dataset_inputs=sets), None) for one, sets in zip(run_ids, datasets)}
            from mlflow.entities import RunOutputs

            outputs = self._get_model_outputs_bulk(run_ids=run_ids, session=session)
            models = {one: self._get_model_inputs(one, session) for one in (run_ids if len(run_ids) == 1 else [])}
            return {
                one: (RunInputs(dataset_inputs=sets, model_inputs=models.get(one, [])), RunOutputs(outputs[one]))
                for one, sets in zip(run_ids, datasets)
            }

    @plainly
    def log_inputs(self, run_id: str, datasets: Any = None, models: Any = None) -> None:
        run = self._run(run_id)
        own = self._row(run_id)
        if OLD:
            super().log_inputs(own, datasets)
        else:
            super().log_inputs(own, datasets, models)
        if run is not None:
            for one in datasets or []:
                log_dataset(run.handle, one)  # for a delivery to come
            self._tell_inputs(run_id, models)

    @plainly
    def log_outputs(self, run_id: str, models: Any) -> None:
        super().log_outputs(self._row(run_id), models)
        self._tell_outputs(run_id, models)

    def _model_points(self, run_id: str, metrics: list[Metric]) -> None:
        self._row(run_id)
        self._log_model_metrics(run_id, metrics, experiment_id=self._experiment_of(self._known(run_id).experiment))
        self._tell_points(run_id, metrics)

    @plainly
    def link_traces_to_run(self, trace_ids: list[str], run_id: str) -> None:
        super().link_traces_to_run(trace_ids, self._row(run_id))
