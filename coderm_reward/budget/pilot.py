"""The estimator that tries: the first tests of this very group say how hard its prompt is."""

from __future__ import annotations

from dataclasses import dataclass

from coderm_reward.budget.beta import beta_difficulty, check_prior, posterior
from coderm_reward.errors import ConfigError
from coderm_reward.protocols import Evidence
from coderm_reward.types import Difficulty, Problem

__all__ = ["PilotEstimator"]


@dataclass(frozen=True)
class PilotEstimator:
    """Gives every prompt `pilot` responses and takes what its rollouts do on them (PilotingEstimator).

    The Beta posterior after the rollouts' `acc`, which are worth `Evidence.trials` observations: few tests
    say little however many rollouts they judge. A group that shows nothing (no rollouts, no valid test)
    keeps the prior.

    Args:
        pilot: generator responses, at least 1; allocators give no prompt fewer.
        prior_mean, prior_strength: what is known before; 0.5 and 2 are the uniform distribution.

    Raises:
        ConfigError: a setting out of range.
    """

    pilot: int = 4
    prior_mean: float = 0.5
    prior_strength: float = 2.0

    def __post_init__(self) -> None:
        check_prior(self.prior_mean, self.prior_strength)
        if self.pilot < 1:
            raise ConfigError(f"The setting pilot must be at least 1 response, not {self.pilot}.")

    def estimate(self, problem: Problem) -> Difficulty:
        """Return the prior."""
        right = self.prior_mean * self.prior_strength
        return beta_difficulty(right, self.prior_strength - right, "pilot")

    def estimate_after(self, problem: Problem, evidence: Evidence) -> Difficulty:
        """Return the posterior after the first tests."""
        return posterior([(1.0, evidence)], self.prior_mean, self.prior_strength, "pilot")
