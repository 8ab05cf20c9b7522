"""Run the methods of one test text in this process, apart from the solution or beside it.

`report` is told of each method as it ends. Reference semantics: what a fresh process per (solution,
test) pair would say.
"""

from __future__ import annotations

import sys
import types
import unittest
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .channel import PlayerLostError
from .recorder import Recorder
from .sites import RECORDER, Site
from .solution import describe

__all__ = [
    "FRAMES",
    "TEST_MODULE",
    "Surroundings",
    "Votes",
    "raised_in_solution",
    "run_methods",
    "test_classes",
]

TEST_MODULE = "test_solution"
FRAMES = 60
"""Stack frames that unittest and we use before a test method runs."""

_DETAIL = 240

_STOCK = [
    (name, vars(unittest.TestCase)[name]) for name in ("setUpClass", "tearDownClass", "doClassCleanups")
]
_CLASS_FIXTURES = frozenset(name for name, _ in _STOCK)
_MODULE_FIXTURES = frozenset({"setUpModule", "tearDownModule", "__getattr__"})
_BASES = unittest.TestCase.__mro__

Report = Callable[[dict[str, Any]], None]
Frame = tuple[Any, Any, Any]


class Surroundings(NamedTuple):
    """What the process in which a test runs knows beyond the test."""

    exceeded: Callable[[], bool]
    """Whether more was printed than may be."""
    from_solution: Callable[[BaseException, Any], bool]
    """Whether an exception, with its traceback, was raised by the solution itself."""
    intact: Callable[[], bool]
    """Whether the machinery of judging is what it was."""
    broken: Callable[[], bool]
    """Whether the solution's process is gone or does not keep to the protocol: no verdict then."""


class Votes(NamedTuple):
    """Where the methods of a text vote, and whether they go on after a failed assertion."""

    sites: Mapping[str, Sequence[Site]]
    soft: bool


def raised_in_solution(error: BaseException, traceback: Any) -> bool:
    """Whether the innermost frame of a traceback is the solution's (judging inline)."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code.co_filename == "<solution>"


def _failure_of(test: Any) -> Any:
    """The class of the exceptions that are failed assertions of this test; what unittest hands in for a
    fixture has None."""
    return getattr(test, "failureException", None) or AssertionError


def _outcome_of(error: BaseException, traceback: Any, failure: Any, around: Surroundings) -> str:
    if isinstance(error, MemoryError):
        return "memory"
    failed = isinstance(error, failure) and not around.from_solution(error, traceback)
    return "fail" if failed else "error"


class _Result(unittest.TestResult):
    """Reports each method as it ends; formats no traceback (that costs more than most tests)."""

    def __init__(
        self, report: Report, keys: dict[int, str], around: Surroundings, recorder: Recorder | None
    ) -> None:
        super().__init__()
        self._recorder = recorder
        self._report = report
        self._keys = keys
        self._around = around
        self._found: tuple[str, str] | None = None
        self.reported: set[str] = set()
        self.fixture: tuple[str, str] | None = None
        self.passed = False
        self.bare = False
        """Whether nothing has to run around the methods; see `_is_bare`."""
        self.ended = False

    def startTest(self, test: Any) -> None:
        self._found = None
        if self._recorder is not None:
            self._recorder.begin(self._keys[id(test)], _failure_of(test))

    def _note(self, outcome: str, detail: str = "") -> None:
        if self._found is None or self._found[0] == "pass":
            self._found = (outcome, detail)

    def _note_error(self, test: Any, err: Frame, fallback: str | None = None) -> None:
        _, error, traceback = err
        outcome = _outcome_of(error, traceback, _failure_of(test), self._around)
        if fallback is not None and outcome != "memory":
            outcome = fallback
        if id(test) in self._keys:
            self._note(outcome, describe(error))
        else:  # setUpClass, setUpModule or a tearDown of these: unittest hands in a stand-in
            self.fixture = self.fixture or ("memory" if outcome == "memory" else "error", describe(error))

    def addSuccess(self, test: Any) -> None:
        self._note("pass")

    def addFailure(self, test: Any, err: Any) -> None:
        self._note_error(test, err)

    def addError(self, test: Any, err: Any) -> None:
        self._note_error(test, err, "error")

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
        if self._around.broken():
            self.stop()
            return
        outcome, detail = self._found or ("error", "ended without an outcome")
        if self._around.exceeded():
            outcome, detail = "output", "printed more than the output limit"
        if self._recorder is not None:
            self._recorder.end(outcome)
        self.passed = self.passed or outcome == "pass"
        for key in self._keys.values():  # a class whose fixture failed was left out
            if key == self._keys[id(test)]:
                break
            if key not in self.reported:
                self.reported.add(key)
                left, why = self.fixture or ("error", "was not run")
                self._report({"k": "m", "n": key, "o": left, "d": why})
        key = self._keys[id(test)]
        self.reported.add(key)
        message: dict[str, Any] = {"k": "m", "n": key, "o": outcome, "d": detail}
        if self.bare and len(self.reported) == len(self._keys) and _is_bare(test):
            message["last"] = self.ended = True  # nothing of the test runs any more
        self._report(message)


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
    names: dict[str, Any],
    around: Surroundings,
    report: Report,
    votes: Votes | None = None,
) -> None:
    """Run the methods named `Class.method` in `keys`, in order, and report each; then report `done`.

    The report of the last one says `last` if nothing of the test runs after it.
    `names` are the solution's, as the test sees them. Whatever goes wrong before a method starts is
    reported once as `fixture`: the methods without an outcome of their own then share it. `votes`, of a
    text rewritten for them, are reported as they come.
    """
    fixture: tuple[str, str] | None = None
    module = types.ModuleType(TEST_MODULE)
    vars(module).update((n, v) for n, v in names.items() if n not in vars(module))
    recorder = None
    if votes is not None:
        recorder = _recorder(votes, around, report)
        vars(module)[RECORDER] = recorder
    sys.modules[TEST_MODULE] = module
    try:
        exec(code, module.__dict__)
        classes = test_classes(module.__dict__, class_name)
        cases = [_case(classes, key) for key in keys]
    except PlayerLostError:
        raise
    except BaseException as error:  # noqa: BLE001  (a test text can raise anything)
        fixture = ("memory" if isinstance(error, MemoryError) else "error", describe(error))
    else:
        fixture = _run(cases, keys, around, report, recorder)
    report({"k": "done", "fixture": fixture})


def _is_bare(case: Any) -> bool:
    """Whether its class and module have nothing to run around the methods, so that unittest's suite, which
    costs a third of a short test, has nothing to do."""
    cls = type(case)
    if type(cls) is not type or cls.__mro__[1:] != _BASES or not _CLASS_FIXTURES.isdisjoint(vars(cls)):
        return False
    for name, stock in _STOCK:
        if vars(unittest.TestCase)[name] is not stock:
            return False
    if cls._class_cleanups or unittest.case._module_cleanups:  # type: ignore[attr-defined]
        return False
    module = sys.modules.get(cls.__module__)
    return type(module) is types.ModuleType and _MODULE_FIXTURES.isdisjoint(vars(module))


def _recorder(votes: Votes, around: Surroundings, report: Report) -> Recorder:
    def outcome_of(error: BaseException, traceback: Any, failure: Any) -> str:
        return _outcome_of(error, traceback, failure, around)

    def tell(key: str, place: int, outcome: str) -> None:
        if not around.broken():
            report({"k": "v", "n": key, "p": place, "o": outcome})

    return Recorder(votes.sites, votes.soft, outcome_of, tell)


def _run_bare(cases: list[Any], result: _Result) -> None:
    for case in cases:
        if result.shouldStop:
            return
        case(result)
    if not (result.ended or _is_bare(cases[-1])):  # a method brought about what has to be run now
        result._previousTestClass = type(cases[-1])  # type: ignore[attr-defined]
        unittest.TestSuite().run(result)


def _run(
    cases: list[Any], keys: list[str], around: Surroundings, report: Report, recorder: Recorder | None
) -> tuple[str, str] | None:
    named = {id(case): key for case, key in zip(cases, keys, strict=True)}
    result = _Result(report, named, around, recorder)
    result.bare = len({*map(type, cases)}) == 1 and _is_bare(cases[0])
    waiting = cases
    while waiting:
        try:
            if result.bare:
                _run_bare(waiting, result)
            else:
                unittest.TestSuite(waiting).run(result)
            break
        except KeyboardInterrupt:  # unittest ends a whole run for it; here only the method that it came from
            before = len(waiting)
            waiting = [case for case, key in zip(cases, keys, strict=True) if key not in result.reported]
            if len(waiting) == before or around.broken():
                return result.fixture or ("error", "KeyboardInterrupt")
        except PlayerLostError:
            raise
        except BaseException as error:  # noqa: BLE001  (out of a class fixture, which unittest lets through)
            return result.fixture or ("error", describe(error))
    # Nothing was gained where nothing passed, and looking copies some fifty pages of memory.
    if result.passed and not around.intact():
        return ("tampered", "the solution changed unittest or the builtins")
    return result.fixture
