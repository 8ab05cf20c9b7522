"""Hand-worked scores, and the clusters below them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from coderm_reward.config import AggregatorName
from coderm_reward.scoring.aggregators import (
    AGGREGATORS,
    MAX_CONSENSUS_BONUS,
    combined,
    dual_agreement,
    majority,
    majority_consensus,
)
from coderm_reward.scoring.clusters import cluster_ids, cluster_shares
from coderm_reward.scoring.votes import count_votes


def scores(aggregator, group, unit="method", duplicates="weight"):
    return aggregator(count_votes(group[1], unit, duplicates)).score.tolist()


def test_every_configurable_aggregator_exists():
    assert set(AGGREGATORS) == set(AggregatorName.__args__)


def test_majority_is_the_fraction_of_methods_or_classes(build):
    group = build(["PPF P", "PPP P", "FFF P"])
    assert scores(majority, group) == [3 / 4, 1.0, 1 / 4]
    assert scores(majority, group, unit="class") == [1 / 2, 1.0, 1 / 2]


def test_consensus_breaks_a_tie_for_the_larger_cluster(build):
    alone, *twins, best = scores(majority_consensus, build(["P F F", "F P F", "F P F", "P P F"]))
    assert 1 / 3 < alone < twins[0] == twins[1] < 2 / 3 < best


def test_consensus_is_exact_at_both_ends_and_negligible_between(build):
    nothing, half, everything = scores(majority_consensus, build(["F F", "P F", "P P"]))
    assert (nothing, everything) == (0.0, 1.0)
    assert 0.5 < half <= 0.5 + MAX_CONSENSUS_BONUS


def test_consensus_is_far_below_the_smallest_step_of_many_weighted_votes(build):
    # 5,000 and 4,999 votes with evidence: fractions 1/5000 and 1/4999 are 4e-8 apart.
    group = build(["P F F", "F F P", "F F P", "U P F"], copies=[1, 1, 4998])
    small, *_, closest = scores(majority_consensus, group)
    assert 1 / 5000 < small < 1 / 4999 < closest


def test_dual_agreement_is_the_fraction_times_the_root_of_the_cluster_share(build):
    result = scores(dual_agreement, build(["P P", "P P", "P F", "F F"]))
    assert result == pytest.approx([math.sqrt(1 / 2), math.sqrt(1 / 2), 0.5 * math.sqrt(1 / 4), 0.0])


def test_combined_takes_both_levels_with_clusters_of_methods(build):
    group = build(["PF P", "FP P", "PP P", "PP P"])
    expected = [(2 / 3 + 1 / 2) / 2 * math.sqrt(1 / 4)] * 2 + [math.sqrt(1 / 2)] * 2
    for unit in ("method", "class"):
        assert scores(combined, group, unit=unit) == pytest.approx(expected)


def test_combined_uses_the_level_that_has_evidence(build):
    # The class verdict is UNKNOWN as soon as a method is and none failed.
    group = build(["PU"])
    assert scores(combined, group) == [1.0]


def test_only_eligible_rollouts_are_scored_and_shares_are_of_all_with_evidence(build):
    result = scores(dual_agreement, build(["P P", "-", "U U", "P X", "P F"]))
    assert np.isnan(result).tolist() == [False, True, True, True, False]
    assert result[0] == pytest.approx(math.sqrt(1 / 4))  # all but the rollout that nothing is known of


def test_copies_of_a_solution_make_no_larger_cluster_under_drop(build):
    group = build(["P F", "P F", "P F", "F P", "F P"], solutions=[0, 0, 0, 1, 2])
    kept = scores(dual_agreement, group)
    dropped = scores(dual_agreement, group, duplicates="drop")
    assert kept[0] > kept[3]
    assert dropped[0] < dropped[3]
    assert dropped[3] == pytest.approx(0.5 * math.sqrt(2 / 3))


def test_clusters_of_equal_size_tie_exactly_however_many_copies_they_hold(build):
    rows = ["P F"] * 49 + ["F P"]
    result = scores(dual_agreement, build(rows, solutions=[0] * 49 + [1]), duplicates="drop")
    assert len(set(result)) == 1


def test_a_column_that_is_unknown_for_someone_does_not_form_clusters(build):
    _, matrix = build(["P U", "P P", "P F", "F F"])
    ballots = count_votes(matrix, "method", "weight")
    ids = cluster_ids(ballots.votes, ballots.eligible)
    assert ids.tolist() == [0, 0, 0, 1]
    assert cluster_shares(ids, ballots.rollout_weight).tolist() == [0.75, 0.75, 0.75, 0.25]


def test_without_a_common_column_agreement_is_no_penalty(build):
    group = build(["P U", "U F"])
    assert scores(dual_agreement, group) == scores(majority, group) == [1.0, 0.0]


def test_clusters_of_nobody_are_empty():
    shares = cluster_shares(np.full(3, -1), np.zeros(3))
    assert np.isnan(shares).all()
