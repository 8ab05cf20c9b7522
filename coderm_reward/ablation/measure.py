"""What one scored draw is worth, as sums that add up over draws, and the figures these give. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coderm_reward.scoring.metrics import best_of_n, within_group_auc
from coderm_reward.scoring.votes import BoolArray, FloatArray
from coderm_reward.types import RewardOutput

__all__ = ["FIGURES", "SUMS", "figures", "measure"]

SUMS = (
    "draws",
    "spent",
    "best",
    "auc",
    "mixed",
    "rollouts",
    "reward",
    "right",
    "reward_squared",
    "reward_right",
    "all_wrong",
    "gradient",
    "spread",
    "brier",
)
"""What `measure` counts of one draw; each adds up over draws."""

FIGURES = ("best_of_n", "auc", "correlation", "gradient", "spread", "brier", "spent")
"""best_of_n: chance that the best reward is a right rollout, ties averaged. auc: within groups, over mixed
groups. correlation: Pearson's, of reward and truth over all rollouts. gradient: share of the all-wrong groups
whose rewards are not all equal. spread: mean standard deviation of rewards in all-wrong groups. brier: mean
squared error of p_correct. spent: responses per group."""

_AT = {name: index for index, name in enumerate(SUMS)}


def measure(rewards: Sequence[RewardOutput], truth: BoolArray, spent: int) -> FloatArray:
    """Return [SUMS] the sums of one draw with its N rewards and [N] truth."""
    reward = np.array([r.score for r in rewards], dtype=np.float64)
    chance = np.array([r.p_correct for r in rewards], dtype=np.float64)
    auc = within_group_auc(reward, truth)
    all_wrong = not truth.any()
    varied = float(reward.max() - reward.min()) > 1e-9
    return np.array(
        [
            1.0,
            spent,
            best_of_n(reward, truth),
            0.0 if auc is None else auc,
            0.0 if auc is None else 1.0,
            reward.size,
            reward.sum(),
            truth.sum(),
            (reward**2).sum(),
            reward[truth].sum(),
            float(all_wrong),
            float(all_wrong and varied),
            float(reward.std()) if all_wrong else 0.0,
            ((chance - truth) ** 2).sum(),
        ],
        dtype=np.float64,
    )


def figures(sums: FloatArray) -> FloatArray:
    """Return [..., FIGURES] from [..., SUMS] that were added up; NaN where a figure is of nothing."""

    def of(name: str) -> FloatArray:
        return np.asarray(sums[..., _AT[name]], dtype=np.float64)

    count, reward, right = of("rollouts"), of("reward"), of("right")
    covariance = count * of("reward_right") - reward * right
    variances = (count * of("reward_squared") - reward**2) * (count * right - right**2)
    tiny = 1e-12 * count**4
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(variances > tiny, covariance / np.sqrt(np.maximum(variances, tiny)), np.nan)
        return np.stack(
            [
                of("best") / of("draws"),
                of("auc") / of("mixed"),
                correlation,
                of("gradient") / of("all_wrong"),
                of("spread") / of("all_wrong"),
                of("brier") / count,
                of("spent") / of("draws"),
            ],
            axis=-1,
        )
