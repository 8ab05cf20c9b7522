"""The main path: estimate -> allocate -> generate -> screen -> execute -> aggregate -> reward.

Read `RewardPipeline.score` and `_plan` here and `GroupRun.grow`, `settle` and `record` in group_run from top
to bottom: that is the whole system. Every stage is a seam of coderm_reward.protocols or a pure function;
these two modules only connect them. Groups that fill while a training runs take `open`: see group_stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from coderm_reward.activity import Activity
from coderm_reward.config import RewardConfig
from coderm_reward.data.records import BudgetRecord, GroupRecord
from coderm_reward.group_run import GroupRun, Stages
from coderm_reward.group_stream import GroupStream
from coderm_reward.planning import Planning
from coderm_reward.protocols import (
    BudgetAllocator,
    Demand,
    DifficultyEstimator,
    Evidence,
    Executor,
    PilotingEstimator,
    RoundAllocator,
    UnitTestGenerator,
)
from coderm_reward.types import Difficulty, Problem, RolloutGroup

__all__ = ["RewardPipeline"]

T = TypeVar("T")


class RewardPipeline:
    """Turns groups of rollouts into recorded rewards.

    Args:
        generator: gives each prompt its unit tests.
        executor: runs solutions against tests.
        config: the settings that decide a reward.
        estimator, allocator: how hard prompts are and how many responses each gets; by default what
            `config.budget` names. What they learn stays with this object.
        groups_at_once: groups in flight; more than one keeps the sandbox busy while a group waits.
        modules: top-level modules that tests may import; None lets the sandbox find out.
        activity: adds up how long groups were "executing".

    Raises:
        ConfigError: budget settings that contradict each other.
        OutputError: a history file that cannot be used.
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
        self._stages = Stages(generator, executor, self.config, modules, activity or Activity())
        self._planning = Planning(self.config, estimator, allocator)
        self._groups_at_once = groups_at_once

    def settings(self, problem: Problem) -> str:
        """Fingerprint of everything but the rollouts that decides a prompt's rewards; part of its records."""
        return self._stages.settings(problem)

    def close(self) -> None:
        """Let go of what the estimator holds; a second call does nothing."""
        self._planning.close()

    def open(self, problem: Problem, expected: int | None = None) -> GroupStream:
        """Begin a group whose rollouts come one by one, by the same stages and with the same rewards.

        Its budget is decided when it begins, so the allocator must not need to see all groups together.
        """
        return GroupStream(self._stages, self._planning, problem, expected)

    async def score(
        self, groups: Sequence[RolloutGroup], kept: Mapping[str, GroupRecord] | None = None
    ) -> AsyncIterator[GroupRecord]:
        """Score all groups and yield their records as they finish, not in order.

        `kept` are the records, by group id, of those that were scored before: they are not scored again, but
        their responses are part of the budget and their outcomes are learnt. Groups are planned together, or
        step by step where a step can learn from the one before or looks at its tests in rounds.
        Infrastructure failures become neutral rewards with `infra_error`, never exceptions.

        Raises:
            InputError: a difficulty that is no distribution.
        """
        for wave in self._waves(groups):
            async with aclosing(self._side_by_side(await self._plan(wave, kept or {}))) as records:
                async for record in records:
                    yield record

    async def _plan(
        self, groups: Sequence[RolloutGroup], kept: Mapping[str, GroupRecord]
    ) -> list[Callable[[], Coroutine[Any, Any, GroupRecord]]]:
        """Return what is left to do for each group that is not kept, once it is known who gets how much."""
        estimator, allocator = self._planning.estimator, self._planning.allocator
        await self._planning.prepare([group.problem for group in groups])
        plans = [_Plan(group, estimator.estimate(group.problem)) for group in groups]
        for plan in plans:
            if (record := kept.get(plan.group.id)) is not None:
                plan.settled = record.budget
                self._planning.learn(plan.group, record)
        left = [plan for plan in plans if plan.settled is None]
        if isinstance(estimator, PilotingEstimator):
            for plan in left:
                plan.responses = estimator.pilot
            await self._grow(left)
            for plan in left:
                plan.difficulty = estimator.estimate_after(plan.group.problem, plan.evidence())
        demands = [self._demand(plan) for plan in plans]
        allotted = allocator.allocate(demands)
        while True:
            for plan, responses in zip(plans, allotted, strict=True):
                plan.responses = responses
            if not isinstance(allocator, RoundAllocator):
                break
            await self._grow(left)
            planned = [plan.responses or 0 for plan in plans]
            grown = allocator.grow(demands, planned, [plan.evidence() for plan in plans])
            if grown == planned:
                break
            allotted = list(grown)
        return [partial(self._finish, plan) for plan in left]

    async def _finish(self, plan: _Plan) -> GroupRecord:
        """One group, from its plan to its record."""
        await self._reach(plan)
        assert plan.run is not None
        why = self._planning.why(plan.difficulty, plan.responses, plan.rounds)
        record = plan.run.record(plan.group, plan.difficulty, plan.responses, why)
        plan.run = None
        self._planning.learn(plan.group, record)
        return record

    async def _reach(self, plan: _Plan) -> None:
        """Grow the group's suite to what is planned, unless it is there."""
        run = self._run_of(plan)
        if not plan.rounds or plan.rounds[-1] != plan.responses:
            await run.grow(plan.responses)
            plan.rounds.append(plan.responses)
        await run.settle()

    def _run_of(self, plan: _Plan) -> GroupRun:
        if plan.run is None:
            plan.run = GroupRun(self._stages, plan.group.problem)
            plan.run.add(plan.group.rollouts)
        return plan.run

    async def _grow(self, plans: Sequence[_Plan]) -> None:
        async with aclosing(self._side_by_side([partial(self._reach, plan) for plan in plans])) as done:
            async for _ in done:
                pass

    async def _side_by_side(
        self, works: Iterable[Callable[[], Coroutine[Any, Any, T]]]
    ) -> AsyncGenerator[T, None]:
        """Do the works, so many at once, and yield what they return as they finish."""
        waiting = iter(works)
        running: set[asyncio.Task[T]] = set()
        try:
            while True:
                while len(running) < self._groups_at_once and (work := next(waiting, None)) is not None:
                    running.add(asyncio.create_task(work()))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _waves(self, groups: Sequence[RolloutGroup]) -> list[list[RolloutGroup]]:
        """The groups that are planned together: all, or a step of a run where steps look at outcomes."""
        if not self._planning.looks_at_outcomes:
            return [list(groups)]
        waves: dict[tuple[str, str | None], list[RolloutGroup]] = {}
        for group in groups:
            waves.setdefault((group.run, group.step), []).append(group)
        runs = {run: number for number, (run, _) in enumerate(waves)}
        return [waves[key] for key in sorted(waves, key=lambda key: (runs[key[0]], _number(key[1])))]

    def _demand(self, plan: _Plan) -> Demand:
        """What the allocator hears of a group; programs are counted where identical ones gain nothing."""
        rollouts = len(plan.group.rollouts)
        if plan.settled is None and self._planning.counts_programs:
            rollouts = self._run_of(plan).programs()
        settled = None if plan.settled is None else plan.settled.planned or plan.settled.spent
        return Demand(plan.group.problem.prompt_hash, plan.difficulty, rollouts, settled)


@dataclass
class _Plan:
    """What is known and planned of one group, and how far it has come."""

    group: RolloutGroup
    difficulty: Difficulty
    responses: int | None = None
    settled: BudgetRecord | None = None
    """What was planned and spent on it before, if it is kept."""
    run: GroupRun | None = None
    rounds: list[int | None] = field(default_factory=list)
    """The totals that it has grown to."""

    def evidence(self) -> Evidence:
        """What it has shown; of a group that is kept only what it spent."""
        if self.run is None:
            return Evidence(responses=0 if self.settled is None else self.settled.spent)
        return self.run.evidence()


def _number(step: str | None) -> float:
    """Steps in the order of their numbers; what has none stays in the order of the dump, at the end."""
    try:
        return float(step or "")
    except ValueError:
        return math.inf
