"""The steps of a training, or of several dumps, one line each (pure)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from coderm_reward.data.records import GroupRecord
from coderm_reward.report.groups import GroupNumbers

__all__ = ["StepNumbers", "step_numbers"]


class StepNumbers(msgspec.Struct, frozen=True):
    """What all groups of one step come to."""

    step: str
    groups: int
    rollouts: int
    mean_reward: float
    mean_acc: float
    acc_true: float | None
    """Share that passes the dataset's own tests, of the rollouts that have such."""
    zero_spread: int
    """Groups of two or more rollouts that all have the same score."""
    tampered: int
    neutral: int
    infra_errors: int


def step_numbers(records: Sequence[GroupRecord], groups: Sequence[GroupNumbers]) -> tuple[StepNumbers, ...]:
    """Return one line per step, in their order; none where there are not two steps or more.

    `groups` are the numbers of the records, in their order.
    """
    by_step: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        if record.step is not None and record.rollouts:
            by_step.setdefault(record.step, []).append(index)
    if len(by_step) < 2:
        return ()
    ordered = sorted(by_step, key=lambda step: (_number(step), step))
    return tuple(_numbers(step, records, groups, by_step[step]) for step in ordered)


def _numbers(
    step: str, records: Sequence[GroupRecord], groups: Sequence[GroupNumbers], indices: Sequence[int]
) -> StepNumbers:
    rewards = [rollout.reward for index in indices for rollout in records[index].rollouts]
    known = [reward.acc_true for reward in rewards if reward.has_truth > 0]
    return StepNumbers(
        step=step,
        groups=len(indices),
        rollouts=len(rewards),
        mean_reward=float(np.mean([reward.score for reward in rewards])),
        mean_acc=float(np.mean([reward.acc for reward in rewards])),
        acc_true=float(np.mean(known)) if known else None,
        zero_spread=sum(groups[index].zero_spread for index in indices),
        tampered=sum(reward.tampered > 0 for reward in rewards),
        neutral=sum(reward.neutral > 0 for reward in rewards),
        infra_errors=sum(reward.infra_error > 0 for reward in rewards),
    )


def _number(step: str) -> float:
    try:
        return float(step)
    except ValueError:
        return float("inf")
