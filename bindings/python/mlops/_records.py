"""Records: what `dataclasses` gives, as far as this package needs it. The module itself is not imported: it brings
`inspect`, 1 MiB and 2 ms that everybody would pay at `import mlops`. Type checkers see the real one.

A record has __init__, __repr__ and __eq__ of its annotated fields; a frozen one has __hash__ and refuses assignment.
"""

from __future__ import annotations

__all__ = ["Entity", "field", "record"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from dataclasses import dataclass as record
    from dataclasses import field
    from typing import Any
else:
    _NONE = object()

    class field:
        """A field that is not just a default."""

        def __init__(self, *, default=_NONE, default_factory=None, repr=True, compare=True):
            self.default, self.factory, self.repr, self.compare = default, default_factory, repr, compare

    def record(kind=None, *, frozen=False):
        return (lambda one: _made(one, frozen)) if kind is None else _made(kind, frozen)

    def _made(kind, frozen):
        fields = {}
        for name in kind.__annotations__:
            given = kind.__dict__.get(name, _NONE)
            fields[name] = given if isinstance(given, field) else field(default=given)
            if isinstance(given, field):
                delattr(kind, name)
        scope, words, lines = {"_NONE": _NONE, "_set": object.__setattr__}, [], []
        for name, one in fields.items():
            value = name
            if one.factory is not None:
                scope[f"_{name}"] = one.factory
                words.append(f"{name}=_NONE")
                value = f"_{name}() if {name} is _NONE else {name}"
            elif one.default is not _NONE:
                scope[f"_{name}"] = one.default
                words.append(f"{name}=_{name}")
            else:
                words.append(name)
            lines.append(f"  _set(self, {name!r}, {value})" if frozen else f"  self.{name} = {value}")
        exec(f"def __init__(self, {', '.join(words)}):\n" + "\n".join(lines), scope)
        init = scope["__init__"]
        init.__qualname__, init.__module__ = f"{kind.__qualname__}.__init__", kind.__module__
        init.__annotations__ = {**{name: kind.__annotations__[name] for name in fields}, "return": "None"}
        kind.__init__ = init
        kind.__match_args__ = tuple(fields)
        shown = [name for name, one in fields.items() if one.repr]
        compared = [name for name, one in fields.items() if one.compare]

        def __repr__(self):
            return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

        def values(self):
            return tuple(getattr(self, name) for name in compared)

        def __eq__(self, other):
            return values(self) == values(other) if type(other) is type(self) else NotImplemented

        def refuse(self, name, *value):
            raise AttributeError(f"a {kind.__name__} cannot be changed: {name!r} stays as it is")

        kind.__repr__, kind.__eq__ = __repr__, __eq__
        kind.__hash__ = (lambda self: hash(values(self))) if frozen else None
        if frozen:
            kind.__setattr__ = kind.__delattr__ = refuse
        return kind


class Entity:
    """dict(entity) is its fields and their values, as with MLflow's."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        names: tuple[str, ...] = getattr(type(self), "__match_args__")
        for name in names:
            if not name.startswith("_"):
                yield name, getattr(self, name)
