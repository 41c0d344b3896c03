"""Data: MLflow's mlflow.data for what a run was trained or judged on. A dataset is its name and digest; no value of it is
kept."""

from __future__ import annotations

import os

from . import _core, _state
from ._records import record
from ._typing import cast
from .exceptions import WrongType

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Dataset", "from_file", "from_numpy", "from_pandas"]


@record(frozen=True)
class Dataset:
    """What log_input takes; texts are JSON where MLflow's are."""

    name: str
    digest: str
    source_type: str = "code"
    source: str = "{}"
    schema: str = ""
    profile: str = ""

    def to_dict(self) -> dict[str, str]:
        return dict(vars(self))


def from_file(path: Any, name: str | None = None) -> Dataset:
    """A file of this machine: its digest is of its bytes."""
    place = os.path.abspath(os.fsdecode(path))
    return Dataset(**_core.file_dataset(name or os.path.basename(place), place))


def _source(source: Any) -> tuple[str, str]:
    if source is None:
        return "code", "{}"
    if hasattr(source, "to_json"):  # one of MLflow's
        return str(source._get_source_type()), str(source.to_json())
    word = _state.name(source, "source")
    import json

    kind = word.partition("://")[0] if "://" in word else "local"
    return {"https": "http", "file": "local"}.get(kind, kind), json.dumps({"uri": word})


def from_numpy(features: Any, source: Any = None, targets: Any = None, name: str | None = None, digest: str | None = None) -> Dataset:
    """Arrays, or dictionaries of them. The digest is of their shapes, types and bytes."""
    import hashlib
    import json

    made = hashlib.sha256()
    spec: dict[str, Any] = {}
    profile: dict[str, Any] = {}
    for part, arrays in (("features", features), ("targets", targets)):
        if arrays is None:
            continue
        entries: list[dict[str, Any]] = []
        named: dict[Any, Any] = cast("Any", arrays) if isinstance(arrays, dict) else {"": arrays}
        for key, array in named.items():
            if not hasattr(array, "dtype") or not hasattr(array, "tobytes"):
                raise WrongType(f"{part} must be a numpy array or a dictionary of them, not {type(array).__name__}")
            made.update(f"{part}/{key}:{array.dtype}:{array.shape};".encode())
            made.update(array.tobytes())
            tensor = {"type": "tensor", "tensor-spec": {"dtype": str(array.dtype), "shape": [-1, *array.shape[1:]]}}
            entries.append({"name": key, **tensor} if key else tensor)
            profile[f"{part}_shape"] = list(array.shape)
            profile[f"{part}_size"] = int(array.size)
            profile[f"{part}_nbytes"] = int(array.nbytes)
        spec[part] = json.dumps(entries)
    kind, where = _source(source)
    schema = json.dumps({"mlflow_tensorspec": {"features": spec["features"], "targets": spec.get("targets")}})
    return Dataset(name or "dataset", digest or made.hexdigest()[:16], kind, where, schema, json.dumps(profile))


def from_pandas(
    df: Any,
    source: Any = None,
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    predictions: str | None = None,
) -> Dataset:
    """A DataFrame. The digest is of its columns' names, types and values."""
    if not hasattr(df, "columns") or not hasattr(df, "dtypes"):
        raise WrongType(f"df must be a pandas DataFrame, not {type(df).__name__}")
    import hashlib
    import json

    import pandas.util  # type: ignore[import-untyped,unused-ignore]

    made = hashlib.sha256()
    made.update(repr([(str(column), str(kind)) for column, kind in zip(df.columns, df.dtypes)]).encode())
    made.update(cast("Any", pandas.util).hash_pandas_object(df).to_numpy().tobytes())
    kinds = {"b": "boolean", "i": "long", "u": "long", "f": "double", "M": "datetime"}
    columns = [
        {"type": kinds.get(getattr(kind, "kind", "O"), "string"), "name": str(column), "required": True}
        for column, kind in zip(df.columns, df.dtypes)
    ]
    kind, where = _source(source)
    profile = json.dumps({"num_rows": len(df), "num_elements": int(df.size)})
    return Dataset(
        name or "dataset", digest or made.hexdigest()[:16], kind, where, json.dumps({"mlflow_colspec": columns}), profile
    )
