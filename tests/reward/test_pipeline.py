"""The main path with real extraction, real scoring and a real sandbox; only the test source varies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import msgspec
import pytest

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.data.chat import messages_from_text, prompt_hash
from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import GenerationError
from coderm_reward.execution import MemoryCache, SandboxExecutor
from coderm_reward.generation.parsing import parse_responses
from coderm_reward.generation.screening import FAILS_REFERENCE
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.source import normalised_id
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
            settings = config or RewardConfig()
            cache = None if settings.execution.verdict_cache == "off" else MemoryCache()
            pipeline = RewardPipeline(generator or Scripted(), SandboxExecutor(pool, cache), settings)
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


class Growing(Scripted):
    """Gives its tests one by one, and says when each was looked at."""

    def __init__(self, tests: tuple[UnitTest, ...], fails_after: int | None = None) -> None:
        super().__init__(tests)
        self.fails_after = fails_after
        self.shown = 0

    async def growing(
        self, problem: Problem, solutions: Sequence[Solution], n: int | None
    ) -> AsyncGenerator[TestSuite, None]:
        whole = await self.generate(problem, solutions, n)
        for shown in range(1, len(whole.tests)):
            self.shown += 1
            yield msgspec.structs.replace(whole, tests=whole.tests[:shown], responses=shown, complete=False)
            if shown == self.fails_after:
                raise GenerationError("the server at http://localhost:1 is gone; start it.")
        yield whole


def one_by_one(*bodies: str) -> tuple[UnitTest, ...]:
    texts = [f"```python\nimport unittest\n\nclass T(unittest.TestCase):\n{body}\n```" for body in bodies]
    return parse_responses(texts, "twice").tests


THREE = one_by_one(
    "    def test_one(self):\n        self.assertEqual(twice(1), 2)",
    "    def test_two(self):\n        self.assertEqual(twice(2), 4)",
    "    def test_no(self):\n        self.assertEqual(twice(2), 5)",
)


def verdicts(record: GroupRecord) -> list[str]:
    return [rollout.methods for rollout in record.rollouts]


@pytest.mark.parametrize("cache", ["memory", "off"])
def test_tests_that_run_while_others_are_generated_give_the_same_rewards(cache: str) -> None:
    config = load_config(verdict_cache=cache)
    groups = [group(QUESTION, RIGHT, HALF, "I do not know.")]
    growing = Growing(THREE)
    (ahead,) = score(groups, growing, config)
    (at_once,) = score(groups, Scripted(THREE), config)
    assert growing.shown == 2
    assert verdicts(ahead) == verdicts(at_once) == ["PPF", "PFF", "UUU"]
    assert (ahead.stats.pairs_run, ahead.stats.cache_hits) == (6, 0)


def test_a_generator_that_fails_on_the_way_is_an_infra_error() -> None:
    (record,) = score([group(QUESTION, RIGHT)], Growing(THREE, fails_after=1))
    assert record.rollouts[0].reward.infra_error == 1.0
    assert record.lacks_responses


def test_tests_are_screened_before_they_run() -> None:
    tests = one_by_one(
        "    def test_one(self):\n        self.assertEqual(twice(1), 2)",
        "    def test_file(self):\n        self.assertEqual(twice(len(open('x').read())), 2)",
    )
    (record,) = score([group(QUESTION, RIGHT)], Scripted(tests))
    assert (verdicts(record), record.dropped) == (["P"], {"screened_files": 1})
    (unscreened,) = score([group(QUESTION, RIGHT)], Scripted(tests), load_config({"screen": []}))
    assert (verdicts(unscreened), unscreened.dropped) == (["PE"], {})


def test_what_the_reference_fails_runs_and_has_no_vote() -> None:
    scored = group(QUESTION, RIGHT, HALF)
    problem = msgspec.structs.replace(scored.problem, reference="def twice(x):\n    return 2 * x")
    scored = msgspec.structs.replace(scored, problem=problem)
    config = load_config({"screen": ["reference"]})
    (record,) = score([scored], Scripted(THREE), config)
    assert record.marked == {THREE[2].id: FAILS_REFERENCE}
    assert verdicts(record) == ["PPF", "PFF"]
    assert [rollout.reward.score for rollout in record.rollouts] == [1.0, 0.5]
    assert [rollout.reward.tests_planned for rollout in record.rollouts] == [2.0, 2.0]
    assert record.matrix().marked == record.marked
    (plain,) = score([scored], Scripted(THREE))
    assert plain.marked == {}
    assert plain.rollouts[0].reward.score == pytest.approx(2 / 3)


def test_own_tests_have_no_vote_where_that_is_asked_for() -> None:
    half = "def twice(x):\n    return 2"
    own = msgspec.structs.replace(THREE[0], prompted_by=(normalised_id(half),))
    config = load_config(exclude_own_tests=True)
    (record,) = score([group(QUESTION, RIGHT, HALF)], Scripted((own, THREE[1])), config)
    assert [(r.reward.score, r.reward.tests_run) for r in record.rollouts] == [(1.0, 2.0), (0.0, 1.0)]
