"""The estimator that reads: the dataset says how often its problems were solved."""

from __future__ import annotations

from dataclasses import dataclass

from coderm_reward.budget.beta import beta_difficulty, check_prior
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.types import Difficulty, Problem

__all__ = ["DatasetEstimator"]


@dataclass(frozen=True)
class DatasetEstimator:
    """Says what `Problem.pass_rate` says, as a rate that was measured with so many trials.

    A rate r of n trials is the posterior Beta(prior + r n right, (1 - r) n wrong): 0 of 8 is a hard
    problem, and no proof that it cannot be solved. A problem without a rate gets the prior, with source
    `constant`.

    Args:
        trials: attempts behind each rate of the column.
        prior_mean, prior_strength: what is known before; 0.5 and 2 are the uniform distribution.

    Raises:
        ConfigError: a setting out of range.
    """

    trials: float = 8.0
    prior_mean: float = 0.5
    prior_strength: float = 2.0

    def __post_init__(self) -> None:
        check_prior(self.prior_mean, self.prior_strength)
        if not self.trials > 0.0:
            raise ConfigError(f"The setting pass_rate_trials must be above 0, not {self.trials}.")

    def estimate(self, problem: Problem) -> Difficulty:
        """Return the distribution of the problem's pass rate.

        Raises:
            InputError: the rate is not in [0, 1], or NaN.
        """
        right = self.prior_mean * self.prior_strength
        wrong = self.prior_strength - right
        rate = problem.pass_rate
        if rate is None:
            return beta_difficulty(right, wrong, "constant")
        if not 0.0 <= rate <= 1.0:
            raise InputError(
                f"The dataset says pass rate {rate} of prompt {problem.prompt_hash}; a rate is from 0 to 1: "
                "correct the column, or name another one with --map pass_rate=COLUMN."
            )
        right += rate * self.trials
        return beta_difficulty(right, wrong + (1.0 - rate) * self.trials, "dataset")
