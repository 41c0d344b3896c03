"""Server: whether an MLflow server answers, found out without waiting for it, and said once when it does not."""

from __future__ import annotations

import logging
import socket
import threading
import time
import urllib.request
from functools import lru_cache
from typing import NoReturn
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

_log = logging.getLogger("mlops")
_SILENCE = 30.0  # seconds
_PATIENCE = 2.0  # seconds: of a try to connect, and how long its answer holds


class Server:
    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = threading.Lock()
        self._until = 0.0
        self._up = True
        self._said = False

    def here(self) -> bool:
        with self._lock:
            if time.monotonic() >= self._until:
                self._up = self._connects()
                self._until = time.monotonic() + _PATIENCE
                if not self._up and not self._said:
                    _log.warning(
                        "%s does not answer: only what this root has is shown; it is delivered when the server is back",
                        self.uri,
                    )
                self._said = not self._up
            return self._up

    def _connects(self) -> bool:
        parts = urlsplit(self.uri)
        host = parts.hostname or ""
        if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
            return True  # whoever stands between says more than a connection could
        try:
            socket.create_connection((host, parts.port or (443 if parts.scheme == "https" else 80)), _PATIENCE).close()
        except OSError:
            return False
        return True

    def lost(self, error: MlflowException) -> None:
        """A request came to nothing: for a while it is not asked for more, whose tries would take MLflow minutes each."""
        if "failed with" in str(error) and "exception" in str(error):  # as MLflow says that no answer came
            with self._lock:
                self._up, self._until = False, time.monotonic() + _SILENCE

    def need(self, what: str) -> None:
        if not self.here():
            self.missing(what)

    def missing(self, what: str) -> NoReturn:
        raise MlflowException(
            f"{self.uri} does not answer, and {what} needs it: runs, params, metrics, tags, files and datasets do not",
            TEMPORARILY_UNAVAILABLE,
        )


@lru_cache(maxsize=100)
def server_at(uri: str) -> Server:
    return Server(uri)
