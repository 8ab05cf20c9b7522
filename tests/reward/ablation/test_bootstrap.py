"""Intervals and ratios against cases where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.ablation.bootstrap import Interval, budget_ratio, interpolate, interval, resamples


def test_the_first_resample_is_the_sample_and_all_have_its_size():
    weights = resamples(5, 3, 20, seed=0)
    assert weights.shape == (21, 15)
    assert (weights[0] == 1.0).all()
    assert (weights.sum(axis=1) == 15.0).all()
    assert (weights.reshape(21, 5, 3).sum(axis=2) % 3 == 0).all()  # a group counts with all its draws
    np.testing.assert_array_equal(weights, resamples(5, 3, 20, seed=0))


def test_an_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        sample = rng.normal(size=60)
        weights = resamples(60, 1, 400, seed)
        found = interval(weights @ sample / weights.sum(axis=1))
        covered += found.low <= 0.0 <= found.high
    assert 88 <= covered <= 99


def test_undefined_replicates_are_left_out_and_undefined_estimates_are_said():
    found = interval(np.array([0.5, 0.4, np.nan, 0.6]))
    assert found.value == 0.5
    assert 0.4 <= found.low <= found.high <= 0.6
    assert math.isnan(interval(np.array([np.nan, 0.1])).low)
    assert math.isnan(interval(np.array([0.5, np.nan])).low)


def test_rounding_is_no_difference_and_an_end_at_zero_neither():
    assert not Interval(1e-17, 1e-18, 1e-16).excludes(0.0)
    assert not Interval(0.1, 0.0, 0.2).excludes(0.0)
    assert not Interval(math.nan, math.nan, math.nan).excludes(0.0)
    assert Interval(0.1, 0.01, 0.2).excludes(0.0)
    assert Interval(0.5, 0.3, 0.9).excludes(1.0)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6), st.data())
def test_interpolation_is_numpys_over_the_logarithm(values, data):
    x = np.cumprod(np.full(len(values), 2.0))
    at = data.draw(st.lists(st.floats(0.5, 200.0), min_size=1, max_size=5))
    found = interpolate(np.array([at]), x[None, :], np.array([values]))
    np.testing.assert_allclose(found[0], np.interp(np.log(at), np.log(x), values), atol=1e-12)


def curve(spent, shift=0.0):
    return 0.3 + 0.08 * np.log(spent * math.exp(shift))


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.0, 1.5])
def test_the_ratio_is_found_of_curves_that_are_shifted(ratio):
    spent, wide = np.array([[2.0, 4.0, 8.0, 16.0]]), np.array([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]])
    found = budget_ratio(spent, curve(spent, -math.log(ratio)), wide, curve(wide))
    assert found == pytest.approx([ratio], rel=0.1)


def test_uniform_against_itself_with_noise_is_one_on_average_and_not_three_quarters():
    """Where the first crossing reads .5 to .75."""
    rng = np.random.default_rng(1)
    spent, wide = (np.tile(x, (400, 1)) for x in ([2.0, 4.0, 8.0, 16.0], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    noise = 0.015
    values = curve(spent) + noise * rng.normal(size=spent.shape)
    uniform = curve(wide) + noise * rng.normal(size=wide.shape)
    assert math.exp(np.log(budget_ratio(spent, values, wide, uniform)).mean()) == pytest.approx(1.0, abs=0.05)


def test_flat_curves_and_single_budgets_have_no_ratio_to_tell():
    spent = np.array([[2.0, 4.0]])
    assert budget_ratio(spent, np.full((1, 2), 0.5), spent, np.full((1, 2), 0.5)) == [1.0]
    assert np.isnan(budget_ratio(spent[:, :1], spent[:, :1], spent, spent)).all()
    assert np.isnan(budget_ratio(spent, np.full((1, 2), np.nan), spent, spent)).all()
