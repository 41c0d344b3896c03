"""The plug-in for MLflow's own client: what `import mlflow` uses when MLFLOW_TRACKING_URI names this package.

mlops:///folder: the buffer there is the store, no server. mlops+http(s)://host: the buffer (MLOPS_HOME, else .mlops),
delivered to that server. MLflow finds the three functions below by the package's entry points; nothing here is
imported by `import mlops`. docs/plugin.md says what differs from MLflow's own stores, and why.
"""

from __future__ import annotations

from typing import Any


def _need_sqlalchemy(store_uri: str) -> None:
    from importlib.util import find_spec

    if find_spec("sqlalchemy") is None:
        from mlflow.exceptions import MlflowException

        raise MlflowException(
            f"{store_uri!r} needs SQLAlchemy, which mlflow brings and mlflow-skinny does not: pip install mlflow; "
            "mlops+http://host does without"
        )


def tracking_store(store_uri: str, artifact_uri: str | None = None, **_: Any) -> Any:
    if store_uri.startswith("mlops:"):
        _need_sqlalchemy(store_uri)
        from .local import LocalStore

        return LocalStore(store_uri)
    from .served import ServedStore

    return ServedStore(store_uri)


def registry_store(store_uri: str, **_: Any) -> Any:
    if store_uri.startswith("mlops:"):
        _need_sqlalchemy(store_uri)
        from .local_registry import local_registry

        return local_registry(store_uri)
    from .registry import ServedRegistry

    return ServedRegistry(store_uri)


def artifact_repository(artifact_uri: str, *_: Any, **__: Any) -> Any:
    from .artifacts import repository

    return repository(artifact_uri)
