"""How many responses a group gets and why: the estimator, the allocator, and what they learn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from coderm_reward.budget import advantage, make_allocator, make_estimator
from coderm_reward.config import RewardConfig
from coderm_reward.data.records import GroupRecord
from coderm_reward.protocols import (
    BudgetAllocator,
    DifficultyEstimator,
    LearningEstimator,
    PilotingEstimator,
    PreparingEstimator,
    RoundAllocator,
)
from coderm_reward.scoring import group_evidence
from coderm_reward.types import Difficulty, Problem, RolloutGroup, content_hash

__all__ = ["Planning"]


class Planning:
    """Estimator and allocator of a pipeline; what they learn stays with this object.

    Raises:
        ConfigError: budget settings that contradict each other.
        OutputError: a history file that cannot be used.
    """

    def __init__(
        self, config: RewardConfig, estimator: DifficultyEstimator | None, allocator: BudgetAllocator | None
    ) -> None:
        self.allocator = allocator or make_allocator(config.budget)
        self.estimator = estimator or make_estimator(config.budget)
        self._rule = type(allocator).__name__ if allocator else f"{config.budget.allocator} allocator"
        self._config = config
        self._next: tuple[list[Problem], asyncio.Task[None]] | None = None
        """Who is prepared next, all at once."""
        self._preparing = asyncio.Lock()

    @property
    def counts_programs(self) -> bool:
        """Whether equal rollouts gain nothing, so that the allocator wants to know how many differ."""
        return getattr(self.allocator, "objective", None) is advantage

    @property
    def pilot(self) -> int | None:
        """Responses that the estimator wants to see each group on first, if it does."""
        return self.estimator.pilot if isinstance(self.estimator, PilotingEstimator) else None

    @property
    def looks_at_outcomes(self) -> bool:
        """Whether a step can learn from the one before, or looks at its tests in rounds."""
        learns = isinstance(self.estimator, (LearningEstimator, PilotingEstimator))
        return learns or isinstance(self.allocator, RoundAllocator)

    async def prepare(self, problems: Sequence[Problem]) -> None:
        """Let the estimator get ready, all at once with whoever else is waiting for that.

        Nobody who is cancelled meanwhile ends that for the others, and no prompt that cannot be read.
        """
        estimator = self.estimator
        if not isinstance(estimator, PreparingEstimator) or not problems:
            return
        if self._next is None or self._next[1].done():
            self._next = [], asyncio.create_task(self._prepare_next(estimator))
        together, preparing = self._next
        together += problems
        try:
            await asyncio.shield(preparing)
        except Exception:
            if len(together) == len(problems):
                raise
            await asyncio.to_thread(estimator.prepare, problems)

    async def _prepare_next(self, estimator: PreparingEstimator) -> None:
        async with self._preparing:
            assert self._next is not None
            (problems, _), self._next = self._next, None
            await asyncio.to_thread(estimator.prepare, problems)

    def why(self, difficulty: Difficulty, responses: int | None, rounds: Sequence[int | None]) -> str:
        """One line on where the number of responses comes from."""
        believed = f"pass rate {difficulty.pass_rate:.3f}, std {difficulty.std:.3f}"
        planned = "every response there is" if responses is None else f"{responses} responses"
        steps = " in rounds of " + ", ".join(map(str, rounds)) if len(rounds) > 1 else ""
        return f"{difficulty.source} estimator: {believed}; {self._rule}: {planned}{steps}"

    def learn(self, group: RolloutGroup, record: GroupRecord) -> None:
        """Let the estimator know how a group came out, before its record goes anywhere."""
        if isinstance(self.estimator, LearningEstimator):
            rewards = [rollout.reward for rollout in record.rollouts]
            evidence = group_evidence(record.matrix(), rewards, self._config.scoring, record.budget.spent)
            observation = content_hash(group.step or "", group.uid or "", record.content)
            self.estimator.observe(group.problem, observation, evidence)

    def close(self) -> None:
        """Let go of what the estimator holds; a second call does nothing."""
        if isinstance(self.estimator, (LearningEstimator, PreparingEstimator)):
            self.estimator.close()
