"""Run the methods of one test text against a loaded solution, in a process of their own.

Runs in the last fork of all; `report` sends one small message per finished method. Reference
semantics: what a fresh process per (solution, test) pair would say.
"""

from __future__ import annotations

import sys
import types
import unittest
from collections.abc import Callable
from typing import Any

from . import guard
from .output import CountingSink

__all__ = ["SOLUTION_MODULES", "TEST_MODULE", "describe", "outcome_of", "run_methods", "test_classes"]

TEST_MODULE = "test_solution"
SOLUTION_MODULES = ("solution", "your_module", "your_solution", "my_module")
"""Names under which a test may import the solution."""

_DETAIL = 240

Report = Callable[[dict[str, Any]], None]
Frame = tuple[Any, Any, Any]


def describe(error: BaseException) -> str:
    """One line on an exception, cut to a fixed length; formatting it must not raise either."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception as failure:  # noqa: BLE001  (str() of candidate code may raise anything)
        text = f"<str() raised {type(failure).__name__}>"
    return f"{name}: {text}"[:_DETAIL] if text else name


def outcome_of(error: BaseException, traceback: Any, failure: type) -> str:
    """Name the outcome of an exception: an assertion of the test fails, everything else is an error."""
    if isinstance(error, MemoryError):
        return "memory"
    if not isinstance(error, failure):
        return "error"
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    raised_in_solution = traceback is not None and traceback.tb_frame.f_code.co_filename == "<solution>"
    return "error" if raised_in_solution else "fail"


class _Result(unittest.TestResult):
    """Reports each method as it ends; formats no traceback (that costs more than most tests)."""

    def __init__(self, report: Report, keys: dict[int, str], sink: CountingSink) -> None:
        super().__init__()
        self._report = report
        self._keys = keys
        self._sink = sink
        self._found: tuple[str, str] | None = None
        self.fixture: tuple[str, str] | None = None
        self.passed = False

    def startTest(self, test: Any) -> None:
        self._found = None

    def _note(self, outcome: str, detail: str = "") -> None:
        if self._found is None or self._found[0] == "pass":
            self._found = (outcome, detail)

    def _note_error(self, test: Any, err: Frame, fallback: str | None = None) -> None:
        _, error, traceback = err
        outcome = fallback or outcome_of(error, traceback, getattr(test, "failureException", AssertionError))
        if id(test) in self._keys:
            self._note(outcome, describe(error))
        else:  # setUpClass, setUpModule or a tearDown of these: unittest hands in a stand-in
            self.fixture = self.fixture or ("memory" if outcome == "memory" else "error", describe(error))

    def addSuccess(self, test: Any) -> None:
        self._note("pass")

    def addFailure(self, test: Any, err: Any) -> None:
        self._note_error(test, err)

    def addError(self, test: Any, err: Any) -> None:
        self._note_error(test, err, "memory" if isinstance(err[1], MemoryError) else "error")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self._note_error(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        if id(test) in self._keys:
            self._note("error", f"skipped after it met the solution: {reason}"[:_DETAIL])
        else:
            self.fixture = self.fixture or ("error", f"skipped after it met the solution: {reason}"[:_DETAIL])

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self._note("pass")

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._note("fail", "unexpected success")

    def stopTest(self, test: Any) -> None:
        outcome, detail = self._found or ("error", "ended without an outcome")
        if self._sink.exceeded:
            outcome, detail = "output", "printed more than the output limit"
        self.passed = self.passed or outcome == "pass"
        self._report({"k": "m", "n": self._keys[id(test)], "o": outcome, "d": detail})


def test_classes(namespace: dict[str, Any], class_name: str | None) -> list[type]:
    """The TestCase classes that a test text defines, in order; only `class_name` where it is given."""
    own = [
        value
        for value in namespace.values()
        if issubclass(type(value), type)  # not isinstance: an object may lie about its class
        and issubclass(value, unittest.TestCase)
        and value.__module__ == TEST_MODULE
    ]
    named = {cls.__name__: cls for cls in own if class_name is None or cls.__name__ == class_name}
    return list(named.values())


def _case(classes: list[type], key: str) -> Any:
    """The test case for `Class.method`; the name of a generated method may hold a dot itself."""
    for cls in classes:
        if key.startswith(f"{cls.__name__}."):
            return cls(key[len(cls.__name__) + 1 :])
    raise LookupError(f"there is no test {key}")


def run_methods(
    code: types.CodeType,
    class_name: str | None,
    keys: list[str],
    solution: types.ModuleType,
    sink: CountingSink,
    report: Report,
) -> None:
    """Run the methods named `Class.method` in `keys`, in order, and report each; then report `done`.

    Whatever goes wrong before a method starts is reported once as `fixture`: the methods without an
    outcome of their own then share it.
    """
    fixture: tuple[str, str] | None = None
    module = types.ModuleType(TEST_MODULE)
    names = {n: v for n, v in list(vars(solution).items()) if not (n in vars(module) or n == "__builtins__")}
    vars(module).update(names)
    sys.modules[TEST_MODULE] = module
    try:
        exec(code, module.__dict__)
        classes = test_classes(module.__dict__, class_name)
        cases = [_case(classes, key) for key in keys]
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a test text can raise anything)
        fixture = ("memory" if isinstance(error, MemoryError) else "error", describe(error))
    else:
        result = _Result(report, {id(case): key for case, key in zip(cases, keys, strict=True)}, sink)
        unittest.TestSuite(cases).run(result)
        fixture = result.fixture
        # Nothing was gained where nothing passed, and looking copies some fifty pages of memory.
        if result.passed and not (guard.unittest_intact() and guard.builtins_intact()):
            fixture = ("tampered", "the solution changed unittest or the builtins")
    report({"k": "done", "fixture": fixture})
