"""Ablation: what budgets, aggregators and vote units are worth on recorded groups with known truth. Pure."""

from __future__ import annotations

from coderm_reward.ablation.bootstrap import Interval
from coderm_reward.ablation.engine import run_ablation, steps
from coderm_reward.ablation.groups import AblationGroup, ablation_group
from coderm_reward.ablation.results import AblationResult, Cell
from coderm_reward.ablation.settings import AblationSettings, DifficultySource, Policy, policies

__all__ = [
    "AblationGroup",
    "AblationResult",
    "AblationSettings",
    "Cell",
    "DifficultySource",
    "Interval",
    "Policy",
    "ablation_group",
    "policies",
    "run_ablation",
    "steps",
]
