"""Places: what the URIs of the plug-in name.

A store: mlops:///folder (mlops:folder, mlops:// for the root in force), mlops+http(s)://host[:port][/prefix].
Artifacts of a store are below `.mlflow/artifacts`: of a root that is a folder of MLflow's own files (logged models,
traces), in which runs have no bytes: those are in the buffer. Of a server `.mlflow/runs/<our id>` is a run of this root,
and `.mlflow/artifacts/<path>` is what the server itself calls mlflow-artifacts:/<path>.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from .. import _core

ARTIFACTS = "/.mlflow/artifacts"
RUNS = "/.mlflow/runs"
_LOCAL_RUN = re.compile(r"^[^/]+/([0-9a-f]{32})/artifacts(?:/(.*))?$", re.DOTALL)
_SERVED_RUN = re.compile(r"^([0-9a-f]{32})/artifacts(?:/(.*))?$", re.DOTALL)


class Place(NamedTuple):
    root: str  #: absolute folder; empty: the root in force
    server: str  #: http(s) URI; empty: none

    @property
    def target(self) -> str:
        """The URI as the package knows it."""
        return self.server or f"mlops://{quote(self.root)}"

    @property
    def uri(self) -> str:
        return f"mlops+{self.server}" if self.server else self.target


def store_place(uri: str) -> Place:
    parts = urlsplit(uri)
    if parts.scheme in ("mlops+http", "mlops+https"):
        if not parts.hostname:
            raise MlflowException(f"{uri!r} names no server: mlops+http://host:port", INVALID_PARAMETER_VALUE)
        if "@" in parts.netloc:
            raise MlflowException(
                "credentials do not belong into the URI: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
                INVALID_PARAMETER_VALUE,
            )
        return Place("", uri[len("mlops+") :].rstrip("/"))
    if parts.netloc:
        raise MlflowException(
            f"{uri!r}: a root is mlops:///absolute/folder or mlops:folder; a server is mlops+http://host:port",
            INVALID_PARAMETER_VALUE,
        )
    folder = unquote(parts.path)
    if folder in ("", "/"):
        folder = str(_core.settings()["root"])
    return Place(os.path.abspath(folder), "")


class Artifacts(NamedTuple):
    place: Place
    run_id: str  #: of a run that may be in the buffer; empty: none
    path: str  #: below the run's artifacts, or below the place's


def files_of(where: Artifacts) -> str:
    """The folder of MLflow's own files that a place of a root is."""
    return os.path.join(where.place.root + ARTIFACTS, *where.path.split("/"))


def artifacts_place(uri: str) -> Artifacts:
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.scheme == "mlops":
        root, mark, rest = path.partition(ARTIFACTS + "/")
        run = _LOCAL_RUN.match(rest)
        if not mark:
            root, rest = path.removesuffix(ARTIFACTS), ""
        return Artifacts(Place(root, ""), run[1] if run else "", (run[2] or "") if run else rest)
    for mark in (RUNS, ARTIFACTS):
        prefix, found, rest = path.partition(mark + "/")
        if found:
            server = urlunsplit((parts.scheme.removeprefix("mlops+"), parts.netloc, prefix, "", "")).rstrip("/")
            run = _SERVED_RUN.match(rest) if mark == RUNS else None
            return Artifacts(Place("", server), run[1] if run else "", (run[2] or "") if run else rest)
    raise MlflowException(f"{uri!r} is no place of artifacts of this package", INVALID_PARAMETER_VALUE)
