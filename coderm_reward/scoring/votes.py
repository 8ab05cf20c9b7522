"""From an execution matrix to countable votes: what takes part, what it weighs, who can be scored.

The rules (DESIGN section 4): an INVALID_TEST column leaves, as does a marked test's; an UNKNOWN cell leaves
its rollout's denominator; every verdict but PASS is a vote against. Shapes: R rollouts, V vote columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coderm_reward.config import Duplicates, VoteUnit
from coderm_reward.errors import InputError
from coderm_reward.types import ExecutionMatrix, Verdict, VerdictArray

__all__ = [
    "Ballots",
    "BoolArray",
    "FloatArray",
    "IntArray",
    "VoteTable",
    "count_votes",
    "unit_verdicts",
    "valid_columns",
]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class VoteTable:
    """The votes of one unit (assertions, methods or classes) on R rollouts; invalid columns are gone."""

    passed: BoolArray
    """[R, V]; True only where `known` is."""
    known: BoolArray
    """[R, V] whether there is evidence."""
    weight: FloatArray
    """[V] votes that each column stands for: whole numbers of at least 1."""

    @property
    def planned(self) -> float:
        """Votes that each rollout would get with complete evidence."""
        return float(self.weight.sum())

    def votes_run(self) -> FloatArray:
        """Return [R] votes with evidence."""
        return self.total(self.known)

    def total(self, cells: BoolArray) -> FloatArray:
        """Return [R] votes in the marked [R, V] cells (exact: sums of whole numbers)."""
        return cells.astype(np.float64) @ self.weight

    def fraction(self) -> FloatArray:
        """Return [R] passed votes over votes with evidence; NaN for a rollout without evidence."""
        return self.share_of(self.passed)

    def share_of(self, cells: BoolArray) -> FloatArray:
        """Return [R] votes in the marked cells over votes with evidence; NaN without evidence."""
        run = self.votes_run()
        share = np.full(run.shape, np.nan)
        np.divide(self.total(cells), run, out=share, where=run > 0)
        return share


@dataclass(frozen=True, eq=False)
class Ballots:
    """All votes of one group, at both levels, and what is needed to count them."""

    parts: VoteTable
    """The votes that classes are made of: of assertions where these are the unit, else of methods."""
    classes: VoteTable
    part_class: IntArray
    """[columns of parts] the column of `classes` that each of them belongs to."""
    unit: VoteUnit
    rollout_weight: FloatArray
    """[R] how much each rollout adds to the size of its cluster; 0.0 where not eligible."""
    eligible: BoolArray
    """[R] rollouts that can be scored from evidence: code, at least one known vote of the configured
    unit, and no tampering."""
    tampered: BoolArray
    """[R] rollouts with a TAMPERED cell at any level that is looked at."""
    without_evidence: BoolArray
    """[R] rollouts with code about which nothing is known: they weigh in no share."""

    @property
    def votes(self) -> VoteTable:
        """The table of the configured unit."""
        return self.classes if self.unit == "class" else self.parts


def valid_columns(matrix: ExecutionMatrix) -> tuple[BoolArray, BoolArray]:
    """Return ([T] valid classes, [M] valid methods).

    An invalid class takes all its methods along, and so does a marked one; an invalid method leaves alone;
    a class without a valid method leaves too. So either both levels have votes or neither has.
    """
    marked = np.array([test.id in matrix.marked for test in matrix.tests], dtype=np.bool_)
    class_ok = ~_invalid(matrix.class_verdicts) & ~marked
    method_ok = ~_invalid(matrix.method_verdicts) & class_ok[matrix.method_test]
    alive = np.zeros(class_ok.shape, dtype=np.bool_)
    alive[matrix.method_test[method_ok]] = True
    return class_ok & alive, method_ok


def count_votes(matrix: ExecutionMatrix, unit: VoteUnit, duplicates: Duplicates) -> Ballots:
    """Return the votes of one group.

    `duplicates="weight"`: a test that k responses gave weighs k, and every rollout counts in its
    cluster. `"drop"`: each distinct test weighs 1, and the rollouts of one distinct solution share
    one place in cluster sizes.

    Raises:
        InputError: the unit is `assertion`, and none was judged by itself.
    """
    class_ok, _ = valid_columns(matrix)
    copies = np.array([test.copies for test in matrix.tests], dtype=np.float64)
    class_weight = copies if duplicates == "weight" else np.ones_like(copies)
    classes = _table(matrix.class_verdicts[:, class_ok], class_weight[class_ok])
    verdicts, part_test = _parts(matrix, "method" if unit == "class" else unit)
    parts = _table(verdicts, class_weight[part_test])
    tampered = _any_row(matrix.class_verdicts, Verdict.TAMPERED) | _any_row(
        matrix.method_verdicts, Verdict.TAMPERED
    )
    if unit == "assertion":
        tampered |= _any_row(verdicts, Verdict.TAMPERED)
    known = (classes if unit == "class" else parts).known.any(axis=1)
    eligible = matrix.has_code & known & ~tampered
    new_class_index = np.cumsum(class_ok) - 1
    return Ballots(
        parts=parts,
        classes=classes,
        part_class=new_class_index[part_test].astype(np.intp),
        unit=unit,
        rollout_weight=_rollout_weight(matrix.solution_index, eligible, duplicates),
        eligible=eligible,
        tampered=tampered,
        without_evidence=matrix.has_code & ~known & ~tampered,
    )


def unit_verdicts(matrix: ExecutionMatrix, unit: VoteUnit) -> VerdictArray:
    """Return [R, V] the verdicts behind the votes of a unit. Raises InputError as `count_votes` does."""
    if unit == "class":
        return matrix.class_verdicts[:, valid_columns(matrix)[0]]
    return _parts(matrix, unit)[0]


def _parts(matrix: ExecutionMatrix, unit: VoteUnit) -> tuple[VerdictArray, IntArray]:
    """([R, V] valid verdicts of methods or assertions, [V] the test class of each)."""
    _, method_ok = valid_columns(matrix)
    if unit == "method":
        return matrix.method_verdicts[:, method_ok], matrix.method_test[method_ok]
    verdicts, method = matrix.assertion_verdicts, matrix.assertion_method
    if verdicts is None or method is None:
        raise InputError(
            "These verdicts are of whole test methods, so single assertions have no vote; "
            "score the rollouts again with --vote-unit assertion."
        )
    valid = method_ok[method] & ~_invalid(verdicts)
    return verdicts[:, valid], matrix.method_test[method[valid]]


def _invalid(verdicts: VerdictArray) -> BoolArray:
    """Invalidity belongs to the test, so one INVALID_TEST cell speaks for its column."""
    invalid: BoolArray = (verdicts == Verdict.INVALID_TEST).any(axis=0)
    return invalid


def _any_row(verdicts: VerdictArray, verdict: Verdict) -> BoolArray:
    found: BoolArray = (verdicts == verdict).any(axis=1)
    return found


def _table(verdicts: VerdictArray, weight: FloatArray) -> VoteTable:
    return VoteTable(passed=verdicts == Verdict.PASS, known=verdicts != Verdict.UNKNOWN, weight=weight)


def _rollout_weight(solution: IntArray, eligible: BoolArray, duplicates: Duplicates) -> FloatArray:
    weight = eligible.astype(np.float64)
    if duplicates == "drop" and eligible.any():
        _, inverse, counts = np.unique(solution[eligible], return_inverse=True, return_counts=True)
        weight[eligible] = 1.0 / counts[inverse]
    return weight
