"""A test text as the judges know it: what can be said of it without running it."""

from __future__ import annotations

import ast
import base64
import json
import marshal
import types
from typing import NamedTuple

from .ahead import KnownCall, calls_in
from .modes import inline_reason
from .sites import Site, soften, vote_counts
from .solution import names_in
from .traceless import test_is_traceless

__all__ = ["REMEMBERED", "REMEMBERED_CHARACTERS", "JudgedTest", "TextReading", "read_text"]

REMEMBERED = 1024
"""Test texts of which the reading is kept."""
REMEMBERED_CHARACTERS = 1 << 16
"""Longer tests are compiled in the process that runs them, at its cost, and have one vote per method."""


class TextReading(NamedTuple):
    """What a text says of itself; nothing, if it is too long to be read beforehand or does not parse."""

    code: types.CodeType | None = None
    names: frozenset[str] | None = None
    """Names that it uses; None if that cannot be said."""
    calls: tuple[KnownCall, ...] = ()
    """What it is known to ask of the solution."""
    inline: bool = False
    traceless: bool = False
    sites: dict[str, tuple[Site, ...]] = {}  # noqa: RUF012  (never changed)
    """Where its methods vote, if `code` tells a recorder of it (sites.py)."""

    def packed(self) -> str:
        """This as text, for another process of ours."""
        calls = [(call.name, json.dumps(call.arguments), call.key) for call in self.calls]
        sites = {key: [tuple(site) for site in found] for key, found in self.sites.items()}
        return base64.b64encode(marshal.dumps((*self[:2], calls, *self[3:5], sites))).decode("ascii")

    @classmethod
    def unpacked(cls, text: str) -> TextReading:
        """The reading of its text, which must be ours: it holds code."""
        code, names, calls, inline, traceless, sites = marshal.loads(base64.b64decode(text))
        known = tuple(KnownCall(name, json.loads(arguments), key) for name, arguments, key in calls)
        found = {key: tuple(Site(*site) for site in some) for key, some in sites.items()}
        return cls(code, names, known, inline, traceless, found)


class JudgedTest(NamedTuple):
    """One test of a job: a class of a text, with the methods that vote."""

    source: str
    class_name: str | None
    methods: list[str]
    reading: TextReading = TextReading()
    soft: bool = False
    """Whether its assertions vote."""

    @property
    def text(self) -> tuple[str, bool]:
        """What its reading depends on."""
        return self.source, self.soft

    def blank_votes(self) -> dict[str, list[str | None]]:
        """A list as long as its votes for each of its methods, if its assertions vote."""
        if not self.soft:
            return {}
        counts = vote_counts(self.reading.sites, self.methods)
        return {key: [None] * count for key, count in zip(self.methods, counts, strict=True)}


def read_text(source: str, soft: bool = False) -> TextReading | None:
    """Read a test text; None if it does not parse. `soft`: compile it so that its assertions are told."""
    try:
        tree = ast.parse(source)
        code = compile(tree, "<test>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    inline = bool(inline_reason(tree))
    traceless = not inline and test_is_traceless(tree)
    reading = TextReading(code, names_in(code), calls_in(tree), inline, traceless)
    softened = soften(tree) if soft and not inline else None
    return reading if softened is None else reading._replace(code=softened.code, sites=softened.sites)
