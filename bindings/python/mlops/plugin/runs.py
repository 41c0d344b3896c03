"""Buffered: the runs of a tracking store, kept in the buffer. Mixed in front of the store that has the rest."""

from __future__ import annotations

from .reads import Reads
from .writes import Writes


class Buffered(Writes, Reads):
    """Of a subclass comes what runs cannot know: experiments, places of files, what runs used (Buffer's hooks)."""
