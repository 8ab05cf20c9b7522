"""The dataset's own tests as a part of the training reward (`training.ground_truth_weight`). Pure."""

from __future__ import annotations

import msgspec

from coderm_reward.types import RewardOutput

__all__ = ["with_truth"]


def with_truth(reward: RewardOutput, weight: float, acc_threshold: float) -> RewardOutput:
    """Return the reward with a share `weight` of `acc_true` in its score, where that is known.

    `acc` follows the score. All else stays what the generated tests said.
    """
    if weight == 0.0 or reward.has_truth == 0.0:
        return reward
    score = (1.0 - weight) * reward.score + weight * reward.acc_true
    return msgspec.structs.replace(reward, score=score, acc=float(score >= acc_threshold))
