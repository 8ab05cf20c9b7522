"""Votes of single assertions: which count, what they weigh, and what every stage makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.ablation.groups import AblationGroup, take
from coderm_reward.config import RewardConfig, ScoringConfig
from coderm_reward.scoring import EvaluationGroup, count_votes, evaluate_groups, group_rewards
from coderm_reward.scoring.aggregators import AGGREGATORS
from coderm_reward.scoring.reliability import class_scores
from coderm_reward.types import CodeStatus, Difficulty, ExecutionMatrix, Problem, Verdict

BY_LETTER = {verdict.letter: verdict for verdict in Verdict}
UNIT = ScoringConfig(vote_unit="assertion")


def with_votes(matrix: ExecutionMatrix, rows: list[str], method: list[int]) -> ExecutionMatrix:
    """The matrix with these assertion verdicts, each row a string of letters."""
    return replace(
        matrix,
        assertion_verdicts=np.array([[BY_LETTER[x] for x in row] for row in rows], dtype=np.uint8).reshape(
            len(rows), len(method)
        ),
        assertion_method=np.array(method, dtype=np.intp),
    )


@pytest.fixture
def group(build: Callable[..., Any]) -> tuple[list[CodeStatus], ExecutionMatrix]:
    """Two classes; the first has methods of two and of one assertion, the second one of three."""
    statuses, matrix = build(["PF P", "FF F", "PP F", "-"], copies=[2, 1])
    rows = ["PPFPPP", "PFFPPF", "PPPFPE", "UUUUUU"]
    return statuses, with_votes(matrix, rows, [0, 0, 1, 2, 2, 2])


def rewards(statuses: list[CodeStatus], matrix: ExecutionMatrix, config: ScoringConfig) -> list[Any]:
    found = group_rewards(statuses, matrix, config, difficulty=0.0, gen_seconds=0.0, generation_failed=False)
    return list(found.rewards)


def test_every_assertion_votes_with_the_weight_of_its_class(
    group: tuple[list[CodeStatus], ExecutionMatrix],
) -> None:
    statuses, matrix = group
    ballots = count_votes(matrix, "assertion", "weight")
    assert ballots.votes.weight.tolist() == [2, 2, 2, 1, 1, 1]
    assert ballots.part_class.tolist() == [0, 0, 0, 1, 1, 1]
    assert [r.pass_fraction for r in rewards(statuses, matrix, UNIT)] == [7 / 9, 4 / 9, 7 / 9, 0.0]
    assert [r.tests_planned for r in rewards(statuses, matrix, UNIT)] == [9.0] * 4


def test_other_units_do_not_see_them(group: tuple[list[CodeStatus], ExecutionMatrix]) -> None:
    statuses, matrix = group
    without = replace(matrix, assertion_verdicts=None, assertion_method=None)
    for unit in ("method", "class"):
        config = ScoringConfig(vote_unit=unit)
        assert rewards(statuses, matrix, config) == rewards(statuses, without, config)


def test_invalid_methods_take_their_assertions_along(build: Callable[..., Any]) -> None:
    _, matrix = build(["IP P"])
    ballots = count_votes(with_votes(matrix, ["IIPFU"], [0, 0, 1, 2, 2]), "assertion", "weight")
    assert ballots.votes.passed.tolist() == [[True, False, False]]
    assert ballots.votes.known.tolist() == [[True, True, False]]


def test_a_marked_test_has_no_assertion_votes(build: Callable[..., Any]) -> None:
    _, matrix = build(["P P"])
    marked = replace(with_votes(matrix, ["PPP"], [0, 0, 1]), marked={"t0": "the reference fails it"})
    assert count_votes(marked, "assertion", "weight").votes.weight.tolist() == [1.0]


def test_tampering_in_a_vote_is_tampering_where_assertions_vote(build: Callable[..., Any]) -> None:
    statuses, matrix = build(["F", "P"])
    matrix = with_votes(matrix, ["FX", "PP"], [0, 0])
    assert [r.score for r in rewards(statuses, matrix, UNIT)] == [0.0, 1.0]
    assert [r.tampered for r in rewards(statuses, matrix, UNIT)] == [1.0, 0.0]
    assert [r.tampered for r in rewards(statuses, matrix, ScoringConfig())] == [0.0, 0.0]


def test_timeouts_are_counted_in_votes(build: Callable[..., Any]) -> None:
    statuses, matrix = build(["T"])
    (found,) = rewards(statuses, with_votes(matrix, ["PTTT"], [0, 0, 0, 0]), UNIT)
    assert found.timeout_rate == 0.75
    assert found.score == 0.25


def test_votes_of_an_excluded_judge_are_no_evidence(build: Callable[..., Any]) -> None:
    statuses, matrix = build(["P P"], judges=["HA"])
    (found,) = rewards(
        statuses,
        with_votes(matrix, ["PPF"], [0, 0, 1]),
        ScoringConfig(vote_unit="assertion", exclude_judges=("handle",)),
    )
    assert (found.score, found.tests_run) == (0.0, 1.0)


def test_class_scores_are_shares_of_assertions(group: tuple[list[CodeStatus], ExecutionMatrix]) -> None:
    scores = class_scores(count_votes(group[1], "assertion", "weight"))
    assert scores[:3].tolist() == pytest.approx(np.array([[2 / 3, 1], [1 / 3, 2 / 3], [1, 1 / 3]]))
    assert np.isnan(scores[3]).all()


def test_nothing_run_is_neutral() -> None:
    found = group_rewards(
        [CodeStatus.OK, CodeStatus.NO_CODE],
        None,
        UNIT,
        difficulty=0.0,
        gen_seconds=0.0,
        generation_failed=True,
    )
    assert [r.neutral for r in found.rewards] == [1.0, 0.0]


def test_evaluation_says_how_good_single_assertions_are(
    group: tuple[list[CodeStatus], ExecutionMatrix],
) -> None:
    statuses, matrix = group
    truth = np.array([True, False, True, False])
    table = evaluate_groups([EvaluationGroup(tuple(statuses), matrix, truth)], UNIT)
    assert table.assertion_tests is not None
    assert table.assertion_pairs > table.method_pairs > table.class_pairs
    plain = evaluate_groups([EvaluationGroup(tuple(statuses), matrix, truth)], ScoringConfig())
    assert plain.assertion_tests is None
    assert (plain.method_tests, plain.class_tests) == (table.method_tests, table.class_tests)


def test_ablation_takes_their_votes_along(group: tuple[list[CodeStatus], ExecutionMatrix]) -> None:
    statuses, matrix = group
    whole = AblationGroup(
        id="g",
        problem=Problem("g", "?"),
        difficulty=Difficulty(0.5, 0.1, "recorded"),
        statuses=tuple(statuses),
        matrix=matrix,
        truth=np.array([True, False, True, False]),
        identities=("",) * 4,
        responses=(np.array([0]), np.array([1])),
    )
    _, drawn = take(whole, np.array([0, 2]), np.array([1]))
    assert drawn.assertion_verdicts is not None
    assert drawn.assertion_method is not None
    assert ["".join(Verdict(v).letter for v in row) for row in drawn.assertion_verdicts] == ["PPP", "FPE"]
    assert drawn.assertion_method.tolist() == [0, 0, 0]
    assert count_votes(drawn, "assertion", "weight").votes.weight.tolist() == [1.0] * 3


@given(st.lists(st.text("PFETU", min_size=3, max_size=3), min_size=1, max_size=6))
def test_one_assertion_a_method_is_the_unit_method(build: Callable[..., Any], rows: list[str]) -> None:
    statuses, matrix = build([f"{row[:2]} {row[2]}" for row in rows])
    matrix = with_votes(matrix, rows, [0, 1, 2])
    for name in AGGREGATORS:
        config = ScoringConfig(aggregator=name)
        assert rewards(statuses, matrix, config) == rewards(
            statuses, matrix, ScoringConfig(aggregator=name, vote_unit="assertion")
        )


def test_the_mode_is_part_of_what_decides_a_reward() -> None:
    assert RewardConfig(scoring=UNIT).fingerprint() != RewardConfig().fingerprint()
