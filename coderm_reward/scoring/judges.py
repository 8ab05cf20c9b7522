"""How verdicts were reached (DESIGN section 5): shares of each way, and leaving some out. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from coderm_reward.config import JudgeName
from coderm_reward.scoring.votes import BoolArray, FloatArray, valid_columns
from coderm_reward.types import ExecutionMatrix, Judge, Verdict, VerdictArray

__all__ = ["judge_share", "judged_cells", "unknown_where", "without_judges"]


def without_judges(matrix: ExecutionMatrix, excluded: Collection[JudgeName]) -> ExecutionMatrix:
    """Return the matrix with the verdicts of these judges made UNKNOWN, at all levels.

    INVALID_TEST stays, as it is about the test, and so does TAMPERED: not to trust a judge's passes is no
    reason to let off a rollout that it caught.
    """
    if not excluded:
        return matrix
    here = np.isin(matrix.judges, [Judge[name.upper()] for name in excluded])
    return unknown_where(here, matrix)


def judged_cells(matrix: ExecutionMatrix) -> BoolArray:
    """Return [R, T] the class verdicts that some judge reached: evidence on a valid test, of code."""
    valid, _ = valid_columns(matrix)
    cells: BoolArray = (matrix.class_verdicts != Verdict.UNKNOWN) & valid & matrix.has_code[:, None]
    return cells


def judge_share(matrix: ExecutionMatrix, judge: Judge) -> FloatArray:
    """Return [R] the share of the judged class verdicts that were reached this way; 0.0 without any."""
    judged = judged_cells(matrix)
    share: FloatArray = (judged & (matrix.judges == judge)).sum(axis=1) / np.maximum(judged.sum(axis=1), 1)
    return share


def unknown_where(here: BoolArray, matrix: ExecutionMatrix) -> ExecutionMatrix:
    """Return the matrix with what these [R, T] cells say made UNKNOWN, but for INVALID_TEST and TAMPERED."""
    methods = here[:, matrix.method_test]
    assertions = matrix.assertion_verdicts
    if assertions is not None and matrix.assertion_method is not None:
        assertions = _without(methods[:, matrix.assertion_method], assertions)
    return replace(
        matrix,
        class_verdicts=_without(here, matrix.class_verdicts),
        method_verdicts=_without(methods, matrix.method_verdicts),
        assertion_verdicts=assertions,
    )


def _without(here: BoolArray, verdicts: VerdictArray) -> VerdictArray:
    kept = np.isin(verdicts, (Verdict.INVALID_TEST, Verdict.TAMPERED))
    return np.where(here & ~kept, Verdict.UNKNOWN, verdicts).astype(np.uint8)
