"""A judge and its player, as the judges' zygote sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from .judgedtest import JudgedTest
from .watch import Watch

__all__ = ["Pair", "Surroundings", "stretch"]


class Pair(NamedTuple):
    """A judge and, unless it inspects, a player; and how we follow them."""

    order: Callable[[dict[str, Any]], None]
    watch: Watch
    hosted: bool = False
    """Whether the player serves harmless solutions one after another."""


class Surroundings(Protocol):
    """What the zygotes know of a pair from outside, and do between its tests."""

    def forkable(self) -> bool:
        """Whether a fork of the loaded solution is as good as loading it again."""

    def tidy(self) -> bool:
        """Remove what a test left behind; False if the pair must go too."""

    def tidy_player(self) -> bool:
        """The same on the player's side alone, in the middle of a test."""

    def player_status(self) -> int | None:
        """The wait status with which the player ended by itself; None if it did not, or that is unknown."""


def stretch(tests: Sequence[JudgedTest], first: int) -> int:
    """Up to which test, exclusive, a stateless solution may meet them in the same two processes."""
    last = first
    while last < len(tests) and tests[last].reading.traceless and tests[last].methods:
        last += 1
    return last
