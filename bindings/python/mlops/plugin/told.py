"""Told: which of what MLflow's database of a root has the buffer was told, too, for a delivery to come.

`.mlflow/told` has a line for each logged model and model version: what MLflow calls it, and what the buffer does. Lines
are appended whole, by any process; of two for the same the last one counts. What is not told is not delivered, and that
is said once in the log; a call never fails for it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Generator
from typing import Any

from ..exceptions import Error

_log = logging.getLogger("mlops")


class Told:
    def __init__(self, root: str) -> None:
        self._file = os.path.join(root, ".mlflow", "told")
        self._known: dict[str, Any] = {}
        self._read_to = 0

    def add(self, key: str, value: Any) -> None:
        line = (json.dumps([key, value]) + "\n").encode()
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)

    def get(self, key: str) -> Any:
        """None: the buffer knows nothing of it."""
        if key not in self._known:
            self._read()
        return self._known.get(key)

    def all(self, prefix: str) -> dict[str, Any]:
        self._read()
        return {key: value for key, value in self._known.items() if key.startswith(prefix) and value is not None}

    def _read(self) -> None:
        with contextlib.suppress(FileNotFoundError), open(self._file, "rb") as file:
            file.seek(self._read_to)
            for line in file.read().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self._read_to += len(line)
                with contextlib.suppress(ValueError):
                    key, value = json.loads(line)
                    self._known[key] = value


@contextlib.contextmanager
def for_later(what: str) -> Generator[None, None, None]:
    """MLflow's database has it by now; a buffer that does not take it is no failure of the call."""
    try:
        yield
    except (Error, OSError) as error:
        _log.warning("%s will not be delivered: %s", what, error)
