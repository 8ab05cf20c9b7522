"""Distributions by mean and spread: what is refused, and the posterior that evidence gives."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.budget.beta import as_arrays, beta_difficulty, mean_and_spread, posterior
from coderm_reward.errors import InputError
from coderm_reward.protocols import Demand, Evidence
from coderm_reward.types import Difficulty

NAN = float("nan")
positive = st.floats(0.01, 1000.0)


@given(positive, positive)
def test_mean_and_spread_of_a_beta(a, b):
    mean, spread = mean_and_spread(beta_difficulty(a, b, "test"), "p")
    assert mean == pytest.approx(a / (a + b))
    assert spread == pytest.approx(1.0 / (a + b + 1.0))


@given(st.floats(0.0, 1.0), st.floats(0.0, 2.0))
def test_many_at_once_are_each_by_itself(mean, std):
    difficulty = Difficulty(mean, std, "test")
    means, spreads, rollouts = as_arrays([Demand("p", difficulty, 3)])
    assert (means[0], spreads[0], rollouts[0]) == (*mean_and_spread(difficulty, "p"), 3)
    assert 0.0 <= spreads[0] <= 1.0


@pytest.mark.parametrize(("mean", "std"), [(-0.1, 0.1), (NAN, 0.1), (1.1, 0.1), (0.5, -0.1), (0.5, NAN)])
def test_what_is_no_distribution_is_refused_by_name(mean, std):
    difficulty = Difficulty(mean, std, "probe")
    with pytest.raises(InputError, match=r"probe estimator .* of prompt abc; it takes a rate from 0 to 1"):
        mean_and_spread(difficulty, "abc")
    good = Demand("fine", Difficulty(0.5, 0.1, "probe"), 2)
    with pytest.raises(InputError, match="prompt abc"):
        as_arrays([good, Demand("abc", difficulty, 2)])


def test_many_rollouts_on_few_tests_are_few_trials():
    assert Evidence(rollouts=8, tests=8).trials == 4.0
    assert Evidence(rollouts=1000, tests=1).trials == pytest.approx(1.0, abs=0.01)
    assert Evidence(rollouts=8, right=2, tests=8).successes == 1.0
    assert (Evidence(rollouts=8).trials, Evidence(tests=8).trials, Evidence(tests=8).successes) == (0, 0, 0)


@given(st.integers(0, 8), st.integers(1, 40), st.floats(0.0, 1.0), positive)
def test_the_posterior_lies_between_prior_and_evidence(right, tests, prior_mean, strength):
    evidence = Evidence(rollouts=8, right=right, tests=tests)
    difficulty = posterior([(1.0, evidence)], prior_mean, strength, "test")
    low, high = sorted((prior_mean, right / 8))
    assert low - 1e-9 <= difficulty.pass_rate <= high + 1e-9
    assert 0.0 <= difficulty.std <= math.sqrt(difficulty.pass_rate * (1 - difficulty.pass_rate)) + 1e-9


def test_no_evidence_leaves_the_prior_and_more_of_it_makes_sure():
    assert posterior([(1.0, Evidence())], 0.5, 2.0, "t") == beta_difficulty(1.0, 1.0, "t")
    seen = Evidence(rollouts=8, right=4, tests=8)
    stds = [posterior([(1.0, seen)] * times, 0.5, 2.0, "t").std for times in range(4)]
    assert stds == sorted(stds, reverse=True)
