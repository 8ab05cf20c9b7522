"""A matrix with a verdict cache is the matrix without one, and only what is not known runs: real pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coderm_reward.execution import MemoryCache, SandboxExecutor, VerdictCache, open_cache
from coderm_reward.types import (
    CodeStatus,
    ExecutionMatrix,
    Solution,
    TestSuite,
    UnitTest,
    Verdict,
    content_hash,
)
from coderm_sandbox import Limits, SandboxPool

RIGHT = Solution(CodeStatus.OK, "def add(a, b):\n    return a + b\n")
RIGHT_IN_OTHER_WORDS = Solution(CodeStatus.OK, "# the sum\ndef add(a,b):\n    'Add.'\n    return (a + b)\n")
WRONG = Solution(CodeStatus.OK, "def add(a, b):\n    return a - b\n")
HANGS_BUT_FOR_ZERO = Solution(CodeStatus.OK, "def add(a, b):\n    while b:\n        pass\n    return a\n")

Step = tuple[Sequence[Solution], Sequence[UnitTest]]


def unit_test(name: str, check: str, copies: int = 1) -> UnitTest:
    source = f"import unittest\nclass {name}(unittest.TestCase):\n    def test_it(self):\n        {check}\n"
    return UnitTest(content_hash(source), source, name, ("test_it",), copies=copies)


def sums(*numbers: int) -> list[UnitTest]:
    return [unit_test(f"Test{n}", f"self.assertEqual(add(1, {n}), {n + 1})") for n in numbers]


def execute(
    cache: VerdictCache | None, *steps: Step, timeout: float = 1.0, hang_limit: int = 0
) -> list[ExecutionMatrix]:
    """The matrices of these groups, one after the other, in one pool."""

    async def run() -> list[ExecutionMatrix]:
        limits = Limits(timeout=timeout, hang_limit=hang_limit)
        async with SandboxPool(workers=1, limits=limits) as pool:
            executor = SandboxExecutor(pool, cache)
            return [
                await executor.execute(solutions, TestSuite("prompt", tuple(tests)))
                for solutions, tests in steps
            ]

    return asyncio.run(run())


def letters(matrix: ExecutionMatrix) -> list[str]:
    return ["".join(Verdict(v).letter for v in row) for row in matrix.method_verdicts]


def counts(matrix: ExecutionMatrix) -> tuple[int, int, int]:
    """(pairs asked, verdicts known, pairs run)."""
    return matrix.stats.pairs, matrix.stats.cache_hits, matrix.stats.pairs_run


def test_a_second_time_nothing_runs_and_nothing_differs() -> None:
    step: Step = ([RIGHT, WRONG, RIGHT_IN_OTHER_WORDS], sums(0, 1))
    first, second = execute(MemoryCache(), step, step)
    assert (counts(first), counts(second)) == ((6, 0, 4), (6, 4, 0))
    assert second.stats.pairs_distinct == 4
    for name in ("class_verdicts", "method_verdicts", "judges", "exec_seconds", "solution_index"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert first.details == second.details != {}


def test_of_a_partly_known_solution_only_the_rest_runs() -> None:
    first, second = execute(
        MemoryCache(), ([RIGHT], sums(0, 1)), ([WRONG, RIGHT_IN_OTHER_WORDS], sums(1, 2, 0))
    )
    assert counts(first) == (2, 0, 2)
    assert counts(second) == (6, 2, 4)
    assert letters(second) == ["FFP", "PPP"]


def test_groups_of_one_prompt_at_the_same_time_run_their_pairs_once() -> None:
    async def run() -> list[ExecutionMatrix]:
        async with SandboxPool(workers=2, limits=Limits()) as pool:
            executor = SandboxExecutor(pool, MemoryCache())
            suite = TestSuite("prompt", tuple(sums(0, 1)))
            return await asyncio.gather(*(executor.execute([RIGHT, WRONG], suite) for _ in range(3)))

    assert sorted(counts(matrix) for matrix in asyncio.run(run())) == [(4, 0, 4), (4, 4, 0), (4, 4, 0)]


def test_without_a_cache_every_group_runs() -> None:
    step: Step = ([RIGHT], sums(0, 1))
    assert [counts(matrix) for matrix in execute(None, step, step)] == [(2, 0, 2)] * 2


def test_a_file_serves_a_later_run_under_the_same_limits_only(tmp_path: Path) -> None:
    step: Step = ([RIGHT, WRONG], sums(0, 1))
    hits = []
    for timeout in (1.0, 1.0, 1.5):
        cache = open_cache(str(tmp_path / "verdicts"))
        (matrix,) = execute(cache, step, timeout=timeout)
        hits.append(matrix.stats.cache_hits)
        assert letters(matrix) == ["PP", "PF"]
        assert cache is not None
        cache.close()
    assert hits == [0, 4, 0]


def test_timeouts_run_again() -> None:
    step: Step = ([HANGS_BUT_FOR_ZERO], sums(0, 1))
    first, second = execute(MemoryCache(), step, step, timeout=0.3)
    assert letters(first) == letters(second) == ["PT"]
    assert counts(second) == (2, 1, 1)


def test_a_solution_known_to_end_is_given_up_no_sooner_than_without_a_cache() -> None:
    """Its first vote is known to be no timeout, so the hang rule must not apply to the votes after it."""
    known, suite = sums(0), [*sums(0, 1, 2, 3), unit_test("TestLast", "self.assertEqual(add(7, 0), 7)")]
    steps: list[Step] = [([HANGS_BUT_FOR_ZERO], known), ([HANGS_BUT_FOR_ZERO], suite)]
    _, cached = execute(MemoryCache(), *steps, timeout=0.3, hang_limit=2)
    _, plain = execute(None, *steps, timeout=0.3, hang_limit=2)
    assert letters(cached) == letters(plain) == ["PTTTP"]
    assert cached.stats.assumed_timeouts == 0


def test_one_test_under_two_ids_runs_once() -> None:
    (test,) = sums(1)
    twin = UnitTest("twin", test.source, test.class_name, test.methods, copies=2)
    (matrix,) = execute(None, ([RIGHT, WRONG], [test, twin]))
    assert counts(matrix) == (6, 0, 2)
    assert letters(matrix) == ["PP", "FF"]


def test_rollouts_that_a_test_can_tell_apart_by_their_text_run_apart() -> None:
    reader = unit_test("TestDoc", "self.assertIsNotNone(add.__doc__)")
    (matrix,) = execute(MemoryCache(), ([RIGHT, RIGHT_IN_OTHER_WORDS], [*sums(1), reader]))
    assert letters(matrix) == ["PF", "PP"]
    assert counts(matrix) == (4, 0, 4)


def test_many_rollouts_of_one_program_each_get_their_row() -> None:
    step: Step = ([RIGHT, Solution(CodeStatus.NO_CODE), RIGHT, RIGHT_IN_OTHER_WORDS], sums(0, 1))
    (matrix,) = execute(None, step)
    assert letters(matrix) == ["PP", "UU", "PP", "PP"]
    assert matrix.solution_index.tolist() == [0, -1, 0, 0]
    assert counts(matrix) == (6, 0, 2)
