"""The steered price: its mean in any order, never above it, and greedy's plan over a shuffled stream."""

from __future__ import annotations

import itertools
import math
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.budget import Bounds, GreedyAllocator, PriceAllocator
from coderm_reward.budget.objectives import OBJECTIVES, best_of_n
from coderm_reward.errors import InputError

OBJECTIVE = st.sampled_from(list(OBJECTIVES.values()))
KINDS = st.tuples(st.sampled_from([0.0, 1e-6, 0.05, 0.4, 0.9, 1.0]), st.sampled_from([0.0, 0.3, 1.0]))
RUNS = st.lists(st.tuples(KINDS, st.integers(1, 120)), min_size=1, max_size=8)
BOUNDS = st.sampled_from([Bounds(16), Bounds(3, 3), Bounds(5, 0, 5), Bounds(2, 0, 50), Bounds(40, 8, 64)])


def value(demands, plan, objective):
    total = []
    for demand, tests in zip(demands, plan, strict=True):
        mean = demand.difficulty.pass_rate
        spread = demand.difficulty.std**2 / (mean * (1 - mean))
        total += islice(objective(mean, spread, float(demand.rollouts)), tests)
    return math.fsum(total)


@settings(max_examples=60)
@given(RUNS, BOUNDS, OBJECTIVE)
def test_in_any_order_the_total_is_never_exceeded_and_the_mean_met_within_two_percent(
    demand, runs, bounds, objective
):
    demands = [demand(i, *kind) for i, (kind, times) in enumerate(runs) for _ in range(times)]
    plan = PriceAllocator(bounds, objective).allocate(demands)
    assert all(bounds.minimum <= planned <= bounds.most for planned in plan)
    means = [spent / seen for seen, spent in enumerate(itertools.accumulate(plan), start=1)]
    assert max(means) <= bounds.budget
    assert min(means[299:], default=bounds.budget) >= 0.98 * bounds.budget


@pytest.mark.parametrize("by", ["easiest", "hardest", "most certain", "alternating"])
@pytest.mark.parametrize("objective", OBJECTIVES.values())
def test_sorted_streams_keep_the_mean_and_beat_nobody_by_accident(stream, by, objective):
    demands = list(stream(600, 3))
    demands.sort(key=lambda d: d.difficulty.std if by == "most certain" else d.difficulty.pass_rate)
    if by == "easiest":
        demands.reverse()
    if by == "alternating":
        demands = [d for pair in zip(demands[:300], reversed(demands[300:]), strict=True) for d in pair]
    plan = PriceAllocator(Bounds(16), objective).allocate(demands)
    assert 0.98 * 16 <= np.mean(plan) <= 16
    uniform = value(demands, [16] * 600, objective)
    assert value(demands, plan, objective) >= 0.99 * uniform


@pytest.mark.parametrize("objective", OBJECTIVES.values())
def test_over_a_shuffled_stream_it_converges_to_greedy(stream, objective):
    bounds, shares, gaps = Bounds(16), [], []
    for count in (300, 6000):
        demands = stream(count, 11)
        greedy = GreedyAllocator(bounds, objective).allocate(demands)
        plan = PriceAllocator(bounds, objective).allocate(demands)
        best, even = (value(demands, p, objective) for p in (greedy, [16] * count))
        shares.append((value(demands, plan, objective) - even) / (best - even))
        gaps.append(np.abs(np.subtract(plan, greedy))[count // 2 :].mean())
    assert shares[1] > max(shares[0], 0.93)
    assert gaps[1] < 0.7 * gaps[0]


def test_without_any_difference_everyone_gets_the_mean(demand):
    assert PriceAllocator(Bounds(8)).allocate([demand(i, 0.5, 1.0) for i in range(50)]) == [8] * 50
    assert PriceAllocator(Bounds(8)).allocate([demand(i, 0.0) for i in range(50)]) == [8] * 50


def test_a_stream_goes_on_where_it_was(stream):
    demands = stream(500, 2)
    whole, parts = PriceAllocator(Bounds(16)), PriceAllocator(Bounds(16))
    assert whole.price == 0.0
    plan = whole.allocate(demands)
    assert plan == [b for part in (demands[:7], demands[7:400], demands[400:]) for b in parts.allocate(part)]
    assert whole.price == parts.price > 0.0


def test_what_is_planned_counts_before_anything_is_decided(demand):
    allocator = PriceAllocator(Bounds(16))
    rich = [demand(i, 0.05, planned=64) for i in range(3)]
    assert allocator.allocate([demand("a", 0.05), *rich, demand("b", 0.05)]) == [1, 64, 64, 64, 1]


def test_a_difficulty_that_is_none_is_refused_and_the_stream_goes_on(demand):
    allocator = PriceAllocator(Bounds(16))
    with pytest.raises(InputError, match=r"pass rate -0\.5"):
        allocator.decide(demand("bad", -0.5))
    assert allocator.decide(demand("good", 0.3)) == 16


def test_a_high_price_buys_less(demand):
    demands = [demand(i, p) for i, p in enumerate([0.02, 0.1, 0.3, 0.6] * 100)]
    cheap, dear = (PriceAllocator(Bounds(budget), best_of_n) for budget in (20, 5))
    cheap.allocate(demands), dear.allocate(demands)
    assert dear.price > cheap.price
