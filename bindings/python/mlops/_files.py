"""Files: what becomes a run's artifact, and what reading them gives. Shared by the fluent functions and MlflowClient.

Nothing here imports numpy, PIL, matplotlib or pandas: their objects are taken by what they can do.
"""

from __future__ import annotations

import os
import sys

from . import _core, _state
from ._records import Entity, record
from ._typing import cast
from .exceptions import Error, FailedPrecondition, InvalidArgument, NotFound, Unavailable, Unimplemented, WrongType

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


@record(frozen=True)
class FileInfo(Entity):
    """An artifact: a file or a folder of a run."""

    path: str
    is_dir: bool
    file_size: int | None  #: bytes; None: a folder


def _path(value: Any, what: str) -> str:
    return "" if value is None else _state.name(value, what)


def _place(value: Any, what: str) -> str:
    """A file or folder of this machine."""
    try:
        found = os.fsdecode(value)
    except TypeError:
        raise WrongType(f"{what} must be a path, not {type(value).__name__}") from None
    return _state.name(found, what)


def into(
    local_path: Any, artifact_path: Any, log_file: Callable[[str, str], None], log_folder: Callable[[str, str], None]
) -> None:
    """A file, or as MLflow does a folder under its own name."""
    place = _place(local_path, "local_path")
    given = _path(artifact_path, "artifact_path")
    if os.path.isdir(place):
        name = os.path.basename(os.path.normpath(os.path.abspath(place)))
        log_folder(place, f"{given}/{name}" if given else name)
    else:
        log_file(place, given)


def file(run: _core.RunHandle, local_path: Any, artifact_path: Any = None) -> None:
    into(
        local_path,
        artifact_path,
        lambda place, path: _core.log_file(run, place, path),
        lambda place, path: _core.log_folder(run, place, path),
    )


def folder(run: _core.RunHandle, local_dir: Any, artifact_path: Any = None) -> None:
    _core.log_folder(run, _place(local_dir, "local_dir"), _path(artifact_path, "artifact_path"))


def text(run: _core.RunHandle, words: Any, artifact_file: Any) -> None:
    _core.log_bytes(run, _state.name(words, "text").encode(), _state.name(artifact_file, "artifact_file"))


def stream(run: _core.RunHandle, source: Any, artifact_file: Any) -> None:
    data = source.read() if hasattr(source, "read") else source
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise WrongType(f"stream must be open for reading bytes, not {type(source).__name__}")
    _core.log_bytes(run, bytes(cast("Any", data)), _state.name(artifact_file, "artifact_file"))


def dictionary(run: _core.RunHandle, value: Any, artifact_file: Any) -> None:
    """JSON, or YAML where the name says so, as MLflow writes them."""
    path = _state.name(artifact_file, "artifact_file")
    if path.lower().endswith((".yml", ".yaml")):
        try:
            import yaml  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise Unimplemented(f"{path!r}: YAML needs the package PyYAML; or name it .json") from None
        words = yaml.dump(value, indent=2, default_flow_style=False)
    else:
        import json

        try:
            words = json.dumps(value, indent=2, default=str)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgument(f"{path!r}: this cannot be written as JSON: {error}") from None
    _core.log_bytes(run, words.encode(), path)


def figure(run: _core.RunHandle, drawing: Any, artifact_file: Any, save_kwargs: Any = None) -> None:
    """A matplotlib figure in the format its name ends with, or a plotly one (.html, or what its own writer takes)."""
    path = _state.name(artifact_file, "artifact_file")
    ending = os.path.splitext(path)[1].lstrip(".").lower()
    given = dict(save_kwargs or {})
    if hasattr(drawing, "savefig"):
        import io

        out = io.BytesIO()
        given.setdefault("format", ending or "png")
        drawing.savefig(out, **given)
        data = out.getvalue()
    elif hasattr(drawing, "to_html"):
        if ending == "html":
            given.setdefault("include_plotlyjs", "cdn")
            given.setdefault("auto_open", False)
            given.pop("auto_open")
            data = drawing.to_html(**given).encode()
        else:
            data = drawing.to_image(format=ending or "png", **given)
    else:
        raise WrongType(f"figure must be one of matplotlib's or plotly's, not {type(drawing).__name__}")
    _core.log_bytes(run, data, path)


def _pixels(image: Any) -> tuple[bytes, bool, int, int, int]:
    """-> (bytes, whether they are floats, width, height, channels)."""
    if hasattr(image, "to_pil"):  # mlflow.Image
        image = image.to_pil()
    if hasattr(image, "convert") and hasattr(image, "getbands"):  # PIL
        mode = {"1": "L", "I": "L", "F": "L", "LA": "RGBA", "PA": "RGBA", "P": "RGBA"}.get(image.mode, image.mode)
        mode = mode if mode in ("L", "RGB", "RGBA") else "RGB"
        ready = image.convert(mode)
        return ready.tobytes(), False, ready.width, ready.height, len(ready.getbands())
    numpy = sys.modules.get("numpy")
    if hasattr(image, "detach"):  # a tensor
        image = image.detach().cpu().numpy()
        numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(image, "__array__"):
        raise WrongType(f"image must be a numpy array, a tensor or a PIL image, not {type(image).__name__}")
    array = numpy.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        raise InvalidArgument(f"an image is (height, width) or (height, width, 1, 3 or 4), not {array.shape}")
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise InvalidArgument("an image of floats has values from 0 to 1; scale it, or give integers from 0 to 255")
        return array.astype("float32").tobytes(), True, width, height, channels
    if array.dtype.kind == "b":
        return (array.astype("uint8") * 255).tobytes(), False, width, height, channels
    if array.dtype.kind not in "iu":
        raise WrongType(f"an image has numbers, not {array.dtype}")
    if array.min() < 0 or array.max() > 255:
        raise InvalidArgument("an image of integers has values from 0 to 255")
    return array.astype("uint8").tobytes(), False, width, height, channels


def image(run: _core.RunHandle, picture: Any, artifact_file: Any = None, key: Any = None, step: Any = None) -> None:
    """Under a path, or with a key as one of a series by step."""
    if (artifact_file is None) == (key is None):
        raise InvalidArgument("give artifact_file, or key and step")
    if artifact_file is not None and step is not None:
        raise InvalidArgument("step goes with key, not with artifact_file")
    path, series = _path(artifact_file, "artifact_file"), _path(key, "key")
    if artifact_file is not None and not path.lower().endswith(".png"):
        # Other formats are PIL's to write.
        if not hasattr(picture, "save"):
            raise Unimplemented(f"{path!r}: arrays are written as .png; give a PIL image for another format")
        import io

        out = io.BytesIO()
        ending = os.path.splitext(path)[1].lstrip(".").lower()
        picture.save(out, format={"jpg": "jpeg", "tif": "tiff"}.get(ending, ending) or "png")
        return _core.log_bytes(run, out.getvalue(), path)
    if key is not None and not series:
        raise InvalidArgument("key must not be empty")
    _core.log_image(run, *_pixels(picture), path, series, int(step or 0))


_tables: dict[tuple[str, str], dict[str, list[Any]]] = {}  # by run and path: a later call of the same process appends


def _column(name: str, values: list[Any]) -> tuple[str, str, list[Any]]:
    kinds: set[type[Any]] = {type(one) for one in values if one is not None}
    if kinds <= {bool} and None not in values:
        return name, "bool", values
    if kinds <= {int} and None not in values:
        if all(-(2**63) <= one < 2**63 for one in values):
            return name, "int", values
        raise InvalidArgument(f"column {name!r} has integers beyond 64 bits")
    if kinds <= {int, float}:
        return name, "double", [float("nan") if one is None else float(one) for one in values]
    if kinds <= {str} and None not in values:
        return name, "text", [_state.text(one, f"column {name!r}") for one in values]
    raise WrongType(
        f"column {name!r} has values of {', '.join(sorted(kind.__name__ for kind in kinds))}"
        f"{' and None' if None in values else ''}: a column is of numbers, of texts or of bools; map it with str"
    )


def table(run: _core.RunHandle, data: Any, artifact_file: Any) -> None:
    """A dictionary of columns or a DataFrame, as .json; the same path again appends, within this process."""
    path = _state.name(artifact_file, "artifact_file")
    if not path.lower().endswith(".json"):
        raise Unimplemented(f"{path!r}: tables are written as .json")
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        data = data.to_dict(orient="list")
    if not isinstance(data, dict):
        raise WrongType(f"data must be a dictionary of columns or a DataFrame, not {type(data).__name__}")
    given: dict[Any, Any] = cast("Any", data)
    columns: dict[str, list[Any]] = {}
    for name, values in given.items():
        if hasattr(values, "tolist"):
            values = values.tolist()
        several: list[Any] = list(cast("Any", values)) if isinstance(values, (list, tuple)) else [values]
        plain = [one.item() if hasattr(one, "item") and not isinstance(one, str) else one for one in several]
        columns[_state.text(name, "a column's name")] = plain
    before = _tables.get((run.id, path))
    if before is not None:
        if list(before) != list(columns):
            raise InvalidArgument(f"{path!r} has the columns {list(before)}, not {list(columns)}")
        columns = {name: before[name] + values for name, values in columns.items()}
    _core.log_table(run, [_column(name, values) for name, values in columns.items()], path)
    _tables[run.id, path] = columns


def inputs(run: _core.RunHandle, dataset: Any, context: Any = None, tags: Any = None) -> None:
    """A dataset of mlops.data's or MLflow's own: what its to_dict says."""
    if not hasattr(dataset, "to_dict"):
        raise WrongType(f"dataset must be one of mlops.data or mlflow.data, not {type(dataset).__name__}")
    said = {key: value for key, value in dataset.to_dict().items() if isinstance(value, str)}
    _core.log_input(run, said, _state.pairs(tags, "tag"), _path(context, "context"))


_used: set[tuple[str, str, str]] = set()  # run, name and digest of datasets that points were measured on


def used(run: _core.RunHandle, dataset: Any) -> dict[str, str]:
    """A point of the run was measured on it, so the run used it: logged once. -> its fields."""
    if not hasattr(dataset, "to_dict"):
        raise WrongType(f"dataset must be one of mlops.data or mlflow.data, not {type(dataset).__name__}")
    said = {key: value for key, value in dataset.to_dict().items() if isinstance(value, str)}
    one = (run.id, said.get("name", ""), said.get("digest", ""))
    if one not in _used:
        inputs(run, dataset)
        _used.add(one)
    return said


# Reading: what is in this root first, then what a server has.


def _server(uri: str | None) -> tuple[str, str]:
    root, server = _state.target(uri)
    return root or _state.reader(uri).root, server


def _known(run_id: str, uri: str | None) -> tuple[str, list[tuple[str, int, str, str]]] | None:
    """(our id, its files) of a run in this root."""
    try:
        reader = _state.reader(uri)
        summary = reader.run(run_id)
    except NotFound:
        return None
    return summary.id, _core.files_of(reader, summary.id)


def below(files: list[tuple[str, int, str, str]], path: str) -> list[FileInfo]:
    """Of these files, what is directly in `path`."""
    folder = path.strip("/")
    found: dict[str, FileInfo] = {}
    for name, size, _, lost in files:
        if lost or (folder and not name.startswith(folder + "/")):
            continue
        first, more, _ = name[len(folder) + 1 if folder else 0 :].partition("/")
        full = f"{folder}/{first}" if folder else first
        found[full] = FileInfo(full, bool(more), None if more else size)
    return sorted(found.values(), key=lambda one: one.path)


def listed(run_id: Any, path: Any = None, uri: str | None = None) -> list[FileInfo]:
    """What is directly in `path`: of the buffer and, where there is one, of the server."""
    run_id, path = _state.name(run_id, "run_id"), _path(path, "path").strip("/")
    known = _known(run_id, uri)
    found = {one.path: one for one in below(known[1] if known else [], path)}
    root, server = _server(uri)
    if server:
        try:
            for name, is_dir, size in _core.server_files(run_id, path, False, root, server):
                if name != path:
                    found.setdefault(name, FileInfo(name, is_dir, None if is_dir else size))
        except (FailedPrecondition, Unavailable, NotFound):
            if known is None:
                raise  # not delivered yet, or the server is away: the buffer's are what there is
    elif known is None:
        raise NotFound(f"no run {run_id[:80]!r} in this root, and no tracking URI to ask")
    return sorted(found.values(), key=lambda one: one.path)


def _download(run_id: str, path: str, target: str, uri: str | None) -> None:
    import shutil

    known = _known(run_id, uri) if ":" not in run_id else None
    here = [
        (name, source)
        for name, _, source, lost in (known[1] if known else [])
        if source and not lost and (not path or name == path or name.startswith(path + "/"))
    ]
    root, server = _server(uri)
    if server:
        try:
            _core.download(run_id, path, target, root, server)
            here = [one for one in here if not os.path.exists(os.path.join(target, one[0]))]
        except (FailedPrecondition, Unavailable, NotFound):
            if not here:
                raise
    elif not here:
        raise NotFound(f"run {run_id[:80]!r} has no artifact {path!r} in this root, and no tracking URI to ask")
    for name, source in here:
        to = os.path.join(target, *name.split("/"))
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copyfile(source, to)


def downloaded(run_id: Any, path: Any = None, dst_path: Any = None, uri: str | None = None) -> str:
    """-> where the file or folder is now: below dst_path, or a new temporary folder."""
    import shutil
    import tempfile

    run_id, path = _state.name(run_id, "run_id"), _path(path, "path").strip("/")
    fresh = dst_path is None
    target = tempfile.mkdtemp(prefix="mlops-") if dst_path is None else _place(dst_path, "dst_path")
    os.makedirs(target, exist_ok=True)
    place = os.path.join(os.path.abspath(target), *path.split("/")) if path else os.path.abspath(target)
    try:
        for last in (False, False, True):
            try:
                _download(run_id, path, target, uri)
                break
            except FileNotFoundError:  # the spool's file got its final name between the look and the copy
                if last:
                    raise
    except (Error, KeyboardInterrupt, OSError):
        if fresh:
            shutil.rmtree(target, ignore_errors=True)
        raise
    return place


# The methods below have parameters of these names, which are MLflow's.
_text, _stream, _dictionary, _figure, _image = text, stream, dictionary, figure, image


class Files:
    """MlflowClient's calls for artifacts."""

    _uri: str | None

    def log_artifact(self, run_id: str, local_path: Any, artifact_path: str | None = None) -> None:
        file(_state.handle_for(run_id, self._uri), local_path, artifact_path)

    def log_artifacts(self, run_id: str, local_dir: Any, artifact_path: str | None = None) -> None:
        folder(_state.handle_for(run_id, self._uri), local_dir, artifact_path)

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        _text(_state.handle_for(run_id, self._uri), text, artifact_file)

    def log_stream(self, run_id: str, stream: Any, artifact_file: str) -> None:
        _stream(_state.handle_for(run_id, self._uri), stream, artifact_file)

    def log_dict(self, run_id: str, dictionary: dict[str, Any], artifact_file: str) -> None:
        _dictionary(_state.handle_for(run_id, self._uri), dictionary, artifact_file)

    def log_figure(self, run_id: str, figure: Any, artifact_file: str, *, save_kwargs: dict[str, Any] | None = None) -> None:
        _figure(_state.handle_for(run_id, self._uri), figure, artifact_file, save_kwargs)

    def log_image(
        self,
        run_id: str,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = None,
    ) -> None:
        _image(_state.handle_for(run_id, self._uri), image, artifact_file, key, step)

    def log_table(self, run_id: str, data: Any, artifact_file: str) -> None:
        table(_state.handle_for(run_id, self._uri), data, artifact_file)

    def load_table(
        self, experiment_id: str, artifact_file: str, run_ids: list[str] | None = None, extra_columns: list[str] | None = None
    ) -> Any:
        from . import _frames, fluent

        path = _state.name(artifact_file, "artifact_file")
        return _frames.table(path, run_ids, extra_columns, fluent._experiment_of(experiment_id), self._uri)

    def log_inputs(self, run_id: str, datasets: Any = None, models: Any = None) -> None:
        """A list of datasets, or of MLflow's DatasetInput entities."""
        handle = _state.handle_for(run_id, self._uri)
        if models:
            from . import _models

            for model in models:
                _models.used(handle, model, self._uri)
        given: list[Any] = datasets or []
        for one in given:
            tags: list[Any] = getattr(one, "tags", None) or []
            labels = {tag.key: tag.value for tag in tags}
            context = labels.pop("mlflow.data.context", None)
            inputs(handle, getattr(one, "dataset", one), context, labels)

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        return listed(run_id, path, self._uri)

    def download_artifacts(self, run_id: str, path: str = "", dst_path: Any = None) -> str:
        return downloaded(run_id, path, dst_path, self._uri)
