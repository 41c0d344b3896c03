"""The model registry of a server, for a root that is delivered there."""

from __future__ import annotations

import functools
import re
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.rest_store import RestStore
from mlflow.utils.credentials import get_default_host_creds

from .. import _core
from ..exceptions import Error
from .places import artifacts_place, store_place
from .buffer import plainly
from .server import server_at

_DELIVERY = 60.0  # seconds that a new version waits for its files to be on the server


class ServedRegistry(RestStore):
    """The server's, over REST. Runs of ours may be named by either id; a version waits until its files are delivered."""

    def __init__(self, store_uri: str) -> None:
        self.place = store_place(store_uri)
        self.server = server_at(self.place.server)
        super().__init__(functools.partial(get_default_host_creds, self.place.server))

    def _call_endpoint(self, api: Any, *args: Any, **kwargs: Any) -> Any:
        self.server.need("the model registry")
        try:
            return super()._call_endpoint(api, *args, **kwargs)
        except MlflowException as error:
            self.server.lost(error)
            raise

    @property
    def _runs(self) -> Any:
        from mlflow.tracking._tracking_service.utils import _get_store

        return _get_store(self.place.uri)

    @plainly
    def create_model_version(self, name: str, source: str, run_id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        self.server.need("a model version")
        if run_id:
            run_id = self._runs._delivered(run_id, "a model version")
        return super().create_model_version(name, self._source(source), run_id, *args, **kwargs)

    def _source(self, source: str) -> str:
        """A place of ours as the server calls it."""
        if not source.startswith("mlops+"):
            return source
        where = artifacts_place(source)
        if not where.run_id:
            return f"mlflow-artifacts:/{where.path}"
        runs = self._runs
        there = runs._delivered(where.run_id, "a model version")
        try:
            runs._client().flush(_core.Level.delivered, _DELIVERY)
        except Error as error:
            self.server.missing(f"a model version of files that are not delivered ({error.message})")
        place = runs.server_run(there).info.artifact_uri
        return f"{place.rstrip('/')}/{where.path}" if where.path else str(place)

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        return str(self._runs._placed(super().get_model_version_download_uri(name, version)))

    def search_model_versions(self, filter_string: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if filter_string:
            filter_string = re.sub(r"[0-9a-f]{32}", lambda found: self._runs._server_id(found[0]) or found[0], filter_string)
        return super().search_model_versions(filter_string, *args, **kwargs)
