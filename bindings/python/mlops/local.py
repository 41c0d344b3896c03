"""Local: what the package has beyond MLflow's API: reading the buffer, its state, and delivery on demand."""

from __future__ import annotations

import sys
import time

from . import _core, _state
from ._records import record
from .exceptions import DeadlineExceeded, FailedPrecondition, InvalidArgument

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any, Literal, NamedTuple

    class Columns(NamedTuple):
        """All buffered points of one metric, in (step, time) order, as memoryviews or numpy arrays of equal length."""

        step: Any
        time_ms: Any
        value: Any

else:
    class Columns(tuple):
        """All buffered points of one metric, in (step, time) order, as memoryviews or numpy arrays of equal length."""

        __slots__ = ()
        _fields = __match_args__ = ("step", "time_ms", "value")
        step = property(lambda self: self[0])
        time_ms = property(lambda self: self[1])
        value = property(lambda self: self[2])

        def __new__(cls, step, time_ms, value):
            return tuple.__new__(cls, (step, time_ms, value))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            return f"Columns(step={self[0]!r}, time_ms={self[1]!r}, value={self[2]!r})"


def read(run_id: str, metric: str | None = None, *, format: Literal["memoryview", "numpy", "pandas"] | None = None) -> Any:
    """Points of a run in this root, without a server.

    With `metric` its Columns, else {name: Columns} of all; format="pandas": a DataFrame. Without `format` the columns
    are numpy arrays when numpy is imported already, else memoryviews.
    """
    if format not in (None, "memoryview", "numpy", "pandas"):
        raise InvalidArgument(f'format must be "memoryview", "numpy" or "pandas", not {format!r}')
    summary = _state.find(run_id)
    reader = _state.reader()
    names = sorted(summary.metrics) if metric is None else [_state.name(metric, "metric")]
    found = {one: Columns(*reader.series(summary.id, one)) for one in names}
    from . import _frames

    if format == "pandas":
        return _frames.points(found)
    if format == "numpy" or (format is None and "numpy" in sys.modules):
        found = {one: Columns(*map(_frames.memory, columns)) for one, columns in found.items()}
    return found if metric is None else found[metric]


@record(frozen=True)
class Status:
    """Counts of points: accepted = delivered + merged + dropped + waiting, for each destination."""

    root: str
    accepted: int
    buffered: int
    durable: int
    merged: int
    dropped: dict[str, int]  #: by reason
    disk_bytes: int
    error: str  #: why the buffer cannot be written; empty when it can
    destinations: list[dict[str, Any]]

    def __str__(self) -> str:
        lines = [f"{self.root}: {self.accepted} accepted, {self.buffered} buffered, {self.durable} durable"]
        lines += [f"{self.merged} merged: a server cannot tell them from others"] if self.merged else []
        lines += [f"dropped, {reason}: {count}" for reason, count in self.dropped.items()]
        for one in self.destinations:
            said = f" ({one['last_error']})" if one["last_error"] else ""
            lines.append(f"{one['name']} {one['state']}: {one['delivered']} delivered, {one['waiting']} waiting{said}")
        return "\n".join(lines + ([self.error] if self.error else []))


def status() -> Status:
    """This process's counts when it has logged, else those of the root."""
    client = _state.current()
    if client is not None:
        return Status(root=client.root, **client.health())
    reader = _state.reader()
    return Status(root=reader.root, **reader.health())


@record(frozen=True)
class Delivered:
    """What a sync did."""

    points: int
    waiting: int = 0
    requests: int = 0
    retries: int = 0
    dead_letters: int = 0  #: records the server refused: `mlops stuck` shows them
    seconds: float = 0.0


class _Bar:
    """One line on stderr, drawn over; nothing where nobody looks."""

    def __init__(self, shown: bool | None) -> None:
        notebook = "ipykernel" in sys.modules
        self.on = (sys.stderr.isatty() or notebook) if shown is None else shown
        self.wide = 0

    def draw(self, done: int, total: int, rate: float, error: str) -> None:
        if not self.on:
            return
        share = min(1.0, done / total) if total else 0.0
        filled = round(24 * share)
        line = f"delivering [{'#' * filled}{'.' * (24 - filled)}] {done}/{total} points"
        line += f", {rate:.0f}/s" if rate > 0 else ""
        line += f"; {error}" if error else ""
        line = line[:160]
        sys.stderr.write("\r" + line.ljust(self.wide))
        sys.stderr.flush()
        self.wide = len(line)

    def close(self) -> None:
        if self.on and self.wide:
            sys.stderr.write("\n")
            sys.stderr.flush()


def sync(to: str | None = None, *, timeout: float | None = None, progress: bool | None = None) -> Delivered:
    """Delivers what waits in this root, now, and says what was done; Ctrl-C leaves the rest for later.

    to: a tracking URI or a remote's name; None: where this process delivers, else the root's only destination.
    timeout: seconds, then DeadlineExceeded says what is missing; None: until all is delivered.
    progress: a line on stderr; None: when somebody looks at it.
    """
    started = time.monotonic()
    until = None if timeout is None else started + timeout
    client = _state.current()
    bar = _Bar(progress)
    try:
        if client is not None and client.tracking_uri and to in (None, client.tracking_uri):
            return _follow(client, started, until, bar)
        root = client.root if client is not None else _state.target()[0]
        if client is not None:
            client.flush(_core.Level.durable, timeout if timeout is not None else 60.0)
        return _deliver(root, to or "", started, until, bar)
    finally:
        bar.close()


def _follow(client: _core.Client, started: float, until: float | None, bar: _Bar) -> Delivered:
    """This process delivers already: waits for it."""

    def counts() -> tuple[int, int, dict[str, Any]]:
        rows = [one for one in client.health()["destinations"] if one["uri"] == client.tracking_uri.rstrip("/")]
        row: dict[str, Any] = rows[0] if rows else dict.fromkeys(("delivered", "waiting", "requests", "retries", "dead_letters"), 0) | {"last_error": ""}
        return row["delivered"], row["waiting"], row

    before, _, first = counts()
    while True:
        left = 0.3 if until is None else min(0.3, max(0.0, until - time.monotonic()))
        try:
            client.flush(_core.Level.delivered, left)
            delivered, waiting, row = counts()
            bar.draw(delivered - before, delivered - before + waiting, 0, "")
            return Delivered(
                points=delivered - before,
                waiting=waiting,
                requests=row["requests"] - first["requests"],
                retries=row["retries"] - first["retries"],
                dead_letters=row["dead_letters"] - first["dead_letters"],
                seconds=time.monotonic() - started,
            )
        except DeadlineExceeded:
            delivered, waiting, row = counts()
            done = delivered - before
            bar.draw(done, done + waiting, done / max(0.1, time.monotonic() - started), row["last_error"])
            if until is not None and time.monotonic() >= until:
                raise


def _deliver(root: str, to: str, started: float, until: float | None, bar: _Bar) -> Delivered:
    work = _core.Delivery(root, to)
    try:
        while not work.done:
            time.sleep(0.05)
            delivered, total, rate, _, error = work.progress()
            bar.draw(delivered, total, rate, error)
            if until is not None and time.monotonic() >= until:
                work.stop()
                report = work.report()
                raise DeadlineExceeded(f"{report['waiting']} points wait after {timeout_words(until - started)}; they stay in the buffer")
    except KeyboardInterrupt:
        work.stop()
        raise
    report = work.report()
    if report["error"]:
        raise FailedPrecondition(report["error"])
    bar.draw(report["points"], report["points"] + report["waiting"], 0, "")
    return Delivered(
        points=report["points"],
        waiting=report["waiting"],
        requests=report["requests"],
        retries=report["retries"],
        dead_letters=report["dead_letters"],
        seconds=time.monotonic() - started,
    )


def timeout_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def verify(run_id: str, to: str | None = None) -> dict[str, Any]:
    """Compares what the server holds with what was accepted for a run; `ok` is the answer."""
    summary = _state.find(run_id)
    client = _state.current()
    root, server = (client.root, client.tracking_uri) if client is not None else _state.target()
    return _core.verify(summary.id, root, to or server)
