"""Intervals by resampling, and at which share of the budget one curve matches another. Pure.

One replicate draws groups with replacement and, within each, its draws of rollouts and tests with
replacement: so problems, solutions and tests all count as chance. All figures of a replicate come from the
same resample, so differences are paired.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from coderm_reward.scoring.votes import FloatArray

__all__ = ["Interval", "budget_ratio", "interpolate", "interval", "resamples"]

_ROUNDING = 1e-9
RATIO_LIMIT = 4.0
"""Budget ratios are looked for between its inverse and it."""
_SHIFTS = np.array(sorted(np.linspace(-math.log(RATIO_LIMIT), math.log(RATIO_LIMIT), 97), key=abs))


class Interval(msgspec.Struct, frozen=True):
    """An estimate with its 95 % interval; NaN where nothing could be estimated."""

    value: float
    low: float
    high: float

    def excludes(self, null: float) -> bool:
        """Whether the interval says that the estimate differs from `null`: it does not touch it.

        What two sums of the same numbers differ by, in another order, is no difference.
        """
        return self.low > null + _ROUNDING or self.high < null - _ROUNDING


def resamples(groups: int, draws: int, replicates: int, seed: int) -> FloatArray:
    """Return [1 + replicates, groups * draws] how often each draw counts; the first is the sample itself."""
    rng = np.random.default_rng(seed)
    weights = np.ones((1 + replicates, groups * draws))
    for replicate in range(1, 1 + replicates):
        chosen = rng.integers(groups, size=groups)
        within = rng.integers(draws, size=(groups, draws))
        flat = (chosen[:, None] * draws + within).ravel()
        weights[replicate] = np.bincount(flat, minlength=groups * draws)
    return weights


def interval(values: FloatArray) -> Interval:
    """Return the estimate values[0] with the middle 95 % of the replicates values[1:]; NaN replicates are
    left out."""
    known = values[1:][~np.isnan(values[1:])]
    if math.isnan(float(values[0])) or not known.size:
        return Interval(float(values[0]), math.nan, math.nan)
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(values[0]), float(low), float(high))


def interpolate(spent: FloatArray, curve_spent: FloatArray, curve: FloatArray) -> FloatArray:
    """Return [B, K] a curve's values where `spent` [B, K] was spent, linear in the logarithm of what is
    spent.

    `curve_spent` and `curve` are [B, J], one curve per replicate, ascending in what is spent. Beyond its ends
    a curve is taken to stay as it is there.
    """
    return _interpolate(_log(spent), _log(curve_spent), curve)


def budget_ratio(
    spent: FloatArray, values: FloatArray, uniform_spent: FloatArray, uniform: FloatArray
) -> FloatArray:
    """Return [B] the share of uniform's budget at which the other rule does as well, over all budgets at
    once.

    Both rules are curves over what is spent: [B, K] and [B, J], one per replicate. The ratio is exp(-s) for
    the shift s on the logarithmic axis that makes the rule's points and uniform's curve, and uniform's points
    and the rule's curve, agree best in squares. No crossing is looked for: the first of several noisy
    crossings comes too early, even of a curve with itself. Limited to 1/4 .. 4, where curves that hardly rise
    end up. NaN for fewer than two budgets.
    """
    if spent.shape[1] < 2 or uniform_spent.shape[1] < 2:
        return np.full(len(spent), np.nan)
    x, uniform_x = _log(spent), _log(uniform_spent)
    error = np.stack(
        [
            ((_interpolate(x + shift, uniform_x, uniform) - values) ** 2).mean(axis=1)
            + ((_interpolate(uniform_x - shift, x, values) - uniform) ** 2).mean(axis=1)
            for shift in _SHIFTS
        ]
    )
    undefined = np.isnan(error).all(axis=0)
    error = np.where(np.isnan(error), np.inf, error).round(12)
    best = np.argmin(error, axis=0)  # of equally good shifts the smallest: see _SHIFTS
    return np.where(undefined, np.nan, np.exp(-_SHIFTS[best]))


def _interpolate(x: FloatArray, curve_x: FloatArray, curve: FloatArray) -> FloatArray:
    """[B, K] values at x of the piecewise linear curves [B, J], constant beyond their ends."""
    after = (x[:, :, None] >= curve_x[:, None, :]).sum(axis=2)
    right = np.clip(after, 1, curve_x.shape[1] - 1) if curve_x.shape[1] > 1 else np.zeros_like(after)
    left = np.maximum(right - 1, 0)
    x0, x1 = np.take_along_axis(curve_x, left, 1), np.take_along_axis(curve_x, right, 1)
    y0, y1 = np.take_along_axis(curve, left, 1), np.take_along_axis(curve, right, 1)
    share = np.clip((x - x0) / np.where(x1 > x0, x1 - x0, 1.0), 0.0, 1.0)
    return y0 + share * (y1 - y0)


def _log(spent: FloatArray) -> FloatArray:
    return np.log(np.maximum(spent, 1e-3))
