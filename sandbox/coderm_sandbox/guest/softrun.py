"""The soft run of a request: the tests that it needs once more, and what it adds to their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .judgedtest import JudgedTest
from .votes import after_soft

__all__ = ["SoftRun"]

_JUDGES = ("apart", "handle", "inline")


class SoftRun:
    """Passes the answers of the hard run on, then those of a soft run over `tests()` as corrections.

    A correction repeats the answer of its test with every vote known. Nothing but the votes, the time and how
    they were reached differs: hard verdicts are those of the hard run.
    """

    def __init__(self, tests: list[JudgedTest], send: Callable[[dict[str, Any]], None]) -> None:
        self._all = tests
        self._send = send
        self._hard: list[dict[str, Any]] = []

    def take(self, message: dict[str, Any]) -> None:
        """Pass on what the hard run sends."""
        if message.get("more"):
            self._hard.append(message)
        self._send(message)

    def tests(self) -> list[JudgedTest]:
        """The tests to run softly, each up to the last method that needs it: methods share their class."""
        found = []
        for answer in self._hard:
            test = self._all[answer["i"]]
            last = max(test.methods.index(key) for key in answer["more"])
            found.append(test._replace(methods=test.methods[: last + 1]))
        return found

    def correct(self, message: dict[str, Any]) -> None:
        """Pass on what the soft run sends."""
        if "alive" in message:
            self._send(message)
            return
        hard = self._hard[message["i"]]
        votes = dict(hard["v"])
        for key in hard["more"]:
            votes[key] = after_soft(
                hard["outcomes"][key], votes[key], message["outcomes"][key], message["v"][key]
            )
        self._send(
            {
                **hard,
                "v": votes,
                "more": [],
                "s": round(hard["s"] + message["s"], 6),
                "assumed": hard["assumed"] + message["assumed"],
                "j": max(hard["j"], message["j"], key=_JUDGES.index),
                "f": hard["f"] or message["f"],
            }
        )
