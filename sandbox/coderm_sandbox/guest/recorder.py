"""What became of each assertion of a test method, told as it happens.

A rewritten text (sites.py) runs its assertions in `with __vote__(number):`. In a hard run a failed assertion
ends its method as ever; in a soft run the method goes on with the next statement.
"""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .channel import PlayerLostError
from .sites import Site

__all__ = ["Recorder"]

_ENDS = (PlayerLostError, unittest.SkipTest, asyncio.CancelledError)
"""Exceptions that end a method also in a soft run: there is no player any more, or it is not about a vote."""


class Recorder:
    """Tells the votes of one test.

    Args:
        sites: of each method, by its key.
        soft: whether methods go on.
        outcome_of: the outcome that an exception, with its traceback, means in a method whose failures are
            of a class.
        tell: told (position of the vote in its method, outcome), once per outcome. A vote in a loop has
            passed when all of its executions have and its method came to its end, and is told then.
    """

    def __init__(
        self,
        sites: Mapping[str, Sequence[Site]],
        soft: bool,
        outcome_of: Callable[[BaseException, Any, Any], str],
        tell: Callable[[str, int, str], None],
    ) -> None:
        self._sites = sites
        self._soft = soft
        self._outcome_of = outcome_of
        self._tell = tell
        self._key, self._failure = "", AssertionError
        self._places: dict[int, tuple[int, bool]] = {}
        self._told: dict[int, str] = {}
        self._held: set[int] = set()

    def begin(self, key: str, failure: Any) -> None:
        """A method starts: sites of any other do not vote until it ends."""
        self._key, self._failure = key, failure
        sites = self._sites.get(key, ())
        self._places = {site.number: (place, site.repeats) for place, site in enumerate(sites)}
        self._told.clear()
        self._held.clear()

    def end(self, outcome: str) -> None:
        """The method has come to its end, with this outcome as unittest sees it."""
        if outcome == "pass":
            for place in sorted(self._held - self._told.keys()):
                self._tell(self._key, place, "pass")
        self._places = {}

    def __call__(self, number: int) -> _Guard:
        """The context manager around one assertion."""
        return _Guard(self, number)

    def note(self, number: int, error: BaseException | None, traceback: Any) -> bool:
        """Note what came of an execution; whether the method goes on after an exception."""
        if number not in self._places:
            return False
        place, repeats = self._places[number]
        outcome = "pass" if error is None else self._outcome_of(error, traceback, self._failure)
        if outcome == "pass" and repeats:
            self._held.add(place)
        elif self._told.get(place, "pass") == "pass" and self._told.get(place) != outcome:
            self._told[place] = outcome
            self._tell(self._key, place, outcome)
        return self._soft and error is not None and not isinstance(error, _ENDS)


class _Guard:
    __slots__ = ("_number", "_recorder")

    def __init__(self, recorder: Recorder, number: int) -> None:
        self._recorder = recorder
        self._number = number

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        return self._recorder.note(self._number, error, traceback)
