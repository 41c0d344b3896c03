"""Registry: registered models, versions and aliases in MLflow's spelling. A write is accepted at once, offline too, and
delivered in order, exactly once; where a server is there, the call waits for its answer, so that what follows sees it.
"""

from __future__ import annotations

from . import _core, _state
from ._records import Entity, field, record
from .entities import PagedList
from .exceptions import AlreadyExists, DeadlineExceeded, Error, InvalidArgument, NotFound, Unimplemented

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_ANSWER_SECONDS = 30.0  # for a server's answer to a write; it goes on waiting in the buffer


@record
class ModelVersion(Entity):
    name: str
    version: str  #: empty while it waits for delivery
    description: str = ""
    source: str = ""
    run_id: str = ""
    model_id: str = ""
    status: str = "READY"  #: "PENDING_REGISTRATION" while it waits
    current_stage: str = "None"
    user_id: str = ""
    creation_timestamp: int = 0
    last_updated_timestamp: int = 0
    tags: dict[str, str] = field(default_factory=dict[str, str])
    aliases: list[str] = field(default_factory=list[str])
    pending: _core.Pending | None = field(default=None, repr=False, compare=False)

    def wait(self, timeout: float = 300.0) -> ModelVersion:
        """Until a server has the version; DeadlineExceeded leaves it waiting."""
        if self.pending is not None and not self.version:
            self.version = str(_answer(self.pending.wait(timeout))["version"])
            self.status = "READY"
        return self


@record
class RegisteredModel(Entity):
    name: str
    description: str = ""
    creation_timestamp: int = 0  #: milliseconds since 1970
    last_updated_timestamp: int = 0
    tags: dict[str, str] = field(default_factory=dict[str, str])
    aliases: dict[str, str] = field(default_factory=dict[str, str])  #: alias: version
    _client: Registered | None = field(default=None, repr=False, compare=False)

    @property
    def latest_versions(self) -> list[ModelVersion]:
        """The newest version of each stage: the server is asked when this is read."""
        return [] if self._client is None else self._client.get_latest_versions(self.name)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        yield from super().__iter__()
        yield "latest_versions", self.latest_versions


def _model(row: dict[str, Any], client: Registered) -> RegisteredModel:
    fields: dict[str, Any] = {**row, "tags": dict(row["tags"]), "aliases": dict(row["aliases"]), "_client": client}
    return RegisteredModel(**fields)


def _version(row: dict[str, Any]) -> ModelVersion:
    fields: dict[str, Any] = {**row, "tags": dict(row["tags"]), "aliases": list(row["aliases"])}
    return ModelVersion(**fields)


def _registry(uri: str | None = None) -> _core.Registry:
    return _core.Registry(_state.client(uri))


def _text(value: Any, what: str) -> str:
    return _state.name(value, what)


def _number(version: Any) -> str:
    if isinstance(version, ModelVersion):
        return version.version or ("uid:" + version.pending.id if version.pending is not None else "")
    return str(version)


_KINDS = {kind.code: kind for kind in Error.__subclasses__()}


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    """A settled write; its refusal is an exception."""
    if row["state"] == "condition_failed":
        raise AlreadyExists(row["message"] or f"{row['verb']} of {row['model']!r}: it is there already")
    if row["state"] == "refused":
        raise _KINDS.get(row["code"], InvalidArgument)(row["message"])
    return row


def _done(pending: _core.Pending, uri: str | None, seconds: float = _ANSWER_SECONDS) -> dict[str, Any] | None:
    """The server's answer; None: it waits in the buffer, for a server or for its turn."""
    if not _state.client(uri).tracking_uri or seconds <= 0:
        return None
    try:
        return _answer(pending.wait(seconds))
    except DeadlineExceeded:
        import warnings

        warnings.warn(f"the registry's write {pending.id} waits: it is delivered when the server answers", stacklevel=4)
        return None


def place(uri: str) -> str:
    """Where the files of models:/NAME/VERSION, models:/NAME@ALIAS are."""
    registry = _registry()
    version = registry.resolve(uri)
    return registry.download_uri(version["name"], version["version"])


def _made_of(
    source: str, name: str, description: str, labels: list[tuple[str, str]], uri: str | None
) -> tuple[_core.Pending, str]:
    """A new version of what is at `source`, and its run's id: a run of this root waits for its artifacts."""
    run_id, path = "", ""
    if source.startswith("models:/") and "/" not in source[len("models:/") :] and "@" not in source:
        from . import _models

        try:
            uid, run_id, _ = _models.place_of(source[len("models:/") :], uri)
            return _core.register_model(_state.handle_for(run_id, uri), "", name, description, labels, uid), run_id
        except NotFound:
            run_id = ""  # the server's
    if source.startswith("runs:/"):
        run_id, _, path = source[len("runs:/") :].lstrip("/").partition("/")
        try:
            return _core.register_model(_state.handle_for(run_id, uri), path, name, description, labels, ""), run_id
        except NotFound:
            pass  # somebody else's: the server knows it
    return _registry(uri).create_version(name, source, description, labels), run_id


def register_model(
    model_uri: Any, name: str, await_registration_for: int | None = 300, *, tags: dict[str, Any] | None = None, env_pack: Any = None
) -> ModelVersion:
    """A new version of `name` from runs:/ID/path, a model that log_model gave, or a place a server can read.

    With a server, waits for the number so many seconds; offline, and with 0, the version is accepted and has none yet:
    its wait() gets it.
    """
    if env_pack is not None:
        raise Unimplemented("register_model(env_pack=…): use the mlflow package")
    name = _text(name, "a registered model's name")
    labels = _state.pairs(tags, "tag")
    if isinstance(model_uri, _core.LoggedModel):
        run_id = model_uri.run_id
        source = f"runs:/{run_id}/{model_uri.name}"
        pending = _core.register_model(_state.handle_for(run_id), "", name, "", labels, model_uri.uid)
    else:
        source = _text(model_uri, "model_uri")
        pending, run_id = _made_of(source, name, "", labels, None)
    made = ModelVersion(name, "", source=source, run_id=run_id, status="PENDING_REGISTRATION", tags=dict(labels), pending=pending)
    row = _done(pending, None, float(await_registration_for or 0))
    if row is not None:
        made.version, made.status = row["version"], "READY"
    return made


def set_registry_uri(uri: str | None) -> None:
    """Registry and tracking are one here: only the tracking URI itself can be set."""
    if uri and uri.rstrip("/") != _state.tracking_uri().rstrip("/"):
        raise Unimplemented(f"the registry is where runs are delivered: set_tracking_uri({uri[:200]!r}) sets both")


def get_registry_uri() -> str:
    return _state.tracking_uri()


def search_registered_models(
    max_results: int | None = None, filter_string: str | None = None, order_by: list[str] | None = None
) -> list[RegisteredModel]:
    rows = _registry().models(filter_string or "", ",".join(order_by or []), max_results or 0)
    return [_model(row, Registered()) for row in rows]


def search_model_versions(
    max_results: int | None = None, filter_string: str | None = None, order_by: list[str] | None = None
) -> list[ModelVersion]:
    rows = _registry().versions(filter_string or "", ",".join(order_by or []), max_results or 0)
    return [_version(row) for row in rows]


def set_model_version_tag(name: str, version: str | None = None, key: str | None = None, value: Any = None) -> None:
    Registered().set_model_version_tag(name, version, key, value)


def _page(found: list[Any], max_results: int, page_token: str | None) -> PagedList[Any]:
    first = int(page_token) if page_token and page_token.isdecimal() else 0
    last = first + max_results
    return PagedList(found[first:last], str(last) if last < len(found) else None)


class Registered:
    """MlflowClient's calls for the registry. Reads ask the server."""

    _uri: str | None = None

    def _write(self, pending: _core.Pending) -> dict[str, Any] | None:
        return _done(pending, self._uri)

    def create_registered_model(
        self, name: str, tags: dict[str, Any] | None = None, description: str | None = None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        labels = _state.pairs(tags, "tag")
        row = self._write(_registry(self._uri).create_model(_text(name, "name"), description or "", labels))
        return RegisteredModel(name, description or "", tags=dict(labels)) if row is None else self.get_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        row = self._write(_registry(self._uri).rename_model(_text(name, "name"), _text(new_name, "new_name")))
        return RegisteredModel(new_name) if row is None else self.get_registered_model(new_name)

    def update_registered_model(
        self, name: str, description: str | None = None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        row = self._write(_registry(self._uri).update_model(_text(name, "name"), description or ""))
        return RegisteredModel(name, description or "") if row is None else self.get_registered_model(name)

    def delete_registered_model(self, name: str) -> None:
        self._write(_registry(self._uri).delete_model(_text(name, "name")))

    def get_registered_model(self, name: str) -> RegisteredModel:
        return _model(_registry(self._uri).model(_text(name, "name")), self)

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = 100,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[RegisteredModel]:
        rows = _registry(self._uri).models(filter_string or "", ",".join(order_by or []), 0)
        return _page([_model(row, self) for row in rows], max_results, page_token)

    def set_registered_model_tag(self, name: str, key: str, value: Any) -> None:
        words = _state.text(value, f"tag {key!r}")
        self._write(_registry(self._uri).set_model_tag(_text(name, "name"), _text(key, "key"), words))

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._write(_registry(self._uri).delete_model_tag(_text(name, "name"), _text(key, "key")))

    def set_registered_model_alias(self, name: str, alias: str, version: Any) -> None:
        self._write(_registry(self._uri).set_alias(_text(name, "name"), _text(alias, "alias"), _number(version)))

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self._write(_registry(self._uri).delete_alias(_text(name, "name"), _text(alias, "alias")))

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: dict[str, Any] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        await_creation_for: int | None = 300,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Of a place a server can read, or runs:/ID/path (then of that run). The model is made when it is not there."""
        if run_link is not None or model_id is not None:
            raise Unimplemented('create_model_version: give source="runs:/ID/path" or "models:/MODEL_ID" instead of run_link, model_id')
        labels = _state.pairs(tags, "tag")
        pending, made_by = _made_of(_text(source, "source"), _text(name, "name"), description or "", labels, self._uri)
        row = _done(pending, self._uri, float(await_creation_for or 0))
        if row is not None:
            return self.get_model_version(name, row["version"])
        return ModelVersion(
            name, "", description or "", source, run_id or made_by, status="PENDING_REGISTRATION", tags=dict(labels), pending=pending
        )

    def copy_model_version(self, src_model_uri: str, dst_name: str) -> ModelVersion:
        registry = _registry(self._uri)
        found = registry.resolve(_text(src_model_uri, "src_model_uri"))
        pending = registry.copy_version(found["name"], found["version"], _text(dst_name, "dst_name"))
        row = self._write(pending)
        if row is not None:
            return self.get_model_version(dst_name, row["version"])
        return ModelVersion(dst_name, "", status="PENDING_REGISTRATION", pending=pending)

    def update_model_version(self, name: str, version: Any, description: str | None = None) -> ModelVersion:
        row = self._write(_registry(self._uri).update_version(_text(name, "name"), _number(version), description or ""))
        return ModelVersion(name, _number(version)) if row is None else self.get_model_version(name, version)

    def transition_model_version_stage(
        self, name: str, version: Any, stage: str, archive_existing_versions: bool = False
    ) -> ModelVersion:
        registry = _registry(self._uri)
        row = self._write(registry.set_stage(_text(name, "name"), _number(version), _text(stage, "stage"), archive_existing_versions))
        return ModelVersion(name, _number(version)) if row is None else self.get_model_version(name, version)

    def delete_model_version(self, name: str, version: Any) -> None:
        self._write(_registry(self._uri).delete_version(_text(name, "name"), _number(version)))

    def get_model_version(self, name: str, version: Any) -> ModelVersion:
        return _version(_registry(self._uri).version(_text(name, "name"), _number(version)))

    def get_latest_versions(self, name: str, stages: list[str] | None = None) -> list[ModelVersion]:
        """The newest version of each stage (of those named), in the order of the stages."""
        word = _text(name, "name")
        wanted = {one.lower() for one in stages} if stages else None
        newest: dict[str, ModelVersion] = {}
        quote = '"' if "'" in word else "'"
        for one in self.search_model_versions(f"name = {quote}{word}{quote}"):
            stage = one.current_stage or "None"
            if wanted is not None and stage.lower() not in wanted:
                continue
            if stage not in newest or int(one.version) > int(newest[stage].version):
                newest[stage] = one
        return [newest[stage] for stage in self.get_model_version_stages(word, "") if stage in newest]

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        return _version(_registry(self._uri).version_by_alias(_text(name, "name"), _text(alias, "alias")))

    def get_model_version_download_uri(self, name: str, version: Any) -> str:
        return _registry(self._uri).download_uri(_text(name, "name"), _number(version))

    def get_model_version_stages(self, name: str, version: Any) -> list[str]:
        return ["None", "Staging", "Production", "Archived"]

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = 10_000,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        rows = _registry(self._uri).versions(filter_string or "", ",".join(order_by or []), 0)
        return _page([_version(row) for row in rows], max_results, page_token)

    def set_model_version_tag(
        self, name: str, version: Any = None, key: str | None = None, value: Any = None, stage: str | None = None
    ) -> None:
        if version is None or key is None or stage is not None:
            raise InvalidArgument("give version and key; versions by their stage are not taken here")
        words = _state.text(value, f"tag {key!r}")
        self._write(_registry(self._uri).set_version_tag(_text(name, "name"), _number(version), _text(key, "key"), words))

    def delete_model_version_tag(self, name: str, version: Any = None, key: str | None = None, stage: str | None = None) -> None:
        if version is None or key is None or stage is not None:
            raise InvalidArgument("give version and key; versions by their stage are not taken here")
        self._write(_registry(self._uri).delete_version_tag(_text(name, "name"), _number(version), _text(key, "key")))
