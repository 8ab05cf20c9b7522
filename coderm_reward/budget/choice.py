"""From settings to an estimator and an allocator, by name."""

from __future__ import annotations

from collections.abc import Callable

from coderm_reward.budget.bounds import Bounds
from coderm_reward.budget.constant import ConstantEstimator
from coderm_reward.budget.dataset import DatasetEstimator
from coderm_reward.budget.greedy import GreedyAllocator
from coderm_reward.budget.history import HistoryEstimator
from coderm_reward.budget.objectives import OBJECTIVES
from coderm_reward.budget.pilot import PilotEstimator
from coderm_reward.budget.price import PriceAllocator
from coderm_reward.budget.sequential import SequentialAllocator
from coderm_reward.budget.uniform import UniformAllocator
from coderm_reward.config import BudgetConfig, DifficultyName
from coderm_reward.errors import ConfigError
from coderm_reward.protocols import BudgetAllocator, DifficultyEstimator

__all__ = ["ESTIMATORS", "make_allocator", "make_estimator"]

ESTIMATORS: dict[DifficultyName, Callable[[BudgetConfig], DifficultyEstimator]] = {
    "constant": lambda config: ConstantEstimator(config.pass_rate),
    "dataset": lambda config: DatasetEstimator(
        config.pass_rate_trials, config.pass_rate, config.prior_strength
    ),
    "history": lambda config: HistoryEstimator(
        config.history,
        decay=config.history_decay,
        prior_mean=config.pass_rate,
        prior_strength=config.prior_strength,
    ),
    "pilot": lambda config: PilotEstimator(config.pilot, config.pass_rate, config.prior_strength),
    "probe": lambda config: _probe(config),
}
"""How each name of `budget.difficulty` is made; what needs a heavy framework imports it there."""


def _probe(config: BudgetConfig) -> DifficultyEstimator:
    from coderm_reward.budget.probe import ProbeEstimator

    if config.probe is None:
        raise ConfigError("Estimator probe needs a trained probe; name its file with --probe.")
    return ProbeEstimator.load(config.probe, model=config.probe_model)


def make_estimator(config: BudgetConfig) -> DifficultyEstimator:
    """Return the estimator that the settings name.

    Raises:
        ConfigError: a setting out of range, or a probe of another layer or without its extra.
        InputError: a probe file that is missing or none.
        OutputError: a history file that cannot be used.
    """
    return ESTIMATORS[config.difficulty](config)


def make_allocator(config: BudgetConfig) -> BudgetAllocator:
    """Return the allocator that the settings name; with estimator pilot its minimum is at least the pilot.

    Raises:
        ConfigError: no budget where one is needed, or one outside of its bounds.
    """
    if config.allocator == "uniform":
        return UniformAllocator(config.budget)
    if config.budget is None:
        raise ConfigError(
            f"Allocator {config.allocator} splits a budget; give one with --budget, such as --budget 16."
        )
    minimum = max(config.min_budget, config.pilot) if config.difficulty == "pilot" else config.min_budget
    bounds = Bounds(config.budget, minimum, config.max_budget)
    if config.allocator == "sequential":
        return SequentialAllocator(bounds, config.chunk)
    objective = OBJECTIVES[config.objective]
    if config.allocator == "greedy":
        return GreedyAllocator(bounds, objective)
    return PriceAllocator(bounds, objective)
