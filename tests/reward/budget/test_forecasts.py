"""Measures of forecasts against their closed forms, and what fitting finds in data made to a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coderm_reward.budget.forecasts import (
    brier,
    covered,
    fit_length_baseline,
    fit_spread,
    log_loss,
    reliability_bins,
    resampled_interval,
    spearman,
    squared_z,
)

INFINITE = math.inf
rates = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1))


@given(st.integers(0, 20), st.integers(1, 20), st.floats(0.01, 0.99))
def test_both_losses_are_means_over_single_rollouts(right: int, more: int, p: float) -> None:
    outcomes = np.array([1.0] * right + [0.0] * more)
    y = np.array([outcomes.mean()])
    assert brier(np.array([p]), y)[0] == pytest.approx(((p - outcomes) ** 2).mean())
    singles = -np.log(np.where(outcomes == 1.0, p, 1.0 - p))
    assert log_loss(np.array([p]), y)[0] == pytest.approx(singles.mean())


@given(rates)
def test_nobody_does_better_than_one_who_knows_the_rate(y: np.ndarray) -> None:
    for loss in (brier, log_loss):
        for p in (0.0, 0.3, 1.0):
            assert (loss(np.full(y.size, p), y) >= loss(y, y) - 1e-5).all()


def test_a_wrong_certainty_costs_a_finite_amount() -> None:
    assert log_loss(np.array([0.0]), np.array([1.0]))[0] == pytest.approx(-math.log(1e-6))


def test_spearman_is_that_of_the_ranks_and_ties_share_theirs() -> None:
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 100.0, 1000.0])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1.0)
    # ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3: covariance 4.5, variances 4.5 and 5
    assert spearman(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(
        4.5 / math.sqrt(4.5 * 5.0)
    )
    assert spearman(np.ones(3), np.arange(3.0)) is None


@given(st.lists(st.integers(-1000, 1000), min_size=2, unique=True))
def test_spearman_only_sees_order(values: list[int]) -> None:
    x = np.array(values, dtype=np.float64)
    assert spearman(x, x**3) == pytest.approx(1.0)


@given(rates, st.integers(1, 12))
def test_bins_hold_every_prompt_once(p: np.ndarray, bins: int) -> None:
    found = reliability_bins(p, p, bins)
    assert sum(b.prompts for b in found) == p.size
    for b in found:
        if b.forecast is None:
            assert b.prompts == 0
        else:
            assert b.low - 1e-9 <= b.forecast <= b.high + 1e-9
            assert b.forecast == b.measured


def test_bins_give_both_means() -> None:
    first, _, last = reliability_bins(np.array([0.1, 0.3, 1.0]), np.array([0.0, 1.0, 0.5]), 3)
    assert (first.prompts, first.forecast, first.measured) == (2, pytest.approx(0.2), pytest.approx(0.5))
    assert (last.prompts, last.forecast, last.measured) == (1, 1.0, 0.5)
    with pytest.raises(ValueError, match="bin"):
        reliability_bins(np.zeros(1), np.zeros(1), 0)


def test_an_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, 400)
    mean, low, high = resampled_interval(values)
    assert mean == values.mean()
    assert (low, high) == pytest.approx((mean - 1.96 / 20, mean + 1.96 / 20), abs=0.02)
    assert resampled_interval(values) == (mean, low, high)
    assert resampled_interval(np.full(5, 3.0)) == pytest.approx((3.0, 3.0, 3.0))


def test_the_length_baseline_finds_a_logistic_in_the_logarithm() -> None:
    characters = np.geomspace(50, 5000, 2000)
    y = 1 / (1 + np.exp(-(8.0 - 1.3 * np.log(characters))))
    fitted = fit_length_baseline(characters, y)
    assert (fitted.intercept, fitted.slope) == pytest.approx((8.0, -1.3), rel=0.02)
    assert fitted.predict(characters) == pytest.approx(y, abs=0.01)


@pytest.mark.parametrize("y", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
def test_the_length_baseline_stays_finite(y: list[float]) -> None:
    fitted = fit_length_baseline(np.array([10.0, 100.0, 1000.0]), np.array(y))
    assert math.isfinite(fitted.intercept)
    assert abs(fitted.slope) < 10
    equal = fit_length_baseline(np.full(3, 70.0), np.array(y))
    assert equal.slope == 0.0


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.4, 0.9])
@pytest.mark.parametrize("rollouts", [2, 16, INFINITE])
def test_the_spread_and_its_calibration_are_found_again(spread: float, rollouts: float) -> None:
    random = np.random.default_rng(7)
    p = random.uniform(0.05, 0.95, 40_000)
    truth = p
    if spread:
        strength = 1 / spread - 1
        truth = random.beta(p * strength, (1 - p) * strength)
    y = truth if math.isinf(rollouts) else random.binomial(int(rollouts), truth) / rollouts
    trials = np.full(p.size, float(rollouts))
    assert fit_spread(p, y, trials) == pytest.approx(spread, abs=0.03)
    std = np.sqrt(spread * p * (1 - p))
    some = slice(0, 400)
    if spread or not math.isinf(rollouts):
        assert squared_z(p, std, y, trials) == pytest.approx(1.0, abs=0.08)
        shares = covered(p[some], std[some], y[some], trials[some], [0.5, 0.8, 0.95])
        assert shares == pytest.approx([0.5, 0.8, 0.95], abs=0.07)
        too_sure = covered(p[some], std[some] / 4, y[some], trials[some], [0.8])
        assert too_sure[0] < (0.62 if spread >= 0.4 and rollouts > 2 else 0.85)


def test_what_teaches_nothing_about_the_spread_leaves_it_at_its_largest() -> None:
    y = np.array([0.0, 1.0])
    assert fit_spread(np.array([0.3, 0.3]), y, np.ones(2)) == 1.0
    assert fit_spread(np.array([0.0, 1.0]), y, np.full(2, 9.0)) == 1.0
    assert squared_z(np.zeros(2), np.zeros(2), y, np.full(2, INFINITE)) is None


def test_a_forecast_of_zero_covers_only_zero() -> None:
    zeros = np.zeros(2)
    assert covered(zeros, zeros, np.array([0.0, 0.5]), np.full(2, 10.0), [0.8]) == pytest.approx([0.4])
