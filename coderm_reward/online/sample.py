"""What a training loop hands over and gets back, whichever loop it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from coderm_reward.data.records import GroupRecord
from coderm_reward.types import Message, Problem, RewardOutput, Solution

__all__ = ["GroupOutcome", "GroupSink", "RewardScorer", "Sample", "TruthSource"]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout of a running training, on its way to its siblings."""

    messages: tuple[Message, ...]
    """The prompt."""
    response: str
    """The model's raw text, without special tokens."""
    uid: str | None = None
    """What siblings share, where the loop says it; keeps groups of one prompt apart."""
    member: str | None = None
    """What tells the rollout from its siblings, where the loop says it; the same one twice is answered twice
    and counted once."""
    step: str | None = None
    run: str = ""
    """Label of the training run."""
    validation: bool = False
    siblings: int | None = None
    """How many rollouts the group is thought to have: enough to close it early, never waited for in vain."""
    ground_truth: Any = None
    """verl's `reward_model.ground_truth`: anything at all; used where it holds executable tests."""
    task_id: str | None = None
    entry_point: str | None = None
    reference: str | None = None
    pass_rate: float | None = None


class GroupOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A group that has been scored: its record, and what only the training loop knows of it."""

    record: GroupRecord
    validation: bool
    siblings: int | None
    """How many were expected."""
    late: int = 0
    """How many rollouts of this record came when their group had been answered, and were scored after it."""
    waited: tuple[float, ...] = ()
    """[R] seconds from the arrival of each rollout to the last one's."""
    answered: tuple[float, ...] = ()
    """[R] seconds from the arrival of each rollout to its answer."""


class GroupSink(Protocol):
    """Hears of every group as it is answered: metrics, records, watches. It must not raise."""

    def add(self, outcome: GroupOutcome) -> None:
        """Take a scored group."""
        ...


class RewardScorer(Protocol):
    """Scores one rollout when its group has met. Infrastructure failures are answers, not exceptions."""

    async def score(self, sample: Sample) -> RewardOutput:
        """Return the rollout's reward; waits for its siblings, but never for ever."""
        ...

    async def score_all(self, samples: Sequence[Sample]) -> list[RewardOutput]:
        """Score samples that are known to be all there is of their groups: nobody else is waited for."""
        ...

    async def aclose(self) -> None:
        """Let go of everything; a second call does nothing."""
        ...


class TruthSource(Protocol):
    """Judges by the dataset's own tests, where a row has any."""

    async def judge(
        self, problem: Problem, solutions: Sequence[Solution], value: Any
    ) -> Sequence[bool | None]:
        """Return [R] whether each passes what `Sample.ground_truth` holds; None: it tells nothing."""
        ...
