"""Budget: how hard a prompt is, and how many generator responses it gets (DESIGN section 7).

The history's file apart, everything here is a pure function of what it has been told.
"""

from __future__ import annotations

from coderm_reward.budget.bounds import Bounds
from coderm_reward.budget.choice import make_allocator, make_estimator
from coderm_reward.budget.constant import ConstantEstimator
from coderm_reward.budget.dataset import DatasetEstimator
from coderm_reward.budget.greedy import GreedyAllocator
from coderm_reward.budget.history import HistoryEstimator
from coderm_reward.budget.objectives import OBJECTIVES, Objective, advantage, best_of_n
from coderm_reward.budget.pilot import PilotEstimator
from coderm_reward.budget.price import PriceAllocator
from coderm_reward.budget.sequential import SequentialAllocator
from coderm_reward.budget.uniform import UniformAllocator

__all__ = [
    "OBJECTIVES",
    "Bounds",
    "ConstantEstimator",
    "DatasetEstimator",
    "GreedyAllocator",
    "HistoryEstimator",
    "Objective",
    "PilotEstimator",
    "PriceAllocator",
    "SequentialAllocator",
    "UniformAllocator",
    "advantage",
    "best_of_n",
    "make_allocator",
    "make_estimator",
]
