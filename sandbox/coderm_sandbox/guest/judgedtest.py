"""A test text as the judges know it: what can be said of it without running it."""

from __future__ import annotations

import ast
import base64
import json
import marshal
import re
import types
from typing import NamedTuple

from .ahead import KnownCall, calls_in
from .modes import inline_reason
from .sites import Site, soften, vote_counts
from .solution import UNREADABLE, names_in
from .traceless import Handed, read_traces

__all__ = ["REMEMBERED", "REMEMBERED_CHARACTERS", "JudgedTest", "TextReading", "read_text"]

REMEMBERED = 1024
"""Test texts of which the reading is kept."""
_EVERYTHING = re.compile(r"import[\s\\(]*\*")
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
    handed: Handed = ()
    """Calls because of which it is not traceless, for solutions that have all their names (traceless.py)."""

    def for_solution(self, source: str) -> TextReading:
        """The reading where the test meets this solution: a name that does not stand in it is missing there,
        if the solution is stateless, for then it makes no names but those that it spells out."""
        if not self.handed or not source.isascii() or _EVERYTHING.search(source):
            return self
        words = set(re.findall(r"\w+", source))
        return self._replace(traceless=all(not words.issuperset(call) for call in self.handed))

    def packed(self) -> str:
        """This as text, for another process of ours, without what depends on the solution."""
        calls = [(call.name, json.dumps(call.arguments), call.key) for call in self.calls]
        sites = {key: [tuple(site) for site in found] for key, found in self.sites.items()}
        return base64.b64encode(marshal.dumps((*self[:2], calls, self.inline, sites))).decode("ascii")

    @classmethod
    def unpacked(cls, text: str) -> TextReading:
        """The reading of its text, which must be ours: it holds code."""
        code, names, calls, inline, sites = marshal.loads(base64.b64decode(text))
        known = tuple(KnownCall(name, json.loads(arguments), key) for name, arguments, key in calls)
        found = {key: tuple(Site(*site) for site in some) for key, some in sites.items()}
        return cls(code, names, known, inline, sites=found)


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
    except UNREADABLE:
        return None
    inline = bool(inline_reason(tree))
    clean, handed = (False, ()) if inline else read_traces(tree)
    traceless = clean and not handed
    reading = TextReading(code, names_in(code), calls_in(tree), inline, traceless, handed=handed)
    softened = soften(tree) if soft and not inline else None
    return reading if softened is None else reading._replace(code=softened.code, sites=softened.sites)
