"""Whatever fails, everybody is answered, training goes on, and no failure of ours is a grade."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from online_rig import Kept, Sandbox, a_test, facts, prompt, sample

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.execution import MemoryCache, make_executor
from coderm_reward.generation import openai_server
from coderm_reward.generation.scripted_server import Act, ScriptedServer
from coderm_reward.online.answers import no_reward
from coderm_reward.online.assembly import open_scorer
from coderm_reward.online.online_scorer import OnlineScorer
from coderm_reward.online.sample import GroupOutcome, Sample
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.types import (
    CodeStatus,
    ExecutionMatrix,
    ExecutionStats,
    Problem,
    RewardOutput,
    Solution,
    TestSuite,
    UnitTest,
    Verdict,
)

CHECKS = ("self.assertEqual(times(1), 2)", "self.assertEqual(times(5), 10)")
ANSWER = Act(texts=(a_test(*CHECKS),))
PAIR = [
    sample("2 * x", uid="u", member="a", siblings=2),
    sample("x", uid="u", member="b", siblings=2),
]


def with_server(url: str, **more: Any) -> RewardConfig:
    given = {"base_url": url, "model": "scripted", "responses": 4, "quiet_seconds": 30.0, **more}
    return load_config(given)


async def score_each(scorer: OnlineScorer, samples: Sequence[Sample]) -> list[RewardOutput]:
    return list(await asyncio.gather(*map(scorer.score, samples)))


def warnings(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    return [line for line in lines if all(word in line for word in words)]


def test_a_model_behind_a_server_writes_tests_while_siblings_come(sandbox: Sandbox) -> None:
    async def work() -> tuple[list[RewardOutput], list[int], GroupOutcome]:
        kept = Kept()
        async with ScriptedServer(ANSWER) as server:
            config = with_server(server.url)
            async with open_scorer(config, pool=sandbox.pool, sink=kept) as scorer:
                first = asyncio.create_task(scorer.score(PAIR[0]))
                await server.until(lambda: len(server.asked) == 2 and not server.in_flight)
                asked = [len(server.asked)]
                rewards = [*await score_each(scorer, PAIR[1:]), await first]
                asked.append(len(server.asked))
        return rewards, asked, kept.outcomes[0]

    rewards, asked, outcome = sandbox.run(work())
    assert [reward.score for reward in rewards] == [0.0, 1.0]
    assert asked == [2, 4]  # the share of the first sibling, then the rest
    assert (outcome.record.budget.planned, outcome.record.budget.spent) == (None, 4)


def test_a_dead_server_costs_no_training_and_is_used_once_it_is_back(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_server, "COOLDOWN", 0.0)  # it is tried anew by the next prompt

    async def work() -> tuple[list[RewardOutput], list[RewardOutput], list[GroupOutcome]]:
        kept = Kept()
        server = ScriptedServer(ANSWER)
        await server.start()
        await server.stop()
        config = with_server(server.url, store="memory")
        async with open_scorer(config, pool=sandbox.pool, sink=kept) as scorer:
            dead = await score_each(scorer, PAIR)
            async with server:
                alive = await scorer.score_all(PAIR)
        return dead, alive, kept.outcomes

    dead, alive, outcomes = sandbox.run(work())
    assert [(r.score, r.neutral, r.infra_error) for r in dead] == [(0.0, 1.0, 1.0)] * 2
    assert [(r.score, r.infra_error) for r in alive] == [(1.0, 0.0), (0.0, 0.0)]
    assert outcomes[0].record.lacks_responses
    assert len(warnings(caplog, "Until then")) == 1


def test_a_server_that_never_answers_is_given_up(sandbox: Sandbox) -> None:
    async def work() -> list[RewardOutput]:
        async with ScriptedServer(Act(stall=True)) as server:
            config = with_server(server.url, answer_timeout=0.3)
            async with open_scorer(config, pool=sandbox.pool) as scorer:
                return await score_each(scorer, PAIR)

    assert [(r.neutral, r.infra_error) for r in sandbox.run(work())] == [(1.0, 1.0)] * 2


def test_a_cancelled_caller_leaves_its_rollout_and_its_siblings(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> tuple[list[RewardOutput], GroupOutcome]:
        kept = Kept()
        config = load_config(tests=str(tests_file), quiet_seconds=30.0)
        async with open_scorer(config, pool=sandbox.pool, sink=kept) as scorer:
            samples = [sample(body, uid="u", siblings=3) for body in ("2 * x", "x", "x + x")]
            calls = [asyncio.create_task(scorer.score(one)) for one in samples[:2]]
            await asyncio.sleep(0)
            calls[0].cancel()
            last = await scorer.score(samples[2])
            with pytest.raises(asyncio.CancelledError):
                await calls[0]
            return [await calls[1], last], kept.outcomes[0]

    rewards, outcome = sandbox.run(work())
    assert [reward.score for reward in rewards] == [0.25, 1.0]
    assert [r.reward.score for r in outcome.record.rollouts] == [1.0, 0.25, 1.0]


class Breaks:
    """A sink, and an estimator, that raise."""

    def __init__(self) -> None:
        self.asked = 0

    def add(self, outcome: GroupOutcome) -> None:
        self.asked += 1
        raise RuntimeError("the disk is full")

    def estimate(self, problem: Problem) -> Any:
        raise RuntimeError("the estimator broke")


def test_a_sink_that_raises_is_told_of_once(
    sandbox: Sandbox, tests_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> list[RewardOutput]:
        config = load_config(tests=str(tests_file))
        async with open_scorer(config, pool=sandbox.pool, sink=sink) as scorer:
            return await scorer.score_all([sample("2 * x", n, siblings=1) for n in (2, 3)])

    sink = Breaks()
    assert [reward.score for reward in sandbox.run(work())] == [1.0, 0.25]
    assert sink.asked == 2
    assert len(warnings(caplog, "the disk is full")) == 1


def test_an_exception_is_one_line_and_neutral_for_everybody(
    sandbox: Sandbox, tests_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> tuple[list[RewardOutput], Kept]:
        kept = Kept()
        config = load_config(tests=str(tests_file), answer_timeout=60.0)
        async with open_scorer(config, pool=sandbox.pool, sink=kept) as good:
            pipeline = good._host.pipeline
            pipeline._planning.estimator = Breaks()  # a part of ours that breaks
            return await score_each(good, PAIR), kept

    rewards, kept = sandbox.run(work())
    assert [(r.score, r.neutral, r.infra_error, r.no_code) for r in rewards] == [(0.0, 1.0, 1.0, 0.0)] * 2
    assert all(math.isfinite(value) for reward in rewards for value in reward.as_dict().values())
    assert len(warnings(caplog, "the estimator broke")) == 1
    (outcome,) = kept.outcomes
    assert [rollout.reward for rollout in outcome.record.rollouts] == rewards
    assert "the estimator broke" in outcome.record.warnings[0]


def test_a_closed_scorer_answers_who_waits_and_who_comes(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> list[RewardOutput]:
        config = load_config(tests=str(tests_file), quiet_seconds=30.0)
        async with open_scorer(config, pool=sandbox.pool) as scorer:
            waiting = asyncio.create_task(scorer.score(PAIR[0]))
            await asyncio.sleep(0)
        return [await waiting, await scorer.score(PAIR[1]), *await scorer.score_all(PAIR)]

    assert [reward.infra_error for reward in sandbox.run(work())] == [1.0] * 4


HANGS = "```python\ndef times(x):\n    while x != 0:\n        pass\n    return 0\n```"


def test_what_hung_while_others_came_does_not_hang_again(tests_file: Path) -> None:
    ran: Counter[str] = Counter()

    async def score(at_once: bool) -> list[RewardOutput]:
        config = load_config(tests=str(tests_file), timeout=0.2, quiet_seconds=30.0, verdict_cache="off")
        async with open_scorer(config, pool=sandbox.pool) as scorer:
            samples = [sample(body, uid="u", siblings=3) for body in (HANGS, "2 * x", "x")]
            if at_once:
                return await scorer.score_all(samples)
            ran.clear()
            return await score_each(scorer, samples)

    sandbox = Sandbox(timeout=0.2)
    run = sandbox.pool.run

    async def counted(job: Any) -> Any:
        ran.update({job.solution: len(job.tests)})
        return await run(job)

    sandbox.pool.run = counted  # type: ignore[method-assign]
    try:
        streamed, at_once = sandbox.run(score(False)), sandbox.run(score(True))
    finally:
        sandbox.close()
    assert [facts(reward) for reward in streamed] == [facts(reward) for reward in at_once]
    assert streamed[0].timeout_rate == 0.75
    assert set(ran.values()) == {6}  # three tests each, in two runs


class AnyExecutor:
    """Passes what has an even number of characters, without running anything."""

    async def execute(self, solutions: Sequence[Solution], suite: TestSuite) -> ExecutionMatrix:
        await asyncio.sleep(0)
        verdicts = np.array(
            [[Verdict.FAIL if len(s.code) % 2 else Verdict.PASS] for s in solutions], dtype=np.uint8
        )
        return ExecutionMatrix(
            tests=suite.tests,
            class_verdicts=verdicts,
            method_verdicts=verdicts,
            method_test=np.array([0]),
            has_code=np.array([s.status is CodeStatus.OK for s in solutions]),
            solution_index=np.arange(len(solutions)),
            judges=np.zeros_like(verdicts),
            exec_seconds=np.zeros(len(solutions)),
        )


class OneTest:
    """Gives every prompt the same test."""

    identity = "one test"

    def fingerprint(self, problem: Problem) -> str:
        return "one test"

    async def generate(self, problem: Problem, solutions: Sequence[Solution], n: int | None) -> TestSuite:
        await asyncio.sleep(0)
        return TestSuite(problem.prompt_hash, (UnitTest("t", "", "T", ("test",)),), responses=1)


def test_a_group_that_was_answered_as_the_scorer_closes_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        kept = Kept()
        scorer = OnlineScorer(RewardPipeline(OneTest(), AnyExecutor(), load_config()), sink=kept)
        assert (await scorer.score(sample("2 * x", uid="u", siblings=1))).infra_error == 0.0
        await scorer.aclose()  # in the very step of the loop that hears the answer
        (outcome,) = kept.outcomes
        assert not outcome.record.warnings

    asyncio.run(asyncio.wait_for(work(), 20))
    assert not warnings(caplog, "was closed")


class NeverWrites(OneTest):
    """A generator whose tests never come."""

    async def generate(self, problem: Problem, solutions: Sequence[Solution], n: int | None) -> TestSuite:
        await asyncio.Event().wait()
        raise AssertionError("it was stopped")


@pytest.mark.parametrize("turns", range(4))
def test_a_group_that_failed_as_the_scorer_closes_is_told_of_once(turns: int) -> None:
    async def work() -> None:
        kept = Kept()
        pipeline = RewardPipeline(NeverWrites(), AnyExecutor(), load_config(answer_timeout=0.05))
        scorer = OnlineScorer(pipeline, sink=kept)
        rewards = await score_each(scorer, PAIR)
        await kept.until(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        await scorer.aclose()
        assert [reward.infra_error for reward in rewards] == [1.0, 1.0]
        assert len(kept.outcomes) == 1

    asyncio.run(asyncio.wait_for(work(), 20))


class CountingExecutor(AnyExecutor):
    """Says in its stats how many solutions it has run."""

    async def execute(self, solutions: Sequence[Solution], suite: TestSuite) -> ExecutionMatrix:
        matrix = await super().execute(solutions, suite)
        return replace(matrix, stats=ExecutionStats(pairs=len(solutions), pairs_run=len(solutions)))


class SlowTruth:
    """A TruthSource that answers its second question when it is told to, and others at once."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self._asked = 0

    async def judge(
        self, problem: Problem, solutions: Sequence[Solution], value: object
    ) -> list[bool | None]:
        self._asked += 1
        if self._asked == 2:
            await self.told.wait()
        return [True] * len(solutions)


def test_late_siblings_are_counted_once_also_if_the_first_of_them_is_answered_last() -> None:
    async def work() -> None:
        kept, truth = Kept(), SlowTruth()
        pipeline = RewardPipeline(OneTest(), CountingExecutor(), load_config())
        scorer = OnlineScorer(pipeline, sink=kept, truth=truth)
        in_time, *late = (
            sample(str(i), uid="u", siblings=1, member=str(i), validation=True, ground_truth="t")
            for i in range(4)
        )
        await scorer.score(in_time)
        first = asyncio.create_task(scorer.score(late[0]))
        await asyncio.sleep(0)
        await scorer.score(late[1])
        assert not first.done()
        truth.told.set()
        await first
        await scorer.score(late[2])
        assert [outcome.record.stats.pairs_run for outcome in kept.outcomes] == [1, 1, 1, 1]
        await scorer.aclose()

    asyncio.run(asyncio.wait_for(work(), 20))


@given(st.integers(0, 10**6))
@hypothesis_settings(max_examples=60)
def test_everybody_is_answered_once_whatever_comes(seed: int) -> None:
    """Random orders, pauses, padding, drops, wrong hints and cancelled callers."""
    chance = random.Random(seed)

    async def work() -> None:
        kept = Kept()
        config = load_config(quiet_seconds=0.01, answer_timeout=20.0)
        pipeline = RewardPipeline(OneTest(), AnyExecutor(), config)
        scorer = OnlineScorer(pipeline, sink=kept)
        coming: list[Sample] = []
        size = chance.randint(1, 4)
        for group in range(3):
            for i in range(size):
                one = sample(
                    f"{group}{'0' * i}",
                    group % 2,
                    step="1",
                    uid=f"u{group}" if seed % 2 else None,
                    member=f"{group}.{i}",
                    siblings=chance.choice([None, size, size, size + 1, max(size - 1, 1)]),
                )
                coming += [one] * chance.choice([0, 1, 1, 2])
        chance.shuffle(coming)
        calls = []
        for one in coming:
            calls.append(asyncio.create_task(scorer.score(one)))
            if chance.random() < 0.3:
                await asyncio.sleep(chance.choice([0.0, 0.0, 0.015]))
            if chance.random() < 0.1:
                calls[-1].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        members = {
            one.member
            for one, call in zip(coming, answers, strict=True)
            if not isinstance(call, asyncio.CancelledError)
        }
        await asyncio.wait_for(kept.until(1 if members else 0), 20)
        await scorer.aclose()
        for one, answer in zip(coming, answers, strict=True):
            if isinstance(answer, RewardOutput):
                code_of = one.response.partition("```python\n")[2].rstrip("`\n")
                assert (answer.infra_error, answer.score) == (0.0, float(len(code_of) % 2 == 0))
        told = [
            (outcome.record.question, outcome.record.uid, rollout.code.partition("return ")[2])
            for outcome in kept.outcomes
            for rollout in outcome.record.rollouts
            if not rollout.reward.infra_error  # what was cancelled may still wait at the end
        ]
        assert all(number in question for question, number in ((q, str(int(c[0]) % 2)) for q, _, c in told))
        if seed % 2:
            assert all(uid == f"u{code_of[0]}" for _, uid, code_of in told)
        assert max(Counter(code_of for *_, code_of in told).values(), default=1) == 1  # counted once
        assert len(told) >= len(members)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"allocator": "greedy", "budget": 4}, "price"),
        ({"allocator": "sequential", "budget": 4}, "price"),
        ({"base_url": "http://localhost:1"}, "one of them"),
        ({"tests": None}, "nobody to write"),
        ({"tests": None, "base_url": "http://localhost:1", "engine": "vllm"}, "give one"),
        ({"tests": None, "base_url": "no address"}, "address of a server"),
        ({"allocator": "price"}, "budget"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_once(
    tests_file: Path, given: dict[str, Any], word: str
) -> None:
    async def work() -> None:
        async with open_scorer(load_config({"tests": str(tests_file), **given})):
            raise AssertionError("it opened")

    with pytest.raises(ConfigError, match=word):
        asyncio.run(work())


def test_a_file_of_tests_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_scorer(load_config(tests=str(tmp_path / "none.jsonl"))):
            raise AssertionError("it opened")

    with pytest.raises(InputError, match=r"none\.jsonl"):
        asyncio.run(work())


def test_the_neutral_reward_is_the_one_that_the_settings_say() -> None:
    config = load_config({"neutral": 0.75}).scoring
    reward = no_reward(config)
    assert (reward.score, reward.acc, reward.neutral, reward.infra_error) == (0.75, 1.0, 1.0, 1.0)
    assert reward.tests_run == reward.has_truth == reward.no_code == 0.0


def test_a_pilot_is_run_on_the_group_that_it_is_about(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> list[GroupOutcome]:
        kept = Kept()
        config = load_config(
            tests=str(tests_file), allocator="price", budget=2, max_budget=3, difficulty="pilot", pilot=1
        )
        async with open_scorer(config, pool=sandbox.pool, sink=kept) as scorer:
            samples = [sample("2 * x", uid="u", siblings=4, member=str(i)) for i in range(4)]
            await score_each(scorer, samples)
        return kept.outcomes

    (outcome,) = sandbox.run(work())
    budget = outcome.record.budget
    assert (budget.difficulty.source, budget.difficulty.pass_rate > 0.5) == ("pilot", True)
    assert (budget.planned, budget.spent) == (2, 2)
    assert "in rounds of 1, 2" in budget.why


def test_a_history_learns_from_groups_as_they_are_answered(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> list[GroupOutcome]:
        kept = Kept()
        config = load_config(tests=str(tests_file), difficulty="history")
        async with open_scorer(config, pool=sandbox.pool, sink=kept) as scorer:
            for step in ("1", "2"):
                await scorer.score_all([sample("2 * x", step=step) for _ in range(4)])
        return kept.outcomes

    first, second = (outcome.record.budget.difficulty for outcome in sandbox.run(work()))
    assert second.pass_rate > first.pass_rate


def test_an_executor_without_memory_serves_too(sandbox: Sandbox) -> None:
    async def work() -> list[RewardOutput]:
        pipeline = RewardPipeline(OneTest(), AnyExecutor(), load_config())
        scorer = OnlineScorer(pipeline)
        return await score_each(scorer, PAIR)

    assert {reward.score for reward in sandbox.run(work())} <= {0.0, 1.0}
    assert make_executor(sandbox.pool, load_config(), MemoryCache()).remembering() is not None
    assert prompt(2) in PAIR[0].messages[0].content
