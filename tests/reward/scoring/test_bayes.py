"""The posterior over clusters: what it must say where it is clear, and laws that hold for every group."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.config import ScoringConfig
from coderm_reward.scoring.aggregators import AGGREGATORS, bayes, majority
from coderm_reward.scoring.bayes import DEFAULT_MODEL, calibrated, calibration_features, cluster_posterior
from coderm_reward.scoring.reliability import kelley
from coderm_reward.scoring.rewards import group_rewards
from coderm_reward.scoring.votes import count_votes

LETTERS = st.text("PF", min_size=4, max_size=4)
ROWS = st.lists(st.builds(" ".join, st.lists(LETTERS, min_size=3, max_size=3)), min_size=1, max_size=8)


def ballots(group, unit="method", duplicates="weight"):
    return count_votes(group[1], unit, duplicates)


def test_posteriors_of_the_clusters_add_up_to_one(build):
    votes = ballots(build(["PP PP", "PP PP", "PF PF", "FF FP", "FF FF"]))
    posterior = cluster_posterior(votes)
    assert posterior[0] == posterior[1]
    assert math.fsum(posterior[1:]) == pytest.approx(1.0)


def test_agreement_outweighs_a_lone_rollout_that_wrong_tests_flatter(build):
    """Six agree on right tests; one degenerate answer passes as many methods, of scattered classes."""
    group = build(["PP PP FF FF"] * 6 + ["FP FP FP PF", "FF FP FF PF"])
    fractions, promoted = majority(ballots(group)).score, bayes(ballots(group)).score
    assert fractions[0] == fractions[6]
    assert promoted[0] > 1.3 * promoted[6]


def test_one_cluster_is_certain_and_keeps_its_fraction(build):
    scores = bayes(ballots(build(["PF P"] * 4))).score
    assert scores == pytest.approx([(2 / 3 + 1 / 2) / 2] * 4)


def test_who_passes_nothing_scores_nothing_however_many_agree(build):
    scores = bayes(ballots(build(["FF FF"] * 5 + ["PP PF"]))).score
    assert scores[:5].tolist() == [0.0] * 5
    assert scores[5] > 0.0


def test_constant_tests_are_no_evidence_and_all_constant_is_no_difference(build):
    plain = cluster_posterior(ballots(build(["PF FP", "PP PP", "PP PP"])))
    padded = cluster_posterior(ballots(build(["PF FP PPP FF", "PP PP PPP FF", "PP PP PPP FF"])))
    np.testing.assert_array_equal(plain, padded)
    assert len(set(bayes(ballots(build(["PF P", "PF P", "PF P"]))).score)) == 1


def test_copies_of_a_test_are_no_further_evidence(build):
    rows = ["PF FP", "PP PP", "FF PP"]
    once, often = (cluster_posterior(ballots(build(rows, copies=copies))) for copies in ([1, 1], [9, 1]))
    np.testing.assert_array_equal(once, often)


def test_nobody_and_no_test_and_one_rollout_are_neutral_answers(build):
    nobody = bayes(ballots(build(["-", "?"])))
    assert np.isnan(nobody.score).all()
    assert np.isnan(nobody.p_correct).all()
    alone = bayes(ballots(build(["PF PP"])))
    assert alone.score == pytest.approx([(3 / 4 + 1 / 2) / 2])
    assert 0.0 < alone.p_correct[0] < 1.0


def test_untempered_evidence_is_more_certain(build):
    votes = ballots(build(["PP PP PF"] * 3 + ["FP PF FP"] * 3 + ["PF FF FP"]))
    sure = msgspec.structs.replace(DEFAULT_MODEL, cell_temper=1.0, class_temper=1.0)
    assert np.nanmax(cluster_posterior(votes, sure)) > np.nanmax(cluster_posterior(votes))


@given(ROWS, st.randoms(use_true_random=False))
def test_reordering_classes_changes_nothing(build, rows, random):
    words = [row.split() for row in rows]
    order = [0, 1, 2]
    random.shuffle(order)
    straight = bayes(ballots(build(rows)))
    shuffled = bayes(ballots(build([" ".join(row[i] for i in order) for row in words])))
    np.testing.assert_allclose(straight.score, shuffled.score, atol=1e-12)
    np.testing.assert_allclose(straight.p_correct, shuffled.p_correct, atol=1e-9)


@given(ROWS, st.sampled_from(["method", "class"]))
def test_scores_lie_between_a_third_of_the_fraction_and_all_of_it(build, rows, unit):
    votes = ballots(build(rows), unit=unit)
    fraction = (votes.parts.fraction() + votes.classes.fraction()) / 2
    score = bayes(votes).score
    assert (score <= fraction + 1e-12).all()
    assert (score >= fraction / 3 - 1e-12).all()


@given(ROWS)
def test_majority_never_prefers_who_passes_less(build, rows):
    """Monotone, as no other aggregator is: a superset of passed tests never scores lower."""
    votes = ballots(build(rows))
    score, passed = majority(votes).score, votes.parts.passed
    for i in range(len(rows)):
        for j in range(len(rows)):
            if (passed[i] >= passed[j]).all():
                assert score[i] >= score[j]


@given(ROWS, st.sampled_from(["majority", "majority_consensus"]))
def test_a_constant_test_leaves_the_order_of_fractions(build, rows, name):
    """For majority and its tie-break the order is the very same with a test that all pass, or none."""
    before = AGGREGATORS[name](ballots(build(rows))).score
    for extra in ("P", "F"):
        after = AGGREGATORS[name](ballots(build([f"{row} {extra}" for row in rows]))).score
        for i in range(len(rows)):
            for j in range(len(rows)):
                if name == "majority" or not {before[i], before[j]} & {0.0, 1.0}:
                    assert (before[i] > before[j]) == (after[i] > after[j])


def test_p_correct_rises_with_each_kind_of_evidence():
    parts = [np.linspace(0.1, 0.9, 5), *(np.full(5, 0.5) for _ in range(3))]
    for _ in range(4):
        chance = calibrated(calibration_features(*parts, passing=0.5))
        assert (np.diff(chance) > 0).all()
        parts = parts[-1:] + parts[:-1]


def test_kelley_shrinks_towards_the_mean_and_leaves_what_is_unknown():
    scores = np.array([0.0, 1.0, np.nan, 0.5])
    np.testing.assert_allclose(kelley(scores, 0.5), [0.25, 0.75, np.nan, 0.5])
    np.testing.assert_array_equal(kelley(scores, 1.0), scores)
    assert len(set(kelley(scores, 0.0)[[0, 1, 3]])) == 1
    assert np.isnan(kelley(np.array([np.nan]), 0.3)).all()


@pytest.mark.parametrize("rule", ["none", "shrink", "filter"])
def test_an_unreliable_group_loses_its_gradient_only_where_that_is_asked_for(build, rule):
    """Classes that contradict each other: alpha is 0, and the spread is noise."""
    statuses, matrix = build(["P F P", "F P F", "P F F", "-"])
    rewards = group_rewards(
        statuses,
        matrix,
        ScoringConfig(reliability_rule=rule),
        difficulty=0.5,
        gen_seconds=0.0,
        generation_failed=False,
    ).rewards
    scores = [reward.score for reward in rewards]
    assert {reward.reliability for reward in rewards} == {0.0}
    assert scores[3] == 0.0  # no code is no matter of tests
    assert (len(set(scores[:3])) == 1) == (rule != "none")
    assert {reward.filtered for reward in rewards} == {float(rule == "filter")}


def test_a_reliable_group_is_shrunk_by_its_reliability_and_not_filtered(build):
    statuses, matrix = build(["PP PP PP", "PP PP PF", "FF FF FF", "FF FF PF"])

    def scores(rule):
        config = ScoringConfig(reliability_rule=rule)
        return group_rewards(
            statuses, matrix, config, difficulty=0.5, gen_seconds=0.0, generation_failed=False
        ).rewards

    plain, shrunk, kept = scores("none"), scores("shrink"), scores("filter")
    assert [r.score for r in plain] == [r.score for r in kept]
    assert {r.filtered for r in kept} == {0.0}
    alpha = plain[0].reliability
    assert 0.8 < alpha < 1.0
    mean = math.fsum(r.score for r in plain) / 4
    assert [r.score for r in shrunk] == pytest.approx([mean + alpha * (r.score - mean) for r in plain])


def test_a_lost_verdict_only_makes_clusters_coarser(build):
    _, matrix = build(["PP PP", "PP PF", "FF FF"])
    methods = matrix.method_verdicts.copy()
    methods[0, 3] = 0
    lossy = count_votes(replace(matrix, method_verdicts=methods), "method", "weight")
    posterior = cluster_posterior(lossy)
    assert posterior[0] == posterior[1]
