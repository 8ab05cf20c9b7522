"""The frozen values that travel along the main path (words: DESIGN section 4).

Shapes used everywhere: R rollouts of a group, T unit tests (classes) of a suite, M test methods of
all those classes together. No value here knows how it was read, run or scored.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = [
    "FAILED",
    "CodeStatus",
    "Difficulty",
    "ExecutionMatrix",
    "ExecutionStats",
    "Judge",
    "Message",
    "Problem",
    "RecordedSuite",
    "RewardOutput",
    "Rollout",
    "RolloutGroup",
    "Solution",
    "TestSuite",
    "UnitTest",
    "Verdict",
    "VerdictArray",
    "assertion_methods",
    "content_hash",
]

VerdictArray = npt.NDArray[np.uint8]

FAILED = "failed_"
"""Prefix of the counters in TestSuite.dropped for responses that the infrastructure failed to give."""


def content_hash(*parts: str) -> str:
    """Return 16 hex digits that identify the given texts in this order (SHA-256, truncated)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:16]


class Verdict(enum.IntEnum):
    """What one vote (a test method, or a whole class) says about one rollout.

    UNKNOWN means that the infrastructure gave no evidence; it never counts as a fail.
    INVALID_TEST is a property of the test alone and removes its column.
    """

    UNKNOWN = 0
    PASS = 1
    FAIL = 2
    ERROR = 3
    TIMEOUT = 4
    MEMORY = 5
    OUTPUT = 6
    TAMPERED = 7
    INVALID_TEST = 8

    @property
    def label(self) -> str:
        """Lower-case name, as written to files: `pass`, `fail`, `invalid_test`, ..."""
        return self.name.lower()

    @property
    def letter(self) -> str:
        """One letter for compact matrices: U P F E T M O X I, in the order of the members."""
        return "UPFETMOXI"[self.value]


class Judge(enum.IntEnum):
    """How a verdict was reached (DESIGN section 5): by value apart, by a player's handle, or inline."""

    APART = 0
    HANDLE = 1
    INLINE = 2


class CodeStatus(enum.Enum):
    """What code extraction found in a model's response."""

    OK = "ok"
    NO_CODE = "no_code"
    UNSUPPORTED_FORMAT = "unsupported_format"
    """A program that reads stdin, for a problem that names no function: outside what unit tests can call."""
    WRONG_FORMAT = "wrong_format"
    """A program that reads stdin although the problem asks for a function: a wrong answer, scored 0.0."""


class Message(msgspec.Struct, frozen=True):
    """One chat message; `role` is system, user or assistant."""

    role: str
    content: str


class Problem(msgspec.Struct, frozen=True):
    """One prompt. `prompt_hash` is its identity: the hash of its messages (DESIGN section 9)."""

    prompt_hash: str
    question: str
    entry_point: str | None = None
    """Name of the function under test where the dataset or the prompt's starter code names it."""
    task_id: str | None = None
    reference: str | None = None
    """Code that the dataset calls right, where it has any."""
    pass_rate: float | None = None
    """How often the dataset saw it solved, in [0, 1], where it says so."""


class Rollout(msgspec.Struct, frozen=True):
    """One response of the policy: its global input row and the raw model text."""

    row: int
    text: str


class Solution(msgspec.Struct, frozen=True):
    """The code of one rollout. It is run only where `status` is OK; WRONG_FORMAT keeps it for the reader."""

    status: CodeStatus
    code: str = ""


class RolloutGroup(msgspec.Struct, frozen=True):
    """Siblings of one prompt: the unit of scoring. Its identity is (prompt, step, source run)."""

    id: str
    problem: Problem
    rollouts: tuple[Rollout, ...]
    run: str
    """Label of the source run: the dump directory, or the file where there is no directory of steps."""
    step: str | None = None
    uid: str | None = None


class UnitTest(msgspec.Struct, frozen=True):
    """One generated test class, with the helpers it needs, as source text."""

    id: str
    source: str
    class_name: str
    methods: tuple[str, ...]
    """Names of its test methods in the order unittest runs them (sorted)."""
    response: int = 0
    """Index of the model response it came from, within its suite."""
    copies: int = 1
    """How many responses gave this same class (same AST); see `--duplicates weight|drop`."""
    prompted_by: tuple[str, ...] = ()
    """Whose code stood in the prompts of these responses: identities of solutions (source.normalised_id), or
    `reference`."""
    votes: tuple[int, ...] = ()
    """How many assertions of each method vote; known where it was run so that they do."""


class TestSuite(msgspec.Struct, frozen=True):
    """All usable tests of one prompt; `dropped` counts by reason what gave none, and what was thrown away."""

    __test__: ClassVar[bool] = False  # not a pytest class

    prompt_hash: str
    tests: tuple[UnitTest, ...] = ()
    responses: int = 0
    """Responses asked of the generator and answered: the unit in which budgets are counted."""
    dropped: dict[str, int] = {}
    seconds: float = 0.0
    """Wall seconds that this suite took to be had."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Tokens of the model that these responses took, whenever they were generated."""
    complete: bool = True
    """False of a suite that is still being generated."""


class RecordedSuite(msgspec.Struct, frozen=True):
    """What a file of recorded tests holds for one prompt: model responses to be parsed, and ready tests."""

    responses: tuple[str, ...] = ()
    tests: tuple[UnitTest, ...] = ()
    prompted_by: tuple[str, ...] = ()
    """Of each response, whose code stood in its prompt (see UnitTest); "" unknown, empty for all of them."""


class Difficulty(msgspec.Struct, frozen=True):
    """A pass-rate distribution, never a bare number: mean in [0, 1] and its standard deviation."""

    pass_rate: float
    std: float
    source: str
    """Which estimator says so."""

    @property
    def difficulty(self) -> float:
        """One minus the expected pass rate."""
        return 1.0 - self.pass_rate


@dataclass(frozen=True)
class ExecutionStats:
    """What filling one matrix took."""

    pairs: int = 0
    """(rollout with code) x (valid test, each copy counted): what was asked for."""
    pairs_run: int = 0
    """Of these, how many were executed: identical solutions and tests once, known verdicts not at all."""
    cache_hits: int = 0
    """Distinct pairs whose verdict the cache knew."""
    assumed_timeouts: int = 0
    """Votes given TIMEOUT unrun, because the solution had hung on every vote for a while."""
    retried: int = 0
    """Tests run again after a worker died or the machine starved them of CPU."""
    seconds: float = 0.0
    """Wall seconds from the first to the last answer, for this group."""

    @property
    def pairs_distinct(self) -> int:
        """Pairs left once identical solutions and tests are taken together."""
        return self.pairs_run + self.cache_hits


@dataclass(frozen=True, eq=False)
class ExecutionMatrix:
    """Verdicts of R rollouts on T test classes and on their M methods.

    Rollouts without code have rows of UNKNOWN and `has_code` False; columns of invalid tests are
    INVALID_TEST throughout.
    """

    tests: tuple[UnitTest, ...]
    class_verdicts: VerdictArray
    """uint8 [R, T] of Verdict values."""
    method_verdicts: VerdictArray
    """uint8 [R, M] of Verdict values; methods in the order of `tests` and their `methods`."""
    method_test: npt.NDArray[np.intp]
    """[M] index of the test class that each method belongs to."""
    has_code: npt.NDArray[np.bool_]
    """[R] whether there was any code to run."""
    solution_index: npt.NDArray[np.intp]
    """[R] index of each rollout's distinct solution (equal index: identical code); -1 without code."""
    judges: npt.NDArray[np.uint8]
    """uint8 [R, T] of Judge values."""
    exec_seconds: npt.NDArray[np.float64]
    """[R] seconds its tests ran, as measured for its distinct solution when it ran."""
    invalid: dict[str, str] = field(default_factory=dict)
    """Test id -> why the sandbox found the test invalid, without any solution."""
    marked: dict[str, str] = field(default_factory=dict)
    """Test id -> why a test that ran has no vote all the same (see generation.screening)."""
    details: dict[int, dict[str, str]] = field(default_factory=dict)
    """Distinct solution index -> test id -> one line on the first failing method (a few per solution)."""
    stats: ExecutionStats = field(default_factory=ExecutionStats)
    assertion_verdicts: VerdictArray | None = None
    """uint8 [R, A] of Verdict values, in the order of the methods and their text; None where no assertion was
    judged by itself (vote unit `assertion`)."""
    assertion_method: npt.NDArray[np.intp] | None = None
    """[A] index of the method that each assertion belongs to."""


def assertion_methods(tests: Sequence[UnitTest]) -> npt.NDArray[np.intp]:
    """Return [A] the method that each assertion of these tests belongs to; a method has at least one vote."""
    counts = [count for test in tests for count in test.votes or [1] * len(test.methods)]
    return np.repeat(np.arange(len(counts)), counts).astype(np.intp)


class RewardOutput(msgspec.Struct, frozen=True):
    """The reward of one rollout in the fixed flat schema (DESIGN section 8): always finite floats."""

    score: float
    """The scalar reward."""
    acc: float
    """1.0 if score >= acc_threshold, else 0.0."""
    p_correct: float
    """Calibrated probability where the aggregator gives one, else the score clipped to [0, 1]."""
    pass_fraction: float
    """Share of this rollout's votes with evidence that passed; 0.0 without evidence."""
    tests_run: float
    """Votes with evidence."""
    tests_planned: float
    """Votes that valid tests would have given."""
    difficulty: float
    no_code: float
    unsupported_format: float
    """1.0 for a program that reads stdin; its score is neutral, or 0.0 where a function was asked for."""
    tampered: float
    neutral: float
    """1.0 if the score is the neutral reward and not evidence about this rollout."""
    timeout_rate: float
    """Share of the votes with evidence that are TIMEOUT."""
    reliability: float
    """Cronbach's alpha of the group's scores over test classes, in [0, 1]; 0.0 where undefined."""
    judge_handle: float
    """Share of this rollout's class verdicts that were decided through a player's handle."""
    judge_inline: float
    """Share of this rollout's class verdicts that were decided in the solution's own process."""
    infra_error: float
    gen_seconds: float
    exec_seconds: float
    filtered: float = 0.0
    """1.0 if the group's scores were too unreliable and are all their mean (`reliability_rule`)."""
    acc_true: float = 0.0
    """1.0 if it passes the dataset's own tests; known where `has_truth` is 1.0."""
    has_truth: float = 0.0

    def as_dict(self, prefix: str = "") -> dict[str, float]:
        """Return the flat dict that goes to verl (no prefix) or into files (prefix `coderm_`)."""
        return {f"{prefix}{name}": getattr(self, name) for name in self.__struct_fields__}
