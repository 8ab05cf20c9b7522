"""Rollouts of a training become rewards as they come: real sandbox, recorded tests."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from online_rig import Kept, Sandbox, a_test, code, facts, prompt, sample

from coderm_reward.config import load_config
from coderm_reward.execution import MemoryCache, make_executor
from coderm_reward.generation.recorded import RecordedGenerator
from coderm_reward.online.assembly import open_scorer
from coderm_reward.online.online_scorer import OnlineScorer
from coderm_reward.online.sample import Sample
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.types import Message, Problem, RewardOutput, Solution

BODIES = ["2 * x", "x + x", "x * x", "2", "None.x", "(2 * x  )", "0 if x == 5 else 2 * x", "2 * abs(x)"]


def settings(tests_file: Path, **more: Any) -> Any:
    return load_config({"tests": str(tests_file), "quiet_seconds": 30.0, **more})


async def score_each(scorer: OnlineScorer, samples: Sequence[Sample]) -> list[RewardOutput]:
    return list(await asyncio.gather(*map(scorer.score, samples)))


def group(number: int = 2, bodies: Sequence[str] = BODIES, **more: Any) -> list[Sample]:
    more = {"uid": f"u{number}", "siblings": len(bodies), **more}
    return [sample(body, number, member=str(i), **more) for i, body in enumerate(bodies)]


def test_siblings_get_the_rewards_of_their_group(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> None:
        kept = Kept()
        async with open_scorer(settings(tests_file), pool=sandbox.pool, sink=kept, run="r") as scorer:
            rewards = await score_each(scorer, group(step="7"))
        assert [reward.score for reward in rewards] == [1.0, 1.0, 0.25, 0.25, 0.0, 1.0, 0.75, 0.75]
        (outcome,) = kept.outcomes
        record = outcome.record
        assert [rollout.reward for rollout in record.rollouts] == rewards
        assert (record.run, record.step, record.uid, record.entry_point) == ("r", "7", "u2", "times")
        assert (outcome.siblings, outcome.late, outcome.validation) == (8, 0, False)
        assert [rollout.row for rollout in record.rollouts] == list(range(8))
        assert len(outcome.waited) == len(outcome.answered) == 8
        assert all(0 <= w <= a for w, a in zip(outcome.waited, outcome.answered, strict=True))
        # two spellings of one program are one for the sandbox
        assert (record.stats.pairs, record.stats.pairs_distinct) == (24, 21)

    sandbox.run(work())


def test_one_by_one_in_any_order_and_all_at_once_give_the_same_rewards(
    sandbox: Sandbox, tests_file: Path
) -> None:
    async def work() -> None:
        kept = Kept()
        async with open_scorer(settings(tests_file), pool=sandbox.pool, sink=kept) as scorer:
            at_once = await scorer.score_all(group(3))
        expected = [facts(reward) for reward in at_once]
        for seed in range(3):
            order = random.Random(seed).sample(range(len(BODIES)), len(BODIES))
            async with open_scorer(settings(tests_file), pool=sandbox.pool, sink=kept) as scorer:
                samples = group(3)
                calls = {}
                for i in order:
                    calls[i] = asyncio.create_task(scorer.score(samples[i]))
                    for _ in range(seed * 20):
                        await asyncio.sleep(0)  # some work on the one before is under way
                assert [facts(await calls[i]) for i in range(len(BODIES))] == expected
        first, *others = (outcome.record for outcome in kept.outcomes)
        assert all(
            sorted(r.methods for r in record.rollouts) == sorted(r.methods for r in first.rollouts)
            for record in others
        )
        assert {record.settings for record in others} == {first.settings}
        assert all(record.stats.pairs_run == first.stats.pairs_run for record in others)

    sandbox.run(work())


def test_a_group_that_does_not_fill_is_scored_with_who_came(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> None:
        kept = Kept()
        config = settings(tests_file, quiet_seconds=0.05)
        async with open_scorer(config, pool=sandbox.pool, sink=kept) as scorer:
            rewards = await score_each(scorer, group()[:3])
        assert [reward.score for reward in rewards] == [1.0, 1.0, 0.25]
        assert (kept.outcomes[0].siblings, len(kept.outcomes[0].record.rollouts)) == (8, 3)

    sandbox.run(work())


def test_a_late_sibling_is_scored_with_the_same_suite_and_changes_nothing(
    sandbox: Sandbox, tests_file: Path
) -> None:
    async def work() -> None:
        kept = Kept()
        async with open_scorer(settings(tests_file), pool=sandbox.pool, sink=kept) as scorer:
            samples = group(siblings=3)
            before = await score_each(scorer, samples[:3])
            late = await score_each(scorer, samples[5:8])
            again = await scorer.score(samples[5])
        assert [reward.score for reward in late] == [1.0, 0.75, 0.75]
        assert again == late[0]
        first, *others = kept.outcomes
        assert [r.reward for r in first.record.rollouts] == before
        assert [(o.late, len(o.record.rollouts), o.waited) for o in others] == [(1, 1, (0.0,))] * 3
        assert {o.record.rollouts[0].reward.score for o in others} == {1.0, 0.75}
        assert all(o.record.tests == first.record.tests for o in others)
        assert all(o.record.budget.planned == first.record.budget.planned for o in others)
        assert len({o.record.group for o in kept.outcomes}) == 4
        assert sum(o.record.stats.pairs_run for o in others) == 6  # one of them is a program known already
        for outcome in others:
            assert outcome.record.matrix().class_verdicts.shape == (1, 3)

    sandbox.run(work())


def test_padding_is_answered_twice_and_counted_once(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> None:
        kept = Kept()
        async with open_scorer(settings(tests_file), pool=sandbox.pool, sink=kept) as scorer:
            samples = group(bodies=BODIES[:3])
            rewards = await score_each(scorer, [samples[0], *samples, samples[2]])
            assert [reward.score for reward in rewards] == [1.0, 1.0, 1.0, 0.25, 0.25]
            assert await scorer.score_all([*samples, samples[1]]) != []
        assert [len(outcome.record.rollouts) for outcome in kept.outcomes] == [3, 3]

    sandbox.run(work())


def test_groups_of_one_prompt_stay_apart(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> None:
        kept = Kept()
        async with open_scorer(settings(tests_file), pool=sandbox.pool, sink=kept) as scorer:
            one, other = group(bodies=["2 * x", "0"], uid="a"), group(bodies=["x", "x * 2"], uid="b")
            by_uid = await score_each(scorer, [one[0], other[0], other[1], one[1]])
            two = [sample(body, siblings=2, step="1") for body in ("2 * x", "0", "x", "x * 2")]
            by_count = await score_each(scorer, two)
            at_once = await scorer.score_all([*one, *other])
            without_uid = await scorer.score_all(two)
        assert [reward.score for reward in by_uid] == [1.0, 0.25, 1.0, 0.25]
        assert [reward.score for reward in by_count] == [1.0, 0.25, 0.25, 1.0]
        assert [facts(r) for r in at_once] == [facts(by_uid[i]) for i in (0, 3, 1, 2)]
        assert [facts(r) for r in without_uid] == [facts(r) for r in by_count]
        codes = [sorted(r.code for r in outcome.record.rollouts) for outcome in kept.outcomes]
        assert [len(found) for found in codes] == [2] * 8
        assert len({outcome.record.group for outcome in kept.outcomes}) == 8

    sandbox.run(work())


@pytest.mark.parametrize(
    ("messages", "response"),
    [
        ((Message("user", prompt()),), ""),
        ((Message("user", prompt()),), "I do not know."),
        ((), code("2 * x")),
        ((Message("system", "You write code."),), code("2 * x")),
        ((Message("user", "  "),), code("2 * x")),
        ((Message("system", "Be brief."), Message("user", prompt())), code("2 * x")),
        (
            (Message("user", "Hello"), Message("assistant", "Hello!"), Message("user", prompt())),
            code("2 * x"),
        ),
        ((Message("user", prompt()),), "<|im_start|>" + code("2 * x") + "<|im_end|>\ud800\0"),
    ],
)
def test_odd_prompts_and_responses_have_a_reward(
    sandbox: Sandbox, tests_file: Path, messages: tuple[Message, ...], response: str
) -> None:
    async def work() -> RewardOutput:
        async with open_scorer(settings(tests_file), pool=sandbox.pool) as scorer:
            return await scorer.score(Sample(messages=messages, response=response, siblings=1))

    reward = sandbox.run(work())
    assert reward.infra_error == 0.0
    assert reward.no_code == float("times" not in response)
    knows = prompt() in [message.content for message in messages]  # the last question counts
    assert reward.score == float(knows and "times" in response)
    assert reward.neutral == float(not knows)


class Truth:
    """Says that a solution is right if it multiplies; knows nothing of what raises."""

    def __init__(self) -> None:
        self.asked = 0

    async def judge(self, problem: Problem, solutions: Sequence[Solution], value: Any) -> list[bool | None]:
        self.asked += len(solutions)
        assert (problem.entry_point, value) == ("times", "the truth")
        if any("boom" in solution.code for solution in solutions):
            raise ValueError("boom")
        return [None if "None" in solution.code else "*" in solution.code for solution in solutions]


@pytest.mark.parametrize("at_once", [False, True])
def test_the_dataset_s_own_tests_are_reported_and_mixed_in(
    sandbox: Sandbox, tests_file: Path, at_once: bool
) -> None:
    async def work(weight: float, **more: Any) -> tuple[list[RewardOutput], Truth, Kept]:
        truth, kept = Truth(), Kept()
        config = settings(tests_file, ground_truth_weight=weight)
        async with open_scorer(config, pool=sandbox.pool, truth=truth, sink=kept) as scorer:
            samples = group(bodies=["2 * x", "x * x", "2", "None.x"], ground_truth="the truth", **more)
            rewards = await (scorer.score_all(samples) if at_once else score_each(scorer, samples))
        return rewards, truth, kept

    training, truth, _ = sandbox.run(work(0.0))
    assert (truth.asked, {reward.has_truth for reward in training}) == (0, {0.0})
    validation, truth, _ = sandbox.run(work(0.5, validation=True))
    assert truth.asked == 4
    assert [(reward.acc_true, reward.has_truth) for reward in validation] == [
        (1.0, 1.0),
        (1.0, 1.0),
        (0.0, 1.0),
        (0.0, 0.0),
    ]
    assert [reward.score for reward in validation] == [1.0, 0.25, 0.25, 0.0]
    mixed, _, kept = sandbox.run(work(0.5))
    assert [reward.score for reward in mixed] == [1.0, 0.625, 0.125, 0.0]
    assert [reward.acc for reward in mixed] == [1.0, 1.0, 0.0, 0.0]
    assert [rollout.reward for rollout in kept.outcomes[0].record.rollouts] == mixed


def test_ground_truths_are_run_without_being_asked_for(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> list[RewardOutput]:
        async with open_scorer(settings(tests_file), pool=sandbox.pool) as scorer:
            truth = "assert times(2) == 4\nassert times(9) == 18"
            return await score_each(
                scorer, group(bodies=["2 * x", "x * x"], ground_truth=truth, validation=True)
            )

    assert [(r.acc_true, r.has_truth) for r in sandbox.run(work())] == [(1.0, 1.0), (0.0, 1.0)]


def test_a_truth_that_fails_tells_nothing(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> list[RewardOutput]:
        async with open_scorer(settings(tests_file), pool=sandbox.pool, truth=Truth()) as scorer:
            bodies = ["2 * x", "x  # boom"]
            return await score_each(scorer, group(bodies=bodies, ground_truth="the truth", validation=True))

    right, broken = sandbox.run(work())
    assert (right.has_truth, broken.has_truth, broken.score) == (1.0, 0.0, 0.25)


def test_the_function_may_be_named_by_the_tests_alone(sandbox: Sandbox) -> None:
    question = "Give me two times a number."
    helper = "```python\ndef helper(x):\n    return x\n```\n\n```python\ndef times(x):\n    return 2 * x\n```"
    samples = [
        Sample(messages=(Message("user", question),), response=text, uid="u", siblings=3)
        for text in (helper, code("2 * x"), code("0"))
    ]

    async def work() -> list[RewardOutput]:
        generator = RecordedGenerator({question: [a_test("self.assertEqual(times(1), 2)")]})
        config = load_config()
        pipeline = RewardPipeline(generator, make_executor(sandbox.pool, config, MemoryCache()), config)
        scorer = OnlineScorer(pipeline)
        return await score_each(scorer, samples) + await scorer.score_all(samples)

    assert [reward.score for reward in sandbox.run(work())] == [1.0, 1.0, 0.0] * 2


def test_sixty_four_groups_of_eight_all_mixed_up(sandbox: Sandbox, tests_file: Path) -> None:
    async def work() -> None:
        kept = Kept()
        samples = list(itertools.chain(*(group(number, step="1") for number in range(64))))
        order = random.Random(5).sample(range(len(samples)), len(samples))
        config = settings(tests_file, allocator="price", budget=2, max_budget=3)
        async with open_scorer(config, pool=sandbox.pool, sink=kept) as scorer:
            rewards = dict(zip(order, await score_each(scorer, [samples[i] for i in order]), strict=True))
        assert len(kept.outcomes) == 64
        assert all(len(outcome.record.rollouts) == 8 for outcome in kept.outcomes)
        assert all(reward.infra_error == 0.0 for reward in rewards.values())
        right = [number for number in range(64) if rewards[8 * number].score == 1.0]
        assert 2 in right
        assert 3 not in right
        assert sum(outcome.record.budget.spent for outcome in kept.outcomes) <= 2 * 64

    sandbox.run(work())
