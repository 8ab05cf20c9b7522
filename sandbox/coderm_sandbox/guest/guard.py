"""Notices a solution that patched the machinery of its own judge (inline judging only).

It is a tripwire, not a wall: solution and test share a process here. What it sees, it reports as
TAMPERED.
"""

from __future__ import annotations

import builtins
import types
import unittest.async_case
import unittest.case
import unittest.result
import unittest.suite
from collections.abc import Callable
from typing import Any

__all__ = ["builtins_intact", "unittest_intact"]

# A program may well replace these for itself; none of them can turn a fail into a pass.
_HARMLESS = {"print", "input", "open", "exit", "quit", "help", "copyright", "credits", "license", "_"}

# What the interpreter adds to a module when it warns, and what test texts like to set for all classes.
_IGNORED = {"__warningregistry__", "maxDiff", "longMessage", "shortDescription"}

_WATCHED: tuple[Any, ...] = (
    unittest.case.TestCase,
    unittest.case._Outcome,  # type: ignore[attr-defined]
    unittest.case._AssertRaisesContext,
    unittest.async_case.IsolatedAsyncioTestCase,
    unittest.result.TestResult,
    unittest.suite.BaseTestSuite,
    unittest.suite.TestSuite,
    unittest.case,
    unittest.result,
    unittest.suite,
)


def _make_checks() -> tuple[Callable[[], bool], Callable[[], bool]]:
    # Everything the checks need is bound here, before any candidate code runs.
    attributes: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []
    for owner in _WATCHED:
        values = {k: v for k, v in vars(owner).items() if k not in _IGNORED}
        codes = {k: v.__code__ for k, v in values.items() if isinstance(v, types.FunctionType)}
        attributes.append((owner, values, codes))
    names: dict[str, Any] = {k: v for k, v in vars(builtins).items() if k not in _HARMLESS}
    current = vars(builtins)
    read, variables, count, ignored = dict.get, vars, len, _IGNORED

    def unittest_intact() -> bool:
        for owner, values, codes in attributes:
            now = variables(owner)
            if count(now) != count(values):
                for name in now:
                    if name not in values and name not in ignored:
                        return False
            for name, value in values.items():
                if now.get(name) is not value:
                    return False
            for name, code in codes.items():
                if values[name].__code__ is not code:
                    return False
        return True

    def builtins_intact() -> bool:
        for name, value in names.items():  # noqa: SIM110  (a generator would look up `all` again)
            if read(current, name) is not value:
                return False
        return True

    return unittest_intact, builtins_intact


unittest_intact, builtins_intact = _make_checks()
