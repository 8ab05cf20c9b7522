"""The rule by which siblings meet, on a clock of our own."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.online.gathering import Arrival, Gathered, Gathering, Key, Standing, key_of
from coderm_reward.online.sample import Sample
from coderm_reward.types import Message

QUIET = 10.0


def rollout(prompt: str = "p", **more: Any) -> Sample:
    return Sample(messages=(Message("user", prompt),), response="r", **more)


def gathering(**more: Any) -> Gathering[Key]:
    return Gathering(QUIET, lambda key, _: key, **more)


def test_a_group_closes_when_all_are_there() -> None:
    place = gathering()
    came = [place.arrive(rollout(uid="u", member=str(i), siblings=3), float(i)) for i in range(3)]
    assert {id(arrival.group) for arrival in came} == {id(came[0].group)}
    assert [arrival.member for arrival in came] == [0, 1, 2]
    assert came[0].group.closed
    assert place.next_due() is None


@pytest.mark.parametrize("hint", [None, 0, -1, 8])
def test_a_group_closes_when_nobody_came_for_a_while(hint: int | None) -> None:
    place = gathering()
    group = place.arrive(rollout(uid="u", siblings=hint), 0.0).group
    place.arrive(rollout(uid="u", siblings=hint), 9.0)
    assert place.next_due() == 19.0
    assert place.due(18.9) == []
    assert place.due(19.0) == [group]
    assert (group.closed, group.came, place.next_due()) == (True, 2, None)


def test_a_hint_that_comes_later_or_grows_counts() -> None:
    place = gathering()
    place.arrive(rollout(uid="u"), 0.0)
    place.arrive(rollout(uid="u", siblings=2, member="b"), 0.0)
    late = place.arrive(rollout(uid="u", siblings=3, member="c"), 0.0)
    assert late.standing is Standing.LATE  # it was closed at two


def test_a_member_that_comes_again_is_the_same_member() -> None:
    place = gathering()
    place.arrive(rollout(uid="u", member="a", siblings=2), 0.0)
    again = place.arrive(rollout(uid="u", member="a", siblings=2), 1.0)
    assert (again.standing, again.member, again.group.closed) == (Standing.AGAIN, 0, False)
    place.arrive(rollout(uid="u", member="b", siblings=2), 2.0)
    after = place.arrive(rollout(uid="u", member="b", siblings=2), 3.0)
    assert (after.standing, after.member, after.group.came) == (Standing.AGAIN, 1, 2)


def test_without_ids_nobody_is_known_again() -> None:
    place = gathering()
    arrivals = [place.arrive(rollout(uid="u", siblings=3), 0.0) for _ in range(3)]
    assert [arrival.standing for arrival in arrivals] == [Standing.MEMBER] * 3
    assert arrivals[0].group.closed


def test_with_a_uid_whoever_is_too_many_or_too_late_is_late() -> None:
    place = gathering()
    for i in range(2):
        place.arrive(rollout(uid="u", member=str(i), siblings=2), 0.0)
    assert place.arrive(rollout(uid="u", member="x", siblings=2), 0.0).standing is Standing.LATE
    place.arrive(rollout(uid="v", siblings=4), 0.0)
    place.due(QUIET)
    assert place.arrive(rollout(uid="v", siblings=4), 99.0).standing is Standing.LATE


def test_uids_of_the_v1_trainer_meet() -> None:
    assert key_of(rollout(uid="abc_0_3")) == key_of(rollout(uid="abc_0_4")) == key_of(rollout(uid="abc"))


def test_without_a_uid_the_next_one_of_a_full_group_opens_another() -> None:
    place = gathering()
    arrivals = [place.arrive(rollout(step="1", member=str(i), siblings=2), 0.0) for i in range(5)]
    groups = list(dict.fromkeys(id(arrival.group) for arrival in arrivals))
    assert [groups.index(id(arrival.group)) for arrival in arrivals] == [0, 0, 1, 1, 2]
    again = place.arrive(rollout(step="1", member="1", siblings=2), 0.0)
    assert (again.standing, again.group) == (Standing.AGAIN, arrivals[1].group)


def test_without_a_uid_the_rest_of_a_group_that_was_quiet_is_late() -> None:
    place = gathering()
    place.arrive(rollout(step="1", siblings=2), 0.0)
    place.due(QUIET)
    assert place.arrive(rollout(step="1", siblings=2), 99.0).standing is Standing.LATE
    assert place.arrive(rollout(step="1", siblings=2), 99.0).standing is Standing.MEMBER


def test_with_neither_uid_nor_step_a_closed_group_takes_nobody() -> None:
    place = gathering()
    place.arrive(rollout(member="a"), 0.0)
    place.due(QUIET)
    assert place.arrive(rollout(member="a"), 99.0).standing is Standing.MEMBER


def test_closed_groups_are_forgotten_the_oldest_first() -> None:
    place = gathering(remembered=2)
    for uid in ("a", "b", "c"):
        place.arrive(rollout(uid=uid, siblings=1), 0.0)
    standings = [place.arrive(rollout(uid=uid), 1.0).standing for uid in ("c", "b", "a")]
    assert standings == [Standing.LATE, Standing.LATE, Standing.MEMBER]


def test_runs_steps_validation_and_prompts_keep_groups_apart() -> None:
    place = gathering()
    kinds: list[dict[str, Any]] = [
        {},
        {"run": "r"},
        {"step": "1"},
        {"validation": True},
        {"prompt": "q"},
        {"uid": "u"},
    ]
    groups = {id(place.arrive(rollout(**kind), 0.0).group) for kind in kinds}
    assert len(groups) == len(kinds)


@given(st.data())
def test_whoever_comes_and_in_whatever_order_rules_hold(data: st.DataObject) -> None:
    """Groups never mix, nobody joins a closed group in time, and every group closes by count or by quiet."""
    chance = random.Random(data.draw(st.integers(0, 10**6)))
    has_uid, has_members = chance.random() < 0.5, chance.random() < 0.7
    size = chance.randint(1, 5)
    coming = []
    for group in range(chance.randint(1, 4)):
        for i in range(size):
            hint = chance.choice([None, size, size, size - 1, size + 2])
            member = f"{group}.{i}" if has_members else None
            one = rollout(
                f"p{group % 2}",
                step="1",
                uid=f"u{group}" if has_uid else None,
                member=member,
                siblings=hint,
            )
            coming += [one] * chance.choice([0, 1, 1, 1, 2])  # dropped, once, padded
    chance.shuffle(coming)
    place, now = gathering(), 0.0
    arrivals: list[tuple[Sample, Arrival[Key], bool]] = []
    for one in coming:
        now += chance.choice([0.0, 1.0, QUIET + 1])
        place.due(now)
        before = {id(a.group) for _, a, _ in arrivals if a.group.closed}
        arrival = place.arrive(one, now)
        arrivals.append((one, arrival, id(arrival.group) in before))
    groups: dict[int, Gathered[Key]] = {id(a.group): a.group for _, a, _ in arrivals}
    place.due(now + QUIET)
    assert place.next_due() is None
    assert all(group.closed for group in groups.values())
    for one, arrival, was_closed in arrivals:
        assert key_of(one) == arrival.group.key == arrival.group.value
        assert arrival.standing is not Standing.MEMBER or not was_closed
        assert arrival.standing is not Standing.LATE or was_closed
    counted = Counter(id(a.group) for _, a, _ in arrivals if a.standing is not Standing.AGAIN)
    assert counted == {number: group.came for number, group in groups.items()}
    if has_members:
        places: dict[tuple[Key, str | None], set[tuple[int, int]]] = {}
        for one, arrival, _ in arrivals:
            places.setdefault((key_of(one), one.member), set()).add((id(arrival.group), arrival.member))
        assert all(len(where) == 1 for where in places.values())
