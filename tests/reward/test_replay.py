"""Comparing records before and after: figures worked out by hand, and properties."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_groups import made_record

from coderm_reward.config import ScoringConfig
from coderm_reward.data.records import GroupRecord
from coderm_reward.replay import compared, group_difference, rank_correlation
from coderm_reward.rescoring import rescored
from coderm_reward.types import FAILED

values = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=12)


def with_scores(*scores: float) -> GroupRecord:
    record = made_record(["P"] * len(scores))
    rollouts = tuple(
        msgspec.structs.replace(
            rollout, reward=msgspec.structs.replace(rollout.reward, score=score, acc=float(score >= 0.5))
        )
        for rollout, score in zip(record.rollouts, scores, strict=True)
    )
    return msgspec.structs.replace(record, rollouts=rollouts)


def test_one_group_by_hand() -> None:
    found = group_difference(with_scores(1.0, 0.5, 0.0, 0.5), with_scores(0.2, 0.9, 0.0, 0.5))
    assert (found.mean_before, found.mean_after) == (0.5, pytest.approx(0.4))
    assert (found.acc_before, found.acc_after) == (3.0, 2.0)
    assert (found.changed, found.largest) == (2, pytest.approx(-0.8))
    assert found.flips == 1  # above the mean and now below; the two at the mean had no sign
    assert found.rank_correlation == pytest.approx(np.corrcoef([4, 2.5, 1, 2.5], [2, 4, 1, 3])[0, 1])
    assert (found.spread_before, found.spread_after) == (True, True)


def test_all_groups_weigh_by_their_rollouts() -> None:
    groups = [
        group_difference(with_scores(1.0, 0.0), with_scores(0.0, 1.0)),
        group_difference(with_scores(1.0, 1.0, 1.0), with_scores(1.0, 1.0, 0.0)),
        group_difference(with_scores(0.3, 0.2), with_scores(0.5, 0.5)),
        group_difference(with_scores(0.3), with_scores(0.3)),
    ]
    found = compared(groups, top=2)
    assert (found.groups, found.rollouts, found.groups_changed) == (4, 8, 3)
    assert found.mean_reward_before == pytest.approx(4.8 / 8)
    assert found.mean_reward_after == pytest.approx(4.3 / 8)
    assert found.changed_share == 5 / 8
    assert (found.flips, found.flip_share) == (2, 0.25)
    assert (found.gradient_lost, found.gradient_gained) == (1, 1)
    assert (found.rank_correlation, found.ranked_groups) == (pytest.approx(-1.0), 1)
    assert [abs(group.largest) for group in found.largest] == [1.0, 1.0]


def test_records_of_other_rollouts_or_of_none_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same rollouts"):
        group_difference(with_scores(1.0), with_scores(1.0, 0.5))
    with pytest.raises(ValueError, match="at least one"):
        group_difference(with_scores(), with_scores())
    with pytest.raises(ValueError, match="no group"):
        compared([])


@given(values)
def test_a_rising_function_keeps_ranks_and_a_falling_one_turns_them(x: list[float]) -> None:
    scores = np.array(x)
    same, turned = rank_correlation(scores, np.exp(scores)), rank_correlation(scores, -scores)
    if len(set(x)) == 1:
        assert same is turned is None
    else:
        assert (same, turned) == (pytest.approx(1.0), pytest.approx(-1.0))


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=10))
def test_rank_correlation_is_pearsons_of_mean_ranks(pairs: list[tuple[int, int]]) -> None:
    def ranks(column: list[int]) -> list[float]:
        return [
            sum(other < value for other in column) + (sum(other == value for other in column) + 1) / 2
            for value in column
        ]

    x, y = ([pair[i] for pair in pairs] for i in (0, 1))
    found = rank_correlation(np.array(x, dtype=float), np.array(y, dtype=float))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1], abs=1e-12)


@given(st.lists(st.text("PFETMOXU", min_size=3, max_size=3), min_size=1, max_size=6))
def test_rescoring_by_a_records_own_settings_changes_nothing(votes: list[str]) -> None:
    record = made_record(votes, truth=[1, None])
    assert rescored(record, record.config) == record


def test_tests_that_could_not_be_generated_stay_an_infrastructure_error() -> None:
    record = msgspec.structs.replace(made_record(["UU", "UU"]), tests=(), dropped={f"{FAILED}generation": 1})
    bare = tuple(
        msgspec.structs.replace(rollout, classes="", methods="", judges="") for rollout in record.rollouts
    )
    again = rescored(msgspec.structs.replace(record, rollouts=bare), record.config)
    assert [rollout.reward.infra_error for rollout in again.rollouts] == [1.0, 1.0]
    assert [rollout.reward.neutral for rollout in again.rollouts] == [1.0, 1.0]


def test_what_was_not_scored_stays_as_it_is() -> None:
    """A group that failed, and a rollout that was given up on while its siblings were not."""
    record = made_record(["PF", "PP"])
    shape = msgspec.structs.replace(record.config, scoring=ScoringConfig(neutral=0.9, shape="vote_share"))
    failed = msgspec.structs.replace(record, settings="")
    assert rescored(failed, shape) is failed
    first, second = record.rollouts
    zeros = dict.fromkeys(type(first.reward).__struct_fields__, 0.0)
    gone = msgspec.structs.replace(first, reward=type(first.reward)(**{**zeros, "infra_error": 1.0}))
    partly = msgspec.structs.replace(record, rollouts=(gone, second))
    assert rescored(partly, partly.config) == partly
    assert rescored(partly, shape).rollouts[0] == gone


def test_tampering_is_not_made_up_for_by_the_truth() -> None:
    record = made_record(["XX", "PF"], truth=[1, 1], settings={"ground_truth_weight": 0.5})
    assert [rollout.reward.score for rollout in record.rollouts] == [0.0, 0.75]


def test_only_new_settings_change_the_fingerprint() -> None:
    record = made_record(["PF", "FF"])
    new = msgspec.structs.replace(record.config, scoring=ScoringConfig(shape="vote_share"))
    again = rescored(record, new)
    assert again.settings != record.settings
    assert again.config.scoring.shape == "vote_share"
    assert rescored(again, record.config).rollouts == record.rollouts
