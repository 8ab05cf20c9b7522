"""The estimator that knows nothing: every prompt has the same pass rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from coderm_reward.errors import ConfigError
from coderm_reward.types import Difficulty, Problem

__all__ = ["ConstantEstimator"]


@dataclass(frozen=True)
class ConstantEstimator:
    """Says `pass_rate` of every prompt.

    The standard deviation is sqrt(p (1 - p)), the largest that a distribution on [0, 1] with mean p can
    have (0.5 at the default p = 0.5): a constant has seen nothing of the prompt, so it claims no
    certainty, and a reader that combines estimators gives it the least weight.

    Raises:
        ConfigError: pass_rate is not in [0, 1].
    """

    pass_rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.pass_rate <= 1.0:
            raise ConfigError(f"The setting pass_rate must lie in [0, 1], not be {self.pass_rate}.")

    def estimate(self, problem: Problem) -> Difficulty:
        """Return the same distribution for any problem."""
        std = math.sqrt(self.pass_rate * (1.0 - self.pass_rate))
        return Difficulty(pass_rate=self.pass_rate, std=std, source="constant")
