"""Html: how runs and experiments show themselves in a notebook: plain HTML and SVG, everything escaped, no script."""

from __future__ import annotations

import math
import time
from html import escape
from typing import TYPE_CHECKING, Sequence

from . import _state
from .exceptions import Error

if TYPE_CHECKING:
    from .entities import Experiment, Run

_BUCKETS = 60
_MOST_METRICS = 40
_MOST_RUNS = 20
_CELL = 'style="text-align:left;padding:2px 10px 2px 0;white-space:nowrap"'


def sparkline(values: Sequence[float], width: int = 120, height: int = 22) -> str:
    """An SVG of the finite values; empty when there are fewer than two."""
    finite = [(i, v) for i, v in enumerate(values) if math.isfinite(v)]
    if len(finite) < 2:
        return ""
    low, high = min(v for _, v in finite), max(v for _, v in finite)
    across = max(finite[-1][0], 1)
    # Halves first: the range of doubles near the greatest does not overflow.
    tall = (high / 2 - low / 2) or 1.0
    points = " ".join(
        f"{1 + (width - 2) * i / across:.1f},{1 + (height - 2) * (1 - (v / 2 - low / 2) / tall):.1f}" for i, v in finite
    )
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f'<polyline fill="none" stroke="currentColor" stroke-width="1.2" points="{points}"/></svg>'
    )


def _number(value: float) -> str:
    return f"{value:.6g}"


def _took(start: int, end: int | None) -> str:
    seconds = max(0, ((end or int(time.time() * 1000)) - start) / 1000)
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _row(*cells: str, tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag} {_CELL}>{cell}</{tag}>" for cell in cells) + "</tr>"


def run(shown: Run) -> str:
    info, data = shown.info, shown.data
    curves: dict[str, list[float]] = {}
    try:
        reader = _state.reader()
        curves = reader.curves(info.run_id, sorted(data.metrics)[:_MOST_METRICS], _BUCKETS) if data.metrics else {}
    except Error:
        pass  # the numbers are there all the same
    head = (
        f"<b>{escape(info.run_name)}</b> {escape(info.status)}, {_took(info.start_time, info.end_time)}, "
        f"experiment {escape(info.experiment_id)}<br><code>{escape(info.run_id)}</code>"
    )
    parts = [head]
    if data.metrics:
        rows = [_row("metric", "last", "", tag="th")]
        for name in sorted(data.metrics)[:_MOST_METRICS]:
            rows.append(_row(escape(name), _number(data.metrics[name]), sparkline(curves.get(name, []))))
        parts.append("<table>" + "".join(rows) + "</table>")
        if len(data.metrics) > _MOST_METRICS:
            parts.append(f"and {len(data.metrics) - _MOST_METRICS} more metrics")
    if data.params:
        rows = [_row("param", "value", tag="th")]
        rows += [_row(escape(key), escape(value[:200])) for key, value in sorted(data.params.items())]
        parts.append("<table>" + "".join(rows) + "</table>")
    return "<div>" + "".join(parts) + "</div>"


def experiment(shown: Experiment) -> str:
    from . import fluent

    runs = fluent.matching([shown.name], "", 1, None)
    parts = [f"<b>{escape(shown.name)}</b>, {len(runs)} runs"]
    if runs:
        rows = [_row("run", "status", "took", "metrics", "the first", tag="th")]
        reader = _state.reader()
        for one in runs[:_MOST_RUNS]:
            curve: list[float] = []
            try:
                curve = reader.curves(one.id, sorted(one.metrics)[:1], _BUCKETS)[min(one.metrics)] if one.metrics else []
            except (Error, KeyError):
                pass  # the numbers are there all the same
            metrics = ", ".join(f"{escape(key)} {_number(row[0])}" for key, row in sorted(one.metrics.items())[:4])
            rows.append(
                _row(escape(one.name), escape(one.status), _took(one.start_ms, one.end_ms or None), metrics, sparkline(curve))
            )
        parts.append("<table>" + "".join(rows) + "</table>")
    return "<div>" + "".join(parts) + "</div>"
