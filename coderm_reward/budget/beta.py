"""Pass rates as Beta distributions: checked, turned into moments, and updated.

Everything here speaks of a distribution by its mean m and its *spread* s = std^2 / (m (1 - m)), the share
of the largest variance that a distribution on [0, 1] with this mean can have. For Beta(a, b), m = a / (a +
b) and s = 1 / (a + b + 1), so s = 0 is certainty about the pass rate, and s = 1 the other end: some prompts
are always solved and the others never, and nobody knows which this one is. No formula in m and s divides by
zero at the ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from coderm_reward.errors import ConfigError, InputError
from coderm_reward.protocols import Demand, Evidence
from coderm_reward.types import Difficulty

__all__ = [
    "FloatArray",
    "IntArray",
    "as_arrays",
    "beta_difficulty",
    "check_prior",
    "mean_and_spread",
    "posterior",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def mean_and_spread(difficulty: Difficulty, prompt: str) -> tuple[float, float]:
    """Return (m, s); a standard deviation beyond the largest there is counts as the largest.

    Raises:
        InputError: the mean is not in [0, 1], the standard deviation is negative, or either is NaN.
    """
    mean, std = difficulty.pass_rate, difficulty.std
    if not (0.0 <= mean <= 1.0 and std >= 0.0):
        raise _no_distribution(difficulty, prompt)
    most = mean * (1.0 - mean)
    return mean, min(std * std, most) / most if most > 0.0 else 0.0


def as_arrays(demands: Sequence[Demand]) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return ([P] means, [P] spreads, [P] rollouts) of P demands, checked as `mean_and_spread` does.

    Raises:
        InputError: as `mean_and_spread`, for the first demand that is wrong.
    """
    count = len(demands)
    mean = np.fromiter((d.difficulty.pass_rate for d in demands), np.float64, count)
    std = np.fromiter((d.difficulty.std for d in demands), np.float64, count)
    rollouts = np.fromiter((d.rollouts for d in demands), np.int64, count)
    wrong = np.flatnonzero(~((mean >= 0.0) & (mean <= 1.0) & (std >= 0.0)))
    if wrong.size:
        first = demands[int(wrong[0])]
        raise _no_distribution(first.difficulty, first.prompt)
    most = mean * (1.0 - mean)
    spread = np.zeros(count)
    np.divide(np.minimum(std * std, most), most, out=spread, where=most > 0.0)
    return mean, spread, rollouts


def beta_difficulty(successes: float, failures: float, source: str) -> Difficulty:
    """Return Beta(successes, failures) by its mean and standard deviation; both counts are positive."""
    total = successes + failures
    mean = successes / total
    return Difficulty(mean, math.sqrt(mean * (1.0 - mean) / (total + 1.0)), source)


def posterior(
    weighted: Sequence[tuple[float, Evidence]], prior_mean: float, prior_strength: float, source: str
) -> Difficulty:
    """Return the Beta posterior after evidence, each piece with its weight in [0, 1].

    The prior is worth `prior_strength` observations with mean `prior_mean`: Beta(1, 1) by default, the
    uniform distribution. A prior that is certain (mean 0 or 1) stays so where the evidence agrees with it.
    """
    right = prior_mean * prior_strength + math.fsum(weight * seen.successes for weight, seen in weighted)
    total = prior_strength + math.fsum(weight * seen.trials for weight, seen in weighted)
    return beta_difficulty(right, max(total - right, 0.0), source)


def check_prior(mean: float, strength: float) -> None:
    """Refuse a prior that is none.

    Raises:
        ConfigError: the mean is not in [0, 1], or the strength is not above 0.
    """
    if not 0.0 <= mean <= 1.0:
        raise ConfigError(f"The setting pass_rate must lie in [0, 1], not be {mean}.")
    if not strength > 0.0:
        raise ConfigError(f"The setting prior_strength must be above 0, not {strength}.")


def _no_distribution(difficulty: Difficulty, prompt: str) -> InputError:
    return InputError(
        f"The {difficulty.source} estimator says pass rate {difficulty.pass_rate} with standard deviation "
        f"{difficulty.std} of prompt {prompt}; it takes a rate from 0 to 1 and a deviation of 0 or more."
    )
