"""Running ahead changes no reward, runs nothing twice but what hangs, and is counted as run."""

from __future__ import annotations

import asyncio

import msgspec

from coderm_reward.execution import MemoryCache, SandboxExecutor
from coderm_reward.execution.ahead import RunAhead
from coderm_reward.types import CodeStatus, ExecutionMatrix, Solution, TestSuite, UnitTest
from coderm_sandbox import Limits, SandboxPool

SOLUTIONS = [
    Solution(CodeStatus.OK, "def f(x):\n    return x"),
    Solution(CodeStatus.OK, "def f(x):\n    while x: pass"),
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


def run(parts: list[int]) -> tuple[ExecutionMatrix, list[list[int]]]:
    """The joined matrix after running ahead the first so many tests, and what each run was given."""
    given: list[list[int]] = []

    class Watched(SandboxExecutor):
        async def execute(self, solutions, suite):  # type: ignore[no-untyped-def]
            given.append([sum(s.status is CodeStatus.OK for s in solutions), len(suite.tests)])
            return await super().execute(solutions, suite)

    async def work() -> ExecutionMatrix:
        async with SandboxPool(workers=1, limits=Limits(timeout=0.3)) as pool:
            executor = Watched(pool, MemoryCache())
            ahead = RunAhead(executor, SOLUTIONS)
            for n in parts:
                await ahead.run(suite(n))
            return ahead.joined(await executor.execute(SOLUTIONS, suite(len(TESTS))))

    return asyncio.run(work()), given


def test_the_matrix_is_the_same_and_the_counts_add_up() -> None:
    at_once, _ = run([])
    ahead, given = run([2, 2, 3])
    assert (ahead.method_verdicts == at_once.method_verdicts).all()
    assert (ahead.class_verdicts == at_once.class_verdicts).all()
    assert given == [[3, 2], [2, 1], [3, 4]]  # what hung did not run ahead again
    before, after = at_once.stats, ahead.stats
    assert (after.pairs, after.pairs_run, after.cache_hits) == (before.pairs, before.pairs_run, 0)
    assert after.pairs_distinct == 8


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
