"""Estimators that read a column, or look at the first tests."""

from __future__ import annotations

import pytest

from coderm_reward.budget import DatasetEstimator, PilotEstimator
from coderm_reward.budget.beta import beta_difficulty
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.protocols import DifficultyEstimator, Evidence, PilotingEstimator
from coderm_reward.types import Problem


def problem(pass_rate: float | None = None) -> Problem:
    return Problem("abc", "question", pass_rate=pass_rate)


def test_a_rate_is_so_many_trials_on_top_of_the_prior():
    estimator: DifficultyEstimator = DatasetEstimator(trials=8)
    assert estimator.estimate(problem(0.25)) == beta_difficulty(1 + 2, 1 + 6, "dataset")
    never = estimator.estimate(problem(0.0))
    assert (never.pass_rate, never.std > 0) == (0.1, True)
    assert DatasetEstimator(trials=800).estimate(problem(0.25)).std < 0.02


def test_a_problem_without_a_rate_has_the_prior():
    assert DatasetEstimator().estimate(problem()) == beta_difficulty(1, 1, "constant")


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_that_is_none_is_refused_with_its_prompt(rate):
    with pytest.raises(InputError, match=r"pass rate .* of prompt abc; .* --map pass_rate=COLUMN"):
        DatasetEstimator().estimate(problem(rate))


def test_a_pilot_moves_the_prior_towards_what_it_saw():
    estimator: PilotingEstimator = PilotEstimator(pilot=2)
    assert estimator.estimate(problem()) == beta_difficulty(1, 1, "pilot")
    seen = Evidence(rollouts=8, right=2, tests=8, responses=2)
    assert estimator.estimate_after(problem(), seen) == beta_difficulty(1 + 1, 1 + 3, "pilot")


def test_a_pilot_that_saw_nothing_keeps_the_prior():
    for nothing in (Evidence(), Evidence(rollouts=8, right=0, tests=0)):
        assert PilotEstimator().estimate_after(problem(), nothing) == PilotEstimator().estimate(problem())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PilotEstimator(0), "pilot must be at least 1"),
        (lambda: PilotEstimator(4, -0.1), "pass_rate must lie in"),
        (lambda: PilotEstimator(4, 0.5, 0.0), "prior_strength must be above 0"),
        (lambda: DatasetEstimator(0.0), "pass_rate_trials must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
