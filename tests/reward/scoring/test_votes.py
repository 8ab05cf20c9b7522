"""What takes part in a vote, what it weighs, and who can be scored."""

from __future__ import annotations

import numpy as np
import pytest

from coderm_reward.scoring.votes import count_votes, valid_columns


def test_a_pass_is_for_and_every_other_known_verdict_is_against(build):
    _, matrix = build(["P F E T M O X"])
    votes = count_votes(matrix, "method", "weight").votes
    assert votes.passed.tolist() == [[True] + [False] * 6]
    assert votes.known.all()


def test_an_unknown_vote_leaves_only_its_rollouts_denominator(build):
    _, matrix = build(["PU F", "PF F"])
    votes = count_votes(matrix, "method", "weight").votes
    assert votes.fraction().tolist() == [pytest.approx(1 / 2), pytest.approx(1 / 3)]
    assert votes.votes_run().tolist() == [2.0, 3.0]
    assert votes.planned == 3.0


def test_an_invalid_class_leaves_with_all_its_methods(build):
    _, matrix = build(["II P", "II F"])
    ballots = count_votes(matrix, "method", "weight")
    assert ballots.parts.planned == 1.0
    assert ballots.classes.planned == 1.0
    assert ballots.part_class.tolist() == [0]


def test_an_invalid_method_leaves_alone(build):
    _, matrix = build(["PI P", "FI F"])
    ballots = count_votes(matrix, "method", "weight")
    assert ballots.parts.planned == 2.0
    assert ballots.classes.planned == 2.0


def test_a_class_whose_methods_are_all_invalid_leaves_even_if_it_is_not_marked(build):
    _, matrix = build(["II P"])
    matrix.class_verdicts[:, 0] = 1
    classes, methods = valid_columns(matrix)
    assert classes.tolist() == [False, True]
    assert methods.tolist() == [False, False, True]


def test_the_methods_of_an_invalid_class_leave_even_if_they_are_not_marked(build):
    _, matrix = build(["II P"])
    matrix.method_verdicts[:, :2] = 1
    classes, methods = valid_columns(matrix)
    assert classes.tolist() == [False, True]
    assert methods.tolist() == [False, False, True]


def test_one_invalid_cell_speaks_for_the_whole_column(build):
    _, matrix = build(["P P", "I P"])
    assert count_votes(matrix, "class", "weight").votes.planned == 1.0


@pytest.mark.parametrize(("duplicates", "expected"), [("weight", 3 / 4), ("drop", 1 / 2)])
def test_copies_of_a_test_keep_their_votes_only_under_weight(build, duplicates, expected):
    _, matrix = build(["P F"], copies=[3, 1])
    for unit in ("method", "class"):
        assert count_votes(matrix, unit, duplicates).votes.fraction().tolist() == [expected]


def test_copies_of_a_solution_share_one_place_only_under_drop(build):
    _, matrix = build(["P", "P", "F", "-"], solutions=[0, 0, 1, -1])
    assert count_votes(matrix, "method", "weight").rollout_weight.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert count_votes(matrix, "method", "drop").rollout_weight.tolist() == [0.5, 0.5, 1.0, 0.0]


def test_no_code_no_evidence_and_tampering_are_not_eligible(build):
    _, matrix = build(["PP P", "-", "UU U", "PP X", "FF F"])
    ballots = count_votes(matrix, "method", "weight")
    assert ballots.eligible.tolist() == [True, False, False, False, True]
    assert ballots.tampered.tolist() == [False, False, False, True, False]


def test_tampering_in_a_method_counts_under_class_votes(build):
    _, matrix = build(["PFX"])
    assert matrix.class_verdicts[0, 0] != matrix.method_verdicts[0, 2]
    assert count_votes(matrix, "class", "weight").tampered.tolist() == [True]


def test_a_group_without_tests_has_no_votes(build):
    _, matrix = build(["-", "?"])
    ballots = count_votes(matrix, "method", "drop")
    assert ballots.votes.planned == 0.0
    assert np.isnan(ballots.votes.fraction()).all()
    assert not ballots.eligible.any()
