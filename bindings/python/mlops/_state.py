"""State: which buffer and server this process works with, its clients, and the runs that are open here.

One client per root and tracking URI, opened at its first use. Runs are kept by id, so that any API finds the open one.
At exit runs still active end (FINISHED, or FAILED with the exception named when the script died of one), runs that
MlflowClient made are left open, and the library's own exit handler delivers, within its bound.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from _thread import RLock  # threading itself is 0.8 MiB

from . import _core
from .exceptions import Error, InvalidArgument, NotFound, Unimplemented, WrongType

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any

EXCEPTION_TAG = "mlops.exception"
NAME_TAG = "mlflow.runName"
PARENT_TAG = "mlflow.parentRunId"
_BARRIER_SECONDS = 5.0

_lock = RLock()
_clients: dict[tuple[str, str], _core.Client] = {}
_uri: str | None = None  # set_tracking_uri's
open_runs: dict[str, _core.RunHandle] = {}
_homes: dict[str, _core.Client] = {}  # of them: where each was started
_left_open: set[str] = set()  # of them: made by MlflowClient.create_run
attached: dict[str, _core.RunHandle] = {}  # joined only to log; their end is somebody else's
models: dict[str, _core.LoggedModel] = {}  # that this process made, by our id


def text(value: Any, what: str) -> str:
    """`value` as the text that a param or tag holds: str(), as MLflow does."""
    word = value if type(value) is str else str(value)
    try:
        word.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{what} must be text that UTF-8 can write: it has a lone surrogate") from None
    return word


def name(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise WrongType(f"{what} must be a str, not {type(value).__name__}")
    return text(value, what)


def pairs(values: Any, what: str) -> list[tuple[str, str]]:
    if values is None:
        return []
    try:
        items = dict(values).items()
    except (TypeError, ValueError):
        raise WrongType(f"{what}s must be a dictionary, not {type(values).__name__}") from None
    return [(name(key, f"a {what}'s key"), text(value, f"{what} {key!r}")) for key, value in items]


def set_tags(handle: _core.RunHandle, tags: list[tuple[str, str]]) -> None:
    """Sets tags, of which MLflow's for a run's name renames the run."""
    for key, value in tags:
        if key == NAME_TAG:
            handle.set_name(value)
    plain = [pair for pair in tags if pair[0] != NAME_TAG]
    if plain:
        handle.set_tags(plain)


def set_tracking_uri(uri: Any) -> None:
    global _uri
    if uri is None or uri == "":
        _uri = None
        return
    if hasattr(uri, "__fspath__"):
        uri = f"mlops:{os.fspath(uri)}"
    uri = name(uri, "the tracking URI")
    _target(uri)
    _uri = uri


def tracking_uri() -> str:
    """What set_tracking_uri or the environment says, else `mlops://` and the root: local only."""
    given = _uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if given:
        return given
    return f"mlops://{_core.settings()['root']}"


def _target(uri: str) -> tuple[str, str]:
    """-> (root, server): each empty where it is for the library to find."""
    if uri.startswith(("mlops+http://", "mlops+https://")):  # as the plug-in for MLflow's client calls a server
        uri = uri[len("mlops+") :]
    if uri.startswith("mlops:"):
        from urllib.parse import unquote, urlsplit  # only here: it is large

        parts = urlsplit(uri)
        if parts.netloc:
            raise InvalidArgument(f"{uri!r}: a root is mlops:///absolute/folder or mlops:folder")
        return unquote(parts.path), ""
    scheme = uri.partition(":")[0].lower() if ":" in uri else ""
    if scheme in ("http", "https"):
        return "", uri
    if scheme or "/" in uri:
        raise Unimplemented(
            f"{uri[:200]!r} is no store of this package: http(s)://… delivers to a server, mlops:///folder keeps runs "
            "there without one"
        )
    return "", uri  # the name of a remote


def target(uri: str | None = None) -> tuple[str, str]:
    """Of `uri`, else of the process."""
    given = uri or _uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    return _target(given) if given else ("", "")


def client(uri: str | None = None) -> _core.Client:
    """The client of `uri` or of the process; opens it."""
    root, server = target(uri)
    with _lock:
        found = _clients.get((root, server))
        if found is None:
            local = bool(root) and not server
            found = _core.Client(root=root, tracking_uri=server, deliver=not local)
            _clients[root, server] = found
        return found


def clients() -> list[_core.Client]:
    with _lock:
        return list(_clients.values())


def current() -> _core.Client | None:
    """The process's client when it is open already."""
    with _lock:
        return _clients.get(target())


def reader(uri: str | None = None) -> _core.Reader:
    """Reads the root as of now: what this process had accepted before is buffered first."""
    root, server = target(uri)
    with _lock:
        opened = _clients.get((root, server))
    return _core.Reader(root) if opened is None else _reader_of(opened)


def _reader_of(opened: _core.Client) -> _core.Reader:
    try:
        opened.flush(_core.Level.buffered, _BARRIER_SECONDS)
    except Error:
        pass  # in a forked child, or the disk is slow: what is buffered can be read all the same
    return _core.Reader(opened.root)


def home(run_id: str) -> _core.Client:
    """The client that the open run was started by, whatever the process's tracking URI is now."""
    return _homes.get(run_id) or client()


def seen(run_id: str, by: _core.Client) -> _core.RunSummary:
    """The run as of now, in the client's root."""
    return _reader_of(by).run(run_id)


def start(
    experiment: str, options: dict[str, Any], *, uri: str | None = None, left_open: bool = False
) -> _core.RunHandle:
    opened = client(uri)
    handle = opened.start_run(experiment, options)
    with _lock:
        known = open_runs.get(handle.id)
        if known is not None and not known.ended:
            return known
        open_runs[handle.id] = handle
        _homes[handle.id] = opened
        (_left_open.add if left_open else _left_open.discard)(handle.id)
    return handle


def end(handle: _core.RunHandle, status: str) -> None:
    with _lock:
        open_runs.pop(handle.id, None)
        _homes.pop(handle.id, None)
        _left_open.discard(handle.id)
    handle.end(status)


def adopt(run_id: str) -> None:
    """The run is active from now on: it ends with its `with` block or the process, whoever made it."""
    with _lock:
        _left_open.discard(run_id)


def _wait_for(run_id: str, uri: str | None) -> _core.RunSummary:
    """A run that another process has just started is there with its first beat."""
    deadline = time.monotonic() + 2
    while True:
        try:
            return reader(uri).run(run_id)
        except NotFound:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def parent_of(summary: _core.RunSummary) -> str:
    """The id of the run above; empty: there is none."""
    return summary.tags.get(PARENT_TAG) or summary.parent_id


def handle_for(run_id: Any, uri: str | None = None) -> _core.RunHandle:
    """The open run of that id, else one joined to it that logs and sends no status."""
    run_id = name(run_id, "run_id")
    for known in (open_runs.get(run_id), attached.get(run_id)):
        if known is not None and not known.ended:
            return known
    summary = _wait_for(run_id, uri)
    known = open_runs.get(summary.id)
    if known is not None and not known.ended:
        return known
    if summary.deleted:
        raise InvalidArgument(f"run {summary.id} is deleted: restore_run brings it back")
    handle = client(uri).start_run("", {"attach_id": summary.id, "log_system_metrics": False})
    with _lock:
        attached[run_id] = attached[summary.id] = handle
    return handle


def find(run_id: Any, uri: str | None = None) -> _core.RunSummary:
    run_id = name(run_id, "run_id")
    try:
        return reader(uri).run(run_id)
    except NotFound:
        raise NotFound(
            f"no run {run_id[:80]!r} in this root: runs are read from the local buffer; search_runs() lists what there is"
        ) from None


def named(error: BaseException) -> str:
    """An exception as the tag says it."""
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__") else kind.__module__ + "."
    try:
        words = str(error)
    except Exception:
        words = "?"
    said = f"{module}{kind.__qualname__}: {words}" if words else module + kind.__qualname__
    return said.encode(errors="replace").decode().replace("\0", "?")[:1000]


def fail(handle: _core.RunHandle, error: BaseException) -> None:
    """Ends the run FAILED, with the exception in a tag."""
    try:
        handle.set_tag(EXCEPTION_TAG, named(error))
    except Error:
        pass
    end(handle, "FAILED")


def _at_exit() -> None:
    died_of = None
    if not hasattr(sys, "ps1"):  # in an interactive session errors are daily bread
        died_of = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    with _lock:
        ending = list(open_runs.values())
        leaving = set(_left_open)
    for handle in ending:
        try:
            if handle.ended:
                continue
            if handle.id in leaving:
                handle.leave()
            elif isinstance(died_of, BaseException):
                fail(handle, died_of)
            else:
                end(handle, "FINISHED")
        except Error:
            pass  # accepted is what it had before; the exit goes on


atexit.register(_at_exit)


def _after_fork() -> None:
    # Locks another thread of the parent may have held; the clients themselves are made for this.
    global _lock
    _lock = RLock()
    attached.clear()


os.register_at_fork(after_in_child=_after_fork)
