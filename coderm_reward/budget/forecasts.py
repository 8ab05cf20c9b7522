"""How good forecasts of pass rates are, and how far they can be trusted. Pure numpy.

Shapes: P prompts, each with a forecast p in [0, 1] and a measured pass rate y in [0, 1]; where y comes from n
rollouts, `trials` holds n, and infinity where nobody knows n and y is taken as exact. A forecast is about
single rollouts: a rollout of this prompt is right with chance p. So Brier score and log loss are means over
rollouts, computed from y alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "BoolArray",
    "FloatArray",
    "LengthBaseline",
    "ReliabilityBin",
    "brier",
    "covered",
    "fit_length_baseline",
    "fit_spread",
    "log_loss",
    "reliability_bins",
    "resampled_interval",
    "spearman",
    "squared_z",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_EDGE = 1e-6
"""A forecast is kept this far from 0 and 1 in logarithms: one wrong certainty must not cost infinity."""
_UNKNOWN_TRIALS = 1000
"""Stands for an unknown number of rollouts where one must be counted."""


def brier(p: FloatArray, y: FloatArray) -> FloatArray:
    """Return the Brier score of each prompt, (p - y)^2 + y (1 - y): the mean of (p - outcome)^2 over
    rollouts.

    The second term is what a forecaster that knows y pays too.
    """
    return (p - y) ** 2 + y * (1.0 - y)


def log_loss(p: FloatArray, y: FloatArray) -> FloatArray:
    """Return the cross-entropy of each prompt in nats, what the probe is trained on."""
    p = np.clip(p, _EDGE, 1.0 - _EDGE)
    return -(y * np.log(p) + (1.0 - y) * np.log1p(-p))


def spearman(a: FloatArray, b: FloatArray) -> float | None:
    """Return the rank correlation, ties sharing their mean rank; None where either is constant."""
    ranks = [_ranks(values) - (values.size - 1) / 2.0 for values in (a, b)]
    norm = math.sqrt(float((ranks[0] ** 2).sum()) * float((ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / norm if norm > 0.0 else None


def _ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: FloatArray = (ends - counts + ends - 1) / 2.0
    return means[inverse.reshape(-1)]


@dataclass(frozen=True)
class ReliabilityBin:
    """The prompts whose forecast lies in [low, high): the last bin holds 1.0 too."""

    low: float
    high: float
    prompts: int
    forecast: float | None
    """Mean forecast; None for an empty bin."""
    measured: float | None
    """Mean pass rate: equal to the mean forecast where forecasts are reliable."""


def reliability_bins(p: FloatArray, y: FloatArray, bins: int = 10) -> list[ReliabilityBin]:
    """Return the reliability diagram: `bins` bins of equal width over [0, 1], empty ones included.

    Raises:
        ValueError: bins is below 1.
    """
    if bins < 1:
        raise ValueError("A reliability diagram needs at least one bin.")
    place = np.minimum((p * bins).astype(np.intp), bins - 1)
    found = []
    for i in range(bins):
        inside = place == i
        some = bool(inside.any())
        found.append(
            ReliabilityBin(
                low=i / bins,
                high=(i + 1) / bins,
                prompts=int(inside.sum()),
                forecast=float(p[inside].mean()) if some else None,
                measured=float(y[inside].mean()) if some else None,
            )
        )
    return found


def resampled_interval(
    values: FloatArray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Return (mean, low, high) of P values under resampling of prompts with replacement (percentiles).

    For a paired comparison give the differences.
    """
    random = np.random.default_rng(seed)
    weights = random.multinomial(values.size, np.full(values.size, 1.0 / values.size), size=resamples)
    means = weights @ values / values.size
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(values.mean()), float(low), float(high)


@dataclass(frozen=True)
class LengthBaseline:
    """The forecast of someone who sees only how long a prompt is: logistic in the logarithm of its
    characters."""

    intercept: float
    slope: float

    def predict(self, characters: FloatArray) -> FloatArray:
        """Return the forecast for prompts of these lengths."""
        return _sigmoid(self.intercept + self.slope * np.log(np.maximum(characters, 1.0)))


def fit_length_baseline(characters: FloatArray, y: FloatArray) -> LengthBaseline:
    """Fit by soft-label cross-entropy with Newton's method.

    The slope on the standardised logarithm has a standard normal prior, which keeps it finite where length
    separates the prompts; where all are equally long it is 0.
    """
    logs = np.log(np.maximum(characters, 1.0))
    centre, scale = float(logs.mean()), float(logs.std())
    x = np.stack(
        [np.ones_like(logs), (logs - centre) / scale if scale > 0.0 else np.zeros_like(logs)], axis=1
    )
    rate = float(np.clip(y.mean(), 0.5 / (y.size + 1), 1.0 - 0.5 / (y.size + 1)))
    weights = np.array([math.log(rate / (1.0 - rate)), 0.0])
    ridge = np.diag([1e-9, 1.0])
    for _ in range(50):
        p = _sigmoid(x @ weights)
        slope = x.T @ (p - np.clip(y, _EDGE, 1.0 - _EDGE)) + ridge @ weights
        step = np.linalg.solve((x * (p * (1.0 - p))[:, None]).T @ x + ridge, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    per_log = float(weights[1]) / scale if scale > 0.0 else 0.0
    return LengthBaseline(intercept=float(weights[0]) - per_log * centre, slope=per_log)


def fit_spread(p: FloatArray, y: FloatArray, trials: FloatArray) -> float:
    """Return the spread s in [0, 1] of the true pass rates around forecasts p that were made without seeing
    y.

    A true rate around p has variance s p (1 - p): s = 0 means that forecasts are exact, s = 1 that prompts
    are either always or never solved and p says no more than how often. A measured rate of n rollouts then
    has E(y - p)^2 = p (1 - p) (1/n + (1 - 1/n) s); s makes both sides of its sum over prompts equal. 1.0
    where there is nothing to learn it from (single rollouts, forecasts of 0 and 1).
    """
    most = p * (1.0 - p)
    chance = float((most / trials).sum())
    room = float((most * (1.0 - 1.0 / trials)).sum())
    if room <= 0.0:
        return 1.0
    return float(np.clip((float(((y - p) ** 2).sum()) - chance) / room, 0.0, 1.0))


def squared_z(p: FloatArray, std: FloatArray, y: FloatArray, trials: FloatArray) -> float | None:
    """Return sum (y - p)^2 over the sum of its expectation: 1 where the deviations are right, more if too
    small.

    None where nothing is expected to deviate.
    """
    expected = std**2 + (p * (1.0 - p) - std**2) / trials
    total = float(expected.sum())
    return float(((y - p) ** 2).sum()) / total if total > 0.0 else None


def covered(
    p: FloatArray, std: FloatArray, y: FloatArray, trials: FloatArray, levels: Sequence[float]
) -> list[float]:
    """Return the share of measured rates inside the central interval of their forecast, for some levels.

    The true rate is taken to be Beta with this mean and deviation, the successes of n rollouts therefore
    beta-binomial. A rate on the edge of the interval counts by the share of its probability that lies inside,
    so that for right forecasts the expectation is exactly the level, also with few rollouts.
    """
    wanted = np.array(levels)
    low, high = (1.0 - wanted) / 2.0, (1.0 + wanted) / 2.0
    inside = np.zeros(wanted.size)
    for mean, deviation, rate, n in zip(p, std, y, trials, strict=True):
        count = _UNKNOWN_TRIALS if math.isinf(n) else int(n)
        ends = np.concatenate([[0.0], np.cumsum(_beta_binomial(count, float(mean), float(deviation)))])
        successes = round(float(rate) * count)
        below, upto = float(ends[successes]), float(ends[successes + 1])
        if upto > below:
            inside += np.clip(np.minimum(upto, high) - np.maximum(below, low), 0.0, None) / (upto - below)
    return [float(share) for share in inside / p.size]


def _beta_binomial(n: int, mean: float, std: float) -> FloatArray:
    """[n + 1] probabilities of 0..n successes, from the ratios of neighbours."""
    most = mean * (1.0 - mean)
    counts = np.arange(n + 1)
    if most <= 0.0:
        certain: FloatArray = np.equal(counts, round(mean * n)).astype(np.float64)
        return certain
    spread = min(max(std * std / most, _EDGE), 1.0 - _EDGE)
    strength = 1.0 / spread - 1.0
    a, b = mean * strength, (1.0 - mean) * strength
    k = counts[:-1]
    ratios = np.log((n - k) * (k + a)) - np.log((k + 1) * (n - k - 1 + b))
    logs = np.concatenate([[0.0], np.cumsum(ratios)])
    chances: FloatArray = np.exp(logs - logs.max())
    chances /= chances.sum()
    return chances


def _sigmoid(x: FloatArray) -> FloatArray:
    result: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result
