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
from .solution import names_in
from .traceless import test_is_traceless

__all__ = ["REMEMBERED", "JudgedTest", "TextReading", "read_text"]

REMEMBERED = 1024
"""Test texts of which the reading is kept."""


class TextReading(NamedTuple):
    """What a text says of itself; nothing, if it is too long to be read beforehand or does not parse."""

    code: types.CodeType | None = None
    names: frozenset[str] | None = None
    """Names that it uses; None if that cannot be said."""
    calls: tuple[KnownCall, ...] = ()
    """What it is known to ask of the solution."""
    inline: bool = False
    traceless: bool = False

    def packed(self) -> str:
        """This as text, for another process of ours."""
        calls = [(call.name, json.dumps(call.arguments), call.key) for call in self.calls]
        return base64.b64encode(marshal.dumps((*self[:2], calls, *self[3:]))).decode("ascii")

    @classmethod
    def unpacked(cls, text: str) -> TextReading:
        """The reading of its text, which must be ours: it holds code."""
        code, names, calls, inline, traceless = marshal.loads(base64.b64decode(text))
        known = tuple(KnownCall(name, json.loads(arguments), key) for name, arguments, key in calls)
        return cls(code, names, known, inline, traceless)


class JudgedTest(NamedTuple):
    """One test of a job: a class of a text, with the methods that vote."""

    source: str
    class_name: str | None
    methods: list[str]
    reading: TextReading = TextReading()


def read_text(source: str) -> TextReading | None:
    """Read a test text; None if it does not parse."""
    try:
        tree = ast.parse(source)
        code = compile(tree, "<test>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    inline = bool(inline_reason(tree))
    traceless = not inline and test_is_traceless(tree)
    return TextReading(code, names_in(code), calls_in(tree), inline, traceless)
