"""ServedStore: a root that is delivered to a server, as a tracking store (mlops+http(s)://host).

Runs are written to the buffer, and read from it, merged with those that only the server has; with the server away the
buffer's are shown, and that is said once. Everything else (logged models, traces, …) is the server's own, asked for
over REST; what names a run of ours there waits until it is delivered.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from typing import Any
from urllib.parse import quote, urlsplit

from mlflow.entities import Experiment, ExperimentTag, Run, ViewType
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities.paged_list import PagedList
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.search_utils import SearchExperimentsUtils, SearchUtils
from mlflow.utils.validation import _validate_experiment_name

from ..exceptions import Error
from .buffer import OLD, Buffer, Open, plainly
from .merging import Token, over, sides
from .places import ARTIFACTS, RUNS, Artifacts, store_place
from .server import server_at
from .uses import Uses

_log = logging.getLogger("mlops")
_UID = "mlops.uid"
_SOURCE_RUN = "mlflow.sourceRun"
_DELIVERY = 60.0  # seconds that a call waits for what it names to be on the server


def local_id(name: str) -> str:
    """The id of an experiment that no server has yet: the same in every process."""
    if name == "Default":
        return "0"
    return str(10**17 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % (9 * 10**17))


class ServedStore(Uses):
    def __init__(self, store_uri: str) -> None:
        place = store_place(store_uri)
        self._begin(place)
        super().__init__(functools.partial(get_default_host_creds, place.server))
        self._begin_uses()
        self.server = server_at(place.server)
        self._ids: dict[str, str] = {}  # of experiments on the server, by name
        self._seen: dict[str, Experiment] = {}  # the same by id, as they were last
        self._names: set[str] = set()
        self._names_until = 0.0
        self._made: dict[str, Experiment] = {}  # named here while the server was away
        self._adopted: set[str] = set()  # runs that began on the server

    def _call_endpoint(self, api: Any, *args: Any, **kwargs: Any) -> Any:
        self.server.need(getattr(api, "__name__", "this"))
        try:
            return super()._call_endpoint(api, *args, **kwargs)
        except MlflowException as error:
            self.server.lost(error)
            raise

    # Experiments.

    def _remember(self, experiment: Experiment) -> Experiment:
        self._ids[experiment.name] = experiment.experiment_id
        self._seen[experiment.experiment_id] = experiment
        return experiment

    def _local_names(self) -> set[str]:
        """Of experiments with runs in the buffer, as of at most a second ago, or named here."""
        if time.monotonic() >= self._names_until:
            self._names = {one.experiment for one in self._summaries()}
            self._names_until = time.monotonic() + 1
        return self._names | self._made.keys()

    def _on_server(self, name: str) -> str | None:
        """Its id there; None: it has none, or the server is away."""
        if name not in self._ids and self.server.here():
            found = super().get_experiment_by_name(name)
            if found is not None:
                self._remember(found)
        return self._ids.get(name)

    def _experiment_of(self, name: str) -> str:
        return self._on_server(name) or local_id(name)

    def _name_of(self, experiment_id: str) -> str | None:
        experiment_id = str(experiment_id)
        for name, one in self._ids.items():
            if one == experiment_id:
                return name
        for name in self._local_names():
            if local_id(name) == experiment_id:
                return name
        if not self.server.here():
            return None
        try:
            return self._remember(super().get_experiment(experiment_id)).name
        except MlflowException:
            return None

    def _names_of(self, experiment_id: str) -> list[str]:
        known = [name for name, one in self._ids.items() if one == str(experiment_id)]
        name = self._name_of(experiment_id)
        return known if name is None or name in known else [*known, name]

    def _real(self, experiment_id: str) -> str:
        """The id on the server of an experiment that may be only here; makes it there."""
        name = next((one for one in self._local_names() if local_id(one) == str(experiment_id)), None)
        if name is None:
            return experiment_id
        return self._on_server(name) or self.create_experiment_there(name)

    def create_experiment_there(self, name: str) -> str:
        made = self._made.get(name)
        tags = [] if made is None else [ExperimentTag(key, value) for key, value in made.tags.items()]
        location = made.artifact_location if made is not None else None
        try:
            created = super().create_experiment(name, location or None, tags)
        except MlflowException as error:
            found = super().get_experiment_by_name(name)
            if found is None:
                raise error from None
            created = found.experiment_id
        self._ids[name] = created
        return str(created)

    def _local(self, name: str) -> Experiment:
        made = self._made.get(name)
        if made is not None:
            return made
        starts = [one.start_ms for one in self._summaries() if one.experiment == name]
        return Experiment(local_id(name), name, "", LifecycleStage.ACTIVE, [], min(starts, default=None), max(starts, default=None))

    @plainly
    def get_experiment(self, experiment_id: str) -> Experiment:
        name = next((one for one in self._local_names() if local_id(one) == str(experiment_id)), None)
        there = self._on_server(name) if name is not None else experiment_id
        if there is not None and self.server.here():
            return self._remember(super().get_experiment(there))
        if there in self._seen:
            return self._seen[there]
        if name is not None:
            return self._local(name)
        if experiment_id == "0":
            return self._local("Default")
        return super().get_experiment(experiment_id)

    @plainly
    def get_experiment_by_name(self, experiment_name: str) -> Experiment | None:
        if self.server.here():
            found = super().get_experiment_by_name(experiment_name)
            if found is not None:
                return self._remember(found)
        elif experiment_name in self._ids and self._ids[experiment_name] in self._seen:
            return self._seen[self._ids[experiment_name]]
        known = experiment_name == "Default" or experiment_name in self._local_names()
        return self._local(experiment_name) if known else None

    @plainly
    def create_experiment(self, name: str, artifact_location: str | None = None, tags: list[Any] | None = None) -> str:
        _validate_experiment_name(name)
        if self.server.here():
            return super().create_experiment(name, artifact_location, tags or [])
        if name in self._local_names() or name == "Default":
            raise MlflowException(f"Experiment '{name}' already exists.", RESOURCE_ALREADY_EXISTS)
        self._client().experiment(name, [(tag.key, str(tag.value)) for tag in tags or []], artifact_location or "")
        self._made[name] = Experiment(local_id(name), name, artifact_location or "", LifecycleStage.ACTIVE, tags or [])
        return local_id(name)

    @plainly
    def search_experiments(
        self,
        view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter_string: str | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        local = []
        if view_type != ViewType.DELETED_ONLY:
            local = [self._local(one) for one in sorted(self._local_names()) if self._on_server(one) is None]
        if not self.server.here():
            local += self._seen.values()
            found = SearchExperimentsUtils.sort(SearchExperimentsUtils.filter(local, filter_string), order_by or ["experiment_id ASC"])
            page, token = SearchUtils.paginate(found, page_token, max_results)
            return PagedList(page, token)
        page = super().search_experiments(view_type, max_results, filter_string, order_by, page_token)
        if page.token:
            return page
        return PagedList([*page, *SearchExperimentsUtils.filter(local, filter_string)], None)

    @plainly
    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        there = self._real(experiment_id)
        super().rename_experiment(there, new_name)
        self._ids = {new_name: there, **self._ids}  # new runs get the new name; those of before have the old one
        self._seen.pop(there, None)

    @plainly
    def set_experiment_tag(self, experiment_id: str, tag: Any) -> None:
        super().set_experiment_tag(self._real(experiment_id), tag)

    @plainly
    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        super().delete_experiment_tag(self._real(experiment_id), key)

    @plainly
    def delete_experiment(self, experiment_id: str) -> None:
        name = self._name_of(experiment_id)
        super().delete_experiment(self._real(experiment_id))
        self._delete([one.id for one in self._summaries(ViewType.ACTIVE_ONLY) if one.experiment == name])

    @plainly
    def restore_experiment(self, experiment_id: str) -> None:
        name = self._name_of(experiment_id)
        super().restore_experiment(self._real(experiment_id))
        self._restore([one.id for one in self._summaries(ViewType.DELETED_ONLY) if one.experiment == name])

    # Runs.

    def _artifacts_of(self, run_id: str, experiment_id: str) -> str:
        return f"{self.place.uri}{RUNS}/{run_id}/artifacts"

    def _placed(self, uri: str | None) -> str | None:
        """Where MLflow's client finds what the server keeps for it: its own scheme takes only an http tracking URI."""
        parts = urlsplit(uri or "")
        if parts.scheme != "mlflow-artifacts" or parts.netloc:
            return uri
        return f"{self.place.uri}{ARTIFACTS}/{parts.path.lstrip('/')}"

    def _theirs(self, run: Run) -> Run:
        run.info._artifact_uri = self._placed(run.info.artifact_uri)
        return run

    def server_run(self, server_id: str) -> Run:
        """As the server has it."""
        return super(Buffer, self).get_run(server_id)

    def _server_id(self, run_id: str, seconds: float = 0.0) -> str:
        """Of a run that may be ours; empty: it is not there (yet)."""
        summary = self._find(run_id)
        if summary is None:
            return run_id
        if summary.server_id:
            return str(summary.server_id)
        known = self._runs.get(summary.id)
        if known is None or known.handle.ended:
            known = self._run(run_id) if seconds > 0 else None
        if known is None:
            return ""
        try:
            return str(known.handle.server_id(seconds))
        except Error:
            return ""

    def _delivered(self, run_id: str | None, what: str) -> str | None:
        """The run's id on the server, which `what` needs."""
        if not run_id:
            return run_id
        self.server.need(what)
        return self._server_id(run_id, _DELIVERY) or self.server.missing(f"{what} (run {run_id} is not delivered)")

    @plainly
    def get_run(self, run_id: str) -> Run:
        summary = self._find(run_id)
        if summary is None:
            return self._theirs(self.server_run(run_id))
        run = self._entity(summary)
        if self._began_there(summary) and self.server.here():
            run = over(self.server_run(summary.id), run)
        return self._with_used([run])[0]

    def _began_there(self, summary: Any) -> bool:
        """On the server, and it is gone on with here: the buffer has only what was logged since."""
        return summary.id in self._adopted or summary.server_id == summary.id

    def _used(self, run_ids: list[str]) -> dict[str, tuple[Any, Any]]:
        found: dict[str, tuple[Any, Any]] = {}
        for one in run_ids:
            if one in self._used_here:
                found[one] = sides(*self._used_here[one])
            elif len(run_ids) == 1 and one not in self._runs and self.server.here() and (there := self._server_id(one)):
                run = self.server_run(there)
                found[one] = (run.inputs, getattr(run, "outputs", None))
        return found

    def _adopt(self, run_id: str) -> Open | None:
        if not self.server.here():
            return None
        there = self.server_run(run_id)
        options = {"resume_id": run_id, "source_tags": False, "log_system_metrics": False}
        with self._opening:
            handle = self._client().start_run(self._name_of(there.info.experiment_id), options)
            self._adopted.add(handle.id)
            run = self._runs[run_id] = self._runs[handle.id] = Open(handle, True, dict(there.data.params))
        return run

    @plainly
    def _search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str,
        run_view_type: int,
        max_results: int,
        order_by: list[str],
        page_token: str | None,
    ) -> tuple[list[Run], str | None]:
        self._check_search(filter_string, max_results, order_by)
        at = Token.read(page_token)
        want = max_results or 1000
        real = [there for one in experiment_ids if (there := self._there(one)) is not None]
        done = at.done or not real or not self.server.here()
        names = {name for one in experiment_ids for name in self._names_of(one)}
        summaries = {one.id: one for one in self._summaries() if one.experiment in names} if not done else {}
        began_there = {one for one, summary in summaries.items() if self._began_there(summary)}
        ours = list(self._search(experiment_ids, filter_string, run_view_type, order_by or []))
        ours = [run for run in ours if run.info.run_id not in began_there]
        mine = ours[at.offset : at.offset + want]
        theirs: list[tuple[Run, str | None, int]] = []
        following, skip = at.server, at.skip
        used: dict[str, tuple[Any, Any]] = {}
        while len(theirs) < want and not done:
            page, after = self._server_runs(real, filter_string, run_view_type, want, order_by, following)
            for place, run in enumerate(page):
                uid = run.data.tags.get(_UID, run.info.run_id)
                if uid in began_there:
                    run = over(run, self._entity(summaries[uid], run.info.experiment_id))
                elif uid in summaries:
                    used[uid] = (run.inputs, getattr(run, "outputs", None))
                    continue
                if place >= skip:
                    theirs.append((run, following, place))
            following, skip, done = after, 0, not after
        own = {run.info.run_id for run in mine}
        merged = SearchUtils.sort([*mine, *(self._theirs(run) for run, _, _ in theirs)], order_by)[:want]
        taken = sum(run.info.run_id in own for run in merged)
        offset, left = at.offset + taken, theirs[len(merged) - taken :]
        used.update(self._used([one for one in own if one in self._used_here]))
        runs = [self._with(run, used.get(run.info.run_id)) if run.info.run_id in own else run for run in merged]
        if left:
            return runs, Token(offset, left[0][1], left[0][2], False).text()
        if offset < len(ours) or not done:
            return runs, Token(offset, following, 0, done).text()
        return runs, None

    def _server_runs(self, *args: Any) -> tuple[list[Run], str | None]:
        return super(Buffer, self)._search_runs(*args)

    def _there(self, experiment_id: str) -> str | None:
        name = next((one for one in self._local_names() if local_id(one) == str(experiment_id)), None)
        return self._on_server(name) if name is not None else str(experiment_id)

    # Files.

    def _repository(self, run_id: str) -> Any | None:
        there = self._server_id(run_id)
        if not there or not self.server.here():
            return None
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(self._placed(self.server_run(there).info.artifact_uri))

    def _server_files(self, run_id: str, path: str) -> list[Any]:
        try:
            repository = self._repository(run_id)
            return list(repository.list_artifacts(path or None)) if repository is not None else []
        except Exception as error:  # what is here is shown all the same
            _log.warning("the server's files of run %s are not listed: %s", run_id, error)
            return []

    def _download(self, run_id: str, path: str, file: str) -> bool:
        repository = self._repository(run_id)
        if repository is None:
            return False
        repository._download_file(path, file)
        return True

    # Traces.

    def start_trace(self, trace_info: Any, *args: Any, **kwargs: Any) -> Any:
        if not OLD:
            source = trace_info.trace_metadata.get(_SOURCE_RUN)
            if source and (there := self._server_id(source, _DELIVERY)):
                trace_info.trace_metadata[_SOURCE_RUN] = there
        return super().start_trace(trace_info, *args, **kwargs)

    def link_traces_to_run(self, trace_ids: list[str], run_id: str) -> None:
        super().link_traces_to_run(trace_ids, self._delivered(run_id, "link_traces_to_run"))


def server_files(where: Artifacts) -> Any:
    """What the server calls mlflow-artifacts:/<path>."""
    if where.run_id:
        raise MlflowException(f"Run with id={where.run_id} not found", RESOURCE_DOES_NOT_EXIST)
    server = where.place.server
    if OLD:
        from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

        return HttpArtifactRepository(f"{server}/api/2.0/mlflow-artifacts/artifacts/{quote(where.path)}")
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    return MlflowArtifactsRepository(f"mlflow-artifacts:/{quote(where.path)}", tracking_uri=server)
