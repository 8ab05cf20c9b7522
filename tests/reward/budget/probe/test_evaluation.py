"""The comparison of forecasts, on forecasts whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest

from coderm_reward.budget.probe.evaluation import HeldOut, evaluate_held_out, held_out
from coderm_reward.budget.probe.file import Probe
from coderm_reward.budget.probe.training import TrainingSet, folds, pooled

P = 200


def made(probe: np.ndarray, y: np.ndarray, length: np.ndarray | None = None) -> HeldOut:
    """Forecasts beside the constant, and beside a length that knows nothing."""
    constant = np.full((1, y.size), y.mean())
    return HeldOut(
        pass_rates=y,
        trials=np.full(y.size, 50.0),
        probe=probe[None],
        deviation=np.full((1, y.size), 0.1),
        constant=constant,
        length=constant if length is None else length[None],
    )


@pytest.fixture
def y() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 51, P) / 50


def by_name(evaluation):
    return {row.forecast: row for row in evaluation.forecasts}, {c.against: c for c in evaluation.comparisons}


def test_a_good_probe_beats_both_and_its_intervals_say_so(y: np.ndarray) -> None:
    rows, against = by_name(evaluate_held_out(made(0.7 * y + 0.15, y)))
    assert rows["probe"].brier < rows["constant"].brier
    assert rows["measured"].brier == pytest.approx((y * (1 - y)).mean())
    assert rows["constant"].spearman is None
    assert rows["probe"].spearman == pytest.approx(1.0)
    for comparison in against.values():
        assert max(comparison.brier[2], comparison.log_loss[2]) < 0
        assert comparison.brier[0] == pytest.approx(rows["probe"].brier - rows["constant"].brier)
    assert against["constant"].spearman == pytest.approx((1.0, 1.0, 1.0))


def test_a_probe_that_is_the_baseline_is_no_different(y: np.ndarray) -> None:
    _, against = by_name(evaluate_held_out(made(y, y, length=y)))
    same = against["prompt length"]
    assert same.brier == same.log_loss == same.spearman == (0.0, 0.0, 0.0)


def test_noise_is_worse_than_the_constant(y: np.ndarray) -> None:
    noise = np.random.default_rng(4).uniform(0, 1, P)
    _, against = by_name(evaluate_held_out(made(noise, y)))
    low, high = against["constant"].spearman[1:]
    assert against["constant"].brier[1] > 0
    assert -0.4 < low < high < 0.4


def test_the_same_seed_gives_the_same_numbers_and_bins_hold_all(y: np.ndarray) -> None:
    first, again = (evaluate_held_out(made(1 - y, y), bins=5) for _ in range(2))
    assert first == again
    assert sum(b.prompts for b in first.bins) == P
    assert list(first.coverage) == ["0.5", "0.8", "0.95"]


def test_a_probe_from_a_file_is_compared_with_the_baselines_of_its_training(probe: Probe) -> None:
    states = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    prompts = TrainingSet(["a" * 10, "b", "cc", "d"], states, np.array([0.0, 1.0, 0.5, 0.2]), np.full(4, 5.0))
    found = held_out(probe, prompts)
    assert (found.constant == 0.4).all()
    assert found.length[0][0] == pytest.approx(1 / (1 + np.exp(-(1.0 - 0.5 * np.log(10)))))
    assert (found.probe[0] == probe.predict(states)).all()
    assert (found.deviation[0] == probe.deviation(found.probe[0])).all()


def test_folds_are_even_and_know_nothing_of_the_order() -> None:
    texts = [f"prompt {i}" for i in range(23)]
    fold = dict(zip(texts, folds(texts, 5, "x"), strict=True))
    assert sorted(np.bincount(list(fold.values()))) == [4, 4, 5, 5, 5]
    assert dict(zip(texts[::-1], folds(texts[::-1], 5, "x"), strict=True)) == fold
    assert dict(zip(texts, folds(texts, 5, "y"), strict=True)) != fold


def test_rows_of_one_prompt_are_pooled_by_their_rollouts() -> None:
    texts, rates, trials = pooled(["a", "b", "a", "b"], [1.0, 0.0, 0.5, 1.0], [10.0, np.inf, 30.0, 4.0])
    assert texts == ["a", "b"]
    assert rates.tolist() == pytest.approx([0.625, 0.5])
    assert trials.tolist() == [40.0, np.inf]
