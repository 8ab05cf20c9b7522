"""Verdicts of excluded judges are no evidence, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.config import ScoringConfig
from coderm_reward.scoring.evaluation import EvaluationGroup, evaluate_groups
from coderm_reward.scoring.judges import judge_share, judged_cells, without_judges
from coderm_reward.scoring.rewards import group_rewards
from coderm_reward.types import Judge, Verdict

EXCLUSIONS = st.lists(st.sampled_from(["handle", "inline"]), max_size=2).map(tuple)


def reward(group, *, generation_failed=False, **settings):
    statuses, matrix = group
    config = ScoringConfig(**settings)
    return group_rewards(
        statuses, matrix, config, difficulty=0.5, gen_seconds=0.0, generation_failed=generation_failed
    )


def column(group, name, **settings):
    return [getattr(r, name) for r in reward(group, **settings).rewards]


def letters(matrix):
    return ["".join(Verdict(v).letter for v in row) for row in matrix.method_verdicts]


def test_cells_of_excluded_judges_leave_at_both_levels(build):
    _, matrix = build(["PF P F", "PP F P"], judges=["IHA", "AIH"])
    left = without_judges(matrix, ["inline"])
    assert letters(left) == ["UUPF", "PPUP"]
    assert left.class_verdicts.tolist() == [
        [Verdict.UNKNOWN, Verdict.PASS, Verdict.FAIL],
        [Verdict.PASS, Verdict.UNKNOWN, Verdict.PASS],
    ]
    assert letters(without_judges(matrix, ["handle", "inline"])) == ["UUUF", "PPUU"]
    assert letters(matrix) == ["PFPF", "PPFP"]


def test_invalid_tests_and_tampering_stay(build):
    _, matrix = build(["PX I P"], judges=["III"])
    assert letters(without_judges(matrix, ["inline"])) == ["UXIU"]


def test_excluded_votes_leave_the_denominator(build):
    group = build(["P P F F", "F P P P"], judges=["AAAI", "IAHA"])
    assert column(group, "score") == [0.5, 0.75]
    assert column(group, "score", exclude_judges=("inline",)) == [pytest.approx(2 / 3), 1.0]
    assert column(group, "tests_run", exclude_judges=("inline",)) == [3.0, 3.0]
    assert column(group, "tests_planned", exclude_judges=("inline",)) == [4.0, 4.0]
    assert column(group, "score", exclude_judges=("handle", "inline")) == [pytest.approx(2 / 3), 1.0]
    assert column(group, "tests_run", exclude_judges=("handle", "inline")) == [3.0, 2.0]


@pytest.mark.parametrize("unit", ["method", "class"])
def test_copies_leave_with_their_class(build, unit):
    group = build(["P F", "P P"], copies=[3, 1], judges=["IA", "AA"])
    settings = {"exclude_judges": ("inline",), "vote_unit": unit}
    assert column(group, "score", **settings) == [0.0, 1.0]
    assert column(group, "tests_run", **settings) == [1.0, 4.0]


def test_a_rollout_left_without_evidence_is_neutral_and_no_infra_error(build):
    group = build(["P P", "P F", "P P"], judges=["AA", "AA", "II"])
    settings = {"exclude_judges": ("inline",)}
    assert column(group, "score", **settings) == [1.0, 0.5, 0.75]
    assert column(group, "neutral", **settings) == [0.0, 0.0, 1.0]
    assert column(group, "infra_error", **settings) == [0.0] * 3
    assert column(group, "tests_run", **settings) == [2.0, 2.0, 0.0]


def test_missing_verdicts_stay_an_infra_error_beside_excluded_ones(build):
    group = build(["P P", "U U", "U P"], judges=["AA", "II", "AI"])
    assert column(group, "infra_error", exclude_judges=("inline",)) == [0.0, 1.0, 0.0]
    assert column(group, "neutral", exclude_judges=("inline",)) == [0.0, 1.0, 1.0]
    failed = reward(group, exclude_judges=("inline",), generation_failed=True)
    assert [r.infra_error for r in failed.rewards] == [0.0, 1.0, 0.0]


def test_a_group_of_excluded_verdicts_says_so(build):
    result = reward(build(["P", "F"], judges=["I", "I"]), exclude_judges=("inline",))
    assert [r.score for r in result.rewards] == [0.0, 0.0]
    assert len(result.warnings) == 1
    assert "exclude_judges" in result.warnings[0]


def test_a_rollout_caught_by_an_excluded_judge_is_caught(build):
    group = build(["P P X", "P F F"], judges=["AAI", "AAA"])
    assert column(group, "score", exclude_judges=("inline",)) == [0.0, pytest.approx(1 / 3)]
    assert column(group, "tampered", exclude_judges=("inline",)) == [1.0, 0.0]


def test_excluded_rollouts_weigh_in_no_share(build):
    group = build(["P F", "P F", "F P"], judges=["AA", "AA", "II"])
    settings = {"aggregator": "dual_agreement", "exclude_judges": ("inline",)}
    assert column(group, "score", **settings)[:2] == [0.5, 0.5]


def test_the_shares_say_how_verdicts_were_reached_excluded_or_not(build):
    group = build(["P P U I", "F F F I"], judges=["HIHH", "AAHI"])
    assert column(group, "judge_handle", exclude_judges=("handle",)) == [0.5, pytest.approx(1 / 3)]
    assert column(group, "judge_inline", exclude_judges=("inline",)) == [0.5, 0.0]


def test_shares_add_up_to_one_over_the_judged_pairs(build):
    _, matrix = build(["P P U I", "-", "F F F I"], judges=["HIHH", "AAAA", "AAHI"])
    assert judged_cells(matrix).tolist() == [
        [True, True, False, False],
        [False] * 4,
        [True, True, True, False],
    ]
    total = sum(judge_share(matrix, judge) for judge in Judge)
    assert total.tolist() == [1.0, 0.0, 1.0]


def test_evaluation_leaves_them_out_too(build):
    group = EvaluationGroup(*build(["P P", "F P"], judges=["AI", "AI"]), truth=np.array([True, False]))
    trusted = evaluate_groups([group], ScoringConfig(exclude_judges=("inline",)))
    assert evaluate_groups([group]).class_pairs == 4.0
    assert trusted.class_pairs == 2.0
    assert trusted.class_tests.far == 0.0
    assert trusted.exclude_judges == ("inline",)
    assert trusted.rollouts_with_evidence == 2


@st.composite
def judged_groups(draw):
    """Keyword arguments of `build`: up to 5 rollouts on up to 4 classes of one method, with judges."""
    width = draw(st.integers(1, 4))

    def row(letters):
        return [draw(st.sampled_from(letters)) for _ in range(width)]

    size = draw(st.integers(1, 5))
    rows = [" ".join(row("PPFEUX")) for _ in range(size)]
    return {"rows": rows, "judges": ["".join(row("AHI")) for _ in range(size)]}


@given(judged_groups(), EXCLUSIONS, st.sampled_from(["majority", "majority_consensus", "combined"]))
def test_excluding_is_scoring_the_same_cells_as_unknown(build, spec, excluded, aggregator):
    """But for the infrastructure's fault, which it is not, and for who caught a tamperer."""
    letter = {"handle": "H", "inline": "I"}
    gone = {letter[name] for name in excluded}
    rows = [
        " ".join(
            "U" if judge in gone and cell != "X" else cell
            for cell, judge in zip(row.split(), judges, strict=True)
        )
        for row, judges in zip(spec["rows"], spec["judges"], strict=True)
    ]
    got = reward(build(**spec), exclude_judges=excluded, aggregator=aggregator).rewards
    wanted = reward(build(rows, judges=spec["judges"]), aggregator=aggregator).rewards
    silent = [set(row.split()) == {"U"} for row in spec["rows"]]
    free = {"infra_error", "judge_handle", "judge_inline"}
    for ours, theirs, was_silent in zip(got, wanted, silent, strict=True):
        assert {k: v for k, v in ours.as_dict().items() if k not in free} == {
            k: v for k, v in theirs.as_dict().items() if k not in free
        }
        assert ours.infra_error == float(was_silent)


@given(judged_groups())
def test_excluding_nobody_changes_nothing(build, spec):
    assert reward(build(**spec), exclude_judges=()) == reward(build(**spec))
