"""Whether a probe is worth having: its forecasts of held-out prompts against the constant and the prompt's
length.

Shapes: P held-out prompts, R repeats of a cross-validation (1 for a probe from a file). The losses of a
prompt are averaged over the repeats; intervals are over prompts, paired between forecasts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from coderm_reward.budget.forecasts import (
    FloatArray,
    ReliabilityBin,
    brier,
    covered,
    log_loss,
    reliability_bins,
    resampled_interval,
    spearman,
    squared_z,
)
from coderm_reward.budget.probe.file import Probe, TrainingSettings
from coderm_reward.budget.probe.reading import ReadingSpec
from coderm_reward.budget.probe.training import TrainingSet, folds, train_probe
from coderm_reward.errors import ConfigError

__all__ = [
    "Comparison",
    "ForecastQuality",
    "HeldOut",
    "ProbeEvaluation",
    "cross_validate",
    "evaluate_held_out",
    "held_out",
]

LEVELS = (0.5, 0.8, 0.95)
_RANK_RESAMPLES = 1000

Interval = tuple[float, float, float]
"""Mean, and the ends of its 95 % interval."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What was forecast of prompts that no forecast had seen, and what was measured."""

    pass_rates: FloatArray
    """[P]"""
    trials: FloatArray
    """[P] rollouts behind each; infinity where unknown."""
    probe: FloatArray
    """[R, P]"""
    deviation: FloatArray
    """[R, P] standard deviations of the probe's forecasts."""
    constant: FloatArray
    """[R, P] the mean pass rate of the training prompts."""
    length: FloatArray
    """[R, P] what the prompt's length says."""


class ForecastQuality(msgspec.Struct, frozen=True):
    """One forecaster on the held-out prompts."""

    forecast: str
    brier: float
    log_loss: float
    spearman: float | None
    """With the measured rates; None for the constant, whatever it is in each training fold."""


class Comparison(msgspec.Struct, frozen=True):
    """The probe less a baseline: negative is better in Brier and log loss, positive in Spearman."""

    against: str
    brier: Interval
    log_loss: Interval
    spearman: Interval
    """A constant counts as 0."""


class ProbeEvaluation(msgspec.Struct, frozen=True):
    """Everything that `probe evaluate` prints."""

    prompts: int
    repeats: int
    forecasts: tuple[ForecastQuality, ...]
    """The constant, the length, the probe; last `measured`, what knowing every rate would give."""
    comparisons: tuple[Comparison, ...]
    squared_z: float | None
    """1 where the probe's deviations are right, more where they are too small."""
    coverage: dict[str, float]
    """Level of a central interval -> share of measured rates inside it."""
    bins: tuple[ReliabilityBin, ...]


def held_out(probe: Probe, prompts: TrainingSet) -> HeldOut:
    """Forecast prompts that the probe was not trained on; the baselines are those of its training prompts."""
    forecasts = probe.predict(prompts.states)
    return HeldOut(
        pass_rates=prompts.pass_rates,
        trials=prompts.trials,
        probe=forecasts[None],
        deviation=probe.deviation(forecasts)[None],
        constant=np.full((1, forecasts.size), probe.facts.base_rate),
        length=probe.facts.length.predict(prompts.characters())[None],
    )


def cross_validate(
    reading: ReadingSpec,
    prompts: TrainingSet,
    settings: TrainingSettings,
    *,
    k: int = 10,
    repeats: int = 1,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HeldOut:
    """Train k probes, each on all but one of k folds, and let each forecast its own; `repeats` times.

    Everything is learnt inside the training folds, the baselines too. A repeat splits anew and has another
    seed.

    Raises:
        ConfigError: k is below 2 or above the number of prompts.
        InputError: too few prompts to train on.
    """
    count = len(prompts.texts)
    if not 2 <= k <= count:
        raise ConfigError(
            f"--k-fold must lie between 2 and the number of prompts, {count}; it cannot be {k}."
        )
    made = HeldOut(prompts.pass_rates, prompts.trials, *(np.zeros((repeats, count)) for _ in range(4)))
    for repeat in range(repeats):
        seeded = msgspec.structs.replace(settings, seed=settings.seed + repeat)
        fold = folds(prompts.texts, k, f"split {seeded.seed}")
        for j in range(k):
            places = np.flatnonzero(fold == j)
            probe = train_probe(reading, prompts.subset(np.flatnonzero(fold != j)), seeded, device=device)
            part = held_out(probe, prompts.subset(places))
            for name in ("probe", "deviation", "constant", "length"):
                getattr(made, name)[repeat, places] = getattr(part, name)[0]
            progress(repeat * k + j + 1, repeats * k)
    return made


def evaluate_held_out(held: HeldOut, *, bins: int = 10, seed: int = 0) -> ProbeEvaluation:
    """Return the quality of the forecasts and of their uncertainty, with intervals over prompts."""
    y = held.pass_rates
    forecasts = {"constant": held.constant, "prompt length": held.length, "probe": held.probe}
    losses = {name: (brier(p, y).mean(axis=0), log_loss(p, y).mean(axis=0)) for name, p in forecasts.items()}
    places = np.random.default_rng(seed).integers(y.size, size=(_RANK_RESAMPLES, y.size))
    ranked = {name: p for name, p in forecasts.items() if name != "constant"}
    ranks = {name: np.array([_rank(p, y, rows) for rows in places]) for name, p in ranked.items()}
    whole = {name: _rank(p, y, np.arange(y.size)) for name, p in ranked.items()}
    rows = [
        ForecastQuality(
            name,
            float(losses[name][0].mean()),
            float(losses[name][1].mean()),
            whole.get(name),
        )
        for name, p in forecasts.items()
    ]
    rows.append(
        ForecastQuality("measured", float(brier(y, y).mean()), float(log_loss(y, y).mean()), spearman(y, y))
    )
    comparisons = []
    for name in ("constant", "prompt length"):
        low, high = np.quantile(ranks["probe"] - ranks.get(name, 0.0), [0.025, 0.975])
        comparisons.append(
            Comparison(
                name,
                resampled_interval(losses["probe"][0] - losses[name][0], seed=seed),
                resampled_interval(losses["probe"][1] - losses[name][1], seed=seed),
                (whole["probe"] - whole.get(name, 0.0), float(low), float(high)),
            )
        )
    repeats = held.probe.shape[0]
    flat = (held.probe.ravel(), held.deviation.ravel(), np.tile(y, repeats), np.tile(held.trials, repeats))
    return ProbeEvaluation(
        prompts=y.size,
        repeats=repeats,
        forecasts=tuple(rows),
        comparisons=tuple(comparisons),
        squared_z=squared_z(*flat),
        coverage=dict(zip(map(str, LEVELS), covered(*flat, LEVELS), strict=True)),
        bins=tuple(reliability_bins(flat[0], flat[2], bins)),
    )


def _rank(p: FloatArray, y: FloatArray, places: npt.NDArray[np.intp]) -> float:
    """Mean over repeats of the rank correlation on the prompts at `places`; 0 where all are equal."""
    return float(np.mean([spearman(row[places], y[places]) or 0.0 for row in p]))
