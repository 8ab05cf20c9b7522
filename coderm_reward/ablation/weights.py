"""What the problems of a set would weigh if the policy were better or worse. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coderm_reward.errors import ConfigError
from coderm_reward.scoring.votes import FloatArray

__all__ = ["group_weights"]


def group_weights(pass_rates: Sequence[float], target: float | None) -> FloatArray:
    """Return [G] weights with mean 1 under which the mean pass rate is `target`; None: all weigh the same.

    The weights are exp(k * pass rate), which of all weights with that mean are nearest to equal ones.

    Raises:
        ConfigError: the target is not between the lowest and the highest pass rate.
    """
    rates = np.asarray(pass_rates, dtype=np.float64)
    if target is None:
        return np.ones(rates.size)
    if not rates.min() < target < rates.max():
        raise ConfigError(
            f"A mean pass rate of {target} cannot be had from groups with rates of {rates.min():.3f} to "
            f"{rates.max():.3f}; choose one in between."
        )
    low, high = -1e3, 1e3
    for _ in range(100):
        middle = (low + high) / 2.0
        weights = np.exp(middle * rates - (middle * rates).max())
        if float(weights @ rates / weights.sum()) < target:
            low = middle
        else:
            high = middle
    return np.asarray(weights * rates.size / weights.sum(), dtype=np.float64)
