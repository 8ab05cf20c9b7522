"""Draws: what they take, and that the same question gets the same answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coderm_reward.ablation.groups import default_rollouts, make_draw, take
from coderm_reward.ablation.weights import group_weights
from coderm_reward.errors import ConfigError
from coderm_reward.scoring.votes import count_votes


def test_a_draw_is_of_some_rollouts_and_of_all_responses_in_some_order(group):
    draw = make_draw(group("a", 0.5), 5, 0, 0)
    assert draw.rows.size == 5
    assert sorted([*draw.rows, *draw.others]) == list(range(12))
    assert sorted(draw.order) == list(range(16))


def test_draws_depend_on_the_group_the_seed_and_the_number_and_on_nothing_else(group):
    a = group("a", 0.5)
    same, again = make_draw(a, 5, 0, 0), make_draw(replace(a, truth=~a.truth), 5, 0, 0)
    assert same.order.tolist() == again.order.tolist()
    others = [make_draw(a, 5, 1, 0), make_draw(a, 5, 0, 1), make_draw(group("b", 0.5), 5, 0, 0)]
    assert all(same.order.tolist() != other.order.tolist() for other in others)


def test_a_small_group_is_taken_whole(group):
    draw = make_draw(group("a", 0.5), 99, 0, 0)
    assert draw.rows.tolist() == list(range(12))
    assert draw.others.size == 0


def test_taking_everything_gives_the_recorded_votes(group):
    a = group("a", 0.5)
    statuses, matrix = take(a, np.arange(12), np.arange(16))
    assert statuses == a.statuses
    np.testing.assert_array_equal(matrix.class_verdicts, a.matrix.class_verdicts)
    np.testing.assert_array_equal(matrix.method_verdicts, a.matrix.method_verdicts)
    np.testing.assert_array_equal(matrix.method_test, a.matrix.method_test)


def test_taking_some_keeps_rows_columns_and_methods_together(group):
    a = group("a", 0.5)
    _, matrix = take(a, np.array([3, 7]), np.array([6, 4, 0]))  # response 4 gave no test
    assert [test.id for test in matrix.tests] == ["t0", "t6"]
    np.testing.assert_array_equal(matrix.class_verdicts, a.matrix.class_verdicts[np.ix_([3, 7], [0, 5])])
    np.testing.assert_array_equal(
        matrix.method_verdicts, a.matrix.method_verdicts[np.ix_([3, 7], [0, 1, 10, 11])]
    )
    assert matrix.method_test.tolist() == [0, 0, 1, 1]


def test_responses_that_gave_the_same_class_are_copies(group):
    a = group("a", 0.5)
    twice = replace(a, responses=(a.responses[0], a.responses[0]))
    _, matrix = take(twice, np.arange(12), np.array([0, 1]))
    assert [test.copies for test in matrix.tests] == [2]
    assert count_votes(matrix, "class", "weight").classes.planned == 2.0


def test_no_response_is_no_vote(group):
    _, matrix = take(group("a", 0.5), np.arange(3), np.zeros(0, dtype=np.intp))
    assert matrix.tests == ()
    assert matrix.class_verdicts.shape == (3, 0)


def test_half_of_the_smallest_group_is_drawn_but_at_most_sixteen(group):
    assert default_rollouts([group("a", 0.5), group("b", 0.5, rollouts=8)]) == 4
    assert default_rollouts([group("a", 0.5, rollouts=1)]) == 1
    assert default_rollouts([group("a", 0.5, rollouts=100)]) == 16


@pytest.mark.parametrize("target", [0.3, 0.5, 0.8])
def test_weights_give_the_pass_rate_asked_for(target):
    rates = [0.1, 0.2, 0.2, 0.6, 0.9]
    weights = group_weights(rates, target)
    assert weights.mean() == pytest.approx(1.0)
    assert weights @ rates / 5 == pytest.approx(target)


def test_without_a_target_all_weigh_the_same_and_an_impossible_one_is_said():
    assert group_weights([0.1, 0.9], None).tolist() == [1.0, 1.0]
    with pytest.raises(ConfigError, match=r"from groups with rates of 0\.100 to 0\.900"):
        group_weights([0.1, 0.9], 0.95)
