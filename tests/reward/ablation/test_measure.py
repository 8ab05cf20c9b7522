"""Sums add up to the figures that a direct count gives."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from coderm_reward.ablation.measure import FIGURES, SUMS, figures, measure
from coderm_reward.config import ScoringConfig
from coderm_reward.scoring.rewards import group_rewards
from coderm_reward.types import CodeStatus


def rewards(scores):
    """Reward outputs that say nothing but these scores."""
    empty = group_rewards(
        [CodeStatus.NO_CODE], None, ScoringConfig(), difficulty=0, gen_seconds=0, generation_failed=False
    ).rewards[0]

    return [msgspec.structs.replace(empty, score=s, p_correct=s) for s in scores]


def named(values):
    return dict(zip(FIGURES, values.tolist(), strict=True))


def test_figures_of_two_draws_are_what_a_direct_count_gives():
    scores = [[0.9, 0.5, 0.5, 0.1], [0.2, 0.2, 0.7, 0.0]]
    truths = [np.array([True, False, True, False]), np.zeros(4, dtype=bool)]
    total = sum(measure(rewards(s), t, spent) for s, t, spent in zip(scores, truths, (2, 4), strict=True))
    found = named(figures(total))
    flat, right = np.array(scores).ravel(), np.concatenate(truths)
    assert found["best_of_n"] == pytest.approx((1.0 + 0.0) / 2)
    assert found["auc"] == pytest.approx(3.5 / 4)
    assert found["correlation"] == pytest.approx(np.corrcoef(flat, right)[0, 1])
    assert found["gradient"] == 1.0
    assert found["spread"] == pytest.approx(np.std(scores[1]))
    assert found["brier"] == pytest.approx(((flat - right) ** 2).mean())
    assert found["spent"] == 3.0


def test_an_all_wrong_group_of_equal_rewards_has_no_gradient():
    found = named(figures(measure(rewards([0.4] * 3), np.zeros(3, dtype=bool), 1)))
    assert (found["gradient"], found["spread"]) == (0.0, pytest.approx(0.0))


def test_what_is_of_nothing_is_nan():
    found = named(figures(measure(rewards([0.4, 0.4]), np.ones(2, dtype=bool), 1)))
    assert np.isnan([found["auc"], found["correlation"], found["gradient"]]).all()
    assert found["best_of_n"] == 1.0
    assert np.isnan(figures(np.zeros(len(SUMS)))).all()
