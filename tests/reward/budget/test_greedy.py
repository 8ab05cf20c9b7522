"""Greedy in bulk against greedy by heap and against every plan there is."""

from __future__ import annotations

import heapq
import itertools
import math
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.budget import Bounds, GreedyAllocator, UniformAllocator
from coderm_reward.budget.greedy import largest_gains
from coderm_reward.budget.objectives import OBJECTIVES
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.protocols import BudgetAllocator

RATES = st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.9, 1.0]) | st.floats(0.0, 1.0)
SPREADS = st.sampled_from([0.0, 0.2, 1.0])
PROMPTS = st.lists(st.tuples(RATES, SPREADS, st.integers(0, 9)), max_size=12)
OBJECTIVE = st.sampled_from(list(OBJECTIVES.values()))
BOUNDS = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 9)).map(
    lambda sizes: Bounds(max(sizes[0] + sizes[1], 1), sizes[0], max(sum(sizes), 1))
)


@pytest.fixture(scope="session")
def demands_of(demand):
    return lambda prompts: [demand(i, *prompt) for i, prompt in enumerate(prompts)]


def gains_of(demand, objective, tests):
    mean = demand.difficulty.pass_rate
    most = mean * (1 - mean)
    spread = min(demand.difficulty.std**2 / most, 1.0) if most > 0 else 0.0
    columns = objective(np.array([mean]), np.array([spread]), np.array([max(demand.rollouts, 1.0)]))
    return [float(column[0]) for column in islice(columns, tests)]


def by_heap(demands, bounds, objective):
    """The textbook: pop the best next test until the total is spent; ties to fewer tests, then the hash."""
    gains = [gains_of(d, objective, bounds.most) for d in demands]
    plan = [bounds.minimum] * len(demands)
    heap = [
        (-gains[i][bounds.minimum], bounds.minimum, d.prompt, i)
        for i, d in enumerate(demands)
        if bounds.minimum < bounds.most
    ]
    heapq.heapify(heap)
    for _ in range(bounds.total(demands) - sum(plan)):
        if not heap:
            break
        _, tests, prompt, i = heapq.heappop(heap)
        plan[i] = tests + 1
        if plan[i] < bounds.most:
            heapq.heappush(heap, (-gains[i][plan[i]], plan[i], prompt, i))
    return plan


@given(PROMPTS, BOUNDS, OBJECTIVE)
def test_greedy_is_what_a_heap_gives(demands_of, prompts, bounds, objective):
    demands = demands_of(prompts)
    assert GreedyAllocator(bounds, objective).allocate(demands) == by_heap(demands, bounds, objective)


@given(st.lists(st.tuples(RATES, SPREADS), min_size=1, max_size=4), st.integers(1, 3), OBJECTIVE)
def test_no_plan_of_the_same_total_gains_more(demands_of, prompts, budget, objective):
    demands = demands_of(prompts)
    bounds = Bounds(budget, 0, 6)
    gains = [np.cumsum([0.0, *gains_of(d, objective, 6)]) for d in demands]

    def gain_of(plan):
        return math.fsum(curve[b] for curve, b in zip(gains, plan, strict=True))

    plans = itertools.product(range(7), repeat=len(demands))
    best = max(gain_of(plan) for plan in plans if sum(plan) == budget * len(demands))
    plan = GreedyAllocator(bounds, objective).allocate(demands)
    assert gain_of(plan) == pytest.approx(best, abs=1e-12)


@given(PROMPTS, BOUNDS, OBJECTIVE)
def test_the_total_is_exact_and_everyone_within_bounds(demands_of, prompts, bounds, objective):
    plan = GreedyAllocator(bounds, objective).allocate(demands_of(prompts))
    assert sum(plan) == bounds.budget * len(prompts)
    assert all(bounds.minimum <= planned <= bounds.most for planned in plan)


@given(PROMPTS, BOUNDS, OBJECTIVE)
def test_a_larger_budget_takes_nothing_from_anyone(demands_of, prompts, bounds, objective):
    demands = demands_of(prompts)
    more = Bounds(bounds.budget + 1, bounds.minimum, bounds.most + 1)
    before = GreedyAllocator(Bounds(bounds.budget, bounds.minimum, bounds.most + 1), objective)
    pairs = zip(before.allocate(demands), GreedyAllocator(more, objective).allocate(demands), strict=True)
    assert all(first <= second for first, second in pairs)


@given(PROMPTS, BOUNDS, OBJECTIVE, st.randoms(use_true_random=False))
def test_greedy_and_uniform_do_not_see_the_order(demands_of, prompts, bounds, objective, random):
    demands = demands_of(prompts)
    shuffled = random.sample(demands, len(demands))
    allocators: list[BudgetAllocator] = [GreedyAllocator(bounds, objective), UniformAllocator(bounds.budget)]
    for allocator in allocators:
        plan = dict(zip((d.prompt for d in demands), allocator.allocate(demands), strict=True))
        assert allocator.allocate(shuffled) == [plan[d.prompt] for d in shuffled]


@settings(max_examples=30)
@given(st.integers(1, 400), st.integers(0, 2000), st.integers(0, 2**32 - 1))
def test_a_cut_pool_loses_nothing(count, total, seed):
    """Totals far below what all columns hold, with ties everywhere: the pool is cut many times."""
    rng = np.random.default_rng(seed)
    gains = -np.sort(-rng.integers(0, 4, (30, count)).astype(float), axis=0)
    keys = [f"{i * 7919 % count:05d}" for i in range(count)]
    total = min(total, 30 * count)
    order = sorted((-gains[b, i], b, keys[i], i) for b in range(30) for i in range(count))[:total]
    expected = np.bincount([i for *_, i in order], minlength=count)
    assert largest_gains(iter(gains), keys, total, 0, 30).tolist() == expected.tolist()


def test_hard_prompts_get_more_than_easy_and_hopeless_ones(demand):
    plan = GreedyAllocator(Bounds(8)).allocate([demand(p, p) for p in (0.9, 0.15, 0.0)])
    assert plan[1] > plan[0] > plan[2] == 1


def test_without_any_difference_everyone_gets_the_mean(demand):
    for spread in (0.0, 0.5, 1.0):
        plan = GreedyAllocator(Bounds(8)).allocate([demand(i, 0.5, spread) for i in range(30)])
        assert plan == [8] * 30


def test_what_is_planned_stays_and_counts(demand):
    demands = [demand(0, 0.3), demand(1, 0.3, planned=20), demand(2, 0.3)]
    assert GreedyAllocator(Bounds(8)).allocate(demands) == [2, 20, 2]
    assert GreedyAllocator(Bounds(8, 4)).allocate(demands) == [4, 20, 4]
    assert GreedyAllocator(Bounds(8)).allocate([]) == []


def test_a_difficulty_that_is_none_is_refused(demand):
    with pytest.raises(InputError, match="test estimator says pass rate nan"):
        GreedyAllocator(Bounds(8)).allocate([demand(0, float("nan"))])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            (4, 5, None),
            r"budget of 4 .* below the 5 that every prompt gets; raise budget or lower min_budget",
        ),
        ((8, 1, 7), r"budget of 8 .* cannot be spent where none may get more than 7; raise max_budget"),
        ((0, 0, 7), "budget must be at least 1"),
        ((4, -1, 7), "min_budget must be at least 0"),
    ],
)
def test_bounds_that_cannot_be_kept_are_refused(sizes, message):
    with pytest.raises(ConfigError, match=message):
        Bounds(*sizes)
