"""Typing: what of `typing` is called when the program runs, which is 1 MiB that nobody needs then."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import cast
else:

    def cast(kind, value):
        return value


__all__ = ["cast"]
