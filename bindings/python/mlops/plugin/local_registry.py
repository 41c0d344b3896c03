"""The model registry of a root without a server: MLflow's own SQLite store, beside the runs. The buffer is told of each
write, so that `mlops sync --to` delivers them, in order: a version is then one of the files that it is of here, and gets
the server's number.
"""

from __future__ import annotations

import re
from typing import Any

from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from .. import _core, _state
from ..exceptions import NotFound
from .buffer import without_mlflows
from .local import database
from .places import Place, artifacts_place, store_place
from .told import Told, for_later

_LOGGED = re.compile(r"(?:^models:/|/models/)(m-[0-9a-f]{32})(?:/|$)")
_VERSION = re.compile(r"^models:/([^/@]+)/(\d+)$")


def local_registry(store_uri: str) -> Any:
    place = store_place(store_uri)
    with database(place.root) as uri:
        return LocalRegistry(uri, place)


class LocalRegistry(SqlAlchemyStore):
    def __init__(self, db_uri: str, place: Place) -> None:
        super().__init__(db_uri)
        self.place = place
        self.told = Told(place.root)

    def _client(self) -> Any:
        with without_mlflows():
            return _state.client(self.place.target)

    def _tell(self, what: str, say: Any) -> Any:
        """What `say` gives; None: the buffer did not take it."""
        with for_later(what):
            return say(_core.Registry(self._client()))
        return None

    def _of_version(self, name: str, version: Any, what: str, say: Any) -> None:
        """`say(registry, version)` of a version that the buffer knows."""
        uid = self.told.get(f"version {name}/{version}")
        if uid is not None:
            self._tell(f"{what} of version {version} of {name!r}", lambda registry: say(registry, f"uid:{uid}"))

    # Registered models.

    def create_registered_model(self, name: str, tags: Any = None, description: str | None = None, *more: Any, **rest: Any) -> Any:
        made = super().create_registered_model(name, tags, description, *more, **rest)
        labels = [(one.key, str(one.value)) for one in tags or []]
        self._tell(f"registered model {name!r}", lambda registry: registry.create_model(name, description or "", labels))
        return made

    def update_registered_model(self, name: str, description: str | None, *more: Any, **rest: Any) -> Any:
        done = super().update_registered_model(name, description, *more, **rest)
        self._tell(f"the description of {name!r}", lambda registry: registry.update_model(name, description or ""))
        return done

    def rename_registered_model(self, name: str, new_name: str) -> Any:
        done = super().rename_registered_model(name, new_name)
        for key, uid in self.told.all(f"version {name}/").items():
            self.told.add(f"version {new_name}/{key.rpartition('/')[2]}", uid)
            self.told.add(key, None)
        self._tell(f"the name {new_name!r}", lambda registry: registry.rename_model(name, new_name))
        return done

    def delete_registered_model(self, name: str) -> None:
        super().delete_registered_model(name)
        self._tell(f"the deletion of {name!r}", lambda registry: registry.delete_model(name))
        for key in self.told.all(f"version {name}/"):
            self.told.add(key, None)

    def set_registered_model_tag(self, name: str, tag: Any) -> None:
        super().set_registered_model_tag(name, tag)
        self._tell(f"a tag of {name!r}", lambda registry: registry.set_model_tag(name, tag.key, str(tag.value)))

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        super().delete_registered_model_tag(name, key)
        self._tell(f"a tag of {name!r}", lambda registry: registry.delete_model_tag(name, key))

    def set_registered_model_alias(self, name: str, alias: str, version: Any) -> None:
        super().set_registered_model_alias(name, alias, version)
        self._of_version(name, version, f"alias {alias!r}", lambda registry, ref: registry.set_alias(name, alias, ref))

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        super().delete_registered_model_alias(name, alias)
        self._tell(f"alias {alias!r} of {name!r}", lambda registry: registry.delete_alias(name, alias))

    # Versions.

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Any = None,
        run_link: str | None = None,
        description: str | None = None,
        *more: Any,
        **rest: Any,
    ) -> Any:
        made = super().create_model_version(name, source, run_id, tags, run_link, description, *more, **rest)
        labels = [(one.key, str(one.value)) for one in tags or []]
        what = f"version {made.version} of {name!r}"
        pending = self._tell(what, lambda registry: self._version(registry, name, source, labels, description or ""))
        if pending is not None:
            self.told.add(f"version {name}/{made.version}", pending.id)
        return made

    def _version(self, registry: Any, name: str, source: str, labels: list[tuple[str, str]], description: str) -> Any:
        """Of what is at `source`: a logged model, files of a run, another version, or a place that a server can read."""
        logged, copied = _LOGGED.search(source), _VERSION.match(source)
        uri = self.place.target
        if logged:
            known = self.told.get(f"model {logged[1]}")
            if known is not None:
                run = _state.handle_for(known["run"], uri)
                return _core.register_model(run, "", name, description, labels, known["uid"])
        elif copied:
            uid = self.told.get(f"version {copied[1]}/{copied[2]}")
            if uid is not None:
                return registry.copy_version(copied[1], f"uid:{uid}", name)
        elif source.startswith("runs:/"):
            run_id, _, path = source[len("runs:/") :].lstrip("/").partition("/")
            return _core.register_model(_state.handle_for(run_id, uri), path, name, description, labels, "")
        elif source.startswith("mlops:"):
            where = artifacts_place(source)
            if where.run_id:
                return _core.register_model(_state.handle_for(where.run_id, uri), where.path, name, description, labels, "")
        elif not source.startswith(("/", "file:")):
            return registry.create_version(name, source, description, labels)
        raise NotFound(f"only this machine knows what is at {source[:200]!r}")

    def update_model_version(self, name: str, version: Any, description: str | None = None) -> Any:
        done = super().update_model_version(name, version, description)
        self._of_version(name, version, "the description", lambda registry, ref: registry.update_version(name, ref, description or ""))
        return done

    def transition_model_version_stage(self, name: str, version: Any, stage: str, archive_existing_versions: bool) -> Any:
        done = super().transition_model_version_stage(name, version, stage, archive_existing_versions)
        archive = bool(archive_existing_versions)
        stage = done.current_stage
        self._of_version(name, version, f"stage {stage}", lambda registry, ref: registry.set_stage(name, ref, stage, archive))
        return done

    def delete_model_version(self, name: str, version: Any) -> None:
        super().delete_model_version(name, version)
        self._of_version(name, version, "the deletion", lambda registry, ref: registry.delete_version(name, ref))

    def set_model_version_tag(self, name: str, version: Any, tag: Any) -> None:
        super().set_model_version_tag(name, version, tag)
        value = str(tag.value)
        self._of_version(name, version, "a tag", lambda registry, ref: registry.set_version_tag(name, ref, tag.key, value))

    def delete_model_version_tag(self, name: str, version: Any, key: str) -> None:
        super().delete_model_version_tag(name, version, key)
        self._of_version(name, version, "a tag", lambda registry, ref: registry.delete_version_tag(name, ref, key))
