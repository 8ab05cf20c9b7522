"""The assertion level of the matrix: a real judge, the same hard verdicts, cache keys of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from coderm_reward.data.records import rollout_records
from coderm_reward.errors import InputError
from coderm_reward.execution import SandboxExecutor
from coderm_reward.execution.cache import MemoryCache, VerdictCache
from coderm_reward.scoring import count_votes
from coderm_reward.types import (
    CodeStatus,
    ExecutionMatrix,
    Solution,
    TestSuite,
    UnitTest,
    Verdict,
    VerdictArray,
    assertion_methods,
    content_hash,
)
from coderm_sandbox import Limits, SandboxPool, WorkerDiedError

RIGHT = Solution(CodeStatus.OK, "def add(a, b):\n    return a + b\n")
WRONG = Solution(CodeStatus.OK, "def add(a, b):\n    return a - b\n")
NO_CODE = Solution(CodeStatus.NO_CODE)
HEAD = "import unittest\nclass T(unittest.TestCase):\n"


def unit_test(body: str, methods: Sequence[str]) -> UnitTest:
    source = HEAD + body
    return UnitTest(content_hash(source), source, "T", tuple(methods))


THREE = unit_test(
    "    def test_b(self):\n        assert add(1, 1) == 2\n        assert add(1, 0) == 1\n"
    "        self.assertEqual(add(0, 2), 2)\n"
    "    def test_a(self):\n        self.assertEqual(add(2, 0), 2)\n",
    ["test_b", "test_a"],
)
BROKEN = unit_test("    import no_such_module\n    def test_x(self):\n        assert add(1, 1)\n", ["test_x"])
SKIPS = unit_test(
    "    @unittest.skip('later')\n    def test_a(self):\n        assert 1\n        assert 2\n"
    "    def test_b(self):\n        x = add(1, 1)\n",
    ["test_a", "test_b"],
)


def execute(
    solutions: Sequence[Solution],
    *tests: UnitTest,
    assertions: bool = True,
    cache: VerdictCache | None = None,
) -> ExecutionMatrix:
    async def run() -> ExecutionMatrix:
        async with SandboxPool(workers=1, limits=Limits(timeout=1.0)) as pool:
            executor = SandboxExecutor(pool, cache, assertions=assertions)
            return await executor.execute(solutions, TestSuite("prompt", tests))

    return asyncio.run(run())


def letters(verdicts: VerdictArray | None) -> list[str]:
    assert verdicts is not None
    return ["".join(Verdict(v).letter for v in row) for row in verdicts]


def test_votes_line_up_and_nothing_else_changes() -> None:
    solutions = [RIGHT, NO_CODE, WRONG]
    soft = execute(solutions, THREE, BROKEN, SKIPS)
    hard = execute(solutions, THREE, BROKEN, SKIPS, assertions=False)
    assert soft.tests[0].methods == ("test_a", "test_b")
    assert [test.votes for test in soft.tests] == [(1, 3), (), (2, 1)]
    assert letters(soft.assertion_verdicts) == ["PPPPIIIP", "UUUUIIIU", "PFPFIIIP"]
    assert soft.assertion_method is not None
    assert soft.assertion_method.tolist() == [0, 1, 1, 1, 2, 3, 3, 4]
    for name in ("class_verdicts", "method_verdicts", "judges"):
        assert np.array_equal(getattr(soft, name), getattr(hard, name))
    assert hard.assertion_verdicts is None
    assert hard.assertion_method is None
    assert all(test.votes == () for test in hard.tests)


def test_records_give_the_level_back() -> None:
    matrix = execute([RIGHT, WRONG], THREE)
    assert assertion_methods(matrix.tests).tolist() == [0, 1, 1, 1]
    records = rollout_records([0, 1], [RIGHT, WRONG], matrix, [None, None])  # type: ignore[list-item]
    assert [one.assertions for one in records] == ["PPPP", "PFPF"]


def test_a_cache_serves_both_modes_and_mixes_nothing() -> None:
    cache = MemoryCache()
    soft = execute([RIGHT, WRONG], THREE, cache=cache)
    hard = execute([RIGHT, WRONG], THREE, cache=cache, assertions=False)
    assert (soft.stats.cache_hits, hard.stats.cache_hits) == (0, 0)
    again = execute([RIGHT, WRONG], THREE, cache=cache)
    assert again.stats.cache_hits == 2
    assert letters(again.assertion_verdicts) == letters(soft.assertion_verdicts)


def test_without_a_sandbox_all_votes_are_unknown() -> None:
    class NoPool:
        async def inspect(self, tests: object, *, votes: bool) -> None:
            assert votes
            raise WorkerDiedError("gone")

    executor = SandboxExecutor(NoPool(), assertions=True)  # type: ignore[arg-type]
    matrix = asyncio.run(executor.execute([RIGHT, NO_CODE], TestSuite("prompt", (THREE,))))
    assert letters(matrix.assertion_verdicts) == ["UU", "UU"]
    assert count_votes(matrix, "assertion", "weight").without_evidence.tolist() == [True, False]


def test_verdicts_of_whole_methods_give_no_votes_of_assertions() -> None:
    matrix = execute([RIGHT], THREE, assertions=False)
    with pytest.raises(InputError, match="score the rollouts again with --vote-unit assertion"):
        count_votes(matrix, "assertion", "weight")
