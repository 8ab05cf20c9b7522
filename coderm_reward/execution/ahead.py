"""Run the tests that are there while the rest of a suite is being generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from coderm_reward.protocols import Executor
from coderm_reward.types import (
    CodeStatus,
    ExecutionMatrix,
    ExecutionStats,
    Solution,
    TestSuite,
    UnitTest,
    Verdict,
)

__all__ = ["RunAhead"]


class RunAhead:
    """Executes growing suites of one group, so that the whole suite finds their verdicts in the cache.

    The rewards come from the run of the whole suite alone and are the same with and without this. It needs an
    executor with a verdict cache; without one everything would just run twice. A solution that hangs is not
    run ahead a second time: timeouts are never cached.
    """

    def __init__(self, executor: Executor, solutions: Sequence[Solution]) -> None:
        self._executor = executor
        self._solutions = list(solutions)
        self._tests: tuple[UnitTest, ...] = ()
        self._stats = ExecutionStats()

    async def run(self, suite: TestSuite) -> None:
        """Run what is new in this suite since the last one, on the solutions that are worth it."""
        known = {test.id for test in self._tests}
        fresh = tuple(test for test in suite.tests if test.id not in known)
        if not fresh or all(s.status is not CodeStatus.OK for s in self._solutions):
            return
        matrix = await self._executor.execute(self._solutions, msgspec.structs.replace(suite, tests=fresh))
        self._tests += fresh
        self._stats = replace(
            self._stats,
            pairs_run=self._stats.pairs_run + matrix.stats.pairs_run,
            retried=self._stats.retried + matrix.stats.retried,
            seconds=self._stats.seconds + matrix.stats.seconds,
        )
        hung = (matrix.class_verdicts == Verdict.TIMEOUT).any(axis=1)
        self._solutions = [
            Solution(CodeStatus.NO_CODE) if hangs else solution
            for solution, hangs in zip(self._solutions, hung, strict=True)
        ]

    def joined(self, matrix: ExecutionMatrix) -> ExecutionMatrix:
        """Return the matrix of the whole suite with what running ahead took in its stats.

        What ran ahead is no hit of the cache; what ran twice is one pair, though its seconds count twice.
        """
        whole = matrix.stats
        run = min(whole.pairs_distinct, whole.pairs_run + self._stats.pairs_run)
        stats = replace(
            whole,
            pairs_run=run,
            cache_hits=whole.pairs_distinct - run,
            retried=whole.retried + self._stats.retried,
            seconds=whole.seconds + self._stats.seconds,
        )
        return replace(matrix, stats=stats)
