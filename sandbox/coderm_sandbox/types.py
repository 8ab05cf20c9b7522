"""Values that go into and come out of the sandbox: programs and facts, nothing about rewards."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "SANDBOX_VERSION",
    "Inspection",
    "Job",
    "Limits",
    "Outcome",
    "Test",
    "TestResult",
    "class_outcome",
]

SANDBOX_VERSION = "2"
"""Changes with every change that may change a verdict, so that remembered verdicts are not mixed up."""

MAX_SOURCE_BYTES = 16 * 1024 * 1024
"""Longer texts, as JSON, are not run: a solution is an ERROR, a test is invalid."""


class Outcome(str, enum.Enum):
    """What one test method, or a whole test class, said about one solution.

    UNKNOWN is the only one that speaks of the machine and not of the program.
    """

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    TAMPERED = "tampered"
    INVALID_TEST = "invalid_test"
    UNKNOWN = "unknown"


_WORST_FIRST = (
    Outcome.TAMPERED,
    Outcome.TIMEOUT,
    Outcome.MEMORY,
    Outcome.OUTPUT,
    Outcome.ERROR,
    Outcome.FAIL,
    Outcome.UNKNOWN,
)


def class_outcome(methods: list[Outcome], fixture: Outcome | None = None) -> Outcome:
    """All methods pass: PASS. Else the worst of them; a known non-pass outweighs an UNKNOWN.

    A class of which no method ran is INVALID_TEST; INVALID_TEST methods (skipped by the test
    itself) have no say. `fixture` is what setUpClass or tearDownClass added.
    """
    counted: set[Outcome] = {outcome for outcome in methods if outcome is not Outcome.INVALID_TEST}
    if not counted:
        return Outcome.INVALID_TEST
    if fixture is not None:
        counted.add(fixture)
    return next((outcome for outcome in _WORST_FIRST if outcome in counted), Outcome.PASS)


@dataclass(frozen=True)
class Limits:
    """What one solution may use. Raises ValueError for anything that is not a positive number."""

    timeout: float = 1.0
    """Seconds per test method, three times that for loading the solution; time the machine kept it
    waiting is free."""
    memory_mb: int = 1024
    """MiB for the solution and all its processes together, and of address space for each."""
    processes: int = 64
    """Processes and threads at once."""
    file_mb: int = 16
    """MiB of the largest file."""
    output_mb: int = 16
    """MiB printed per run of a test."""
    scratch_mb: int = 64
    """MiB of writable scratch space per worker."""
    hang_limit: int = 0
    """If the first votes are all timeouts, this many and of at least two tests, the rest is not run but
    taken as TIMEOUT; 0 runs everything."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            kinds = (int, float) if name == "timeout" else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value):
                raise ValueError(
                    f"limit {name} must be a {'' if len(kinds) > 1 else 'whole '}number, not {value!r}"
                )
            if not (value > 0 or (name == "hang_limit" and value == 0)):
                raise ValueError(f"limit {name} must be positive, not {value!r}")

    def as_message(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Test:
    """One test text. `class_name` restricts it to one of its TestCase classes.

    `methods` are the `Class.method` names to run, in order, as Inspection gives them; `skipped`
    are those of them that the test itself skips.

    With `votes`, the number of votes of each method as Inspection gives them, every assertion votes and a
    method goes on after one that failed. Methods and class still come out as without.
    """

    __test__ = False

    source: str
    class_name: str | None = None
    methods: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    votes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.votes and (len(self.votes) != len(self.methods) or min(self.votes) < 1):
            raise ValueError("votes must be one positive number for each method")


@dataclass(frozen=True)
class Job:
    """One solution and the tests to run against it."""

    solution: str
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Inspection:
    """What a test text is, decided without any solution."""

    valid: bool
    reason: str = ""
    methods: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    votes: tuple[int, ...] = ()
    """How many assertions of each method vote, at least 1, if that was asked for."""


@dataclass(frozen=True)
class TestResult:
    """What one test said about the solution."""

    __test__ = False

    outcome: Outcome
    methods: dict[str, Outcome] = field(default_factory=dict)
    judge: str = "apart"
    """How the verdict was reached: `apart` by values alone, `handle` where an object of the solution's
    answered for itself, `inline` in the solution's own process, because the test's text needs that."""
    seconds: float = 0.0
    """Wall seconds it ran."""
    detail: str = ""
    """One line on the first method that did not pass."""
    assumed: int = 0
    """Methods given TIMEOUT without being run (Limits.hang_limit)."""
    retried: bool = False
    """Whether it was run once more, after a worker died under it or the machine starved it."""
    votes: dict[str, tuple[Outcome, ...]] = field(default_factory=dict)
    """Of a test whose assertions vote: what each of them said, by method, in the order of the text."""
