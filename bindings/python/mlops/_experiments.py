"""Experiments: those with a run in a root, and those named in this process, which may have no run yet. Shared by the
fluent functions and MlflowClient; `uri`: as MlflowClient takes it, None: the process's."""

from __future__ import annotations

from . import _state
from .entities import Experiment, ViewType
from .exceptions import AlreadyExists, InvalidArgument, NotFound, Unimplemented

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "Default"
_named: dict[tuple[str, str], dict[str, Experiment]] = {}  # in this process: by root and server, by name


def named(experiment_id: Any) -> str:
    """An experiment's id is its name; "0" is MLflow's own."""
    word = str(experiment_id)
    return DEFAULT if word == "0" else _state.name(word, "experiment_id")


def checked(experiment: str) -> str:
    if not 1 <= len(experiment) <= 256 or "\0" in experiment:
        raise InvalidArgument(f"an experiment's name has 1 to 256 characters and no NUL, unlike {experiment[:60]!r}")
    return experiment


def make(name: str, artifact_location: str | None, tags: dict[str, Any] | None, uri: str | None = None) -> str:
    name = _state.name(name, "an experiment's name")
    if checked(name) in known(uri):
        raise AlreadyExists(f"experiment {name[:100]!r} is there already: set_experiment takes it as it is")
    _state.client(uri).experiment(name, _state.pairs(tags, "tag"), artifact_location or "")
    remember(Experiment(name, name, artifact_location, tags={k: str(v) for k, v in (tags or {}).items()}), uri)
    return name


def remember(one: Experiment, uri: str | None) -> Experiment:
    return _named.setdefault(_state.target(uri), {}).setdefault(one.name, one)


def known(uri: str | None = None) -> dict[str, Experiment]:
    """By name: those with a run in this root, and those named in this process."""
    found = dict(_named.get(_state.target(uri), {}))
    try:
        runs = _state.reader(uri).runs(view_type=ViewType.ALL)
    except NotFound:
        runs = []
    for run in runs:
        one = found.get(run.experiment)
        if one is None:
            one = found[run.experiment] = Experiment(run.experiment, run.experiment)
        one.creation_time = min(one.creation_time or run.start_ms, run.start_ms)
        one.last_update_time = max(one.last_update_time or run.start_ms, run.start_ms)
    return found


def of_id(experiment_id: str, uri: str | None = None) -> Experiment:
    chosen = named(experiment_id)
    one = known(uri).get(chosen)
    if one is None:
        raise NotFound(f"no experiment {chosen[:100]!r} in this root; an experiment's id is its name here")
    return one


def found(
    view_type: int, filter_string: str | None, order_by: list[str] | None, uri: str | None = None
) -> list[Experiment]:
    if filter_string or order_by:
        raise Unimplemented("search_experiments here has no filter and order: choose and sort in Python")
    if view_type == ViewType.DELETED_ONLY:
        return []
    return sorted(known(uri).values(), key=lambda one: one.last_update_time or 0, reverse=True)
