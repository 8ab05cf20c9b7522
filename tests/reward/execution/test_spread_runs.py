"""A solution that hangs is spread over workers, and its verdicts stay those of one job."""

from __future__ import annotations

import asyncio
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_group_memory import ScriptedPool, a_test, in_steps, suite

from coderm_reward.execution import SandboxExecutor
from coderm_reward.types import CodeStatus, Solution, UnitTest
from coderm_sandbox import Job, Limits, Outcome, SandboxPool, TestResult

LOOP = Solution(CodeStatus.OK, "def f(x):\n    while x:\n        pass\n    return 0")


class Watched(ScriptedPool):
    """Remembers how many tests each job had, and how many jobs ran at once."""

    def __init__(self, tests: list[UnitTest], hanging: set[int], *, limit: int = 8, size: int = 4) -> None:
        outcomes = {n: Outcome.TIMEOUT if n in hanging else Outcome.FAIL for n in range(len(tests))}
        super().__init__({(LOOP.code, test.source): [outcomes[n]] for n, test in enumerate(tests)}, limit)
        self.size = size
        self.jobs: list[int] = []
        self.most = self.now = 0

    async def run(self, job: Job) -> list[TestResult]:
        self.jobs.append(len(job.tests))
        self.now += 1
        self.most = max(self.most, self.now)
        results = await super().run(job)
        self.now -= 1
        return results


def ran(hanging: set[int], tests: int = 10, **options: int) -> Watched:
    suited = [a_test(n) for n in range(tests)]
    pool = Watched(suited, hanging, **options)
    asyncio.run(SandboxExecutor(pool).execute([LOOP], suite(suited)))
    return pool


def test_one_that_does_not_hang_is_two_jobs() -> None:
    assert ran(set()).jobs == [2, 8]


def test_what_is_left_of_one_that_hangs_is_many_jobs_on_half_of_the_workers() -> None:
    pool = ran({1, 4, 5, 6, 9}, size=6)
    assert pool.jobs == [2] + [1] * 8
    assert pool.most == 3


def test_one_that_hangs_on_everything_is_given_up_as_soon_as_in_one_job() -> None:
    assert ran(set(range(10))).jobs == [2] + [1] * 6
    assert ran(set(range(10)), limit=0).jobs == [2] + [1] * 8


def test_one_worker_gets_everything_at_once() -> None:
    assert ran({0, 1, 2}, size=1).jobs == [10]


@given(st.integers(0, 10**6))
@settings(max_examples=150)
def test_the_matrix_is_that_of_one_job(seed: int) -> None:
    chance = random.Random(seed)
    tests = [a_test(n, chance.randint(1, 3)) for n in range(chance.randint(1, 8))]
    often = chance.choice([0.0, 0.5, 0.9, 1.0])
    script = {
        (LOOP.code, test.source): [
            Outcome.TIMEOUT if chance.random() < often else chance.choice([Outcome.PASS, Outcome.FAIL])
            for _ in test.methods
        ]
        for test in tests
    }
    limit = chance.choice([0, 2, 4, 8])
    steps = [(1, chance.randint(0, len(tests))) for _ in range(chance.randint(0, 2))]
    matrices = []
    for size in (1, 4):
        pool = ScriptedPool(script, limit)
        pool.size = size
        matrices.append(in_steps(pool, steps, [LOOP], tests, range(len(tests))))
    assert np.array_equal(matrices[0].method_verdicts, matrices[1].method_verdicts)
    assert np.array_equal(matrices[0].class_verdicts, matrices[1].class_verdicts)


def test_a_real_loop_is_spread_over_real_workers() -> None:
    tests = [a_test(n) for n in (0, 1, 2, 3)]  # only 0 comes to an end

    async def work() -> str:
        async with SandboxPool(workers=2, limits=Limits(timeout=0.5)) as pool:
            matrix = await SandboxExecutor(pool).execute([LOOP], suite(tests))
            assert pool.stats.jobs == 3
            return "".join("T" if verdict == 4 else "P" for verdict in matrix.class_verdicts[0])

    assert asyncio.run(work()) == "PTTT"
