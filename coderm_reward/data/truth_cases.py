"""Inputs and outputs of a function as unittest source. Pure; nothing is executed.

JSON has no tuples, no integer keys and one kind of number, and the datasets grew up around harnesses that
forgive it. So a result counts as the expected one if it is equal (Python's `==`, so `True` is `1`), or
differs from it only in these: tuples where JSON has lists, integer keys where JSON has text, and at an
expected float by less than 1e-6, relative or absolute, NaN being equal to NaN. Where every expected output of
a problem is a list of one element (APPS, TACO, SYNTHETIC-1), that element alone is right as well.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from coderm_reward.data.plain_values import literal

__all__ = ["LOOKUP", "MAX_CASES", "VOTES_PER_CLASS", "Case", "case_sources", "function_case"]

MAX_CASES = 1000
VOTES_PER_CLASS = 4
"""Cases or assertions in a class: few, because only several classes can be given up together for a solution
that hangs (sandbox Limits.hang_limit)."""
_MAX_SOURCE = 150_000
"""Characters of one class."""
_MAX_TOTAL = 2_000_000
"""Characters of all classes."""


class Case(msgspec.Struct, frozen=True):
    """One call and what it should return; plain values."""

    args: list[Any]
    kwargs: dict[str, Any]
    output: Any


def function_case(given: Any, output: Any) -> Case:
    """Return the call that an input stands for.

    A list holds the arguments, an object keyword arguments, and a text one argument in JSON on each line
    (LiveCodeBench), its output being JSON too or else that very text. Any other value is the only argument.

    Raises:
        ValueError: a text of another form.
    """
    if isinstance(given, str):
        args = [json.loads(line) for line in given.split("\n") if line.strip()]
        if isinstance(output, str):
            try:
                output = json.loads(output)
            except ValueError:
                output = output.strip("\n")
        return Case(args, {}, output)
    if isinstance(given, list):
        return Case([_with_integer_keys(given[0]), *given[1:]] if given else [], {}, output)
    if isinstance(given, dict) and given and all(isinstance(k, str) and k.isidentifier() for k in given):
        return Case([], given, output)
    return Case([given], {}, output)


def _with_integer_keys(value: Any) -> Any:
    """Undo what JSON does to integer keys of a first argument, as the harnesses of these sets do."""
    if not isinstance(value, dict) or not value:
        return value
    if not all(isinstance(key, str) and key.lstrip("-").isdecimal() for key in value):
        return value
    return {int(key): item for key, item in value.items()}


_HEAD = '''import math
import unittest


def _coderm_same(found, expected):
    """Equal, but for tuples and lists, text keys, and a tolerance at floats."""
    if type(expected) is list and type(found) in (list, tuple):
        return len(found) == len(expected) and all(map(_coderm_same, found, expected))
    if type(expected) is dict and type(found) is dict:
        texts = {{str(key) if type(key) is int else key: value for key, value in found.items()}}
        return len(texts) == len(found) and texts.keys() == expected.keys() and all(
            _coderm_same(texts[key], value) for key, value in expected.items()
        )
    if type(expected) is float and type(found) in (int, float):
        close = math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-6)
        return close or (found != found and expected != expected)
    return found == expected


{lookup}

class {name}(unittest.TestCase):
'''

LOOKUP = '''
def _coderm_function():
    """The function under test; as a method of the class Solution where that is all there is."""
    try:
        return {function}
    except NameError:
        return Solution().{function}
'''
"""Its helpers have names that no problem gives its function, which would be taken for a copy of it."""


def case_sources(cases: Sequence[Case], function: str, dropped: Counter[str]) -> tuple[str, ...]:
    """Return unittest classes with a method for each case, each class small enough to be parsed.

    Cases that are too large, or beyond MAX_CASES, are left out and counted as `too_large`.
    """
    wrapped = bool(cases) and all(isinstance(c.output, list) and len(c.output) == 1 for c in cases)
    methods = list(_methods(cases, wrapped))[:MAX_CASES]
    sources: list[str] = []
    current: list[str] = []
    total = size = kept = 0
    for method in methods:
        if len(method) > _MAX_SOURCE or total + len(method) > _MAX_TOTAL:
            continue
        if len(current) == VOTES_PER_CLASS or size + len(method) > _MAX_SOURCE:
            sources.append(_class(len(sources), function, current))
            current, size = [], 0
        current.append(method)
        size += len(method)
        total += len(method)
        kept += 1
    if current:
        sources.append(_class(len(sources), function, current))
    if kept < len(cases):
        dropped["too_large"] += len(cases) - kept
    return tuple(sources)


def _class(number: int, function: str, methods: Sequence[str]) -> str:
    lookup = LOOKUP.format(function=function)
    return _HEAD.format(name=f"TestCases{number or ''}", lookup=lookup) + "\n".join(methods)


def _methods(cases: Sequence[Case], wrapped: bool) -> Iterator[str]:
    width = len(str(len(cases)))
    for number, case in enumerate(cases, 1):
        parts = [literal(value) for value in case.args]
        parts += [f"{name}={literal(value)}" for name, value in case.kwargs.items()]
        lines = [
            f"    def test_case_{number:0{width}}(self):",
            f"        found = _coderm_function()({', '.join(parts)})",
            f"        expected = {literal(case.output)}",
            "        self.assertTrue(_coderm_same(found, expected)"
            + (" or _coderm_same(found, expected[0]))" if wrapped else ")"),
        ]
        yield "\n".join(lines) + "\n"
