"""Scoring: matrix -> votes -> aggregated scores -> rewards, and the quality of all that. Pure numpy."""

from __future__ import annotations

from coderm_reward.scoring.aggregators import AGGREGATORS, Aggregator, Scores
from coderm_reward.scoring.evaluation import (
    AggregatorRow,
    EvaluationGroup,
    EvaluationTable,
    evaluate_groups,
)
from coderm_reward.scoring.evidence import group_evidence
from coderm_reward.scoring.judges import judged_cells, without_judges
from coderm_reward.scoring.metrics import ClassifierMetrics
from coderm_reward.scoring.reliability import cronbach_alpha
from coderm_reward.scoring.rewards import GroupRewards, group_rewards
from coderm_reward.scoring.votes import Ballots, VoteTable, count_votes

__all__ = [
    "AGGREGATORS",
    "Aggregator",
    "AggregatorRow",
    "Ballots",
    "ClassifierMetrics",
    "EvaluationGroup",
    "EvaluationTable",
    "GroupRewards",
    "Scores",
    "VoteTable",
    "count_votes",
    "cronbach_alpha",
    "evaluate_groups",
    "group_evidence",
    "group_rewards",
    "judged_cells",
    "without_judges",
]
