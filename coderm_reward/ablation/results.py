"""What an ablation found: figures with their intervals, ready for tables, CSV and plots."""

from __future__ import annotations

import msgspec

from coderm_reward.ablation.bootstrap import Interval
from coderm_reward.ablation.settings import AblationSettings
from coderm_reward.config import AggregatorName, VoteUnit

__all__ = ["AblationResult", "Cell", "QuintilePoint", "Ratio"]


class Cell(msgspec.Struct, frozen=True):
    """One rule at one mean budget, scored one way."""

    vote_unit: VoteUnit
    aggregator: AggregatorName
    policy: str
    budget: int
    figures: dict[str, Interval]
    """By name: see measure.FIGURES."""
    gain: dict[str, Interval]
    """Minus uniform's figure where uniform spends as much, same scoring; empty for uniform itself."""
    against_first: dict[str, Interval]
    """Minus the figure of the first aggregator under the same rule and budget; empty for it itself."""


class Ratio(msgspec.Struct, frozen=True):
    """The share of uniform's budget at which a rule does as well as uniform, over all budgets at once."""

    vote_unit: VoteUnit
    aggregator: AggregatorName
    policy: str
    figure: str
    ratio: Interval


class QuintilePoint(msgspec.Struct, frozen=True):
    """Uniform on the fifth of the groups that are of one difficulty."""

    vote_unit: VoteUnit
    aggregator: AggregatorName
    quintile: int
    """1 is the hardest."""
    pass_rate: float
    budget: int
    figures: dict[str, Interval]


class AblationResult(msgspec.Struct, frozen=True):
    """Everything that `coderm-reward ablate` shows."""

    settings: AblationSettings
    rollouts: int
    """Drawn per group."""
    groups: int
    mixed_groups: int
    """With right and wrong rollouts among all that were recorded."""
    all_wrong_groups: int
    pass_rate: float
    oracle: float
    """best_of_n of a perfect score."""
    responses: float
    """Recorded per group, on average."""
    cells: tuple[Cell, ...]
    ratios: tuple[Ratio, ...]
    quintiles: tuple[QuintilePoint, ...]
    pass_rates: tuple[float, ...]
    """[G]"""
    allocations: dict[str, tuple[float, ...]]
    """Policy -> [G] mean responses given under the middle budget, the first scoring."""
    allocation_budget: int
