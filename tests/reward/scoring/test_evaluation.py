"""The table of `evaluate` on two groups that can be worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from coderm_reward.config import ScoringConfig
from coderm_reward.errors import InputError
from coderm_reward.scoring.evaluation import EvaluationGroup, evaluate_groups
from coderm_reward.scoring.metrics import ClassifierMetrics


@pytest.fixture
def two_groups(build):
    """Scores by majority: (1, 1/2, 1/2, 0 without code) and (1/2, 0, neutral 1/4)."""
    first, second = build(["P P", "P F", "F P", "-"]), build(["P F", "F F", "U U"])
    return [
        EvaluationGroup(*first, truth=np.array([True, False, True, False])),
        EvaluationGroup(*second, truth=np.array([False, False, False])),
    ]


def majority(table):
    return next(row for row in table.aggregators if row.aggregator == "majority")


def test_selection_and_its_baselines(two_groups):
    table = evaluate_groups(two_groups)
    assert (table.groups, table.rollouts, table.rollouts_with_evidence, table.auc_groups) == (2, 7, 5, 1)
    assert majority(table).best_of_n == 0.5
    # Pairs of the first group: 1 > 1/2, 1 > 0, 1/2 = 1/2, 1/2 > 0.
    assert majority(table).auc == pytest.approx(3.5 / 4)
    assert table.random_pick == 0.25
    assert table.oracle == 0.5


def test_all_aggregators_are_compared(two_groups):
    names = [row.aggregator for row in evaluate_groups(two_groups).aggregators]
    assert names == ["majority", "majority_consensus", "dual_agreement", "combined", "bayes"]


def test_classifiers_are_micro_averaged_over_pairs_with_evidence(two_groups):
    table = evaluate_groups(two_groups)
    # Accepted: 3 of the 4 votes on correct rollouts, 2 of the 6 on wrong ones.
    expected = ClassifierMetrics(acc=7 / 10, f1=6 / 9, far=2 / 6, frr=1 / 4)
    assert table.class_tests == table.method_tests == expected
    assert table.class_pairs == table.method_pairs == 10.0
    # Ensemble at 1/2: accepts all three of the first group and the first of the second.
    assert majority(table).ensemble == ClassifierMetrics(acc=3 / 5, f1=4 / 6, far=2 / 3, frr=0.0)


def test_the_acceptance_threshold_is_the_configured_one(two_groups):
    table = evaluate_groups(two_groups, ScoringConfig(acc_threshold=0.75))
    assert majority(table).ensemble == ClassifierMetrics(acc=4 / 5, f1=2 / 3, far=0.0, frr=0.5)


def test_drawing_fewer_rollouts_is_an_expectation_over_subsets(two_groups):
    table = evaluate_groups(two_groups, n=1)
    assert majority(table).best_of_n == pytest.approx(table.random_pick)
    assert table.oracle == pytest.approx(table.random_pick)


def test_groups_smaller_than_n_are_taken_whole(two_groups):
    assert evaluate_groups(two_groups, n=100).aggregators == evaluate_groups(two_groups).aggregators


def test_no_group_with_a_truth_is_one_clear_error():
    with pytest.raises(InputError, match="--truth"):
        evaluate_groups([])


def test_a_truth_of_another_length_is_refused(build):
    with pytest.raises(ValueError, match="one entry per rollout"):
        evaluate_groups([EvaluationGroup(*build(["P"]), truth=np.array([True, False]))])
