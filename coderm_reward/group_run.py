"""One group, from its texts to its record: generate -> screen -> execute -> aggregate -> reward.

A suite may grow in rounds: each asks the generator for more responses in all, and runs what is new.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import msgspec

from coderm_reward.activity import Activity
from coderm_reward.config import RewardConfig
from coderm_reward.data.entry_points import entry_point_from_prompt, entry_point_from_tests
from coderm_reward.data.extraction import extract_solution
from coderm_reward.data.records import BudgetRecord, GroupRecord, rollout_records
from coderm_reward.errors import GenerationError
from coderm_reward.generation.screening import marked_by_reference, screened
from coderm_reward.protocols import Evidence, Executor, GroupExecutor, GrowingGenerator, UnitTestGenerator
from coderm_reward.scoring import GroupRewards, group_evidence, group_rewards
from coderm_reward.source import normalised_id
from coderm_reward.types import (
    FAILED,
    CodeStatus,
    Difficulty,
    ExecutionMatrix,
    Problem,
    Rollout,
    RolloutGroup,
    Solution,
    TestSuite,
    content_hash,
)

__all__ = ["GroupRun", "Stages", "group_content", "problem_and_solutions"]

_log = logging.getLogger("coderm_reward")


@dataclass(frozen=True)
class Stages:
    """What all groups of a pipeline share."""

    generator: UnitTestGenerator
    executor: Executor
    config: RewardConfig
    modules: Collection[str] | None
    """Top-level modules that tests may import; None lets the sandbox find out."""
    activity: Activity

    def settings(self, problem: Problem) -> str:
        """Fingerprint of everything but the rollouts that decides a prompt's rewards."""
        return content_hash(self.config.fingerprint(), self.generator.fingerprint(problem))


class GroupRun:
    """A group on its way through the stages; rollouts and tests may come in any order."""

    def __init__(self, stages: Stages, problem: Problem) -> None:
        self.problem = _named(problem)
        """With its entry point, as soon as anything tells it."""
        self.solutions: list[Solution] = []
        """[R] in the order of `add`, as they are graded."""
        self.failed = False
        """Whether the infrastructure failed to give any test."""
        self._stages = stages
        self._asking = self.problem
        self._rollouts: list[Rollout] = []
        self._shown: list[Solution] = []  # what the generator sees: read before tests can name the function
        executor = stages.executor
        self._runs_ahead = isinstance(executor, GroupExecutor)
        self._executor = executor.remembering() if isinstance(executor, GroupExecutor) else executor
        self._suite = TestSuite(problem.prompt_hash)
        self._begun: set[str] = set()
        self._matrix: ExecutionMatrix | None = None
        self._gen_seconds = 0.0
        self._cause = ""

    @property
    def names_function(self) -> bool:
        """Whether the function under test is known without any test."""
        return self._asking.entry_point is not None

    def add(self, rollouts: Sequence[Rollout]) -> list[Solution]:
        """Take rollouts in and return their code."""
        self._rollouts += rollouts
        new = _extract(rollouts, self._asking, wants_function=self._asking.entry_point is not None)
        self._shown += new
        if self.problem is not self._asking:
            new = _extract(rollouts, self.problem, wants_function=False)
        self.solutions += new
        self._matrix = None
        return new

    def programs(self) -> int:
        """Return how many different programs the rollouts are; those without code are one."""
        return len({normalised_id(s.code) if s.code else "" for s in self.solutions})

    async def run_ahead(self, solutions: Sequence[Solution]) -> None:
        """Run these on the tests that are there, so that `settle` has it; changes no verdict."""
        await self._run(solutions, self._suite)

    async def grow(self, responses: int | None, *, ahead: bool = False) -> None:
        """Get the suite of so many responses in all (None: all there are).

        What is there runs while the rest is being generated; with `ahead` the whole of it, as somebody is
        still to come. Where the infrastructure fails, what there was is kept.
        """
        before = self._suite
        found, self.failed = await self._generate(responses)
        if self.failed and before.responses:
            found = msgspec.structs.replace(before, dropped={**before.dropped, **found.dropped})
        self._suite = found
        self._matrix = None
        if self._asking.entry_point is None and found.tests:
            entry_point = entry_point_from_tests(found.tests)
            self.problem = msgspec.structs.replace(self._asking, entry_point=entry_point)
            self.solutions = _extract(self._rollouts, self.problem, wants_function=False)
        if ahead:
            await self._run_fresh(found)

    async def settle(self) -> None:
        """Have the matrix of all rollouts and the whole suite so far."""
        if self._matrix is None:
            with self._stages.activity.of("executing"):
                matrix = await self._executor.execute(list(self.solutions), self._suite)
                self._matrix = replace(matrix, marked=await self._marked())

    def evidence(self) -> Evidence:
        """Return what the rollouts have shown so far; after `settle`."""
        assert self._matrix is not None
        rewards = self._reward(self._matrix, 0.0).rewards
        return group_evidence(self._matrix, rewards, self._stages.config.scoring, self._suite.responses)

    def record(
        self, group: RolloutGroup, difficulty: Difficulty, planned: int | None, why: str
    ) -> GroupRecord:
        """Return the record, after `settle`.

        Args:
            group: the rollouts that were added, in that order.
            planned: what the last `grow` asked for, and `why` what that came from.
        """
        matrix, suite, problem = self._matrix, self._suite, self.problem
        assert matrix is not None
        if self.failed:
            _log.warning("no tests for prompt %s: %s", problem.prompt_hash, self._cause)
        rewarded = self._reward(matrix, difficulty.difficulty)
        rows = [rollout.row for rollout in group.rollouts]
        return GroupRecord(
            group=group.id,
            content=group_content(group),
            settings=self._stages.settings(group.problem),
            config=self._stages.config,
            run=group.run,
            step=group.step,
            uid=group.uid,
            prompt_hash=problem.prompt_hash,
            question=problem.question,
            entry_point=problem.entry_point,
            task_id=problem.task_id,
            generator=self._stages.generator.identity,
            tests=matrix.tests,
            invalid=matrix.invalid,
            dropped=suite.dropped,
            budget=BudgetRecord(difficulty, planned=planned, spent=suite.responses, why=why),
            rollouts=rollout_records(rows, self.solutions, matrix, rewarded.rewards),
            details=matrix.details,
            stats=matrix.stats,
            gen_seconds=self._gen_seconds,
            warnings=rewarded.warnings,
            marked=matrix.marked,
            prompt_tokens=suite.prompt_tokens,
            completion_tokens=suite.completion_tokens,
        )

    def _reward(self, matrix: ExecutionMatrix, difficulty: float) -> GroupRewards:
        own = self._stages.config.scoring.exclude_own_tests
        return group_rewards(
            [solution.status for solution in self.solutions],
            matrix,
            self._stages.config.scoring,
            difficulty=difficulty,
            gen_seconds=self._gen_seconds,
            generation_failed=self.failed,
            identities=[normalised_id(s.code) if s.code else "" for s in self.solutions] if own else (),
        )

    async def _run_fresh(self, suite: TestSuite) -> None:
        """Run those of its tests that nobody ran yet on everybody who is there; who comes later runs all."""
        fresh = tuple(test for test in suite.tests if test.id not in self._begun)
        self._begun.update(test.id for test in fresh)
        self._suite = suite
        await self._run(list(self.solutions), msgspec.structs.replace(suite, tests=fresh))

    async def _run(self, solutions: Sequence[Solution], suite: TestSuite) -> None:
        if self._runs_ahead and suite.tests and any(s.status is CodeStatus.OK for s in solutions):
            with self._stages.activity.of("executing"):
                await self._executor.execute(solutions, suite)

    async def _marked(self) -> dict[str, str]:
        """The tests that the reference solution fails, where that is asked for."""
        asked = "reference" in self._stages.config.generation.screen
        if self.problem.reference is None or not asked or not self._suite.tests:
            return {}
        reference = Solution(CodeStatus.OK, self.problem.reference)
        return marked_by_reference(await self._stages.executor.execute([reference], self._suite))

    async def _generate(self, responses: int | None) -> tuple[TestSuite, bool]:
        """(the suite, screened; whether the infrastructure failed to give one).

        What is there already runs ahead while the rest is being generated.
        """
        suite = TestSuite(self._asking.prompt_hash)
        screen, entry_point = self._stages.config.generation.screen, self._asking.entry_point
        try:
            async with aclosing(self._suites(responses)) as suites:
                async for found in suites:
                    suite = screened(found, screen, self._stages.modules, entry_point)
                    if not suite.complete:
                        await self._run_fresh(suite)
        except GenerationError as error:
            self._cause = str(error)
            return TestSuite(self._asking.prompt_hash, dropped={f"{FAILED}generation": 1}), True
        self._gen_seconds += suite.seconds
        return suite, False

    async def _suites(self, responses: int | None) -> AsyncGenerator[TestSuite, None]:
        """Yield the growing suite where running ahead makes sense, else only the whole one.

        Nobody is asked for no responses.
        """
        if responses == 0:
            yield TestSuite(self._asking.prompt_hash)
            return
        generator, asking, shown = self._stages.generator, self._asking, list(self._shown)
        named = asking.entry_point is not None
        if self._runs_ahead and named and isinstance(generator, GrowingGenerator):
            async with aclosing(generator.growing(asking, shown, responses)) as suites:
                async for suite in suites:
                    yield suite
        else:
            yield await generator.generate(asking, shown, responses)


def group_content(group: RolloutGroup) -> str:
    """Hash of what is scored: the prompt and the texts of all rollouts, in order."""
    return content_hash(group.problem.prompt_hash, *(rollout.text for rollout in group.rollouts))


def problem_and_solutions(group: RolloutGroup) -> tuple[Problem, list[Solution]]:
    """Return the problem, with its entry point where anything but tests tells it, and the rollouts' code."""
    problem = _named(group.problem)
    return problem, _extract(group.rollouts, problem, wants_function=problem.entry_point is not None)


def _named(problem: Problem) -> Problem:
    if problem.entry_point is not None:
        return problem
    return msgspec.structs.replace(problem, entry_point=entry_point_from_prompt(problem.question))


def _extract(rollouts: Sequence[Rollout], problem: Problem, *, wants_function: bool) -> list[Solution]:
    return [
        extract_solution(
            rollout.text, problem.entry_point, wants_function=wants_function, context=problem.question
        )
        for rollout in rollouts
    ]
