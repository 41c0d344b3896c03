"""Models: logged models in MLflow's spelling. A write is accepted at once, offline too, and delivered with the run that made
the model; reads are of this root, and so is every model here: each call takes our id and the server's.
"""

from __future__ import annotations

import os

from . import _core, _files, _state, fluent
from ._files import FileInfo
from .entities import LoggedModel, LoggedModelStatus, Metric, PagedList
from .exceptions import FailedPrecondition, InvalidArgument, NotFound, WrongType

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any, Literal, overload

_EXTERNAL = "mlflow.model.isExternal"
_EXTERNAL_MLMODEL = b"flavors: {}\nmetadata: {}\n"
_PAGE = 100
_places: dict[str, tuple[str, str, str]] = {}  # of models that were asked for, by either id; it never changes
_last_id: str | None = None  # of the model that was made last


def made(model: _core.LoggedModel) -> _core.LoggedModel:
    """This process made it."""
    global _last_id
    _state.models[model.uid] = model
    _last_id = model.uid
    return model


def made_whole(model: _core.LoggedModel) -> _core.LoggedModel:
    """The same of one that is an output of its run already."""
    _linked.add((model.run_id, model.uid))
    return made(model)


def _entity(row: dict[str, Any]) -> LoggedModel:
    metrics = [
        Metric(key, value, ms, step, name or None, digest or None, row["id"], run_id)
        for key, value, step, ms, name, digest, run_id in row["metrics"]
    ]
    return LoggedModel(
        experiment_id=row["experiment"],
        model_id=row["id"],
        name=row["name"],
        creation_timestamp=row["created_ms"],
        last_updated_timestamp=row["updated_ms"],
        model_type=row["type"],
        source_run_id=row["run_id"],
        status=row["status"],
        tags=row["tags"],
        params=row["params"],
        metrics=metrics,
        server_id=row["server_id"] or None,
    )


def _rows(uri: str | None) -> list[dict[str, Any]]:
    try:
        return [row for row in _state.reader(uri).models() if not row["deleted"]]
    except NotFound:
        return []  # no root yet


def _row(model_id: Any, uri: str | None) -> dict[str, Any]:
    word = _state.name(getattr(model_id, "model_id", model_id), "model_id")
    for row in _rows(uri):
        if word and word in (row["id"], row["server_id"]):
            return row
    raise NotFound(f"no logged model {word[:80]!r} in this root; one that only a server has is for the mlflow package")


def place_of(model_id: Any, uri: str | None = None) -> tuple[str, str, str]:
    """Our id of the model, its run's, its name."""
    if isinstance(model_id, str) and model_id in _state.models:
        model_id = _state.models[model_id]
    if isinstance(model_id, _core.LoggedModel):
        return model_id.uid, model_id.run_id, model_id.name
    known = _places.get(model_id) if isinstance(model_id, str) else None
    if known is None:
        row = _row(model_id, uri)
        known = _places[str(model_id)] = row["id"], row["run_id"], row["name"]
    return known


def _handle(model_id: Any, uri: str | None = None) -> _core.LoggedModel:
    """The model, to log to: through the run that made it, open here or joined."""
    uid, run_id, name = place_of(model_id, uri)
    run = _state.handle_for(run_id, uri)
    known = _state.models.get(uid)
    return known if known is not None and run is _state.open_runs.get(run_id) else _core.logged_model(run, uid, name)


_linked: set[tuple[str, str]] = set()  # run and model: an output or an input of it


def of_run(run: _core.RunHandle, model_id: Any, uri: str | None = None, *, link: bool = True) -> _core.LoggedModel:
    """The model as `run` measures it. As MLflow's functions do, not its client: what is no output of the run is an input."""
    uid, made_by, name = place_of(model_id, uri)
    known = _state.models.get(uid)
    own = known is not None and made_by == run.id and run is _state.open_runs.get(made_by)
    model = known if known is not None and own else _core.logged_model(run, uid, name)
    if link and (run.id, uid) not in _linked:
        _linked.add((run.id, uid))
        if known is not None or made_by != run.id:  # of an earlier process's it is not known here
            _core.log_model_used(run, model)
    return model


def used(run: _core.RunHandle, model: Any, uri: str | None = None) -> None:
    """The run used a model: by a LoggedModelInput, or what has a model_id. One of a server's, too."""
    model_id = _state.name(getattr(model, "model_id", None), "model_id")
    try:
        uid, _, name = place_of(model_id, uri)
    except NotFound:
        if not model_id.startswith("m-"):
            raise
        _core.log_model_input(run, model_id)
    else:
        _core.log_model_used(run, _core.logged_model(run, uid, name))


def _random_name() -> str:
    first = ("able", "bold", "calm", "dear", "fair", "glad", "keen", "mild", "neat", "pure", "rare", "wise")
    second = ("ant", "bee", "crane", "doe", "elk", "fox", "gull", "hare", "ibis", "jay", "kite", "lynx")
    number = int.from_bytes(os.urandom(4), "big")
    return f"{first[number % 12]}-{second[number // 12 % 12]}-{number // 144 % 1000}"


def _begun(
    run: _core.RunHandle, name: str | None, tags: Any, params: Any, model_type: str | None
) -> _core.LoggedModel:
    return made(
        _core.start_model(
            run,
            _random_name() if name is None else _state.name(name, "a model's name"),
            "" if model_type is None else _state.name(model_type, "model_type"),
            _state.pairs(params, "param"),
            _state.pairs(tags, "tag"),
        )
    )


def _run_of(source_run_id: str | None, experiment_id: str | None, uri: str | None) -> _core.RunHandle:
    if source_run_id is None:
        raise FailedPrecondition("a logged model belongs to a run here: call start_run() first, or give source_run_id")
    run = _state.handle_for(source_run_id, uri)
    if experiment_id is not None:
        wanted, has = fluent._experiment_of(experiment_id), _state.find(run.id, uri).experiment
        if wanted != has:
            raise InvalidArgument(f"run {run.id} is of experiment {has!r}, and its models are too, not of {wanted[:100]!r}")
    return run


def _active(source_run_id: str | None) -> str | None:
    run = fluent.active_run()
    return run.info.run_id if source_run_id is None and run is not None else source_run_id


def _source(run: _core.RunHandle) -> dict[str, str]:
    """Who and what makes the model, as the run's tags say it."""
    tags = _state.find(run.id).tags
    return {key: value for key, value in tags.items() if key == "mlflow.user" or key.startswith("mlflow.source.")}


def _of_source(
    name: str | None,
    source_run_id: str | None,
    tags: dict[str, Any],
    params: dict[str, Any] | None,
    model_type: str | None,
    experiment_id: str | None,
) -> _core.LoggedModel:
    run = _run_of(_active(source_run_id), experiment_id, None)
    return _begun(run, name, {**_source(run), **tags}, params, model_type)


def initialize_logged_model(
    name: str | None = None,
    source_run_id: str | None = None,
    tags: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    model_type: str | None = None,
    experiment_id: str | None = None,
) -> LoggedModel:
    """A model of the active run (or of source_run_id), PENDING and without files: log_model_artifact(s) of MlflowClient
    brings them, finalize_logged_model ends it. log_model does all of it in one call."""
    return get_logged_model(_of_source(name, source_run_id, tags or {}, params, model_type, experiment_id).uid)


def create_external_model(
    name: str | None = None,
    source_run_id: str | None = None,
    tags: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    model_type: str | None = None,
    experiment_id: str | None = None,
) -> LoggedModel:
    """A model whose files are elsewhere: READY at once."""
    import tempfile

    model = _of_source(name, source_run_id, {**(tags or {}), _EXTERNAL: "true"}, params, model_type, experiment_id)
    with tempfile.TemporaryDirectory() as folder:  # an MLmodel, so that a version of it can be registered
        with open(os.path.join(folder, "MLmodel"), "wb") as file:
            file.write(_EXTERNAL_MLMODEL)
        model.log_folder(folder, "")
    model.finalize(True)
    return get_logged_model(model.uid)


def finalize_logged_model(model_id: str, status: Literal["READY", "FAILED"] | str) -> LoggedModel:
    """All files are logged: "READY" on the server once they are there; or "FAILED"."""
    return Logged().finalize_logged_model(model_id, status)


def get_logged_model(model_id: str) -> LoggedModel:
    return Logged().get_logged_model(model_id)


def last_logged_model() -> LoggedModel | None:
    """The model that this process made last, as it is now."""
    return None if _last_id is None else get_logged_model(_last_id)


def set_logged_model_tags(model_id: str, tags: dict[str, Any]) -> None:
    Logged().set_logged_model_tags(model_id, tags)


def delete_logged_model_tag(model_id: str, key: str) -> None:
    Logged().delete_logged_model_tag(model_id, key)


def log_model_params(params: dict[str, Any], model_id: str | None = None) -> None:
    """More params of a model: each key once."""
    if model_id is None:
        raise InvalidArgument("log_model_params: give model_id; there is no active model in this package")
    Logged().log_model_params(model_id, params)


def log_outputs(models: list[Any] | None = None) -> None:
    """The active run made these models: entities.LoggedModelOutput, with a step. log_model says so by itself."""
    Logged().log_outputs(fluent._active().info.run_id, models or [])


if TYPE_CHECKING:

    @overload
    def search_logged_models(
        experiment_ids: list[str] | None = ...,
        filter_string: str | None = ...,
        datasets: list[dict[str, str]] | None = ...,
        max_results: int | None = ...,
        order_by: list[dict[str, Any]] | None = ...,
        *,
        output_format: Literal["list"],
    ) -> list[LoggedModel]: ...

    @overload
    def search_logged_models(
        experiment_ids: list[str] | None = ...,
        filter_string: str | None = ...,
        datasets: list[dict[str, str]] | None = ...,
        max_results: int | None = ...,
        order_by: list[dict[str, Any]] | None = ...,
        output_format: str = ...,
    ) -> Any: ...


def search_logged_models(
    experiment_ids: list[str] | None = None,
    filter_string: str | None = None,
    datasets: list[dict[str, str]] | None = None,
    max_results: int | None = None,
    order_by: list[dict[str, Any]] | None = None,
    output_format: str = "pandas",
) -> Any:
    """The logged models of this root's experiment, newest first: a DataFrame, or with output_format="list" entities."""
    if output_format not in ("pandas", "list"):
        raise InvalidArgument(f'output_format must be "pandas" or "list", not {output_format!r}')
    found = _search_in(experiment_ids or [fluent._chosen()], filter_string, datasets, order_by, None)[:max_results]
    if output_format == "list":
        return found
    from . import _frames

    return _frames.records(found)


def _search_in(
    experiment_ids: list[str], filter_string: str | None, datasets: Any, order_by: Any, uri: str | None
) -> list[LoggedModel]:
    from . import _search  # with a regular expression: only here

    wanted = {fluent._experiment_of(one) for one in experiment_ids}
    models = [_entity(row) for row in _rows(uri) if row["experiment"] in wanted]
    return _search.ordered(_search.matching(models, filter_string, datasets), order_by)


class Logged:
    """MlflowClient's calls for logged models."""

    _uri: str | None = None

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """A model of a run (source_run_id), PENDING and without files."""
        run = _run_of(source_run_id, experiment_id, self._uri)
        return self.get_logged_model(_begun(run, name, tags, params, model_type).uid)

    def get_logged_model(self, model_id: str) -> LoggedModel:
        return _entity(_row(model_id, self._uri))

    def finalize_logged_model(self, model_id: str, status: str) -> LoggedModel:
        word = str(getattr(status, "value", status))
        if word not in (LoggedModelStatus.READY, LoggedModelStatus.FAILED):
            raise InvalidArgument(f'a model is finalized as "READY" or "FAILED", not {word[:40]!r}')
        row = _row(model_id, self._uri)
        if row["status"] == LoggedModelStatus.PENDING:
            _handle(model_id, self._uri).finalize(word == LoggedModelStatus.READY)
        elif row["status"] != word:
            raise FailedPrecondition(f"model {row['id']} is {row['status']} already: that does not change")
        return self.get_logged_model(row["id"])

    def delete_logged_model(self, model_id: str) -> None:
        """Out of sight, here and on the server, for good."""
        _handle(_row(model_id, self._uri)["id"], self._uri).remove()

    def set_logged_model_tags(self, model_id: str, tags: dict[str, Any]) -> None:
        _handle(model_id, self._uri).set_tags(_state.pairs(tags, "tag"))

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        row = _row(model_id, self._uri)
        if _state.name(key, "a tag's key") not in row["tags"]:
            raise NotFound(f"model {row['id']} has no tag {key[:80]!r}")
        _handle(row["id"], self._uri).delete_tag(key)

    def log_model_params(self, model_id: str, params: dict[str, Any]) -> None:
        row = _row(model_id, self._uri)
        given = _state.pairs(params, "param")
        known = [key for key, _ in given if key in row["params"]]
        if known:
            raise InvalidArgument(f"model {row['id']} has param {known[0]!r} already: params are logged once")
        _handle(row["id"], self._uri).log_params(given)

    def log_outputs(self, run_id: str, models: list[Any]) -> None:
        run = _state.handle_for(run_id, self._uri)
        for one in models:
            if not hasattr(one, "model_id"):
                raise WrongType(f"models must be a list of LoggedModelOutput, not of {type(one).__name__}")
            uid, _, name = place_of(one.model_id, self._uri)
            _linked.add((run.id, uid))
            _core.log_model_output(run, _core.logged_model(run, uid, name), int(getattr(one, "step", 0)))

    def log_model_artifact(self, model_id: str, local_path: Any, artifact_path: str | None = None) -> None:
        """A file as it is now (or a folder, under its own name) into the model's directory."""
        model = _handle(model_id, self._uri)
        _files.into(local_path, artifact_path, model.log_file, model.log_folder)

    def log_model_artifacts(self, model_id: str, local_dir: Any, artifact_path: str | None = None) -> None:
        """Every file below the folder."""
        _handle(model_id, self._uri).log_folder(_files._place(local_dir, "local_dir"), _files._path(artifact_path, "artifact_path"))

    def list_logged_model_artifacts(self, model_id: str, path: str | None = None) -> list[FileInfo]:
        """What is directly in `path`, of the files that were logged in this root."""
        row = _row(model_id, self._uri)
        return _files.below(_core.files_of(_state.reader(self._uri), row["run_id"], row["id"]), _files._path(path, "path"))

    def search_logged_models(
        self,
        experiment_ids: list[str],
        filter_string: str | None = None,
        datasets: list[dict[str, Any]] | None = None,
        max_results: int | None = None,
        order_by: list[dict[str, Any]] | None = None,
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        found = _search_in(experiment_ids, filter_string, datasets, order_by, self._uri)
        first = int(page_token) if page_token and page_token.isdecimal() else 0
        last = first + (max_results or _PAGE)
        return PagedList(found[first:last], str(last) if last < len(found) else None)
