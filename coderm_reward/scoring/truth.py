"""The dataset's own tests as a part of the training reward (`training.ground_truth_weight`). Pure."""

from __future__ import annotations

import msgspec

from coderm_reward.types import RewardOutput

__all__ = ["mixed_with_truth"]


def mixed_with_truth(reward: RewardOutput, weight: float, acc_threshold: float) -> RewardOutput:
    """Return the reward with a share `weight` of `acc_true` in its score, where that is known.

    `acc` follows the score; all else stays what the generated tests said. A rollout caught tampering keeps
    its 0.0.
    """
    if weight == 0.0 or reward.has_truth == 0.0 or reward.tampered:
        return reward
    score = (1.0 - weight) * reward.score + weight * reward.acc_true
    return msgspec.structs.replace(reward, score=score, acc=float(score >= acc_threshold))
