"""Search: MLflow's search language over logged models, with the meaning that its SQL store gives it: comparisons joined by
AND over attributes, `params.KEY`, `tags.KEY` and `metrics.KEY`, of which any point will do; a model without the key matches
nothing."""

from __future__ import annotations

import re

from .entities import LoggedModel, Metric
from .exceptions import InvalidArgument

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NUMBERS = {"creation_timestamp", "last_updated_timestamp"}
_ALIASES = {"creation_time": "creation_timestamp", "creation_timestamp_ms": "creation_timestamp",
            "last_updated_timestamp_ms": "last_updated_timestamp"}  # fmt: skip
_TEXTS = {"name", "model_id", "model_type", "status", "source_run_id", "experiment_id"}
_CLAUSE = re.compile(
    r"""\s*(?:(attributes|attribute|metrics|params|tags)\.)?(`[^`]+`|"[^"]+"|[\w./\-]+)\s*
        (<=|>=|!=|=|<|>|\bNOT\s+IN\b|\bIN\b|\bI?LIKE\b)\s*
        ('[^']*'|"[^"]*"|\([^()]*\)|[-+.\w]+)\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_AND = re.compile(r"\s*AND\b", re.IGNORECASE)


def _wrong(words: str) -> InvalidArgument:
    return InvalidArgument(f"filter_string: {words}; as in \"metrics.acc > 0.9 AND params.depth = '3' AND name LIKE 'net%'\"")


def _like(pattern: str, any_case: bool) -> Callable[[Any], bool]:
    parts = [{"%": ".*", "_": "."}.get(one, re.escape(one)) for one in pattern]
    matcher = re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if any_case else 0))
    return lambda value: matcher.fullmatch(value) is not None


def _quoted(word: str) -> str:
    if len(word) >= 2 and word[0] == word[-1] and word[0] in "'\"":
        return word[1:-1]
    raise _wrong(f"{word[:60]!r} is no text in quotes")


def _test(word: str, value: str, numeric: bool, where: str) -> Callable[[Any], bool]:
    if not numeric and word in ("IN", "NOT IN"):
        if not value.startswith("("):
            raise _wrong(f"{where} IN takes a list in parentheses")
        listed = {_quoted(one.strip()) for one in value[1:-1].split(",")}
        return (lambda one: one in listed) if word == "IN" else (lambda one: one not in listed)
    if not numeric and word in ("LIKE", "ILIKE"):
        return _like(_quoted(value), word == "ILIKE")
    wanted: Any
    if numeric:
        try:
            wanted = float(value)
        except ValueError:
            raise _wrong(f"{where} is compared with a number, not {value[:60]}") from None
    else:
        wanted = _quoted(value)
    compare: dict[str, Callable[[Any], bool]] = {"=": lambda one: one == wanted, "!=": lambda one: one != wanted}
    if numeric:
        compare.update({"<": lambda one: one < wanted, "<=": lambda one: one <= wanted,
                        ">": lambda one: one > wanted, ">=": lambda one: one >= wanted})  # fmt: skip
    if word not in compare:
        raise _wrong(f"{where} cannot be compared by {word}")
    return compare[word]


def attribute(name: str) -> str:
    """The field of LoggedModel that MLflow calls so."""
    field = _ALIASES.get(name, name)
    if field not in _NUMBERS and field not in _TEXTS:
        raise InvalidArgument(f"a logged model has no attribute {name[:60]!r}; there are {', '.join(sorted(_NUMBERS | _TEXTS))}")
    return field


def _measured(metric: Metric, datasets: list[dict[str, str]]) -> bool:
    """On one of the datasets; on any when none is named."""
    return not datasets or any(
        metric.dataset_name == one["dataset_name"] and one.get("dataset_digest", metric.dataset_digest) == metric.dataset_digest
        for one in datasets
    )


def _clause(kind: str, key: str, word: str, value: str, datasets: list[dict[str, str]]) -> Callable[[LoggedModel], bool]:
    if kind == "metrics":
        holds = _test(word, value, True, f"metrics.{key}")
        return lambda model: any(one.key == key and holds(one.value) and _measured(one, datasets) for one in model.metrics)
    if kind in ("params", "tags"):
        holds = _test(word, value, False, f"{kind}.{key}")
        return lambda model: key in getattr(model, kind) and holds(getattr(model, kind)[key])
    field = attribute(key)
    holds = _test(word, value, field in _NUMBERS, field)
    if field == "model_id":
        return lambda model: holds(model.model_id) or (model.server_id is not None and holds(model.server_id))
    return lambda model: getattr(model, field) is not None and holds(getattr(model, field))


def matching(models: list[LoggedModel], filter_string: str | None, datasets: list[dict[str, str]] | None) -> list[LoggedModel]:
    named = list(datasets or [])
    if not all(one.get("dataset_name") for one in named):
        raise InvalidArgument("each of datasets needs a dataset_name")
    tests: list[Callable[[LoggedModel], bool]] = []
    words, at, of_metrics = filter_string or "", 0, False
    while words.strip():
        found = _CLAUSE.match(words, at)
        if found is None:
            raise _wrong(f"{words[at : at + 60]!r} is no comparison")
        kind, name = (found[1] or "").lower(), found[2].strip("`\"")
        of_metrics = of_metrics or kind == "metrics"
        tests.append(_clause(kind, name, " ".join(found[3].upper().split()), found[4], named))
        if found.end() == len(words):
            break
        both = _AND.match(words, found.end())
        if both is None:
            raise _wrong(f"{words[found.end() : found.end() + 60]!r} does not go on with AND")
        at = both.end()
    if named and not of_metrics:
        tests.append(lambda model: any(_measured(one, named) for one in model.metrics))
    return [model for model in models if all(test(model) for test in tests)]


def _latest(model: LoggedModel, key: str, by: dict[str, Any]) -> float | None:
    points = [
        one
        for one in model.metrics
        if one.key == key
        and by.get("dataset_name", one.dataset_name) == one.dataset_name
        and by.get("dataset_digest", one.dataset_digest) == one.dataset_digest
    ]
    return max(points, key=lambda one: (one.timestamp, one.step)).value if points else None


def ordered(models: list[LoggedModel], order_by: list[dict[str, Any]] | None) -> list[LoggedModel]:
    """By the fields named, those without a value last; then newest first, then by id."""
    found = sorted(models, key=lambda one: (-one.creation_timestamp, one.model_id))
    for by in reversed(order_by or []):
        name = str(by.get("field_name", ""))
        entity, dot, key = name.partition(".")
        if dot and entity != "metrics":
            raise InvalidArgument(f"order_by {name[:60]!r}: by attributes and metrics.KEY")
        field = "" if dot else attribute(name)
        values = [_latest(one, key, by) if dot else getattr(one, field) for one in found]
        known = [(value, model) for value, model in zip(values, found) if value is not None]
        known.sort(key=lambda pair: pair[0], reverse=not by.get("ascending", True))  # stable, both ways
        found = [model for _, model in known] + [model for value, model in zip(values, found) if value is None]
    return found
