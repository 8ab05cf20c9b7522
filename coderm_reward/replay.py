"""What other scoring settings would have made of recorded groups: rewards compared, nothing run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from coderm_reward.data.records import GroupRecord

__all__ = ["Difference", "GroupDifference", "compared", "group_difference", "rank_correlation"]

FloatArray = npt.NDArray[np.float64]

CHANGED = 1e-9
"""A reward that moved further than this has changed."""


class GroupDifference(msgspec.Struct, frozen=True):
    """One group under both settings."""

    group: str
    prompt: str
    """Task id, or prompt hash."""
    step: str | None
    rollouts: int
    mean_before: float
    mean_after: float
    acc_before: float
    """Sums over rollouts, like the counts that follow."""
    acc_after: float
    changed: int
    largest: float
    """The change of a reward that is furthest from 0."""
    rank_correlation: float | None
    """Spearman's, within the group; None where rewards are all equal under one of the settings."""
    flips: int
    """Rollouts whose advantage (reward minus the group's mean) changed its sign."""
    spread_before: bool
    spread_after: bool
    """Whether rewards differ at all, which is what GRPO learns from."""


class Difference(msgspec.Struct, frozen=True):
    """All groups under both settings."""

    groups: int
    rollouts: int
    mean_reward_before: float
    mean_reward_after: float
    mean_acc_before: float
    mean_acc_after: float
    changed_share: float
    """Share of the rollouts whose reward changed."""
    groups_changed: int
    rank_correlation: float | None
    """Mean over the groups that have one."""
    ranked_groups: int
    flips: int
    flip_share: float
    """Share of the rollouts whose advantage changed its sign."""
    gradient_lost: int
    """Groups whose rewards differed and are now all equal."""
    gradient_gained: int
    largest: tuple[GroupDifference, ...]
    """The groups that changed most, by the largest change of a reward."""


def group_difference(before: GroupRecord, after: GroupRecord) -> GroupDifference:
    """Return what changed in one group.

    Raises:
        ValueError: the records have different rollouts, or none.
    """
    old, new = _scores(before), _scores(after)
    if old.shape != new.shape or not old.size:
        raise ValueError("The two records must be of the same rollouts, and of at least one.")
    change = new - old
    moved = np.abs(change) > CHANGED
    advantages = [_signs(scores) for scores in (old, new)]
    return GroupDifference(
        group=before.group,
        prompt=before.task_id or before.prompt_hash,
        step=before.step,
        rollouts=old.size,
        mean_before=float(old.mean()),
        mean_after=float(new.mean()),
        acc_before=sum(rollout.reward.acc for rollout in before.rollouts),
        acc_after=sum(rollout.reward.acc for rollout in after.rollouts),
        changed=int(moved.sum()),
        largest=float(change[np.abs(change).argmax()]) if moved.any() else 0.0,
        rank_correlation=rank_correlation(old, new),
        flips=int((advantages[0] * advantages[1] < 0).sum()),
        spread_before=bool(advantages[0].any()),
        spread_after=bool(advantages[1].any()),
    )


def compared(groups: Iterable[GroupDifference], top: int = 10) -> Difference:
    """Return what changed over all groups, with the `top` that changed most.

    Raises:
        ValueError: there are none.
    """
    found = list(groups)
    if not found:
        raise ValueError("There is no group to compare.")
    rollouts = sum(group.rollouts for group in found)
    ranks = [group.rank_correlation for group in found if group.rank_correlation is not None]
    flips = sum(group.flips for group in found)
    moved = [group for group in found if group.changed]
    return Difference(
        groups=len(found),
        rollouts=rollouts,
        mean_reward_before=sum(group.mean_before * group.rollouts for group in found) / rollouts,
        mean_reward_after=sum(group.mean_after * group.rollouts for group in found) / rollouts,
        mean_acc_before=sum(group.acc_before for group in found) / rollouts,
        mean_acc_after=sum(group.acc_after for group in found) / rollouts,
        changed_share=sum(group.changed for group in found) / rollouts,
        groups_changed=len(moved),
        rank_correlation=float(np.mean(ranks)) if ranks else None,
        ranked_groups=len(ranks),
        flips=flips,
        flip_share=flips / rollouts,
        gradient_lost=sum(group.spread_before and not group.spread_after for group in found),
        gradient_gained=sum(group.spread_after and not group.spread_before for group in found),
        largest=tuple(sorted(moved, key=lambda group: (-abs(group.largest), -group.changed))[:top]),
    )


def rank_correlation(x: FloatArray, y: FloatArray) -> float | None:
    """Return Spearman's rank correlation, ties sharing a rank; None where one has equal values only."""
    if x.size < 2 or np.ptp(x) <= CHANGED or np.ptp(y) <= CHANGED:
        return None
    return float(np.clip(np.corrcoef(_ranks(x), _ranks(y))[0, 1], -1.0, 1.0))


def _ranks(values: FloatArray) -> FloatArray:
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    not_above = np.searchsorted(ordered, values, side="right")
    return (below + not_above + 1) / 2.0


def _signs(scores: FloatArray) -> FloatArray:
    """[R] signs of the group-relative advantages; a standard deviation to divide by changes none."""
    advantage = scores - scores.mean()
    return np.where(np.abs(advantage) <= CHANGED, 0.0, np.sign(advantage))


def _scores(record: GroupRecord) -> FloatArray:
    rewards: Sequence[float] = [rollout.reward.score for rollout in record.rollouts]
    return np.array(rewards, dtype=np.float64)
