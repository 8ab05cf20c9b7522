"""Cronbach's alpha against an independent formula, and what counts as an item."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from coderm_reward.scoring.reliability import class_scores, cronbach_alpha, group_reliability
from coderm_reward.scoring.votes import count_votes

complete = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 7), st.integers(2, 6)),
    elements=st.integers(0, 4).map(lambda quarter: quarter / 4),
)


@given(complete)
def test_alpha_is_the_textbook_formula_from_mean_covariances(scores):
    covariance = np.cov(scores, rowvar=False)
    items = scores.shape[1]
    mean_variance = statistics.mean(np.diag(covariance))
    off_diagonal = (covariance.sum() - np.trace(covariance)) / (items * (items - 1))
    total = mean_variance + (items - 1) * off_diagonal
    expected = 0.0 if total < 1e-9 else min(max(items * off_diagonal / total, 0.0), 1.0)
    assert cronbach_alpha(scores) == pytest.approx(expected, abs=1e-9)


@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 5), st.integers(0, 5)), elements=st.floats(0, 1)))
def test_alpha_is_finite_and_in_bounds_for_any_shape(scores):
    assert 0.0 <= cronbach_alpha(scores) <= 1.0


def test_parallel_items_are_fully_reliable():
    assert cronbach_alpha(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 0.5]])) == pytest.approx(1.0)


def test_opposed_items_are_not_reliable_at_all():
    assert cronbach_alpha(np.array([[0.0, 1.0], [1.0, 0.25]])) == 0.0


def test_rollouts_without_evidence_go_before_columns_with_holes():
    nan = math.nan
    with_holes = np.array([[0.0, 0.0, nan], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [nan, nan, nan]])
    whole = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert cronbach_alpha(with_holes) == cronbach_alpha(whole) > 0.0


def test_class_scores_are_fractions_of_the_valid_methods(build):
    _, matrix = build(["PFI PP", "FFI PF", "PUI PP", "-"])
    scores = class_scores(count_votes(matrix, "method", "weight"))
    np.testing.assert_array_equal(scores, [[0.5, 1], [0, 0.5], [math.nan, 1], [math.nan, math.nan]])


def test_class_scores_are_all_or_nothing_at_class_level(build):
    _, matrix = build(["PF PP", "FF PF", "PU PP"])
    scores = class_scores(count_votes(matrix, "class", "weight"))
    np.testing.assert_array_equal(scores, [[0, 1], [0, 0], [math.nan, 1]])


def test_copies_of_a_class_do_not_raise_reliability(build):
    rows = ["P F P", "F F P", "P P F", "P P P"]
    once = count_votes(build(rows)[1], "method", "weight")
    often = count_votes(build(rows, copies=[9, 1, 1])[1], "method", "weight")
    assert group_reliability(once) == group_reliability(often)


def test_a_group_without_tests_has_reliability_zero(build):
    assert group_reliability(count_votes(build(["-", "-"])[1], "method", "weight")) == 0.0
