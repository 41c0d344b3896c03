"""Frames: runs and points as pandas and numpy, when the user has them. Imported only when asked for."""

from __future__ import annotations

from typing import Any

from . import _core
from .entities import data_of, info_of
from .exceptions import Unimplemented


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


def memory(column: memoryview) -> Any:
    """A numpy array over the column, without a copy."""
    try:
        import numpy
    except ImportError:
        raise Unimplemented('numpy is not installed: install it, or leave format out for memoryviews') from None
    return numpy.asarray(column)
