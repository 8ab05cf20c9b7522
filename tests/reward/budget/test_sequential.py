"""Rounds: exact totals whatever the groups show, and the next chunk where it changes the decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.budget import Bounds, SequentialAllocator, UniformAllocator
from coderm_reward.budget.sequential import value_of_more
from coderm_reward.errors import ConfigError
from coderm_reward.protocols import BudgetAllocator, Evidence, RoundAllocator


def played(allocator, demands, show):
    """All rounds, as the pipeline plays them; `show(i, planned)` is what group i shows then."""
    plans = [allocator.allocate(demands)]
    while True:
        plan = plans[-1]
        grown = allocator.grow(demands, plan, [show(i, planned) for i, planned in enumerate(plan)])
        assert all(new >= old for new, old in zip(grown, plan, strict=True))
        if grown == plan:
            return plans
        plans.append(grown)


ALPHAS = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9)
BOUNDS = st.sampled_from([Bounds(16), Bounds(8, 2, 9), Bounds(4), Bounds(1), Bounds(12, 12)])


@given(ALPHAS, BOUNDS, st.integers(1, 5))
def test_the_total_is_exact_and_everyone_within_bounds(demand, alphas, bounds, chunk):
    allocator: RoundAllocator = SequentialAllocator(bounds, chunk)
    demands = [demand(i) for i in range(len(alphas))]
    *_, plan = played(allocator, demands, lambda i, n: Evidence(8, 4, n, 0, alphas[i], n))
    assert sum(plan) == bounds.budget * len(demands)
    assert all(bounds.minimum <= planned <= bounds.most for planned in plan)


@given(ALPHAS, st.randoms(use_true_random=False))
def test_the_order_of_the_groups_does_not_matter(demand, alphas, random):
    def final(order):
        demands = [demand(i) for i in order]
        *_, plan = played(
            SequentialAllocator(Bounds(8)), demands, lambda i, n: Evidence(8, 4, n, 0, alphas[order[i]], n)
        )
        return dict(zip(order, plan, strict=True))

    order = list(range(len(alphas)))
    assert final(order) == final(random.sample(order, len(order)))


def test_more_goes_to_the_group_whose_ranking_is_in_doubt(demand):
    demands = [demand("sure"), demand("in doubt"), demand("cannot be split")]

    def show(i, planned):
        return Evidence(8, 4, planned, planned if i == 2 else 0, (0.95, 0.3, 0.0)[i], planned)

    *_, plan = played(SequentialAllocator(Bounds(16)), demands, show)
    assert plan[1] > plan[0]
    assert plan[1] > plan[2]


def test_a_group_that_has_no_more_leaves_its_share_to_the_others(demand):
    def show(i, planned):
        responses = min(planned, 6) if i == 0 else planned
        return Evidence(8, 4, responses, 0, 0.5, responses)

    *_, plan = played(SequentialAllocator(Bounds(16)), [demand(0), demand(1)], show)
    assert plan == [8, 26]


def test_groups_without_rollouts_or_generator_end_like_all_others(demand):
    assert played(SequentialAllocator(Bounds(8)), [], lambda i, n: Evidence()) == [[]]
    assert played(SequentialAllocator(Bounds(8)), [demand(0)], lambda i, n: Evidence()) == [[4]]


def test_what_is_planned_stays(demand):
    demands = [demand(0, planned=13), demand(1)]
    *_, plan = played(SequentialAllocator(Bounds(8)), demands, lambda i, n: Evidence(8, 4, n, 0, 0.5, n))
    assert plan == [13, 4]


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_test_is_worth_less_the_more_is_known(tests, unsplit, alpha, other):
    value = value_of_more(Evidence(tests=tests, unsplit=unsplit, reliability=alpha))
    assert value > value_of_more(Evidence(tests=tests + 1, unsplit=unsplit, reliability=alpha)) > 0
    assert value > value_of_more(Evidence(tests=tests, unsplit=unsplit + 1, reliability=alpha))
    reliable = Evidence(tests=tests, unsplit=unsplit, reliability=max(alpha, other))
    assert value >= value_of_more(reliable)


def test_the_rule_is_the_measured_one():
    assert value_of_more(Evidence(tests=3, unsplit=2, reliability=0.6)) == pytest.approx(0.5 / (4 * 1.4))


def test_only_allocators_with_rounds_are_asked_for_more():
    allocator: BudgetAllocator = UniformAllocator(4)
    assert not isinstance(allocator, RoundAllocator)
    assert isinstance(SequentialAllocator(Bounds(4)), RoundAllocator)


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="chunk must be at least 1"):
        SequentialAllocator(Bounds(4), 0)
