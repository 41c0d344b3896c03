"""Frames: runs and points as pandas and numpy, when the user has them. Imported only when asked for."""

from __future__ import annotations

import json
import tempfile
import warnings
from typing import Any

from . import _core, _files, fluent
from .entities import data_of, info_of
from .exceptions import NotFound, Unimplemented


def _pandas() -> Any:
    try:
        import pandas  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise Unimplemented('pandas is not installed: install it, or ask for output_format="list"') from None
    return pandas


def runs(found: list[_core.RunSummary]) -> Any:
    """MLflow's columns: run_id, …, then metrics.*, params.*, tags.*; NaN and None where a run has none."""
    pandas = _pandas()
    rows = [(info_of(one), data_of(one)) for one in found]
    columns: dict[str, list[Any]] = {
        key: [getattr(info, key) for info, _ in rows] for key in ("run_id", "experiment_id", "status", "artifact_uri")
    }
    for key in ("start_time", "end_time"):
        times = [getattr(info, key) for info, _ in rows]
        columns[key] = pandas.to_datetime(pandas.Series(times, dtype="float64"), unit="ms", utc=True)
    for group, missing in (("metrics", float("nan")), ("params", None), ("tags", None)):
        values = [getattr(data, group) for _, data in rows]
        for key in sorted({key for one in values for key in one}):
            columns[f"{group}.{key}"] = [one.get(key, missing) for one in values]
    return pandas.DataFrame(columns)


def records(found: list[Any]) -> Any:
    return _pandas().DataFrame([one.to_dictionary() for one in found])


def points(series: dict[str, Any]) -> Any:
    pandas = _pandas()
    frames = [
        pandas.DataFrame(
            {
                "metric": name,
                "step": memory(columns[0]),
                "time": pandas.to_datetime(memory(columns[1]), unit="ms", utc=True),
                "value": memory(columns[2]),
            }
        )
        for name, columns in series.items()
    ]
    return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=["metric", "step", "time", "value"])


def table(path: str, run_ids: list[str] | None, extra_columns: list[str] | None, experiment: str, uri: str | None) -> Any:
    """One table of several runs, each below the one that started before it; with columns of search_runs beside it."""
    pandas = _pandas()
    found = [one for one in fluent.matching([experiment], "", 1, None, uri) if run_ids is None or {one.id, one.server_id} & set(run_ids)]
    having = [one for one in found if _has_table(one, path)]
    if run_ids and len(having) != len(run_ids):
        warnings.warn(f"not each of these runs has the table {path!r}: the others are left out", stacklevel=3)
    if not having:
        raise NotFound(f"no run of experiment {experiment!r} here has the table {path!r}")
    frames: list[Any] = []
    for one in having:
        with tempfile.TemporaryDirectory() as folder:
            frame = pandas.read_json(_files.downloaded(one.id, path, folder, uri), orient="split")
        for column in extra_columns or []:
            frame[f"{column}_" if column in frame else column] = runs([one]).iloc[0][column]
        frames.append(frame)
    return pandas.concat(frames, ignore_index=True)


def _has_table(run: _core.RunSummary, path: str) -> bool:
    known = json.loads(run.tags.get("mlflow.loggedArtifacts", "[]"))
    return any(one.get("path") == path and one.get("type") == "table" for one in known)


def memory(column: memoryview) -> Any:
    """A numpy array over the column, without a copy."""
    try:
        import numpy
    except ImportError:
        raise Unimplemented('numpy is not installed: install it, or leave format out for memoryviews') from None
    return numpy.asarray(column)
