"""One group record -> its numbers: scores, tests, verdicts and the order its matrix is drawn in (pure).

A verdict is evidence unless it is UNKNOWN or INVALID_TEST; rollouts without code have no verdicts at all.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import InputError
from coderm_reward.scoring import judged_cells
from coderm_reward.types import ExecutionMatrix, Judge, Verdict, VerdictArray

__all__ = ["GroupNumbers", "JudgeCounts", "TestNumbers", "VerdictCounts", "group_numbers"]

ZERO_SPREAD = 1e-9
"""A group whose scores have a smaller standard deviation gives GRPO no gradient."""

Floats = npt.NDArray[np.float64]


class VerdictCounts(msgspec.Struct, frozen=True):
    """Cells of matrices by verdict, over rollouts with code: whole classes, methods and assertions."""

    classes: dict[Verdict, int]
    methods: dict[Verdict, int]
    assertions: dict[Verdict, int] = {}
    """Empty where no assertion was judged by itself."""


class JudgeCounts(msgspec.Struct, frozen=True):
    """Judged pairs, (rollout with code) x (valid test) with a verdict, by how the verdict was reached."""

    pairs: dict[Judge, int]
    excluded: int
    """Of these, how many were no evidence for the rewards (`exclude_judges`)."""


class TestNumbers(msgspec.Struct, frozen=True):
    """One column of a group's matrix, at class level."""

    __test__: ClassVar[bool] = False  # not a pytest class

    evidence: int
    """Rollouts about which it says something."""
    pass_rate: float | None
    """Share of those that pass; None without evidence."""
    item_rest: float | None
    """Pearson correlation of its column with the mean of the other tests, over rollouts; None where
    undefined. Negative: it votes against the others."""


class GroupNumbers(msgspec.Struct, frozen=True):
    """One group: its scores, its tests and the order in which its matrix is drawn."""

    index: int
    """Position in the report, counted from 0."""
    mean: float
    std: float
    """Population standard deviation of the scores."""
    zero_spread: bool
    """Two or more rollouts, one score."""
    reliability: float
    disagreement: float
    """Mean of 4p(1-p) over rollouts with evidence, p their pass fraction: 0 all votes agree, 1 they are
    split in half about every rollout."""
    exec_seconds: float
    """Seconds of execution, summed over distinct solutions."""
    verdicts: VerdictCounts
    judges: JudgeCounts
    distinct_solutions: int
    valid_tests: int
    tests: tuple[TestNumbers, ...]
    method_pass_rates: tuple[float | None, ...]
    """As TestNumbers.pass_rate, for every method of every test."""
    rollout_order: tuple[int, ...]
    """Best score first."""
    test_order: tuple[int, ...]
    """Highest pass rate first; then those without evidence, then the invalid ones."""


def group_numbers(index: int, record: GroupRecord) -> GroupNumbers:
    """Return the numbers of one group. Raises InputError if its verdicts do not match its tests."""
    try:
        matrix = record.matrix()
    except ValueError as error:
        raise InputError(
            f"The record of group {record.group!r} does not fit together ({error}); score that group again."
        ) from None
    rewards = [rollout.reward for rollout in record.rollouts]
    scores = np.array([r.score for r in rewards], dtype=np.float64)
    std = float(scores.std()) if scores.size else 0.0
    fractions = np.array([r.pass_fraction for r in rewards if r.tests_run > 0], dtype=np.float64)
    tests = _tests(matrix)
    invalid = [test.id in record.invalid for test in record.tests]
    by_solution = {(r.solution, r.reward.exec_seconds) for r in record.rollouts if r.solution >= 0}
    seconds: dict[int, float] = {}
    for solution, spent in sorted(by_solution):
        seconds[solution] = max(spent, seconds.get(solution, 0.0))
    return GroupNumbers(
        index=index,
        mean=float(scores.mean()) if scores.size else 0.0,
        std=std,
        zero_spread=scores.size > 1 and std < ZERO_SPREAD,
        reliability=rewards[0].reliability if rewards else 0.0,
        disagreement=float(np.mean(4 * fractions * (1 - fractions))) if fractions.size else 0.0,
        exec_seconds=sum(seconds.values()),
        verdicts=VerdictCounts(
            classes=_counts(matrix.class_verdicts[matrix.has_code]),
            methods=_counts(matrix.method_verdicts[matrix.has_code]),
            assertions=(
                {}
                if matrix.assertion_verdicts is None
                else _counts(matrix.assertion_verdicts[matrix.has_code])
            ),
        ),
        judges=_judges(record, matrix),
        distinct_solutions=len(seconds),
        valid_tests=invalid.count(False),
        tests=tests,
        method_pass_rates=_pass_rates(matrix.method_verdicts[matrix.has_code]),
        rollout_order=tuple(sorted(range(len(rewards)), key=lambda i: (-rewards[i].score, i))),
        test_order=tuple(sorted(range(len(tests)), key=lambda j: _test_rank(tests[j], invalid[j], j))),
    )


def _test_rank(test: TestNumbers, invalid: bool, position: int) -> tuple[bool, bool, float, int]:
    return invalid, test.pass_rate is None, -(test.pass_rate or 0.0), position


def _tests(matrix: ExecutionMatrix) -> tuple[TestNumbers, ...]:
    verdicts = matrix.class_verdicts[matrix.has_code]
    evidence, passed = _evidence(verdicts), (verdicts == Verdict.PASS).astype(np.float64)
    others = evidence.sum(axis=1, keepdims=True) - evidence
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = (passed.sum(axis=1, keepdims=True) - passed) / others
    usable = evidence & (others > 0)
    return tuple(
        TestNumbers(int(evidence[:, j].sum()), rate, _pearson(passed[usable[:, j], j], rest[usable[:, j], j]))
        for j, rate in enumerate(_pass_rates(verdicts))
    )


def _evidence(verdicts: VerdictArray) -> npt.NDArray[np.bool_]:
    return np.isin(verdicts, (Verdict.UNKNOWN, Verdict.INVALID_TEST), invert=True)


def _pass_rates(verdicts: VerdictArray) -> tuple[float | None, ...]:
    """Return the share of passes among the evidence of each column; None where there is no evidence."""
    passes = (verdicts == Verdict.PASS).sum(axis=0).tolist()
    runs = _evidence(verdicts).sum(axis=0).tolist()
    return tuple(p / n if n else None for p, n in zip(passes, runs, strict=True))


def _pearson(x: Floats, y: Floats) -> float | None:
    if len(x) < 3 or np.ptp(x) < ZERO_SPREAD or np.ptp(y) < ZERO_SPREAD:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _judges(record: GroupRecord, matrix: ExecutionMatrix) -> JudgeCounts:
    judged = judged_cells(matrix)
    pairs = {judge: int((judged & (matrix.judges == judge)).sum()) for judge in Judge}
    tampered = judged & (matrix.class_verdicts == Verdict.TAMPERED)
    excluded = [Judge[name.upper()] for name in record.config.scoring.exclude_judges]
    left_out = judged & ~tampered & np.isin(matrix.judges, excluded)
    return JudgeCounts(pairs, int(left_out.sum()))


def _counts(cells: VerdictArray) -> dict[Verdict, int]:
    return {
        v: int(n) for v, n in zip(Verdict, np.bincount(cells.ravel(), minlength=len(Verdict)), strict=True)
    }
