"""Seconds by kind of work, overlaps included."""

from __future__ import annotations

import pytest

from coderm_reward.activity import Activity


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def test_overlaps_are_counted_once_for_each_kind_and_for_both() -> None:
    clock = Clock()
    activity = Activity(clock)
    clock.now += 1  # nothing under way
    with activity.of("generating"):
        clock.now += 2
        with activity.of("executing"), activity.of("generating"):
            clock.now += 4
        clock.now += 8
    with activity.of("executing"):
        clock.now += 16
        assert activity.seconds("executing") == 20
    assert activity.seconds("generating") == 14
    assert activity.seconds("generating", "executing") == 4
    assert activity.seconds() == 31


def test_work_that_fails_ends() -> None:
    clock = Clock()
    activity = Activity(clock)
    with pytest.raises(ValueError, match="x"), activity.of("executing"):
        raise ValueError("x")
    clock.now += 5
    assert activity.seconds("executing") == 0
