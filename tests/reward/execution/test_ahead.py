"""Running ahead changes no reward, runs nothing twice but what hangs, and is counted as run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np

from coderm_reward.execution import MemoryCache, SandboxExecutor
from coderm_reward.execution.ahead import RunAhead
from coderm_reward.types import (
    CodeStatus,
    ExecutionMatrix,
    ExecutionStats,
    Solution,
    TestSuite,
    UnitTest,
    Verdict,
)
from coderm_sandbox import Limits, SandboxPool

SOLUTIONS = [
    Solution(CodeStatus.OK, "def f(x):\n    return x"),
    Solution(CodeStatus.OK, "def f(x):\n    return 0"),
    Solution(CodeStatus.NO_CODE),
    Solution(CodeStatus.OK, "def f(x):\n    return x  # same"),
]


def a_test(number: int) -> UnitTest:
    source = (
        "import unittest\n\nclass T(unittest.TestCase):\n"
        f"    def test_it(self):\n        self.assertEqual(f({number}), {number})\n"
    )
    return UnitTest(f"t{number}", source, "T", ("test_it",), response=number)


TESTS = tuple(a_test(n) for n in range(4))


def suite(n: int) -> TestSuite:
    return TestSuite("h", TESTS[:n], responses=n, complete=n == len(TESTS))


def run(parts: list[int]) -> ExecutionMatrix:
    """The joined matrix after running ahead the first so many tests."""

    async def work() -> ExecutionMatrix:
        async with SandboxPool(workers=1, limits=Limits(timeout=2.0)) as pool:
            executor = SandboxExecutor(pool, MemoryCache())
            ahead = RunAhead(executor, SOLUTIONS)
            for n in parts:
                await ahead.run(suite(n))
            return ahead.joined(await executor.execute(SOLUTIONS, suite(len(TESTS))))

    return asyncio.run(work())


def test_the_matrix_is_the_same_and_the_counts_add_up() -> None:
    at_once, ahead = run([]), run([2, 2, 3])
    assert (ahead.method_verdicts == at_once.method_verdicts).all()
    assert (ahead.class_verdicts == at_once.class_verdicts).all()
    before, after = at_once.stats, ahead.stats
    assert (before.pairs, before.pairs_run, before.cache_hits) == (12, 8, 0)
    assert (after.pairs, after.pairs_run, after.cache_hits) == (12, 8, 0)
    assert after.seconds > 0


def test_what_hangs_runs_ahead_once_and_again_with_the_whole_suite() -> None:
    given: list[tuple[int, int]] = []

    class Hangs:
        """The second solution hangs, as timeouts are never cached."""

        async def execute(self, solutions: Sequence[Solution], suite: TestSuite) -> ExecutionMatrix:
            has_code = np.array([s.status is CodeStatus.OK for s in solutions])
            given.append((int(has_code.sum()), len(suite.tests)))
            verdicts = np.full((len(solutions), len(suite.tests)), Verdict.PASS, dtype=np.uint8)
            verdicts[1] = Verdict.TIMEOUT if has_code[1] else Verdict.UNKNOWN
            return ExecutionMatrix(
                tests=suite.tests,
                class_verdicts=verdicts,
                method_verdicts=verdicts,
                method_test=np.arange(len(suite.tests)),
                has_code=has_code,
                solution_index=np.where(has_code, np.arange(len(solutions)), -1),
                judges=np.zeros_like(verdicts),
                exec_seconds=np.zeros(len(solutions)),
                stats=ExecutionStats(pairs=12, pairs_run=int(has_code.sum()) * len(suite.tests)),
            )

    async def work() -> ExecutionMatrix:
        executor = Hangs()
        ahead = RunAhead(executor, SOLUTIONS)
        for n in (2, 2, 3):
            await ahead.run(suite(n))
        return ahead.joined(await executor.execute(SOLUTIONS, suite(len(TESTS))))

    matrix = asyncio.run(work())
    assert given == [(3, 2), (2, 1), (3, 4)]
    assert matrix.class_verdicts[1].tolist() == [Verdict.TIMEOUT] * 4
    assert matrix.stats.pairs_run == matrix.stats.pairs_distinct == 12  # what ran twice is one pair


def test_nothing_to_run_is_not_run() -> None:
    async def work() -> None:
        class Nothing:
            async def execute(self, solutions, suite):  # type: ignore[no-untyped-def]
                raise AssertionError("nothing was to be run")

        without_code = RunAhead(Nothing(), [Solution(CodeStatus.NO_CODE)])
        await without_code.run(suite(2))
        without_tests = RunAhead(Nothing(), SOLUTIONS)
        await without_tests.run(msgspec.structs.replace(suite(2), tests=()))

    asyncio.run(work())
