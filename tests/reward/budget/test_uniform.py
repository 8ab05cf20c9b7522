"""The uniform allocator: the budget for each, or everything for each."""

from __future__ import annotations

import pytest

from coderm_reward.budget import UniformAllocator
from coderm_reward.errors import ConfigError
from coderm_reward.protocols import BudgetAllocator


@pytest.mark.parametrize("budget", [None, 1, 8])
def test_each_group_gets_the_same(demand, budget):
    allocator: BudgetAllocator = UniformAllocator(budget)
    assert allocator.allocate([demand(0, 0.1), demand(1, 0.9)]) == [budget, budget]
    assert allocator.allocate([]) == []


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="budget"):
        UniformAllocator(0)
