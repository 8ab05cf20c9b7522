"""Selection and classification metrics against brute force and hand-worked counts."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.scoring import metrics
from coderm_reward.scoring.metrics import ClassifierMetrics, Confusion
from coderm_reward.scoring.votes import count_votes

scored = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=1, max_size=7
).map(lambda pairs: (np.array([s for s, _ in pairs]), np.array([t for _, t in pairs], dtype=np.bool_)))


def pick(scores, truth):
    best = max(scores)
    return statistics.mean(float(t) for s, t in zip(scores, truth, strict=True) if s == best)


@given(scored)
def test_best_of_n_is_the_mean_truth_among_the_best(group):
    assert metrics.best_of_n(*group) == pytest.approx(pick(*group))


@given(scored, st.data())
def test_expected_best_of_n_is_the_mean_over_all_subsets(group, data):
    scores, truth = group
    n = data.draw(st.integers(1, scores.size))
    subsets = [list(s) for s in itertools.combinations(range(scores.size), n)]
    brute = statistics.mean(pick(scores[s], truth[s]) for s in subsets)
    assert metrics.expected_best_of_n(scores, truth, n) == pytest.approx(brute)
    any_correct = statistics.mean(float(truth[s].any()) for s in subsets)
    assert metrics.expected_any_correct(truth, n) == pytest.approx(any_correct)


@given(scored)
def test_drawing_everyone_is_best_of_n_and_drawing_one_is_the_pass_rate(group):
    scores, truth = group
    assert metrics.expected_best_of_n(scores, truth, scores.size) == pytest.approx(metrics.best_of_n(*group))
    assert metrics.expected_best_of_n(scores, truth, 1) == pytest.approx(truth.mean())


@given(scored)
def test_auc_is_the_share_of_pairs_in_order(group):
    scores, truth = group
    pairs = [
        1.0 if right > wrong else 0.5 if right == wrong else 0.0
        for right in scores[truth]
        for wrong in scores[~truth]
    ]
    assert metrics.within_group_auc(scores, truth) == (
        pytest.approx(statistics.mean(pairs)) if pairs else None
    )


def test_auc_of_ties_is_a_half_and_of_one_class_undefined():
    assert metrics.within_group_auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
    assert metrics.within_group_auc(np.array([0.5, 0.7]), np.array([True, True])) is None


def test_best_of_100_of_a_large_group_is_exact():
    scores, truth = np.arange(300.0), np.arange(300) >= 299
    assert metrics.expected_best_of_n(scores, truth, 100) == pytest.approx(1 / 3)


@pytest.mark.parametrize("n", [0, 3])
def test_impossible_draws_are_refused(n):
    with pytest.raises(ValueError, match="of 2 rollouts"):
        metrics.expected_best_of_n(np.zeros(2), np.zeros(2, dtype=np.bool_), n)


def test_far_is_of_the_wrong_and_frr_of_the_correct():
    # 3 of 10 correct ones rejected, 1 of 5 wrong ones accepted.
    quality = Confusion(accepted_correct=7, accepted_wrong=1, rejected_correct=3, rejected_wrong=4).metrics()
    assert quality == ClassifierMetrics(
        acc=pytest.approx(11 / 15), f1=pytest.approx(14 / 18), far=pytest.approx(0.2), frr=pytest.approx(0.3)
    )


def test_rates_without_a_denominator_are_undefined():
    assert Confusion().metrics() == ClassifierMetrics(None, None, None, None)
    assert Confusion(rejected_wrong=2).metrics() == ClassifierMetrics(acc=1.0, f1=None, far=0.0, frr=None)


def test_micro_average_adds_counts():
    total = Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40)
    assert total == Confusion(11, 22, 33, 44)
    assert total.decisions == 110


def test_single_tests_are_judged_where_there_is_evidence_and_by_weight(build):
    _, matrix = build(["PP F", "PU P", "FT P", "-"], copies=[2, 1])
    truth = np.array([True, False, False, False])
    ballots = count_votes(matrix, "method", "weight")
    assert metrics.vote_quality(ballots.classes, truth) == Confusion(2, 2, 1, 2)
    assert metrics.vote_quality(ballots.parts, truth) == Confusion(4, 4, 1, 4)


def test_the_ensemble_decides_once_per_rollout():
    accept = np.array([True, True, False, False, False])
    truth = np.array([True, False, True, False, False])
    assert metrics.ensemble_quality(accept, truth) == Confusion(1, 1, 1, 2)
