"""The sidecar: one versioned record per group, from which every reward can be examined and redone.

A sidecar is JSON lines, appended as groups finish; a line cut off by a kill is ignored on reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from coderm_reward.config import RewardConfig
from coderm_reward.errors import InputError
from coderm_reward.source import normalised_id
from coderm_reward.types import (
    FAILED,
    Difficulty,
    ExecutionMatrix,
    ExecutionStats,
    RewardOutput,
    Solution,
    UnitTest,
    Verdict,
    VerdictArray,
    assertion_methods,
    content_hash,
)

__all__ = [
    "RECORD_VERSION",
    "BudgetRecord",
    "GroupRecord",
    "RolloutRecord",
    "read_records",
    "replaced_records",
    "rollout_records",
]

RECORD_VERSION = 1


class RolloutRecord(msgspec.Struct, frozen=True):
    """One rollout of a recorded group: its global input row, what was extracted, and its reward."""

    row: int
    status: str
    """A CodeStatus value: ok, no_code or unsupported_format."""
    code: str
    solution: int
    """Index of its distinct solution within the group (equal: identical code); -1 without code."""
    classes: str
    """Verdict letters, one per test: see Verdict.letter."""
    methods: str
    """Verdict letters, one per method, tests and their methods in order."""
    judges: str
    """One letter per test: A apart, H handle, I inline."""
    reward: RewardOutput
    assertions: str | None = None
    """Verdict letters, one per assertion, methods in order; None where they were not judged one by one."""


class BudgetRecord(msgspec.Struct, frozen=True):
    """What was planned and spent on this prompt, in generator responses, and why."""

    difficulty: Difficulty
    planned: int | None
    """None: every response there is."""
    spent: int
    why: str


class GroupRecord(msgspec.Struct, frozen=True):
    """Everything about one scored group."""

    group: str
    content: str
    """Hash of the prompt and of every rollout's text: `--resume` takes a record only for the same group."""
    settings: str
    """Fingerprint of the settings and tests it was scored with."""
    config: RewardConfig
    run: str
    step: str | None
    uid: str | None
    prompt_hash: str
    question: str
    entry_point: str | None
    task_id: str | None
    generator: str
    tests: tuple[UnitTest, ...]
    invalid: dict[str, str]
    """Test id -> why it is INVALID_TEST."""
    dropped: dict[str, int]
    """Generation, parsing and screening: reason -> count."""
    budget: BudgetRecord
    rollouts: tuple[RolloutRecord, ...]
    details: dict[int, dict[str, str]]
    """Distinct solution -> test id -> one line on its first failing method."""
    stats: ExecutionStats
    gen_seconds: float
    warnings: tuple[str, ...] = ()
    marked: dict[str, str] = {}
    """Test id -> why it has no vote although it ran."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    version: Literal[1] = 1

    @property
    def lacks_responses(self) -> bool:
        """Whether responses are missing that another try might give: `--resume` scores such a group again."""
        lacking = (reason for reason in self.dropped if reason.startswith(FAILED))
        return any(reason != f"{FAILED}too_long" for reason in lacking)

    def members(self) -> Counter[tuple[int, str]]:
        """Return its rollouts by row and code, counted: what tells whether another record holds them too."""
        return Counter((rollout.row, content_hash(rollout.status, rollout.code)) for rollout in self.rollouts)

    def identities(self) -> tuple[str, ...]:
        """Return [R] the identity of each rollout's code (source.normalised_id), "" without code."""
        return tuple(normalised_id(r.code) if r.code else "" for r in self.rollouts)

    def matrix(self) -> ExecutionMatrix:
        """Rebuild the execution matrix (per-rollout seconds come from the rewards)."""
        assertions = [r.assertions for r in self.rollouts if r.assertions is not None]
        judged = self.config.scoring.vote_unit == "assertion" and len(assertions) == len(self.rollouts)
        assertion_method = assertion_methods(self.tests) if judged else None
        method_test = [t for t, test in enumerate(self.tests) for _ in test.methods]
        return ExecutionMatrix(
            tests=self.tests,
            class_verdicts=_decode([r.classes for r in self.rollouts], len(self.tests)),
            method_verdicts=_decode([r.methods for r in self.rollouts], len(method_test)),
            method_test=np.array(method_test, dtype=np.intp),
            has_code=np.array([r.status == "ok" for r in self.rollouts], dtype=np.bool_),
            solution_index=np.array([r.solution for r in self.rollouts], dtype=np.intp),
            judges=np.array(
                [["AHI".index(letter) for letter in r.judges] for r in self.rollouts], dtype=np.uint8
            ).reshape(len(self.rollouts), len(self.tests)),
            exec_seconds=np.array([r.reward.exec_seconds for r in self.rollouts], dtype=np.float64),
            invalid=dict(self.invalid),
            marked=dict(self.marked),
            details=dict(self.details),
            stats=self.stats,
            assertion_verdicts=None
            if assertion_method is None
            else _decode(assertions, assertion_method.size),
            assertion_method=assertion_method,
        )


def rollout_records(
    rows: Sequence[int],
    solutions: Sequence[Solution],
    matrix: ExecutionMatrix,
    rewards: Sequence[RewardOutput],
) -> tuple[RolloutRecord, ...]:
    """Return the records of R rollouts from their global rows, code, verdicts and rewards, in order."""
    assertions = matrix.assertion_verdicts
    return tuple(
        RolloutRecord(
            row=row,
            status=solution.status.value,
            code=solution.code,
            solution=int(matrix.solution_index[i]),
            classes=verdict_letters(matrix.class_verdicts[i]),
            methods=verdict_letters(matrix.method_verdicts[i]),
            judges="".join("AHI"[judge] for judge in matrix.judges[i]),
            reward=reward,
            assertions=None if assertions is None else verdict_letters(assertions[i]),
        )
        for i, (row, solution, reward) in enumerate(zip(rows, solutions, rewards, strict=True))
    )


_LETTERS = np.array([ord(v.letter) for v in Verdict], dtype=np.uint8)
_VALUES = np.zeros(256, dtype=np.uint8)
_VALUES[_LETTERS] = np.arange(len(_LETTERS), dtype=np.uint8)


def verdict_letters(row: VerdictArray) -> str:
    """Return one row of verdicts as letters."""
    return _LETTERS[row].tobytes().decode("ascii")


def _decode(rows: list[str], width: int) -> VerdictArray:
    data = np.frombuffer("".join(rows).encode("ascii"), dtype=np.uint8)
    return _VALUES[data].reshape(len(rows), width)


_decoder = msgspec.json.Decoder(GroupRecord)


def read_records(path: Path) -> Iterator[GroupRecord]:
    """Yield the records of a sidecar; a last line without its newline (a kill in mid-write) is skipped.

    Raises:
        InputError: no such file, or a complete line that is not a record of this version.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"There is no group record file {path}; score with --out first.") from None
    with stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _decoder.decode(line)
            except msgspec.DecodeError as error:
                raise InputError(
                    f"{path}:{number} is not a group record of version {RECORD_VERSION} ({error}); "
                    "was it written by another version of coderm-reward?"
                ) from None


def replaced_records(records: Iterable[GroupRecord]) -> set[int]:
    """Return the positions of those that a later record of the same group holds completely.

    A training that scores a rollout which came late writes its group once more, with all its rollouts.
    """
    there: dict[str, dict[int, Counter[tuple[int, str]]]] = {}
    replaced: set[int] = set()
    for position, record in enumerate(records):
        members, parts = record.members(), there.setdefault(record.group, {})
        gone = [place for place, part in parts.items() if part <= members]
        replaced.update(gone)
        for place in gone:
            del parts[place]
        parts[position] = members
    return replaced
