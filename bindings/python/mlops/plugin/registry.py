"""The model registry of a place: of a root MLflow's own SQLite store beside its runs, of a server the server's."""

from __future__ import annotations

from typing import Any

from .places import store_place


def local_registry(store_uri: str) -> Any:
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    from .local import database

    with database(store_place(store_uri).root) as uri:
        return SqlAlchemyStore(uri)
