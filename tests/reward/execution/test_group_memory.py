"""A group that runs in steps runs every pair once, hangs included, and its matrix is that of a single run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.execution import MemoryCache, SandboxExecutor
from coderm_reward.execution.group_memory import given_up
from coderm_reward.types import (
    CodeStatus,
    ExecutionMatrix,
    Solution,
    TestSuite,
    UnitTest,
)
from coderm_sandbox import Inspection, Job, Limits, Outcome, SandboxPool, Test, TestResult, class_outcome

SOLUTIONS = [
    Solution(CodeStatus.OK, "def f(x):\n    return x"),
    Solution(CodeStatus.OK, "def f(x):\n    return 0"),
    Solution(CodeStatus.NO_CODE),
    Solution(CodeStatus.OK, "def f(x):\n    return x  # same"),
]


def a_test(number: int, methods: int = 1) -> UnitTest:
    names = tuple(f"test_{m}" for m in range(methods))
    bodies = "".join(f"    def {n}(self):\n        self.assertEqual(f({number}), {number})\n" for n in names)
    source = f"import unittest\n\nclass T(unittest.TestCase):\n{bodies}"
    return UnitTest(f"t{number}", source, "T", names, response=number)


class ScriptedPool:
    """Runs nothing: what each solution does on each test is written down, and the hang rule is the real one.

    `script` says of (solution, test source) the outcomes of its methods.
    """

    def __init__(self, script: Mapping[tuple[str, str], Sequence[Outcome]], hang_limit: int) -> None:
        self.script = script
        self.size = 2
        self.limits = Limits(hang_limit=hang_limit)
        self.isolation = self.description = "scripted"
        self.stats = None
        self.ran: list[tuple[str, str]] = []

    async def inspect(self, tests: Sequence[Test], *, votes: bool = False) -> list[Inspection]:
        return [Inspection(True, methods=tuple(_methods(test.source))) for test in tests]

    async def run(self, job: Job) -> list[TestResult]:
        await asyncio.sleep(0)
        results: list[TestResult] = []
        votes, hung, hopeless = 0, set(), True
        for test in job.tests:
            outcomes: dict[str, Outcome] = {}
            for name, outcome in zip(test.methods, self.script[job.solution, test.source], strict=True):
                if hopeless and 0 < self.limits.hang_limit <= votes and len(hung) > 1:
                    break
                outcomes[name] = outcome
                if outcome is Outcome.TIMEOUT:
                    votes += 1
                    hung.add(test.source)
                else:
                    hopeless = False
            assumed = [name for name in test.methods if name not in outcomes]
            if not assumed:
                self.ran.append((job.solution, test.source))
            outcomes.update(dict.fromkeys(assumed, Outcome.TIMEOUT))
            results.append(TestResult(class_outcome(list(outcomes.values())), outcomes, assumed=len(assumed)))
        return results


def _methods(source: str) -> list[str]:
    return ["T." + line.split()[1].partition("(")[0] for line in source.splitlines() if "def test" in line]


def suite(tests: Sequence[UnitTest]) -> TestSuite:
    return TestSuite("h", tuple(tests), responses=len(tests))


def in_steps(
    pool: ScriptedPool,
    steps: Sequence[tuple[int, int]],
    solutions: Sequence[Solution],
    tests: Sequence[UnitTest],
    order: Sequence[int],
) -> ExecutionMatrix:
    """The matrix of everything, after steps with the first so many solutions and tests of `order`."""

    async def work() -> ExecutionMatrix:
        executor = SandboxExecutor(pool, MemoryCache()).remembering()
        for some, known in steps:
            shown = sorted(order[:known])
            await executor.execute(solutions[:some], suite([tests[t] for t in shown]))
        return await executor.execute(solutions, suite(tests))

    return asyncio.run(work())


@pytest.mark.parametrize("cached", [True, False])
def test_the_matrix_is_the_same_and_the_counts_add_up(cached: bool) -> None:
    tests = [a_test(n) for n in range(4)]

    async def work(steps: Sequence[tuple[int, int]]) -> ExecutionMatrix:
        async with SandboxPool(workers=1, limits=Limits(timeout=2.0)) as pool:
            executor = SandboxExecutor(pool, MemoryCache() if cached else None).remembering()
            for some, known in steps:
                await executor.execute(SOLUTIONS[:some], suite(tests[:known]))
            return await executor.execute(SOLUTIONS, suite(tests))

    at_once, stepwise = asyncio.run(work([])), asyncio.run(work([(1, 2), (2, 2), (4, 3)]))
    assert (stepwise.method_verdicts == at_once.method_verdicts).all()
    assert (stepwise.class_verdicts == at_once.class_verdicts).all()
    for stats in (at_once.stats, stepwise.stats):
        assert (stats.pairs, stats.pairs_run, stats.cache_hits) == (12, 8, 0)
        assert stats.seconds > 0


@given(st.data())
@settings(max_examples=150)
def test_steps_in_any_order_give_the_matrix_of_one_run_and_run_no_pair_twice(data: st.DataObject) -> None:
    chance = random.Random(data.draw(st.integers(0, 10**6)))
    tests = [a_test(n, chance.randint(1, 3)) for n in range(chance.randint(1, 7))]
    solutions = [Solution(CodeStatus.OK, f"def f(x):\n    return x + {n}") for n in range(3)]
    hangs = [chance.choice([0.0, 0.5, 0.9, 1.0]) for _ in solutions]
    script = {
        (solution.code, test.source): [
            Outcome.TIMEOUT if chance.random() < often else chance.choice([Outcome.PASS, Outcome.FAIL])
            for _ in test.methods
        ]
        for solution, often in zip(solutions, hangs, strict=True)
        for test in tests
    }
    limit = chance.choice([0, 2, 4, 8])
    order = chance.sample(range(len(tests)), len(tests))
    steps = [(chance.randint(0, 3), chance.randint(0, len(tests))) for _ in range(chance.randint(1, 4))]
    plain = in_steps(ScriptedPool(script, limit), [], solutions, tests, order)
    pool = ScriptedPool(script, limit)
    stepwise = in_steps(pool, steps, solutions, tests, order)
    assert np.array_equal(stepwise.method_verdicts, plain.method_verdicts)
    assert np.array_equal(stepwise.class_verdicts, plain.class_verdicts)
    hung = {pair for pair in pool.ran if set(script[pair]) == {Outcome.TIMEOUT}}
    assert all(pool.ran.count(pair) == 1 for pair in hung)


def test_a_solution_that_hangs_on_everything_hangs_no_longer_for_the_steps() -> None:
    tests = [a_test(n, 2) for n in range(12)]
    script = {(SOLUTIONS[0].code, test.source): [Outcome.TIMEOUT] * 2 for test in tests}
    pool = ScriptedPool(script, 8)
    in_steps(pool, [(1, n) for n in range(1, 12)], SOLUTIONS[:1], tests, range(12))
    assert len(pool.ran) == 4  # eight votes


def test_missing_evidence_is_looked_for_again() -> None:
    test = a_test(1)
    script = {(SOLUTIONS[0].code, test.source): [Outcome.UNKNOWN]}
    pool = ScriptedPool(script, 8)
    in_steps(pool, [(1, 1)], SOLUTIONS[:1], [test], [0])
    assert len(pool.ran) == 2


def test_where_a_pool_gives_up() -> None:
    def result(*outcomes: Outcome) -> TestResult:
        named = {str(i): outcome for i, outcome in enumerate(outcomes)}
        return TestResult(class_outcome(list(named.values())), named)

    hang, end = Outcome.TIMEOUT, Outcome.PASS
    assert given_up([result(hang, hang), result(hang)], 3) == 1
    assert given_up([result(hang, hang, hang), result(end)], 3) is None  # one test alone
    assert given_up([result(hang, hang, hang), result(hang)], 3) == 1
    assert given_up([result(hang), None, result(hang, hang)], 2) is None
    assert given_up([result(end), result(hang), result(hang, hang)], 2) is None
    assert given_up([result(hang), result(hang, hang)], 0) is None
    assert given_up([result(hang), result(Outcome.INVALID_TEST), result(hang)], 2) == 2
