"""The matrix is what the sandbox said, spread over rollouts: real pool, real bubblewrap."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest

from coderm_reward.execution import SandboxExecutor
from coderm_reward.execution.executor import DETAILS_PER_SOLUTION
from coderm_reward.execution.verdicts import JUDGE_OF_LABEL, VERDICT_OF_OUTCOME
from coderm_reward.types import (
    CodeStatus,
    ExecutionMatrix,
    Solution,
    TestSuite,
    UnitTest,
    Verdict,
    content_hash,
)
from coderm_sandbox import Limits, Outcome, SandboxPool, WorkerDiedError

T = TypeVar("T")

RIGHT = "def add(a, b):\n    return a + b\n"
RIGHT_IN_OTHER_WORDS = "# the sum\ndef add(a,b):\n    'Add.'\n    return (a + b)\n"
WRONG = "def add(a, b):\n    return a - b\n"
NO_CODE = Solution(CodeStatus.NO_CODE)


def solution(code: str) -> Solution:
    return Solution(CodeStatus.OK, code)


def unit_test(name: str, body: str, methods: Sequence[str], copies: int = 1) -> UnitTest:
    source = f"import unittest\nclass {name}(unittest.TestCase):\n{body}"
    return UnitTest(content_hash(source), source, name, tuple(methods), copies=copies)


SUM = unit_test(
    "TestSum",
    "    def test_zero(self):\n        self.assertEqual(add(0, 0), 0)\n"
    "    def test_two(self):\n        self.assertEqual(add(1, 1), 2)\n",
    ["test_two", "test_zero"],
)
BROKEN = unit_test(
    "TestBroken", "    import no_such_module\n    def test_x(self):\n        pass\n", ["test_x"]
)
ONE_SKIPPED = unit_test(
    "TestSkip",
    "    @unittest.skip('later')\n    def test_a(self):\n        self.fail()\n"
    "    def test_b(self):\n        self.assertEqual(add(2, 2), 4)\n",
    ["test_a", "test_b"],
    copies=3,
)


def with_executor(work: Callable[[SandboxExecutor, SandboxPool], Awaitable[T]], **limits: Any) -> T:
    async def run() -> T:
        async with SandboxPool(workers=1, limits=Limits(timeout=1.0, **limits)) as pool:
            return await work(SandboxExecutor(pool), pool)

    return asyncio.run(run())


def execute(solutions: Sequence[Solution], *tests: UnitTest) -> ExecutionMatrix:
    suite = TestSuite("prompt", tests, responses=len(tests))
    return with_executor(lambda executor, _: executor.execute(solutions, suite))


def letters(matrix: ExecutionMatrix) -> list[str]:
    return ["".join(Verdict(v).letter for v in row) for row in matrix.method_verdicts]


def test_the_table_from_outcomes_to_verdicts_is_complete_and_keeps_names() -> None:
    assert {outcome: verdict.label for outcome, verdict in VERDICT_OF_OUTCOME.items()} == {
        outcome: outcome.value for outcome in Outcome
    }
    assert set(JUDGE_OF_LABEL) == {"apart", "handle", "inline"}


def test_both_levels_rows_without_code_and_invalid_columns() -> None:
    matrix = execute([solution(RIGHT), NO_CODE, solution(WRONG)], SUM, BROKEN, ONE_SKIPPED)
    assert [test.methods for test in matrix.tests] == [
        ("test_two", "test_zero"),
        ("test_x",),
        ("test_a", "test_b"),
    ]
    assert letters(matrix) == ["PPIIP", "UUIIU", "FPIIF"]
    assert [[Verdict(v).letter for v in row] for row in matrix.class_verdicts] == [
        ["P", "I", "P"],
        ["U", "I", "U"],
        ["F", "I", "F"],
    ]
    assert matrix.method_test.tolist() == [0, 0, 1, 2, 2]
    assert matrix.has_code.tolist() == [True, False, True]
    assert "no_such_module" in matrix.invalid[BROKEN.id]


def test_solutions_that_differ_in_form_only_run_once_and_share_their_row() -> None:
    matrix = execute([solution(RIGHT), solution(WRONG), solution(RIGHT_IN_OTHER_WORDS)], SUM, ONE_SKIPPED)
    assert matrix.solution_index.tolist() == [0, 1, 0]
    assert letters(matrix)[0] == letters(matrix)[2] == "PPIP"
    assert matrix.exec_seconds[0] == matrix.exec_seconds[2] > 0
    assert matrix.stats.pairs == 3 * (1 + 3)  # three rollouts, one test and three copies of another
    assert matrix.stats.pairs_run == 2 * 2


def test_details_name_the_first_failing_method_of_a_few_tests() -> None:
    many = [
        unit_test(
            f"Test{i}",
            f"    def test_it(self):\n        self.assertEqual(add(1, {i}), {i + 1})\n",
            ["test_it"],
        )
        for i in range(1, DETAILS_PER_SOLUTION + 3)
    ]
    matrix = execute([solution(WRONG), solution(RIGHT)], *many)
    assert len(matrix.details[0]) == DETAILS_PER_SOLUTION
    assert matrix.details[0][many[0].id] == "Test1.test_it: AssertionError: 0 != 2"
    assert 1 not in matrix.details


def test_no_tests_and_no_solutions_give_empty_shapes() -> None:
    assert execute([solution(RIGHT), NO_CODE]).class_verdicts.shape == (2, 0)
    assert execute([NO_CODE], SUM).method_verdicts.tolist() == [[Verdict.UNKNOWN] * 2]
    assert execute([], SUM).class_verdicts.shape == (0, 1)


def test_a_test_is_inspected_once_over_groups() -> None:
    async def twice(
        executor: SandboxExecutor, pool: SandboxPool
    ) -> tuple[ExecutionMatrix, ExecutionMatrix, int]:
        calls = 0
        inspect = pool.inspect

        async def counting(tests: Any, **options: Any) -> Any:
            nonlocal calls
            calls += len(tests)
            return await inspect(tests, **options)

        pool.inspect = counting  # type: ignore[method-assign]
        suite = TestSuite("prompt", (SUM, BROKEN))
        first = await executor.execute([solution(RIGHT)], suite)
        second = await executor.execute([solution(WRONG)], suite)
        return first, second, calls

    first, second, calls = with_executor(twice)
    assert calls == 2
    assert (letters(first), letters(second)) == (["PPI"], ["FPI"])


def test_rollouts_that_come_together_have_a_test_inspected_once() -> None:
    async def at_once(executor: SandboxExecutor, pool: SandboxPool) -> tuple[list[list[str]], list[str]]:
        asked: list[str] = []
        inspect = pool.inspect

        async def slowly(tests: Any, **options: Any) -> Any:
            asked.extend(test.source for test in tests)
            await asyncio.sleep(0.1)
            return await inspect(tests, **options)

        pool.inspect = slowly  # type: ignore[method-assign]
        gives_up = asyncio.create_task(executor.execute([solution(RIGHT)], TestSuite("prompt", (SUM,))))
        await asyncio.sleep(0.01)
        both = asyncio.gather(
            executor.execute([solution(RIGHT)], TestSuite("prompt", (SUM,))),
            executor.execute([solution(WRONG)], TestSuite("prompt", (SUM, BROKEN))),
        )
        await asyncio.sleep(0.01)
        gives_up.cancel()  # it asked first, and others wait for what it asked
        found = [letters(matrix) for matrix in await both]
        with contextlib.suppress(asyncio.CancelledError):
            await gives_up
        return found, asked

    found, asked = with_executor(at_once)
    assert found == [["PP"], ["FPI"]]
    assert asked == [SUM.source, BROKEN.source]


def test_a_failed_inspection_is_asked_again() -> None:
    async def twice(executor: SandboxExecutor, pool: SandboxPool) -> list[list[str]]:
        inspect = pool.inspect

        async def failing(tests: Any, **options: Any) -> Any:
            pool.inspect = inspect  # type: ignore[method-assign]
            await asyncio.sleep(0.05)
            raise WorkerDiedError("gone")

        pool.inspect = failing  # type: ignore[method-assign]
        suite = TestSuite("prompt", (SUM,))
        first = await asyncio.gather(*(executor.execute([solution(RIGHT)], suite) for _ in range(2)))
        return [letters(matrix) for matrix in (*first, await executor.execute([solution(RIGHT)], suite))]

    assert with_executor(twice) == [["UU"], ["UU"], ["PP"]]


def test_votes_taken_as_timeouts_are_counted_as_assumed() -> None:
    hangs = "def add(a, b):\n    while True:\n        pass\n"
    tests = [
        unit_test(
            f"Test{i}",
            f"    def test_it(self):\n        self.assertEqual(add(1, {i}), {i + 1})\n",
            ["test_it"],
        )
        for i in range(6)
    ]
    suite = TestSuite("prompt", tuple(tests))
    matrix = with_executor(lambda executor, _: executor.execute([solution(hangs)], suite), hang_limit=2)
    assert letters(matrix) == ["TTTTTT"]
    assert matrix.stats.assumed_timeouts == 4


def test_a_pool_that_dies_gives_unknown_and_never_fail() -> None:
    async def dying(executor: SandboxExecutor, pool: SandboxPool) -> ExecutionMatrix:
        suite = TestSuite("prompt", (SUM,))
        await executor.execute([solution(RIGHT)], suite)  # inspected while all is well

        async def kill() -> None:
            for _ in range(200):
                await asyncio.sleep(0.02)
                pool.close()

        killer = asyncio.create_task(kill())
        slow = solution("import time\ntime.sleep(0.5)\ndef add(a, b):\n    return 0\n")
        try:
            return await executor.execute([slow], suite)
        finally:
            killer.cancel()

    matrix = with_executor(dying)
    assert letters(matrix) == ["UU"]


@pytest.mark.parametrize("code", ["x = (", "def add(a, b):\n    return a +\x00 b", "raise SystemExit(0)"])
def test_code_that_cannot_be_loaded_is_an_error_of_the_rollout(code: str) -> None:
    assert letters(execute([solution(code)], SUM)) == ["EE"]


def test_a_pool_that_cannot_look_at_the_tests_gives_unknown() -> None:
    async def closed(executor: SandboxExecutor, pool: SandboxPool) -> ExecutionMatrix:
        pool.close()
        return await executor.execute([solution(RIGHT), NO_CODE], TestSuite("prompt", (SUM,)))

    matrix = with_executor(closed)
    assert letters(matrix) == ["UU", "UU"]
    assert matrix.has_code.tolist() == [True, False]
    assert matrix.stats.pairs == 1
