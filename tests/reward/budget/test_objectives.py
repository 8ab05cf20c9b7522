"""What a test is worth, against the definitions: expectations over a Beta, sums over compositions."""

from __future__ import annotations

import math
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.budget.objectives import (
    OBJECTIVES,
    advantage,
    best_of_n,
    disagreement,
    vote_information,
)

MEANS = st.floats(0.0, 1.0)
SPREADS = st.floats(0.0, 1.0)
ROLLOUTS = st.integers(1, 16).map(float)
NAMES = st.sampled_from(sorted(OBJECTIVES))


def compositions(mean: float, spread: float, rollouts: int) -> list[float]:
    """[R + 1] the chance of each number of right rollouts: beta-binomial, or binomial without spread."""
    if spread == 0.0:
        return [math.comb(rollouts, k) * mean**k * (1 - mean) ** (rollouts - k) for k in range(rollouts + 1)]
    a, b = mean * (1 / spread - 1), (1 - mean) * (1 / spread - 1)
    log = math.lgamma
    return [
        math.comb(rollouts, k)
        * math.exp(log(a + k) + log(b + rollouts - k) - log(a + b + rollouts) - log(a) - log(b) + log(a + b))
        for k in range(rollouts + 1)
    ]


@given(st.floats(0.01, 0.99), st.floats(0.02, 0.95), st.integers(1, 12))
def test_best_of_n_is_the_expected_chance_that_one_of_b_succeeds(mean, spread, tests):
    """E[(1 - p)^b] of a Beta is the beta-binomial chance of no success in b tries."""
    value = sum(islice(best_of_n(mean, spread, 1.0), tests))
    assert value == pytest.approx(1.0 - compositions(mean, spread, tests)[0], abs=1e-9)


@given(MEANS, st.integers(0, 20))
def test_best_of_n_of_a_known_pass_rate_is_the_papers(mean, tests):
    assert sum(islice(best_of_n(mean, 0.0, 1.0), tests)) == pytest.approx(1 - (1 - mean) ** tests, abs=1e-12)


@given(NAMES, MEANS, SPREADS, ROLLOUTS)
def test_gains_never_rise_and_are_never_negative(name, mean, spread, rollouts):
    gains = list(islice(OBJECTIVES[name](mean, spread, rollouts), 40))
    assert all(first >= second >= 0.0 for first, second in pairwise(gains))
    assert sum(gains) <= 1.0 + 1e-9


@given(NAMES, st.lists(st.tuples(MEANS, SPREADS, ROLLOUTS), min_size=1, max_size=5))
def test_arrays_are_their_elements(name, rows):
    arrays = OBJECTIVES[name](*(np.array(column) for column in zip(*rows, strict=True)))
    columns = [column.tolist() for column in islice(arrays, 6)]
    scalars = [list(islice(OBJECTIVES[name](*row), 6)) for row in rows]
    assert np.allclose(np.transpose(columns), scalars, rtol=1e-9, atol=1e-13)


@given(MEANS, SPREADS, ROLLOUTS)
def test_a_group_that_agrees_gains_no_advantage(mean, spread, rollouts):
    """One rollout, or a pass rate that is certainly 0 or 1: nothing to tell apart, whatever the tests."""
    for agreeing in (
        (mean, spread, 1.0),
        (0.0, spread, rollouts),
        (1.0, spread, rollouts),
        (mean, 1.0, rollouts),
    ):
        assert list(islice(advantage(*agreeing), 5)) == [0.0] * 5


@given(st.floats(0.01, 0.99), st.floats(0.0, 0.95), st.integers(2, 16))
def test_disagreement_is_neither_all_right_nor_all_wrong(mean, spread, rollouts):
    chances = compositions(mean, spread if spread > 0.01 else 0.0, rollouts)
    expected = 1.0 - chances[0] - chances[-1]
    found = disagreement(mean, spread if spread > 0.01 else 0.0, float(rollouts))
    assert found == pytest.approx(expected, abs=1e-8)


@given(st.floats(0.01, 0.99), st.floats(0.02, 0.95), st.integers(2, 16), st.integers(1, 64))
def test_advantage_is_close_to_the_sum_over_all_compositions(mean, spread, rollouts, tests):
    information = vote_information(0.098, 0.388)
    exact = 0.0
    for k, chance in enumerate(compositions(mean, spread, rollouts)):
        ratio = k / rollouts * (1 - k / rollouts) * information
        exact += chance * (1.0 - 1.0 / (1.0 + tests * ratio))
    assert sum(islice(advantage(mean, spread, float(rollouts)), tests)) == pytest.approx(exact, abs=0.03)


def test_advantage_is_what_simulated_advantages_lose_in_variance():
    """Rewards drawn from the model of the docstring: the variance of advantages about their true values."""
    rng = np.random.default_rng(5)
    far, frr, tests, rollouts = 0.098, 0.388, 8, 400
    right = np.arange(rollouts) < rollouts // 2
    chance = np.where(right, 1.0 - frr, far)
    rewards = rng.binomial(tests, chance, size=(4000, rollouts)) / tests
    normalised = (rewards - rewards.mean(axis=1, keepdims=True)) / rewards.std(axis=1, keepdims=True)
    left = normalised.var(axis=0).mean()
    gained = sum(islice(advantage(0.5, 0.0, float(rollouts)), tests))
    assert 1.0 - left == pytest.approx(gained, abs=0.01)


def test_a_test_that_says_nothing_has_no_information():
    assert vote_information(0.5, 0.5) == 0.0
    assert vote_information(0.098, 0.388) == pytest.approx(1.62, abs=0.01)
