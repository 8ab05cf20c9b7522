"""Budget: how hard a prompt is, and how many generator responses it gets (DESIGN section 7). Pure."""

from __future__ import annotations

from coderm_reward.budget.constant import ConstantEstimator
from coderm_reward.budget.uniform import UniformAllocator

__all__ = ["ConstantEstimator", "UniformAllocator"]
