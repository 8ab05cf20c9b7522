"""From names to estimators and allocators."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from coderm_reward.budget import (
    Bounds,
    ConstantEstimator,
    DatasetEstimator,
    GreedyAllocator,
    HistoryEstimator,
    PilotEstimator,
    PriceAllocator,
    SequentialAllocator,
    UniformAllocator,
    make_allocator,
    make_estimator,
)
from coderm_reward.budget.choice import ESTIMATORS
from coderm_reward.budget.objectives import OBJECTIVES
from coderm_reward.config import AllocatorName, BudgetConfig, DifficultyName, ObjectiveName
from coderm_reward.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("constant", ConstantEstimator),
        ("dataset", DatasetEstimator),
        ("history", HistoryEstimator),
        ("pilot", PilotEstimator),
    ],
)
def test_estimators_by_name(name, kind):
    assert isinstance(make_estimator(BudgetConfig(difficulty=name)), kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("uniform", UniformAllocator),
        ("greedy", GreedyAllocator),
        ("price", PriceAllocator),
        ("sequential", SequentialAllocator),
    ],
)
def test_allocators_by_name(name, kind):
    assert isinstance(make_allocator(BudgetConfig(allocator=name, budget=16)), kind)


def test_every_name_can_be_made():
    assert set(ESTIMATORS) == set(get_args(DifficultyName))
    assert set(OBJECTIVES) == set(get_args(ObjectiveName))
    for name in get_args(AllocatorName):
        assert make_allocator(BudgetConfig(allocator=name, budget=16)).allocate([]) == []


def test_settings_reach_what_they_are_for():
    config = BudgetConfig(budget=8, allocator="greedy", objective="advantage", min_budget=2, max_budget=9)
    assert make_allocator(config) == GreedyAllocator(Bounds(8, 2, 9), OBJECTIVES["advantage"])
    piloted = msgspec.structs.replace(config, difficulty="pilot", pilot=5)
    assert make_allocator(piloted) == GreedyAllocator(Bounds(8, 5, 9), OBJECTIVES["advantage"])
    config = BudgetConfig(budget=8, allocator="sequential", chunk=3)
    assert make_allocator(config) == SequentialAllocator(Bounds(8), 3)


@pytest.mark.parametrize("name", ["greedy", "price", "sequential"])
def test_without_a_budget_there_is_nothing_to_split(name):
    with pytest.raises(ConfigError, match=f"Allocator {name} splits a budget; give one with --budget"):
        make_allocator(BudgetConfig(allocator=name))
