"""The main path with real extraction, real scoring and a real sandbox; only the test source varies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.data.chat import messages_from_text, prompt_hash
from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import GenerationError
from coderm_reward.execution import SandboxExecutor
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.types import Problem, Rollout, RolloutGroup, Solution, TestSuite, UnitTest, content_hash
from coderm_sandbox import Limits, SandboxPool

SOURCE = (
    "import unittest\n\nclass TestTwice(unittest.TestCase):\n"
    "    def test_one(self):\n        self.assertEqual(twice(1), 2)\n"
    "    def test_two(self):\n        self.assertEqual(twice(2), 4)\n"
)
TESTS = (UnitTest(content_hash(SOURCE), SOURCE, "TestTwice", ("test_one", "test_two")),)


class Scripted:
    """A generator that gives the same tests to every prompt, or fails as an infrastructure does."""

    identity = "scripted"

    def __init__(self, tests: tuple[UnitTest, ...] = TESTS, broken: bool = False) -> None:
        self.tests = tests
        self.broken = broken
        self.asked: list[tuple[str, int | None]] = []

    def fingerprint(self, problem: Problem) -> str:
        return content_hash(*(test.id for test in self.tests))

    async def generate(self, problem: Problem, solutions: Sequence[Solution], n: int | None) -> TestSuite:
        self.asked.append((problem.prompt_hash, n))
        if self.broken:
            raise GenerationError("the server at http://localhost:1 does not answer; start it.")
        return TestSuite(problem.prompt_hash, self.tests, responses=len(self.tests))


def group(question: str, *texts: str, entry_point: str | None = None) -> RolloutGroup:
    identity = prompt_hash(messages_from_text(question))
    rollouts = tuple(Rollout(row, text) for row, text in enumerate(texts))
    problem = Problem(identity, question, entry_point)
    return RolloutGroup(content_hash(question), problem, rollouts, run="run")


def score(
    groups: Sequence[RolloutGroup], generator: Scripted | None = None, config: RewardConfig | None = None
) -> list[GroupRecord]:
    async def run() -> list[GroupRecord]:
        async with SandboxPool(workers=1, limits=Limits(timeout=1.0)) as pool:
            pipeline = RewardPipeline(generator or Scripted(), SandboxExecutor(pool), config)
            found = {record.group: record async for record in pipeline.score(groups)}
        return [found[group.id] for group in groups]

    return asyncio.run(run())


RIGHT = "```python\ndef twice(x):\n    return x + x\n```"
HALF = "```python\ndef twice(x):\n    return 2\n```"
QUESTION = "Write a function `twice(x)` that returns two times x."


def test_texts_become_rewards() -> None:
    (record,) = score([group(QUESTION, RIGHT, HALF, "I do not know.")])
    assert [r.reward.score for r in record.rollouts] == [1.0, 0.5, 0.0]
    assert [r.methods for r in record.rollouts] == ["PP", "PF", "UU"]
    assert [r.reward.no_code for r in record.rollouts] == [0.0, 0.0, 1.0]
    assert record.entry_point == "twice"
    assert (record.budget.spent, record.stats.pairs, record.generator) == (1, 2, "scripted")


def test_a_generator_that_fails_is_an_infra_error_and_never_a_grade() -> None:
    (record,) = score([group(QUESTION, RIGHT, "No code.")], Scripted(broken=True))
    right, empty = (r.reward for r in record.rollouts)
    assert (right.infra_error, right.neutral, right.score) == (1.0, 1.0, 0.0)
    assert (empty.infra_error, empty.no_code) == (0.0, 1.0)
    assert record.warnings


def test_a_prompt_without_tests_is_no_infra_error() -> None:
    (record,) = score([group(QUESTION, RIGHT)], Scripted(tests=()))
    assert record.rollouts[0].reward.infra_error == 0.0
    assert record.rollouts[0].reward.neutral == 1.0


def test_the_entry_point_is_taken_from_the_tests_where_nobody_names_it() -> None:
    several = (
        "```python\ndef helper(x):\n    return x\n```\n\n```python\ndef twice(x):\n    return 2 * x\n```\n"
    )
    (record,) = score([group("Give me two times a number.", several)])
    assert record.entry_point == "twice"
    assert record.rollouts[0].reward.score == 1.0


def test_a_program_that_reads_stdin_is_neutral_only_where_no_function_was_asked() -> None:
    program = "```python\nprint(2 * int(input()))\n```"
    (free,) = score([group("Read a number and print two times it.", program, RIGHT)])
    assert (free.rollouts[0].status, free.rollouts[0].reward.neutral) == ("unsupported_format", 1.0)
    assert free.rollouts[0].reward.score == free.rollouts[1].reward.score == 1.0
    (asked,) = score([group(QUESTION, program, RIGHT)])
    assert (asked.rollouts[0].status, asked.rollouts[0].reward.score) == ("wrong_format", 0.0)


@pytest.mark.parametrize("budget", [None, 3])
def test_the_budget_reaches_the_generator_and_the_record(budget: int | None) -> None:
    generator = Scripted()
    (record,) = score([group(QUESTION, RIGHT)], generator, load_config(budget=budget))
    assert [n for _, n in generator.asked] == [budget]
    assert record.budget.planned == budget


def test_many_groups_come_back_each_with_its_own_rewards() -> None:
    groups = [group(f"{QUESTION} ({i})", RIGHT if i % 3 else HALF) for i in range(12)]
    records = score(groups)
    assert [r.rollouts[0].reward.score for r in records] == [1.0 if i % 3 else 0.5 for i in range(12)]


def test_settings_that_decide_rewards_decide_the_fingerprint() -> None:
    problem = Problem("hash", QUESTION)
    one = RewardPipeline(Scripted(), None).settings(problem)  # type: ignore[arg-type]
    other = RewardPipeline(Scripted(), None, load_config(shape="binary")).settings(problem)  # type: ignore[arg-type]
    assert one != other
