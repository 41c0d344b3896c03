"""Artifact repositories of the plug-in: files of a run of the buffer, and what else has a place below a store.

A file that is logged is what it was when the call returned; it lies in the spool and is delivered from there.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from typing import Any

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import NOT_IMPLEMENTED, RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import ArtifactRepository, verify_artifact_path

from .. import _core
from .places import ARTIFACTS, Artifacts, artifacts_place
from .buffer import plainly


def repository(artifact_uri: str) -> Any:
    where = artifacts_place(artifact_uri)
    if where.run_id:
        store = store_of(where)
        if store._find(where.run_id) is not None:
            return RunFiles(artifact_uri, where, store)
    if where.place.server:
        from .served import server_files

        return server_files(where)
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    return LocalArtifactRepository(where.place.root + ARTIFACTS + artifact_uri.partition(ARTIFACTS)[2])


def store_of(where: Artifacts) -> Any:
    from mlflow.tracking._tracking_service.utils import _get_store

    return _get_store(where.place.uri)


class RunFiles(ArtifactRepository):
    """The files of a run of the buffer; of one that is delivered, also those that somebody else added on the server."""

    def __init__(self, artifact_uri: str, where: Artifacts, store: Any) -> None:
        super().__init__(artifact_uri)
        self.where, self.store = where, store
        self._base = where.path.strip("/")

    def _path(self, path: str | None) -> str:
        return "/".join(one for one in (self._base, (path or "").strip("/")) if one)

    def _files(self) -> dict[str, tuple[str, int, str, str]]:
        """{path: (path, size, file, lost)} of what is in the buffer."""
        reader = self.store._reader()
        return {one[0]: one for one in _core.files_of(reader, self.where.run_id)}

    @plainly
    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        verify_artifact_path(artifact_path)
        os.stat(local_file)  # what is not there is a FileNotFoundError, as in MLflow's own
        run = self.store._run(self.where.run_id)
        _core.log_file(run.handle, os.fspath(local_file), self._path(artifact_path))

    @plainly
    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        verify_artifact_path(artifact_path)
        run = self.store._run(self.where.run_id)
        _core.log_folder(run.handle, os.fspath(local_dir), self._path(artifact_path))

    @plainly
    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        folder = self._path(path)
        prefix = folder + "/" if folder else ""
        found: dict[str, FileInfo] = {}
        for name, size, _, _ in self._files().values():
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                head, deeper, _ = rest.partition("/")
                shown = self._shown(prefix + head)
                found[shown] = FileInfo(shown, bool(deeper), None if deeper else size)
        for one in self.store._server_files(self.where.run_id, folder):
            shown = self._shown(one.path)
            found.setdefault(shown, FileInfo(shown, one.is_dir, one.file_size))
        return [found[name] for name in sorted(found)]

    def _shown(self, path: str) -> str:
        return posixpath.relpath(path, self._base) if self._base else path

    @plainly
    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        path = self._path(remote_file_path)
        known = self._files().get(path)
        if known is not None and known[2]:
            shutil.copyfile(known[2], local_path)
            return
        if self.store._download(self.where.run_id, path, local_path):
            return
        reason = f": {known[3]}" if known is not None and known[3] else ""
        raise MlflowException(f"No such artifact: '{path}'{reason}", RESOURCE_DOES_NOT_EXIST)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        raise MlflowException(
            "files of a run in the buffer are not deleted one by one: delete the run, then `mlops gc --deleted`",
            NOT_IMPLEMENTED,
        )
