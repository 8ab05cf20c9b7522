"""What a scored group shows: who counts, what succeeded, which classes split it."""

from __future__ import annotations

import pytest

from coderm_reward.config import ScoringConfig
from coderm_reward.protocols import Evidence
from coderm_reward.scoring import group_evidence, group_rewards


def evidence_of(group, config=None, responses=5):
    statuses, matrix = group
    config = config or ScoringConfig()
    rewarded = group_rewards(
        statuses, matrix, config, difficulty=0.5, gen_seconds=0.0, generation_failed=False
    )
    return group_evidence(matrix, rewarded.rewards, config, responses)


def test_right_is_who_has_acc_and_unsplit_is_a_class_that_all_share(build):
    seen = evidence_of(build(["PP P PF", "PP F PP", "PP F FF"]))
    assert (seen.rollouts, seen.right, seen.tests, seen.unsplit, seen.responses) == (3, 2, 3, 1, 5)
    assert 0.0 <= seen.reliability <= 1.0
    strict = evidence_of(build(["PP P PF", "PP F PP", "PP F FF"]), ScoringConfig(acc_threshold=0.9))
    assert strict.right == 0


def test_without_code_is_a_failure_and_neutral_is_nothing(build):
    seen = evidence_of(build(["P", "-", "?", "U"]))
    assert (seen.rollouts, seen.right, seen.tests, seen.unsplit) == (2, 1, 1, 1)


def test_tampering_is_a_failure(build):
    seen = evidence_of(build(["P P", "P X"]))
    assert (seen.rollouts, seen.right) == (2, 1)


@pytest.mark.parametrize("rows", [[], ["P F P"]])
def test_groups_of_none_or_one_split_nowhere_and_have_no_reliability(build, rows):
    seen = evidence_of(build(rows))
    assert (seen.rollouts, seen.reliability, seen.unsplit) == (len(rows), 0.0, seen.tests)


def test_a_group_that_showed_nothing_is_no_evidence(build):
    assert evidence_of(build(["I I", "I I"]), responses=2) == Evidence(responses=2)
    assert evidence_of(build([]), responses=0).trials == 0.0


def test_unknown_cells_do_not_split(build):
    assert evidence_of(build(["P U", "P P"])).unsplit == 2
    assert evidence_of(build(["P U", "F P"])).unsplit == 1


def test_verdicts_of_excluded_judges_are_no_evidence(build):
    group = build(["P P", "P F"], judges=["AH", "AA"])
    assert evidence_of(group).unsplit == 1
    assert evidence_of(group, ScoringConfig(exclude_judges=("handle",))).unsplit == 2
