"""One group, from its texts to its record: generate -> screen -> execute -> aggregate -> reward.

A suite may grow in rounds: each asks the generator for more responses in all, and runs what is new.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from coderm_reward.activity import Activity
from coderm_reward.config import RewardConfig
from coderm_reward.data.entry_points import entry_point_from_prompt, entry_point_from_tests
from coderm_reward.data.extraction import extract_solution
from coderm_reward.data.records import BudgetRecord, GroupRecord, rollout_records
from coderm_reward.errors import GenerationError
from coderm_reward.execution.ahead import RunAhead
from coderm_reward.generation.screening import marked_by_reference, screened
from coderm_reward.protocols import Evidence, Executor, GrowingGenerator, UnitTestGenerator
from coderm_reward.scoring import GroupRewards, group_evidence, group_rewards
from coderm_reward.source import normalised_id
from coderm_reward.types import (
    FAILED,
    CodeStatus,
    Difficulty,
    ExecutionMatrix,
    ExecutionStats,
    Problem,
    RolloutGroup,
    Solution,
    TestSuite,
    Verdict,
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
    """A group on its way through the stages."""

    def __init__(self, stages: Stages, group: RolloutGroup) -> None:
        self.group = group
        self._stages = stages
        self._asking, self._solutions = problem_and_solutions(group)
        self._problem = self._asking
        self._rollouts = self._solutions
        self._suite = TestSuite(group.problem.prompt_hash)
        self._matrix: ExecutionMatrix | None = None
        self._failed = False
        self._hung: set[int] = set()
        self._spared = False
        self._ahead = RunAhead(stages.executor, self._rollouts)
        self._earlier = ExecutionStats()
        self._gen_seconds = 0.0

    def programs(self) -> int:
        """Return how many different programs the rollouts are; those without code are one."""
        return len({normalised_id(s.code) if s.code else "" for s in self._solutions})

    async def grow(self, responses: int | None) -> None:
        """Get the suite of so many responses in all (None: all there are) and run what is new of it.

        Where the infrastructure fails, what there was is kept. A solution that hung in an earlier round
        is not run again before `record`: timeouts are never cached, and this is where budgets would be
        dearest.
        """
        found, failed = await self._generate(responses)
        if failed and self._suite.responses:
            found = msgspec.structs.replace(self._suite, dropped={**self._suite.dropped, **found.dropped})
        self._suite, self._failed = found, failed
        self._problem, self._solutions = self._asking, self._rollouts
        if self._asking.entry_point is None and self._suite.tests:
            entry_point = entry_point_from_tests(self._suite.tests)
            self._problem = msgspec.structs.replace(self._asking, entry_point=entry_point)
            self._solutions = _extract(self.group, self._problem, wants_function=False)
        self._spared = bool(self._hung)
        await self._execute(self._runnable())
        assert self._matrix is not None
        timeouts = (self._matrix.class_verdicts == Verdict.TIMEOUT).any(axis=1)
        self._hung |= set(np.flatnonzero(timeouts).tolist())

    def evidence(self) -> Evidence:
        """Return what the rollouts have shown so far; one that hung has failed."""
        assert self._matrix is not None
        solutions = self._runnable() if self._spared else self._solutions
        rewards = self._reward(solutions, self._matrix, 0.0).rewards
        return group_evidence(self._matrix, rewards, self._stages.config.scoring, self._suite.responses)

    async def record(self, difficulty: Difficulty, planned: int | None, why: str) -> GroupRecord:
        """Return the record; `planned` is what the last `grow` asked for, and `why` what that came from."""
        if self._spared:
            await self._execute(self._solutions)
            self._spared = False
        matrix, suite, group, problem = self._matrix, self._suite, self.group, self._problem
        assert matrix is not None
        rewarded = self._reward(self._solutions, matrix, difficulty.difficulty)
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
            rollouts=rollout_records(rows, self._solutions, matrix, rewarded.rewards),
            details=matrix.details,
            stats=matrix.stats,
            gen_seconds=self._gen_seconds,
            warnings=rewarded.warnings,
            marked=matrix.marked,
            prompt_tokens=suite.prompt_tokens,
            completion_tokens=suite.completion_tokens,
        )

    def _runnable(self) -> list[Solution]:
        """The solutions without those that hung."""
        nothing = Solution(CodeStatus.NO_CODE)
        return [nothing if i in self._hung else solution for i, solution in enumerate(self._solutions)]

    def _reward(self, solutions: list[Solution], matrix: ExecutionMatrix, difficulty: float) -> GroupRewards:
        own = self._stages.config.scoring.exclude_own_tests
        return group_rewards(
            [solution.status for solution in solutions],
            matrix,
            self._stages.config.scoring,
            difficulty=difficulty,
            gen_seconds=self._gen_seconds,
            generation_failed=self._failed,
            identities=[normalised_id(s.code) if s.code else "" for s in solutions] if own else (),
        )

    async def _execute(self, solutions: list[Solution]) -> None:
        """Run the suite so far, and count what earlier rounds took: what they ran is no hit of the cache."""
        with self._stages.activity.of("executing"):
            matrix = await self._stages.executor.execute(solutions, self._suite)
            marked = await self._marked()
        whole, earlier = self._ahead.joined(matrix).stats, self._earlier
        run = min(whole.pairs_distinct, whole.pairs_run + earlier.pairs_run)
        stats = replace(
            whole,
            pairs_run=run,
            cache_hits=whole.pairs_distinct - run,
            retried=whole.retried + earlier.retried,
            seconds=whole.seconds + earlier.seconds,
        )
        self._earlier = replace(
            earlier,
            pairs_run=earlier.pairs_run + matrix.stats.pairs_run,
            retried=earlier.retried + matrix.stats.retried,
            seconds=earlier.seconds + matrix.stats.seconds,
        )
        self._matrix = replace(matrix, stats=stats, marked=marked)

    async def _marked(self) -> dict[str, str]:
        """The tests that the reference solution fails, where that is asked for."""
        asked = "reference" in self._stages.config.generation.screen
        if self._problem.reference is None or not asked or not self._suite.tests:
            return {}
        reference = Solution(CodeStatus.OK, self._problem.reference)
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
                        with self._stages.activity.of("executing"):
                            await self._ahead.run(suite)
        except GenerationError as error:
            _log.warning("no tests for prompt %s: %s", self._asking.prompt_hash, error)
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
        generator, asking = self._stages.generator, self._asking
        cached = self._stages.config.execution.verdict_cache != "off"
        if cached and asking.entry_point is not None and isinstance(generator, GrowingGenerator):
            async with aclosing(generator.growing(asking, self._rollouts, responses)) as suites:
                async for suite in suites:
                    yield suite
        else:
            yield await generator.generate(asking, self._rollouts, responses)


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
