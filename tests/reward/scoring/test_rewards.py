"""The evidence rules and the shapes, each by a group small enough to work by hand."""

from __future__ import annotations

import math

import pytest

from coderm_reward.config import ScoringConfig
from coderm_reward.errors import ConfigError
from coderm_reward.scoring.rewards import group_rewards
from coderm_reward.types import CodeStatus

NO_CODE, OK, STDIN = CodeStatus.NO_CODE, CodeStatus.OK, CodeStatus.UNSUPPORTED_FORMAT


def reward(group, *, generation_failed=False, **settings):
    statuses, matrix = group
    config = ScoringConfig(**settings)
    return group_rewards(
        statuses, matrix, config, difficulty=0.3, gen_seconds=1.5, generation_failed=generation_failed
    )


def scores(group, **settings):
    return [r.score for r in reward(group, **settings).rewards]


def column(group, name, **settings):
    return [getattr(r, name) for r in reward(group, **settings).rewards]


def test_default_score_is_the_pass_fraction_of_methods(build):
    group = build(["PPF P", "FFF F"])
    assert scores(group) == column(group, "pass_fraction") == column(group, "p_correct") == [0.75, 0.0]
    assert column(group, "tests_run") == column(group, "tests_planned") == [4.0, 4.0]
    assert column(group, "neutral") == [0.0, 0.0]
    assert reward(group).warnings == ()


def test_tests_are_counted_in_votes_of_the_configured_unit_with_their_copies(build):
    group = build(["PU P", "PP F"], copies=[2, 1])
    assert column(group, "tests_run") == [3.0, 5.0]
    assert column(group, "tests_planned") == [5.0, 5.0]
    assert column(group, "tests_run", vote_unit="class") == [1.0, 3.0]
    assert column(group, "tests_planned", duplicates="drop", vote_unit="class") == [2.0, 2.0]


def test_no_code_is_zero_by_rule(build):
    group = build(["P P", "-"])
    assert scores(group) == [1.0, 0.0]
    assert column(group, "no_code") == [0.0, 1.0]
    assert column(group, "neutral") == [0.0, 0.0]


def test_tampering_is_zero_for_the_rollout_as_a_whole(build):
    group = build(["P P P X", "P P F F"])
    assert scores(group) == column(group, "p_correct") == [0.0, 0.5]
    assert column(group, "tampered") == [1.0, 0.0]
    assert column(group, "pass_fraction") == [0.75, 0.5]


def test_stdin_programs_get_the_mean_of_all_scored_siblings(build):
    group = build(["P P", "P F", "-", "P X", "?"])
    assert scores(group)[-1] == pytest.approx((1.0 + 0.5 + 0.0 + 0.0) / 4)
    assert column(group, "unsupported_format") == column(group, "neutral") == [0.0] * 4 + [1.0]
    assert column(group, "infra_error") == [0.0] * 5


def test_neutral_rollouts_never_beat_the_mean_of_their_group(build):
    result = scores(build(["P", "-", "-", "-", "-", "-", "-", "?"]))
    assert result[-1] == pytest.approx(sum(result) / len(result))


def test_a_rollout_without_any_evidence_is_neutral_and_an_infra_error(build):
    group = build(["P P", "F F", "P F", "U U"])
    assert scores(group)[-1] == 0.5
    assert column(group, "infra_error") == column(group, "neutral") == [0.0, 0.0, 0.0, 1.0]
    assert column(group, "tests_run")[-1] == 0.0
    assert column(group, "pass_fraction")[-1] == 0.0


def test_the_neutral_reward_is_the_mean_of_shaped_scores(build):
    group = build(["P P F", "F F P", "U U U"])
    assert scores(group, shape="binary")[-1] == 0.5
    assert scores(group, shape="vote_share")[-1] == pytest.approx((1.0 + 0.5) / 2)


def test_some_missing_evidence_is_no_infra_error(build):
    group = build(["P U", "F F"])
    assert column(group, "infra_error") == [0.0, 0.0]
    assert scores(group) == [1.0, 0.0]


def test_no_usable_test_is_neutral_but_no_infra_error(build):
    result = reward(build(["I I", "I I"]))
    assert [r.score for r in result.rewards] == [0.0, 0.0]
    assert {(r.neutral, r.infra_error, r.tests_run, r.tests_planned) for r in result.rewards} == {
        (1, 0, 0, 0)
    }
    assert len(result.warnings) == 1
    assert "no usable test" in result.warnings[0]


def test_failed_generation_is_an_infra_error_of_the_rollouts_with_code():
    result = reward(([OK, NO_CODE, STDIN], None), generation_failed=True)
    assert [r.infra_error for r in result.rewards] == [1.0, 0.0, 0.0]
    assert [r.neutral for r in result.rewards] == [1.0, 0.0, 1.0]
    assert "could not be generated" in result.warnings[0]


def test_tests_that_arrived_before_generation_failed_are_used(build):
    group = build(["P", "F"])
    assert scores(group, generation_failed=True) == [1.0, 0.0]
    assert column(group, "infra_error", generation_failed=True) == [0.0, 0.0]


def test_a_dead_sandbox_is_neutral_zero_with_a_warning_even_beside_a_rollout_without_code(build):
    result = reward(build(["U", "U", "-"]))
    assert [r.score for r in result.rewards] == [0.0, 0.0, 0.0]
    assert [r.infra_error for r in result.rewards] == [1.0, 1.0, 0.0]
    assert "sandbox gave no evidence" in result.warnings[0]
    assert "2 of 3" in result.warnings[0]


def test_a_group_of_stdin_programs_says_why():
    result = reward(([STDIN, STDIN], None))
    assert [r.score for r in result.rewards] == [0.0, 0.0]
    assert "read stdin" in result.warnings[0]


def test_a_group_without_any_code_needs_no_matrix_and_no_warning():
    result = reward(([NO_CODE, NO_CODE], None))
    assert [(r.score, r.no_code, r.neutral, r.reliability) for r in result.rewards] == [
        (0.0, 1.0, 0.0, 0.0)
    ] * 2
    assert result.warnings == ()


def test_a_fixed_neutral_reward_is_taken_as_it_is_and_p_correct_is_clipped(build):
    group = build(["P", "?"])
    assert scores(group, neutral=-0.5) == [1.0, -0.5]
    assert column(group, "p_correct", neutral=-0.5) == [1.0, 0.0]
    assert reward(([STDIN], None), neutral=0.5).warnings == ()


def test_a_neutral_reward_that_is_not_finite_is_refused(build):
    with pytest.raises(ConfigError, match="neutral"):
        scores(build(["P"]), neutral=math.nan)


def test_binary_is_one_from_the_threshold_on(build):
    group = build(["P P F", "P F F", "F F F"])
    assert scores(group, shape="binary", threshold=1 / 3) == [1.0, 1.0, 0.0]
    assert scores(group, shape="binary", threshold=1.0) == [0.0, 0.0, 0.0]


def test_binary_at_one_accepts_a_perfect_rollout_under_the_tie_break(build):
    group = build(["P P", "P F"])
    assert scores(group, shape="binary", threshold=1.0, aggregator="majority_consensus") == [1.0, 0.0]


def test_vote_share_is_relative_to_the_best(build):
    assert scores(build(["P P F F", "P F F F", "F F F F"]), shape="vote_share") == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("aggregator", ["majority", "majority_consensus", "dual_agreement", "combined"])
def test_vote_share_of_a_group_that_passes_nothing_is_zero(build, aggregator):
    assert scores(build(["F F", "F E"]), shape="vote_share", aggregator=aggregator) == [0.0, 0.0]


def test_vote_share_does_not_count_a_missing_vote_as_a_fail(build):
    assert scores(build(["P P", "P U"]), shape="vote_share") == [1.0, 1.0]


def test_acc_follows_the_final_score(build):
    group = build(["P P", "P F", "F F", "-"])
    assert column(group, "acc") == [1.0, 1.0, 0.0, 0.0]
    assert column(group, "acc", acc_threshold=0.75) == [1.0, 0.0, 0.0, 0.0]


def test_p_correct_is_the_aggregated_score_and_not_the_shaped_one(build):
    assert column(build(["P F F", "F F F"]), "p_correct", shape="vote_share") == [pytest.approx(1 / 3), 0.0]


def test_timeouts_are_a_share_of_the_votes_with_evidence(build):
    group = build(["TPU F", "PPP P", "-"])
    assert column(group, "timeout_rate") == [pytest.approx(1 / 3), 0.0, 0.0]
    assert column(group, "timeout_rate", vote_unit="class") == [0.5, 0.0, 0.0]


def test_judges_are_shares_of_the_valid_class_verdicts_with_evidence(build):
    group = build(["P P U I", "F F F I"], judges=["HIHH", "AAHI"])
    assert column(group, "judge_handle") == [0.5, pytest.approx(1 / 3)]
    assert column(group, "judge_inline") == [0.5, 0.0]


def test_group_values_and_seconds_are_passed_through(build):
    (result,) = reward(build(["P"])).rewards
    assert (result.difficulty, result.gen_seconds, result.exec_seconds) == (0.3, 1.5, 0.25)


def test_a_matrix_of_another_group_is_refused(build):
    _, matrix = build(["P", "P"])
    with pytest.raises(ValueError, match="disagree"):
        reward(([OK], matrix))
