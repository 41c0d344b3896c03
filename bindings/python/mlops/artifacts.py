"""Artifacts: MLflow's functions for files, datasets and models of the active run; and its module mlflow.artifacts."""

from __future__ import annotations

import os

from . import _core, _files, _models, _state, fluent
from ._files import FileInfo
from ._typing import cast
from .exceptions import InvalidArgument

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any

__all__ = ["FileInfo", "download_artifacts", "list_artifacts", "load_dict", "load_text"]


def _handle(run_id: str | None = None) -> _core.RunHandle:
    return fluent._active()._handle if run_id is None else _state.handle_for(run_id)


def log_artifact(local_path: Any, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """A file as it is now (or a folder, under its own name), below `artifact_path`. Uploaded in the background."""
    _files.file(_handle(run_id), local_path, artifact_path)


def log_artifacts(local_dir: Any, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Every file below the folder."""
    _files.folder(_handle(run_id), local_dir, artifact_path)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    _files.text(_handle(run_id), text, artifact_file)


def log_stream(stream: Any, artifact_file: str, run_id: str | None = None) -> None:
    """What a file opened for reading bytes has, read now."""
    _files.stream(_handle(run_id), stream, artifact_file)


def log_dict(dictionary: dict[str, Any], artifact_file: str, run_id: str | None = None) -> None:
    """As JSON, or as YAML when the name ends so (that needs PyYAML)."""
    _files.dictionary(_handle(run_id), dictionary, artifact_file)


def log_figure(figure: Any, artifact_file: str, *, save_kwargs: dict[str, Any] | None = None) -> None:
    """A figure of matplotlib's or plotly's."""
    _files.figure(_handle(), figure, artifact_file, save_kwargs)


def log_image(
    image: Any,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
    synchronous: bool | None = False,
) -> None:
    """A numpy array (0 to 255, or floats from 0 to 1), tensor or PIL image; with `key` one of a series by step."""
    _files.image(_handle(), image, artifact_file, key, step)


def log_table(data: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Columns or a DataFrame as .json, which MLflow shows as a table. The same path again appends, in one process."""
    _files.table(_handle(run_id), data, artifact_file)


def log_input(dataset: Any = None, context: str | None = None, tags: dict[str, str] | None = None, model: Any = None) -> None:
    """The active run used this dataset (of mlops.data, or of mlflow.data)."""
    if dataset is None and model is None:
        raise InvalidArgument("give a dataset, as mlops.data makes them, or a model (entities.LoggedModelInput)")
    if dataset is not None:
        _files.inputs(_handle(), dataset, context, tags)
    if model is not None:
        _models.used(_handle(), model)


def log_inputs(
    datasets: list[Any] | None = None,
    contexts: list[str | None] | None = None,
    tags_list: list[dict[str, str] | None] | None = None,
    models: list[Any] | None = None,
) -> None:
    given = datasets or []
    for name, others in (("contexts", contexts), ("tags_list", tags_list)):
        if others is not None and len(others) != len(given):
            raise InvalidArgument(f"{len(given)} datasets and {len(others)} {name}: as many are needed")
    for model in models or []:
        if model is not None:
            _models.used(_handle(), model)
    for i, one in enumerate(given):
        log_input(one, contexts[i] if contexts else None, tags_list[i] if tags_list else None)


def log_model(
    path: Any,
    name: str = "model",
    *,
    flavor: str = "cpp",
    registered_model_name: str | None = None,
    model_type: str = "",
    step: int = 0,
    params: dict[str, Any] | None = None,
    tags: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    requirements: list[str] | None = None,
    run_id: str | None = None,
) -> _core.LoggedModel:
    """Files (a path or several) or a folder as an MLflow model of the run. Accepted at once, offline too.

    flavor: "cpp" (files for a program that knows them), "onnx", "xgboost", "lightgbm" or "pytorch" (TorchScript), which
    MLflow then loads. registered_model_name: a new version of that model, too.
    """
    handle = _handle(run_id)
    several: list[Any] = list(cast("Any", path)) if isinstance(path, (list, tuple)) else [path]
    files: list[tuple[str, str]] = []
    for one in several:
        place = _files._place(one, "path")
        if os.path.isdir(place):
            for folder, _, names in sorted(os.walk(place, followlinks=True)):
                files += [(os.path.join(folder, file), os.path.relpath(os.path.join(folder, file), place)) for file in sorted(names)]
        else:
            files.append((place, ""))
    if not files:
        raise InvalidArgument(f"{several!r} has no file: a model is at least one")
    model = _core.log_model(
        handle,
        _state.name(name, "a model's name"),
        files,
        _state.name(flavor, "flavor"),
        _state.name(model_type, "model_type"),
        step,
        _state.pairs(params, "param"),
        _state.pairs(tags, "tag"),
        _state.pairs(metadata, "metadata entry"),
        list(requirements or []),
    )
    _models.made_whole(model)
    if registered_model_name is not None:
        _core.register_model(handle, "", _state.name(registered_model_name, "registered_model_name"), "", [], model.uid)
    return model


def get_artifact_uri(artifact_path: str | None = None) -> str:
    """`runs:/ID/path` of the active run: what download_artifacts and register_model take. Where a server keeps its files
    is known there only."""
    base = f"runs:/{fluent._active().info.run_id}"
    return f"{base}/{artifact_path.strip('/')}" if artifact_path else base


def _of(artifact_uri: str | None, run_id: str | None, artifact_path: str | None) -> tuple[str, str]:
    if (artifact_uri is None) == (run_id is None):
        raise InvalidArgument("give artifact_uri or run_id, one of them")
    if run_id is not None:
        return run_id, artifact_path or ""
    if artifact_path:
        raise InvalidArgument("artifact_path goes with run_id; the URI has its own")
    uri = _state.name(artifact_uri, "artifact_uri")
    if uri.startswith("runs:/"):
        run, _, path = uri[len("runs:/") :].lstrip("/").partition("/")
        return run, path
    if uri.startswith("models:/"):
        from . import _registry

        return _registry.place(uri), ""
    return uri, ""


def list_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    tracking_uri: str | None = None,
) -> list[FileInfo]:
    """What is directly there: of this root's runs from the buffer and the server, of others from the server."""
    run, path = _of(artifact_uri, run_id, artifact_path)
    return _files.listed(run, path, tracking_uri)


def download_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    dst_path: Any = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
) -> str:
    """A file or folder into `dst_path` (else a new temporary folder); returns where it is."""
    run, path = _of(artifact_uri, run_id, artifact_path)
    return _files.downloaded(run, path, dst_path, tracking_uri)


def load_text(artifact_uri: str) -> str:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mlops-") as folder:
        with open(download_artifacts(artifact_uri, dst_path=folder), encoding="utf-8") as found:
            return found.read()


def load_dict(artifact_uri: str) -> Any:
    import json

    return json.loads(load_text(artifact_uri))
