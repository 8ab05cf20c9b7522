"""The constant estimator: the same for all, and as uncertain as can be."""

from __future__ import annotations

import pytest

from coderm_reward.budget import ConstantEstimator
from coderm_reward.errors import ConfigError
from coderm_reward.protocols import DifficultyEstimator
from coderm_reward.types import Difficulty, Problem


def test_every_problem_gets_the_same_and_the_default_is_one_half():
    estimator: DifficultyEstimator = ConstantEstimator()
    first, second = (estimator.estimate(Problem(prompt_hash=h, question=h)) for h in "ab")
    assert first == second == Difficulty(pass_rate=0.5, std=0.5, source="constant")


@pytest.mark.parametrize(("pass_rate", "std"), [(0.0, 0.0), (0.2, 0.4), (1.0, 0.0)])
def test_std_is_the_largest_for_the_mean(pass_rate, std):
    difficulty = ConstantEstimator(pass_rate).estimate(Problem(prompt_hash="a", question="q"))
    assert difficulty.std == pytest.approx(std)


@pytest.mark.parametrize("pass_rate", [-0.1, 1.1, float("nan")])
def test_a_pass_rate_out_of_range_is_refused(pass_rate):
    with pytest.raises(ConfigError, match="pass_rate"):
        ConstantEstimator(pass_rate)
