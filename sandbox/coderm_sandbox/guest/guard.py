"""Notices a solution that patched the machinery of its own judge (inline judging only).

It is a tripwire, not a wall: solution and test share a process here. What it sees, it reports as
TAMPERED.
"""

from __future__ import annotations

import builtins
import types
import unittest.case
import unittest.result
import unittest.suite
from collections.abc import Callable
from typing import Any

__all__ = ["builtins_intact", "unittest_intact"]

# A program may well replace these for itself; none of them can turn a fail into a pass.
_HARMLESS = {"print", "input", "open", "exit", "quit", "help", "copyright", "credits", "license", "_"}

_WATCHED: tuple[Any, ...] = (
    unittest.case.TestCase,
    unittest.case._Outcome,  # type: ignore[attr-defined]
    unittest.case._AssertRaisesContext,
    unittest.result.TestResult,
    unittest.suite.BaseTestSuite,
    unittest.suite.TestSuite,
    unittest.case,
    unittest.result,
    unittest.suite,
)


def _functions() -> list[tuple[Any, str, Any, Any]]:
    found = []
    for owner in _WATCHED:
        for name, value in vars(owner).items():
            if isinstance(value, types.FunctionType):
                found.append((owner, name, value, value.__code__))
    return found


def _make_checks() -> tuple[Callable[[], bool], Callable[[], bool]]:
    # Everything the checks need is bound here, before any candidate code runs.
    functions = _functions()
    names: dict[str, Any] = {k: v for k, v in vars(builtins).items() if k not in _HARMLESS}
    current = vars(builtins)
    read, variables = dict.get, vars

    def unittest_intact() -> bool:
        for owner, name, value, code in functions:
            if variables(owner).get(name) is not value or value.__code__ is not code:
                return False
        return True

    def builtins_intact() -> bool:
        for name, value in names.items():  # noqa: SIM110  (a generator would look up `all` again)
            if read(current, name) is not value:
                return False
        return True

    return unittest_intact, builtins_intact


unittest_intact, builtins_intact = _make_checks()
