"""What a scored group shows about its prompt: the facts that budgets are decided on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coderm_reward.config import ScoringConfig
from coderm_reward.protocols import Evidence
from coderm_reward.scoring.judges import without_judges
from coderm_reward.scoring.reliability import class_scores
from coderm_reward.scoring.votes import count_votes
from coderm_reward.types import ExecutionMatrix, RewardOutput

__all__ = ["group_evidence"]


def group_evidence(
    matrix: ExecutionMatrix, rewards: Sequence[RewardOutput], config: ScoringConfig, responses: int
) -> Evidence:
    """Return the evidence of one group from its matrix and the rewards that it gave.

    Rollouts with a neutral reward are nothing to learn from; those without code, and those caught tampering,
    failed. A class whose score every scored rollout shares, or knows nothing of, splits nobody.
    """
    seen = [reward for reward in rewards if not reward.neutral]
    ballots = count_votes(without_judges(matrix, config.exclude_judges), config.vote_unit, config.duplicates)
    scores = class_scores(ballots)[ballots.eligible]
    low = np.where(np.isnan(scores), np.inf, scores).min(axis=0, initial=np.inf)
    high = np.where(np.isnan(scores), -np.inf, scores).max(axis=0, initial=-np.inf)
    return Evidence(
        rollouts=len(seen),
        right=sum(reward.acc for reward in seen),
        tests=scores.shape[1],
        unsplit=int((high - low <= 0.0).sum()),
        reliability=rewards[0].reliability if rewards else 0.0,
        responses=responses,
    )
