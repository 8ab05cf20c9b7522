"""The main path: estimate -> allocate -> generate -> execute -> aggregate -> reward.

Read `RewardPipeline.score` and `_score_group` from top to bottom: that is the whole system. Every
stage is a seam of coderm_reward.protocols or a pure function; this module only connects them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import msgspec

from coderm_reward.budget import ConstantEstimator, UniformAllocator
from coderm_reward.config import RewardConfig
from coderm_reward.data.entry_points import entry_point_from_prompt, entry_point_from_tests
from coderm_reward.data.extraction import extract_solution
from coderm_reward.data.records import BudgetRecord, GroupRecord, rollout_records
from coderm_reward.errors import GenerationError
from coderm_reward.protocols import BudgetAllocator, DifficultyEstimator, Executor, UnitTestGenerator
from coderm_reward.scoring import group_rewards
from coderm_reward.types import Difficulty, Problem, RolloutGroup, Solution, TestSuite, content_hash

__all__ = ["RewardPipeline", "group_content"]

_log = logging.getLogger("coderm_reward")


class RewardPipeline:
    """Turns groups of rollouts into recorded rewards.

    Args:
        generator: gives each prompt its unit tests.
        executor: runs solutions against tests.
        config: the settings that decide a reward.
        estimator, allocator: how hard prompts are and how many tests each gets; by default what
            `config.budget` names.
        groups_at_once: groups in flight; more than one keeps the sandbox busy while a group waits.
    """

    def __init__(
        self,
        generator: UnitTestGenerator,
        executor: Executor,
        config: RewardConfig | None = None,
        *,
        estimator: DifficultyEstimator | None = None,
        allocator: BudgetAllocator | None = None,
        groups_at_once: int = 4,
    ) -> None:
        self.config = config or RewardConfig()
        self._generator = generator
        self._executor = executor
        self._estimator = estimator or ConstantEstimator(self.config.budget.pass_rate)
        self._allocator = allocator or UniformAllocator(self.config.budget.budget)
        self._groups_at_once = groups_at_once

    def settings(self, problem: Problem) -> str:
        """Fingerprint of everything but the rollouts that decides a prompt's rewards; part of its records."""
        return content_hash(self.config.fingerprint(), self._generator.fingerprint(problem))

    async def score(self, groups: Sequence[RolloutGroup]) -> AsyncIterator[GroupRecord]:
        """Score all groups and yield their records as they finish, not in order.

        Infrastructure failures become neutral rewards with `infra_error`, never exceptions.
        """
        difficulties = [self._estimator.estimate(group.problem) for group in groups]
        budgets = self._allocator.allocate(difficulties)
        waiting = iter(list(zip(groups, difficulties, budgets, strict=True)))
        running: set[asyncio.Task[GroupRecord]] = set()
        try:
            while True:
                while len(running) < self._groups_at_once and (plan := next(waiting, None)) is not None:
                    running.add(asyncio.create_task(self._score_group(*plan)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _score_group(
        self, group: RolloutGroup, difficulty: Difficulty, budget: int | None
    ) -> GroupRecord:
        """One group, from its texts to its rewards."""
        problem = _with_entry_point(group.problem)
        solutions = _extract(group, problem, wants_function=problem.entry_point is not None)

        suite, generation_failed = await self._generate(problem, solutions, budget)
        if problem.entry_point is None and suite.tests:
            problem = msgspec.structs.replace(problem, entry_point=entry_point_from_tests(suite.tests))
            solutions = _extract(group, problem, wants_function=False)

        matrix = await self._executor.execute(solutions, suite)

        rewarded = group_rewards(
            [solution.status for solution in solutions],
            matrix,
            self.config.scoring,
            difficulty=difficulty.difficulty,
            gen_seconds=suite.seconds,
            generation_failed=generation_failed,
        )
        return GroupRecord(
            group=group.id,
            content=group_content(group),
            settings=self.settings(group.problem),
            config=self.config,
            run=group.run,
            step=group.step,
            uid=group.uid,
            prompt_hash=problem.prompt_hash,
            question=problem.question,
            entry_point=problem.entry_point,
            task_id=problem.task_id,
            generator=self._generator.identity,
            tests=matrix.tests,
            invalid=matrix.invalid,
            dropped=suite.dropped,
            budget=_budget_record(difficulty, budget, suite),
            rollouts=rollout_records([r.row for r in group.rollouts], solutions, matrix, rewarded.rewards),
            details=matrix.details,
            stats=matrix.stats,
            gen_seconds=suite.seconds,
            warnings=rewarded.warnings,
        )

    async def _generate(
        self, problem: Problem, solutions: Sequence[Solution], budget: int | None
    ) -> tuple[TestSuite, bool]:
        """(the suite, whether the infrastructure failed to give one)."""
        try:
            return await self._generator.generate(problem, solutions, budget), False
        except GenerationError as error:
            _log.warning("no tests for prompt %s: %s", problem.prompt_hash, error)
            return TestSuite(problem.prompt_hash), True


def group_content(group: RolloutGroup) -> str:
    """Hash of what is scored: the prompt and the texts of all rollouts, in order."""
    return content_hash(group.problem.prompt_hash, *(rollout.text for rollout in group.rollouts))


def _with_entry_point(problem: Problem) -> Problem:
    if problem.entry_point is not None:
        return problem
    return msgspec.structs.replace(problem, entry_point=entry_point_from_prompt(problem.question))


def _extract(group: RolloutGroup, problem: Problem, *, wants_function: bool) -> list[Solution]:
    return [
        extract_solution(
            rollout.text, problem.entry_point, wants_function=wants_function, context=problem.question
        )
        for rollout in group.rollouts
    ]


def _budget_record(difficulty: Difficulty, budget: int | None, suite: TestSuite) -> BudgetRecord:
    planned = "every response there is" if budget is None else f"{budget} responses"
    why = f"{difficulty.source} estimator: pass rate {difficulty.pass_rate:.3f}; planned {planned}"
    return BudgetRecord(difficulty, planned=budget, spent=suite.responses, why=why)
