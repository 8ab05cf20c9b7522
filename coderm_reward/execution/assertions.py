"""The assertion level of an execution matrix, where the judge let each assertion vote. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from coderm_reward.execution.verdicts import VERDICT_OF_OUTCOME
from coderm_reward.types import ExecutionMatrix, Verdict, assertion_methods
from coderm_sandbox import TestResult

__all__ = ["with_assertions"]


def with_assertions(
    matrix: ExecutionMatrix,
    valid: Sequence[int],
    voteless: npt.NDArray[np.bool_],
    results: Sequence[Sequence[TestResult]],
) -> ExecutionMatrix:
    """Return the matrix with the votes of all assertions, from the results of its distinct solutions.

    `results` are of the `valid` tests, `voteless` [M] the methods that have no vote (see executor).
    """
    method = assertion_methods(matrix.tests)
    verdicts = np.full((len(results) + 1, method.size), Verdict.UNKNOWN, dtype=np.uint8)  # last row: no code
    first = np.searchsorted(matrix.method_test[method], np.arange(len(matrix.tests)))
    for index, row in enumerate(results):
        for t, result in zip(valid, row, strict=True):
            said = [VERDICT_OF_OUTCOME[vote] for votes in result.votes.values() for vote in votes]
            verdicts[index, first[t] : first[t] + len(said)] = said
    verdicts[:, voteless[method]] = Verdict.INVALID_TEST
    rows = matrix.solution_index if results else np.full_like(matrix.solution_index, -1)
    return replace(matrix, assertion_verdicts=verdicts[rows], assertion_method=method)
