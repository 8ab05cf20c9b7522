"""The main path: estimate -> allocate -> generate -> screen -> execute -> aggregate -> reward.

Read `RewardPipeline.score` and `_score_group` from top to bottom: that is the whole system. Every
stage is a seam of coderm_reward.protocols or a pure function; this module only connects them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace

import msgspec

from coderm_reward.activity import Activity
from coderm_reward.budget import ConstantEstimator, UniformAllocator
from coderm_reward.config import RewardConfig
from coderm_reward.data.entry_points import entry_point_from_prompt, entry_point_from_tests
from coderm_reward.data.extraction import extract_solution
from coderm_reward.data.records import BudgetRecord, GroupRecord, rollout_records
from coderm_reward.errors import GenerationError
from coderm_reward.execution.ahead import RunAhead
from coderm_reward.generation.screening import marked_by_reference, screened
from coderm_reward.protocols import (
    BudgetAllocator,
    DifficultyEstimator,
    Executor,
    GrowingGenerator,
    UnitTestGenerator,
)
from coderm_reward.scoring import group_rewards
from coderm_reward.source import normalised_id
from coderm_reward.types import (
    FAILED,
    CodeStatus,
    Difficulty,
    ExecutionMatrix,
    Problem,
    RolloutGroup,
    Solution,
    TestSuite,
    content_hash,
)

__all__ = ["RewardPipeline", "group_content", "problem_and_solutions"]

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
        modules: top-level modules that tests may import; None lets the sandbox find out.
        activity: adds up how long groups were "executing".
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
        modules: Collection[str] | None = None,
        activity: Activity | None = None,
    ) -> None:
        self.config = config or RewardConfig()
        self._generator = generator
        self._executor = executor
        self._estimator = estimator or ConstantEstimator(self.config.budget.pass_rate)
        self._allocator = allocator or UniformAllocator(self.config.budget.budget)
        self._groups_at_once = groups_at_once
        self._modules = modules
        self._activity = activity or Activity()

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
        problem, solutions = problem_and_solutions(group)

        ahead = RunAhead(self._executor, solutions)
        suite, generation_failed = await self._generate(problem, solutions, budget, ahead)
        if problem.entry_point is None and suite.tests:
            problem = msgspec.structs.replace(problem, entry_point=entry_point_from_tests(suite.tests))
            solutions = _extract(group, problem, wants_function=False)

        with self._activity.of("executing"):
            matrix = ahead.joined(await self._executor.execute(solutions, suite))
            matrix = await self._with_marks(matrix, problem, suite)

        own = self.config.scoring.exclude_own_tests
        rewarded = group_rewards(
            [solution.status for solution in solutions],
            matrix,
            self.config.scoring,
            difficulty=difficulty.difficulty,
            gen_seconds=suite.seconds,
            generation_failed=generation_failed,
            identities=[normalised_id(s.code) if s.code else "" for s in solutions] if own else (),
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
            marked=matrix.marked,
            prompt_tokens=suite.prompt_tokens,
            completion_tokens=suite.completion_tokens,
        )

    async def _generate(
        self, problem: Problem, solutions: Sequence[Solution], budget: int | None, ahead: RunAhead
    ) -> tuple[TestSuite, bool]:
        """(the suite, screened; whether the infrastructure failed to give one).

        What is there already runs ahead while the rest is being generated.
        """
        suite = TestSuite(problem.prompt_hash)
        try:
            async with aclosing(self._suites(problem, solutions, budget)) as suites:
                async for found in suites:
                    suite = screened(found, self.config.generation.screen, self._modules, problem.entry_point)
                    if not suite.complete:
                        with self._activity.of("executing"):
                            await ahead.run(suite)
        except GenerationError as error:
            _log.warning("no tests for prompt %s: %s", problem.prompt_hash, error)
            return TestSuite(problem.prompt_hash, dropped={f"{FAILED}generation": 1}), True
        return suite, False

    async def _suites(
        self, problem: Problem, solutions: Sequence[Solution], budget: int | None
    ) -> AsyncGenerator[TestSuite, None]:
        """Yield the growing suite where running ahead makes sense, else only the whole one."""
        cached = self.config.execution.verdict_cache != "off"
        if cached and problem.entry_point is not None and isinstance(self._generator, GrowingGenerator):
            async with aclosing(self._generator.growing(problem, solutions, budget)) as suites:
                async for suite in suites:
                    yield suite
        else:
            yield await self._generator.generate(problem, solutions, budget)

    async def _with_marks(
        self, matrix: ExecutionMatrix, problem: Problem, suite: TestSuite
    ) -> ExecutionMatrix:
        """The matrix with the tests marked that the reference solution fails, where that is asked for."""
        if problem.reference is None or "reference" not in self.config.generation.screen or not suite.tests:
            return matrix
        reference = Solution(CodeStatus.OK, problem.reference)
        return replace(matrix, marked=marked_by_reference(await self._executor.execute([reference], suite)))


def group_content(group: RolloutGroup) -> str:
    """Hash of what is scored: the prompt and the texts of all rollouts, in order."""
    return content_hash(group.problem.prompt_hash, *(rollout.text for rollout in group.rollouts))


def problem_and_solutions(group: RolloutGroup) -> tuple[Problem, list[Solution]]:
    """Return the problem, with its entry point where anything but tests tells it, and the rollouts' code."""
    problem = group.problem
    if problem.entry_point is None:
        problem = msgspec.structs.replace(problem, entry_point=entry_point_from_prompt(problem.question))
    return problem, _extract(group, problem, wants_function=problem.entry_point is not None)


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
