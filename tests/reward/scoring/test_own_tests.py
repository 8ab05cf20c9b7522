"""A test has no say on the behaviour that stood in its prompt, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.config import ScoringConfig
from coderm_reward.scoring.own_tests import own_cells, without_own_tests
from coderm_reward.scoring.rewards import group_rewards
from coderm_reward.types import Verdict

OWN = ScoringConfig(exclude_own_tests=True)


def prompted(group, *prompted_by):
    statuses, matrix = group
    tests = tuple(
        msgspec.structs.replace(test, prompted_by=tuple(names.split()))
        for test, names in zip(matrix.tests, prompted_by, strict=True)
    )
    return statuses, replace(matrix, tests=tests)


def scores(group, identities, config=OWN):
    statuses, matrix = group
    rewards = group_rewards(
        statuses,
        matrix,
        config,
        difficulty=0.5,
        gen_seconds=0.0,
        generation_failed=False,
        identities=identities,
    ).rewards
    return [reward.score for reward in rewards]


def test_a_test_has_no_vote_on_what_prompted_it_nor_on_what_behaves_the_same(build):
    group = prompted(build(["P P F", "P P F", "F P P"]), "a", "c", "reference")
    assert own_cells(group[1], ["a", "b", "c"]).tolist() == [
        [True, False, False],
        [True, False, False],
        [False, True, False],
    ]
    assert scores(group, ["a", "b", "c"], ScoringConfig()) == [pytest.approx(2 / 3)] * 3
    assert scores(group, ["a", "b", "c"]) == [0.5, 0.5, 0.5]


def test_copies_of_one_program_share_its_tests(build):
    group = prompted(build(["P F", "U F", "F P"]), "a", "")
    assert own_cells(group[1], ["a", "a", "b"]).tolist() == [[True, False], [True, False], [False, False]]


def test_tests_prompted_by_nobody_here_vote_on_all(build):
    group = prompted(build(["P F", "-"]), "reference", "earlier")
    assert not own_cells(group[1], ["a", ""]).any()
    assert scores(group, ["a", ""]) == [0.5, 0.0]


def test_a_rollout_left_without_votes_is_neutral_and_no_infra_error(build):
    statuses, matrix = prompted(build(["P", "F"]), "a")
    result = group_rewards(
        statuses, matrix, OWN, difficulty=0.5, gen_seconds=0.0, generation_failed=False, identities=["a", "b"]
    )
    assert [(r.score, r.neutral, r.infra_error) for r in result.rewards] == [(0.0, 1.0, 0.0), (0.0, 0.0, 0.0)]


def test_tampering_is_not_forgiven(build):
    group = prompted(build(["M X", "P P"]), "a", "a")
    assert scores(group, ["a", "b"])[0] == 0.0


def test_identities_are_needed(build):
    with pytest.raises(ValueError, match="identity"):
        scores(prompted(build(["P", "F"]), "a"), [])


@st.composite
def groups(draw):
    """(rows of letters, identities of the rollouts, prompters of the tests)."""
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.text("PFUE", min_size=width, max_size=width), min_size=1, max_size=6))
    names = st.sampled_from("abc")
    identities = [draw(names) for _ in rows]
    prompters = [
        " ".join(draw(st.lists(names | st.just("reference"), max_size=2, unique=True))) for _ in range(width)
    ]
    return [" ".join(row) for row in rows], identities, prompters


@settings(max_examples=150)
@given(groups())
def test_laws(build, drawn):
    rows, identities, prompters = drawn
    _, matrix = prompted(build(rows), *prompters)
    left = without_own_tests(matrix, identities, OWN)
    cells = own_cells(matrix, identities)
    kept = left.class_verdicts == matrix.class_verdicts
    assert kept[~cells].all()
    assert (left.class_verdicts[cells] == Verdict.UNKNOWN).all()
    for r, identity in enumerate(identities):
        for t, names in enumerate(prompters):
            if identity in names.split():
                assert cells[r, t]
    same = [np.flatnonzero([row == other and "U" not in row for other in rows]) for row in rows]
    for r, siblings in enumerate(same):
        assert (cells[siblings] == cells[r]).all()
    assert without_own_tests(matrix, identities, ScoringConfig()) is matrix


@given(groups(), st.randoms(use_true_random=False))
def test_the_order_of_rollouts_does_not_matter(build, drawn, random):
    rows, identities, prompters = drawn
    order = list(range(len(rows)))
    random.shuffle(order)
    _, matrix = prompted(build(rows), *prompters)
    _, shuffled = prompted(build([rows[i] for i in order]), *prompters)
    assert (own_cells(shuffled, [identities[i] for i in order]) == own_cells(matrix, identities)[order]).all()


def test_a_marked_test_has_no_vote_at_either_level(build):
    statuses, matrix = build(["PP F", "FP P"])
    marked = replace(matrix, marked={"t0": "the reference fails it"})
    for unit in ("method", "class"):
        config = ScoringConfig(vote_unit=unit)
        assert scores((statuses, marked), [], config) == [0.0, 1.0]
