"""Budgets on the main path: plans, rounds, pilots, learning and resuming; real sandbox, scripted tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from coderm_reward.budget import ConstantEstimator, HistoryEstimator
from coderm_reward.config import load_config
from coderm_reward.data.chat import messages_from_text, prompt_hash
from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import GenerationError
from coderm_reward.execution import MemoryCache, SandboxExecutor
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.protocols import DifficultyEstimator
from coderm_reward.types import (
    Difficulty,
    Problem,
    Rollout,
    RolloutGroup,
    Solution,
    TestSuite,
    UnitTest,
    content_hash,
)
from coderm_sandbox import Job, Limits, Outcome, SandboxPool, TestResult

RIGHT = "```python\ndef twice(x):\n    return x + x\n```"
WRONG = "```python\ndef twice(x):\n    return -x\n```"
SOMETIMES = "```python\ndef twice(x):\n    return x + x if x % 2 else 0\n```"
AT_OTHER_TIMES = "```python\ndef twice(x):\n    return 0 if x % 2 else x + x\n```"
LATE_ON_3 = "```python\ndef twice(x):\n    return 0 if x == 3 else x + x\n```"


def number_test(number: int) -> UnitTest:
    source = (
        "import unittest\n\nclass TestTwice(unittest.TestCase):\n"
        f"    def test_it(self):\n        self.assertEqual(twice({number}), {2 * number})\n"
    )
    return UnitTest(content_hash(source), source, "TestTwice", ("test_it",), response=number)


class Numbered:
    """A generator whose n-th response is one test of the number n, up to `most`; may fail from a total on."""

    identity = "numbered"

    def __init__(self, most: int = 100, fails_from: int = 1000) -> None:
        self.most = most
        self.fails_from = fails_from
        self.asked: list[tuple[str, int | None]] = []

    def fingerprint(self, problem: Problem) -> str:
        return "numbered"

    async def generate(self, problem: Problem, solutions: Sequence[Solution], n: int | None) -> TestSuite:
        self.asked.append((problem.prompt_hash, n))
        count = self.most if n is None else min(n, self.most)
        if count >= self.fails_from:
            raise GenerationError("the server does not answer; start it.")
        tests = tuple(number_test(number) for number in range(1, count + 1))
        return TestSuite(problem.prompt_hash, tests, responses=count, seconds=1.0)


def group(name: str, *texts: str, step: str | None = None, pass_rate: float | None = None) -> RolloutGroup:
    question = f"Write a function `twice(x)` that returns two times x. ({name})"
    problem = Problem(prompt_hash(messages_from_text(question)), question, pass_rate=pass_rate)
    rollouts = tuple(Rollout(row, text) for row, text in enumerate(texts))
    return RolloutGroup(content_hash(question, step or ""), problem, rollouts, "run", step)


Score = Callable[..., list[GroupRecord]]


@pytest.fixture(scope="module")
def score() -> Iterator[Score]:
    """Return the records, in the order of the groups; one sandbox serves all tests."""
    loop = asyncio.new_event_loop()
    pool = SandboxPool(workers=2, limits=Limits(timeout=1.0))

    async def run(
        groups: Sequence[RolloutGroup],
        generator: Numbered | None = None,
        kept: Mapping[str, GroupRecord] | None = None,
        executor: Callable[[SandboxPool, MemoryCache], SandboxExecutor] = SandboxExecutor,
        estimator: DifficultyEstimator | None = None,
        **settings: object,
    ) -> list[GroupRecord]:
        config = load_config(settings)
        runs = executor(pool, MemoryCache())
        with closing(RewardPipeline(generator or Numbered(), runs, config, estimator=estimator)) as pipeline:
            found = {record.group: record async for record in pipeline.score(groups, kept)}
        return [found[group.id] for group in groups if group.id in found]

    loop.run_until_complete(pool.__aenter__())
    yield lambda *args, **settings: loop.run_until_complete(run(*args, **settings))
    loop.run_until_complete(pool.__aexit__(None, None, None))
    loop.close()


MIXED = [RIGHT, WRONG, SOMETIMES]


def test_hard_prompts_get_more_and_the_record_says_why(score: Score) -> None:
    groups = [group(str(i), *MIXED, pass_rate=rate) for i, rate in enumerate([0.15, 0.95, 0.15, 0.95])]
    records = score(groups, budget=6, allocator="greedy", difficulty="dataset", pass_rate_trials=1000)
    planned = [record.budget.planned for record in records]
    assert sum(p or 0 for p in planned) == 24
    assert planned[0] == planned[2]
    assert (planned[0] or 0) > (planned[1] or 0)
    for record in records:
        assert record.budget.spent == record.budget.planned == len(record.tests)
    assert records[0].budget.why == (
        f"dataset estimator: pass rate 0.151, std 0.011; greedy allocator: {planned[0]} responses"
    )


@pytest.mark.parametrize("allocator", ["greedy", "price", "sequential", "uniform"])
@pytest.mark.parametrize("difficulty", ["constant", "history", "pilot"])
def test_the_total_is_never_exceeded_and_suites_only_grow(
    score: Score, allocator: str, difficulty: str
) -> None:
    groups = [group(str(i), *(MIXED if i % 2 else [RIGHT, RIGHT]), step=str(i // 3)) for i in range(6)]
    generator = Numbered()
    records = score(groups, generator, budget=5, allocator=allocator, difficulty=difficulty, pilot=2, chunk=2)
    assert sum(record.budget.spent for record in records) <= 30
    for record in records:
        asked = [n for prompt, n in generator.asked if prompt == record.prompt_hash]
        assert asked == sorted(set(asked), key=lambda n: n or 0)
        assert asked[-1] == record.budget.planned == record.budget.spent


def test_sequential_gives_the_rest_to_the_group_in_doubt(score: Score) -> None:
    settled = group("settled", RIGHT, WRONG, WRONG)
    in_doubt = group("in doubt", SOMETIMES, AT_OTHER_TIMES)
    records = score([settled, in_doubt], budget=8, allocator="sequential", chunk=4)
    assert [record.budget.planned for record in records] == [4, 12]
    assert records[1].budget.why.endswith("sequential allocator: 12 responses in rounds of 4, 8, 12")
    assert records[1].gen_seconds == 3.0


def test_rounds_give_the_rewards_of_one_suite_of_their_total(score: Score) -> None:
    texts = [*MIXED, LATE_ON_3, "No code."]
    (in_rounds,) = score([group("g", *texts)], budget=12, allocator="sequential", chunk=4)
    (at_once,) = score([group("g", *texts)], budget=12)
    for one, other in zip(in_rounds.rollouts, at_once.rollouts, strict=True):
        assert one.methods == other.methods
        differ = {"gen_seconds", "exec_seconds"}
        rewards = [{k: v for k, v in r.reward.as_dict().items() if k not in differ} for r in (one, other)]
        assert rewards[0] == rewards[1]
    assert in_rounds.stats.pairs == at_once.stats.pairs
    assert in_rounds.stats.pairs_distinct == at_once.stats.pairs_distinct


def test_what_hung_in_one_round_is_known_in_the_next(score: Score) -> None:
    ran = []

    class Late:
        """A pool where what fails on 3 hangs: a real timeout would depend on how busy the machine is."""

        def __init__(self, pool: SandboxPool) -> None:
            self.pool = pool

        def __getattr__(self, name: str) -> Any:
            return getattr(self.pool, name)

        async def run(self, job: Job) -> list[TestResult]:
            results = await self.pool.run(job)
            if "x == 3" not in job.solution:
                return results
            ran.append(len(job.tests))
            hangs = {Outcome.FAIL: Outcome.TIMEOUT}
            return [
                replace(
                    result,
                    outcome=hangs.get(result.outcome, result.outcome),
                    methods={name: hangs.get(outcome, outcome) for name, outcome in result.methods.items()},
                )
                for result in results
            ]

    def executor(pool: SandboxPool, cache: MemoryCache) -> SandboxExecutor:
        return SandboxExecutor(Late(pool), cache)

    settings = {"budget": 12, "allocator": "sequential", "chunk": 4, "executor": executor}
    (record,) = score([group("g", *MIXED, LATE_ON_3)], **settings)
    assert ran == [4, 4, 4]
    assert record.rollouts[3].methods == "PPTPPPPPPPPP"
    assert record.rollouts[3].reward.no_code == 0.0
    assert (record.stats.pairs_run, record.stats.cache_hits) == (48, 0)


def test_a_pilot_sees_easy_prompts_and_spends_on_the_others(score: Score) -> None:
    groups = [group("easy", *[RIGHT] * 8), group("hard", *[WRONG] * 7, RIGHT)]
    easy, hard = score(groups, budget=8, allocator="greedy", difficulty="pilot", pilot=3)
    assert (easy.budget.difficulty.source, easy.budget.difficulty.pass_rate > 0.6) == ("pilot", True)
    assert hard.budget.difficulty.pass_rate < 0.5
    assert 3 <= (easy.budget.planned or 0) < (hard.budget.planned or 0)
    assert "in rounds of 3, " in hard.budget.why
    assert hard.rollouts[0].reward.difficulty == hard.budget.difficulty.difficulty


def test_history_learns_from_one_step_to_the_next_and_across_restarts(score: Score, tmp_path: Path) -> None:
    def steps(*names: str) -> list[RolloutGroup]:
        return [
            g for s in names for g in (group("e", *[RIGHT] * 8, step=s), group("h", *[WRONG] * 8, step=s))
        ]

    settings = {"budget": 6, "allocator": "greedy", "difficulty": "history"}
    settings["history"] = str(tmp_path / "history.db")
    first = score(list(reversed(steps("2", "10"))), **settings)
    assert [r.budget.planned for r in first if r.step == "2"] == [6, 6]
    easy, hard = sorted((r for r in first if r.step == "10"), key=lambda r: r.budget.difficulty.difficulty)
    assert easy.budget.difficulty.pass_rate > 0.7 > 0.3 > hard.budget.difficulty.pass_rate
    assert (easy.budget.planned or 0) < (hard.budget.planned or 0)

    again, _ = score(steps("11"), **settings)
    assert again.budget.difficulty.pass_rate > easy.budget.difficulty.pass_rate
    before = HistoryEstimator(tmp_path / "history.db").estimate(steps("11")[0].problem)
    score(steps("11"), **settings)
    assert HistoryEstimator(tmp_path / "history.db").estimate(steps("11")[0].problem) == before


def test_a_resumed_run_counts_and_learns_what_is_kept(score: Score) -> None:
    settings = {"budget": 6, "allocator": "greedy", "difficulty": "history"}
    old, new = group("e", *[RIGHT] * 8, step="1"), group("e", *[RIGHT] * 8, step="2")
    (record,) = score([old], **settings)
    budget = msgspec.structs.replace(record.budget, planned=9, spent=9)
    kept = {old.id: msgspec.structs.replace(record, budget=budget)}
    (resumed,) = score([old, new], kept=kept, **settings)
    assert resumed.group == new.id
    assert resumed.budget.difficulty.pass_rate > 0.7
    beside = group("other", RIGHT, step="1")
    assert score([old, beside], kept=kept, **settings)[0].budget.planned == 3


def test_identical_programs_gain_no_advantage(score: Score) -> None:
    groups = [group("same", *[RIGHT, f"Here you are:\n{RIGHT}"] * 2), group("mixed", *MIXED, RIGHT)]
    settings = {"budget": 6, "allocator": "greedy", "objective": "advantage", "difficulty": "dataset"}
    assert [r.budget.planned for r in score(groups, **settings)] == [1, 11]


def test_a_generator_that_fails_in_a_later_round_costs_only_that_round(score: Score) -> None:
    settings = {"budget": 12, "allocator": "sequential", "chunk": 4}
    (record,) = score([group("g", *MIXED)], Numbered(fails_from=8), **settings)
    assert (record.budget.planned, record.budget.spent, len(record.tests)) == (8, 4, 4)
    assert record.lacks_responses
    assert [r.reward.infra_error for r in record.rollouts] == [0.0] * 3
    (record,) = score([group("g", *MIXED)], Numbered(fails_from=1), **settings)
    assert (record.budget.spent, [r.reward.infra_error for r in record.rollouts]) == (0, [1.0] * 3)


def test_what_a_generator_lacks_goes_to_nobody_twice(score: Score) -> None:
    (record,) = score([group("g", *MIXED)], Numbered(most=6), budget=12, allocator="sequential", chunk=4)
    assert (record.budget.planned, record.budget.spent) == (8, 6)


@pytest.mark.parametrize("difficulty", ["pilot", "history"])
@pytest.mark.parametrize("allocator", ["sequential", "price"])
def test_empty_groups_and_single_rollouts_are_scored_like_any(
    score: Score, allocator: str, difficulty: str
) -> None:
    groups = [group("empty"), group("one", RIGHT), group("no code", "Sorry.")]
    settings = {"budget": 4, "allocator": allocator, "difficulty": difficulty, "pilot": 2, "chunk": 2}
    empty, one, no_code = score(groups, objective="advantage", **settings)
    assert empty.rollouts == ()
    assert (one.rollouts[0].reward.score, no_code.rollouts[0].reward.score) == (1.0, 0.0)


class Prepared(ConstantEstimator):
    """An estimator that answers only about what it was prepared for."""

    known: ClassVar[dict[str, Difficulty]] = {}
    closed: ClassVar[list[bool]] = []

    def prepare(self, problems: Sequence[Problem]) -> None:
        self.known.update({p.prompt_hash: Difficulty(0.25, 0.1, "prepared") for p in problems})

    def estimate(self, problem: Problem) -> Difficulty:
        return self.known[problem.prompt_hash]

    def close(self) -> None:
        self.closed.append(True)


def test_an_estimator_is_prepared_for_all_prompts_at_once_and_closed(score: Score) -> None:
    estimator = Prepared()
    records = score([group("a", RIGHT), group("b", RIGHT)], estimator=estimator, budget=2)
    assert {record.budget.difficulty.source for record in records} == {"prepared"}
    assert estimator.closed == [True]


def test_nobody_is_asked_for_nothing(score: Score) -> None:
    generator = Numbered()
    groups = [group("same", RIGHT, RIGHT), group("mixed", RIGHT, WRONG)]
    settings = {"budget": 3, "min_budget": 0, "max_budget": 6, "allocator": "greedy", "difficulty": "dataset"}
    records = score(groups, generator, objective="advantage", **settings)
    assert [record.budget.planned for record in records] == [0, 6]
    assert [n for _, n in generator.asked] == [6]
    assert records[0].rollouts[0].reward.neutral == 1.0
