"""The account of one request: which test and method come next, and what is known of them so far.

An outcome is taken only in its turn, and what is missing in the end is no pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .judgedtest import JudgedTest
from .votes import after_hard, wants_soft

__all__ = ["Ledger"]

_BEAT_SECONDS = 1.0
_DETAIL = 300
_METHOD_OUTCOMES = ("pass", "fail", "error", "memory", "output")


class Ledger:
    """Enters outcomes test by test and sends each test's answer as soon as it is complete.

    The answer of a test whose assertions vote has them in `v`, by method, None for one that was not
    reached, and after a hard run in `more` the methods of which a soft run could tell more.
    """

    def __init__(
        self,
        tests: list[JudgedTest],
        inspecting: bool,
        soft: bool,
        hang_limit: int,
        send: Callable[[dict[str, Any]], None],
    ) -> None:
        self.tests = tests
        self.seconds = 0.0
        """Seconds that the current test has run."""
        self.together = False
        """Whether it runs in the same two processes as others."""
        self._inspecting = inspecting
        self._soft = soft
        self._hang_limit = hang_limit
        self._send = send
        self._sent = 0.0
        self._hangs = 0
        self._hung_tests: set[int] = set()
        self._hopeless = True
        self._open(0)

    def _open(self, index: int) -> None:
        self.index = index
        self._outcomes: dict[str, str] = {}
        self._reported: set[str] = set()
        self._detail = ""
        self._fixture = ""
        self._assumed = 0
        self.seconds = 0.0
        inline = index < len(self.tests) and self.tests[index].reading.inline
        self._judge = "inline" if inline else "apart"
        self._fast = False
        self._votes = self.tests[index].blank_votes() if index < len(self.tests) else {}

    @property
    def done(self) -> int:
        """How many methods of the current test have their outcome."""
        return len(self._outcomes)

    def _keys(self) -> list[str]:
        return [] if self._inspecting else self.tests[self.index].methods

    def finished(self) -> bool:
        """Close the tests that need no run; True once no test is left."""
        while self.index < len(self.tests):
            if self._inspecting:
                return False
            if self._only_hangs():
                self.set_rest("timeout", "not run: the solution hung on every vote before", assumed=True)
            elif not self._keys():
                self.close()
            else:
                return False
        return True

    def _only_hangs(self) -> bool:
        """Whether every vote so far was a timeout, enough of them and in more than one test."""
        return self._hopeless and 0 < self._hang_limit <= self._hangs and len(self._hung_tests) > 1

    def close(self, **extra: Any) -> None:
        """Send what is known of the current test and turn to the next."""
        answer = {"i": self.index, "outcomes": self._outcomes, "fixture": self._fixture, "d": self._detail}
        answer.update(s=round(self.seconds, 6), assumed=self._assumed, j=self._judge, f=self._fast)
        if self._votes:
            answer.update(self._answered_votes())
        self._send({**answer, **extra})
        self._sent = time.monotonic()
        self._open(self.index + 1)

    def _answered_votes(self) -> dict[str, Any]:
        if self._soft:
            return {"v": self._votes}
        reported = [(key, self._outcomes[key]) for key in self._outcomes if key in self._reported]
        return {
            "v": {key: after_hard(self._outcomes[key], votes) for key, votes in self._votes.items()},
            "more": [key for key, outcome in reported if wants_soft(outcome, self._votes[key])],
        }

    def beat(self) -> None:
        """Tell the supervisor that we live, where there has been nothing else to tell."""
        if time.monotonic() - self._sent > _BEAT_SECONDS:
            self._send({"alive": True})
            self._sent = time.monotonic()

    def set(self, outcome: str, detail: str = "") -> None:
        """Give the method in progress its outcome; the test is closed with its last method."""
        keys = self._keys()
        if len(self._outcomes) < len(keys):
            self._outcomes[keys[len(self._outcomes)]] = outcome
        else:
            self._fixture = self._fixture or outcome  # it happened after the last method: tearDownClass
        if outcome != "pass" and not self._detail:
            self._detail = detail or outcome
        if outcome == "timeout":
            self._hangs += 1
            self._hung_tests.add(self.index)
        else:
            self._hopeless = False
        if len(self._outcomes) == len(keys):
            self.close()

    def set_rest(self, outcome: str, detail: str, assumed: bool = False) -> None:
        """Give every method without an outcome this one, in this test."""
        rest = [key for key in self._keys() if key not in self._outcomes]
        self._outcomes.update(dict.fromkeys(rest, outcome))
        self._assumed += len(rest) if assumed else 0
        if rest and not self._detail:
            self._detail = detail
        self.close()

    def tampered(self, detail: str) -> None:
        """The solution does not keep to the protocol: nothing that this test said counts."""
        self._outcomes = {}
        self.set_rest("tampered", detail)

    def take(self, kind: Any, message: dict[str, Any]) -> bool:
        """Note what the judge says of the current test; False if it is not its turn to say that."""
        if kind == "inspected" and self._inspecting:
            return self._inspected(message)
        if self._inspecting:
            return False
        if kind == "done":
            if message.get("j") not in ("apart", "handle", "inline"):
                return False
            last = message.get("last")
            if last is not None and not (type(last) is dict and self._method(last)):
                return False
            self._judge, self._fast = message["j"], self.together
            self._done(message.get("fixture"))
            return True
        return self._vote(message) if kind == "v" else kind == "m" and self._method(message)

    def _inspected(self, message: dict[str, Any]) -> bool:
        fields = {name: message.get(name) for name in ("ok", "why", "methods", "skipped", "votes")}
        methods, skipped, votes = fields["methods"], fields["skipped"], fields["votes"]
        for some, kind in ((methods, str), (skipped, str), (votes, int)):
            if type(some) is not list or not all(type(one) is kind for one in some):
                return False
        if votes and (len(votes) != len(methods or ()) or min(votes) < 1):
            return False
        self.close(**fields)
        return True

    def _expected(self) -> str | None:
        keys = self._keys()
        return keys[len(self._outcomes)] if len(self._outcomes) < len(keys) else None

    def _vote(self, message: dict[str, Any]) -> bool:
        key, place, outcome = message.get("n"), message.get("p"), message.get("o")
        votes = self._votes.get(key) if key == self._expected() and type(key) is str else None
        if votes is None or type(place) is not int or not 0 <= place < len(votes):
            return False
        if outcome not in _METHOD_OUTCOMES or votes[place] not in (None, "pass"):
            return False
        votes[place] = outcome
        return True

    def _method(self, message: dict[str, Any]) -> bool:
        key = message.get("n")
        if type(key) is not str or key != self._expected() or message.get("o") not in _METHOD_OUTCOMES:
            return False
        self._outcomes[key] = message["o"]
        self._reported.add(key)
        self._hopeless = False
        if message["o"] != "pass" and not self._detail:
            self._detail = f"{key}: {str(message.get('d'))[:_DETAIL]}"
        self.beat()
        return True

    def _done(self, fixture: Any) -> None:
        """The run came to its end: methods without an outcome share the fixture's."""
        if isinstance(fixture, list) and len(fixture) == 2 and fixture[0] in ("error", "memory", "tampered"):
            self._fixture = fixture[0]
            self._detail = self._detail or str(fixture[1])[:_DETAIL]
        if self._fixture == "tampered":
            self._outcomes = {}
        self.set_rest(self._fixture or "error", self._detail or "ended without an outcome")
