"""Drive one judge after another, each with its player, through the tests of one request.

Many tests at once where neither side can carry anything from one to the next; else one at a time, in
forks of both. An outcome is taken only in its turn, and what is missing in the end is no pass.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from .endings import CPU_TEXT, DETAIL_OF_END, OUR_FAILURE, OUTCOME_OF_END, exit_text
from .judgedtest import JudgedTest
from .pair import Pair, Surroundings, stretch
from .watch import LOAD_FACTOR, START_SECONDS, WatchEnd

__all__ = ["JobRun"]

_BEAT_SECONDS = 1.0
_DETAIL = 300
_READ_CHARACTERS = 1 << 16
_METHOD_OUTCOMES = ("pass", "fail", "error", "memory", "output")


class JobRun:
    """How far one request has come: the next method to run, and the outcomes so far."""

    def __init__(
        self, request: dict[str, Any], tests: list[JudgedTest], send: Callable[[dict[str, Any]], None]
    ) -> None:
        self._tests = tests
        self._strict = bool(request.get("strict"))
        self._inspecting = request["op"] == "inspect"
        self._limits = request["limits"]
        self._hang_limit = self._limits["hang_limit"]
        self._send = send
        self._sent = 0.0
        self._hangs = 0
        self._hung_tests: set[int] = set()
        self._hopeless = True
        self._doubted = -1
        self.readable = len(request.get("solution", "")) <= _READ_CHARACTERS
        """Whether the judge may parse the solution, to see if it is stateless."""
        self.may_be_hosted = not self._strict
        """Whether the player may be one that serves others after this solution, if it is harmless."""
        self.spoiled = False
        """Whether the judge of the last pair must not be used again."""
        self._stateless = self._alone = self._together = False
        self._open(0)

    def _open(self, index: int) -> None:
        self._index = index
        self._outcomes: dict[str, str] = {}
        self._detail = ""
        self._fixture = ""
        self._assumed = 0
        self._seconds = 0.0
        inline = index < len(self._tests) and self._tests[index].reading.inline
        self._judge = "inline" if inline else "apart"
        self._fast = False

    def _keys(self) -> list[str]:
        return [] if self._inspecting else self._tests[self._index].methods

    def finished(self) -> bool:
        """Close the tests that need no run; True once no test is left."""
        while self._index < len(self._tests):
            if self._inspecting:
                return False
            if self._only_hangs():
                self._set_rest("timeout", "not run: the solution hung on every vote before", assumed=True)
            elif not self._keys():
                self._close()
            else:
                return False
        return True

    def _only_hangs(self) -> bool:
        """Whether every vote so far was a timeout, enough of them and in more than one test."""
        return self._hopeless and 0 < self._hang_limit <= self._hangs and len(self._hung_tests) > 1

    def _close(self, **extra: Any) -> None:
        """Send what is known of the current test and turn to the next."""
        answer = {"i": self._index, "outcomes": self._outcomes, "fixture": self._fixture, "d": self._detail}
        answer.update(s=round(self._seconds, 6), assumed=self._assumed, j=self._judge, f=self._fast)
        self._send({**answer, **extra})
        self._sent = time.monotonic()
        self._open(self._index + 1)

    def _beat(self) -> None:
        """Tell the supervisor that we live, where there has been nothing else to tell."""
        if time.monotonic() - self._sent > _BEAT_SECONDS:
            self._send({"alive": True})
            self._sent = time.monotonic()

    def _set(self, outcome: str, detail: str = "") -> None:
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
            self._hung_tests.add(self._index)
        else:
            self._hopeless = False
        if len(self._outcomes) == len(keys):
            self._close()

    def _set_rest(self, outcome: str, detail: str, assumed: bool = False) -> None:
        """Give every method without an outcome this one, in this test."""
        rest = [key for key in self._keys() if key not in self._outcomes]
        self._outcomes.update(dict.fromkeys(rest, outcome))
        self._assumed += len(rest) if assumed else 0
        if rest and not self._detail:
            self._detail = detail
        self._close()

    def drive(self, pair: Pair, around: Surroundings) -> None:
        """Use one pair for as many tests as it survives."""
        self._beat()
        self.spoiled = True  # until the pair has come to its end without anything unusual
        if not self._inspecting and not self._await_load(pair, around):
            return
        self.spoiled = True
        used = False
        while not self.finished():
            self._beat()
            first, last = self._index, self._stretch()
            together = self._together = last > first
            fork = not (together or self._inspecting)
            if fork and not used:
                self._alone = self._alone or not around.forkable()
            if fork and self._alone:
                if used:
                    return
                fork = False
            ahead = pair.hosted and together and not used
            command = {"first": first, "last": max(last, first + 1), "start": len(self._outcomes)}
            command |= {"ahead": ahead, "fork": fork, "own": fork}
            alive = self._follow(pair, command, around)
            if not alive or not (fork or together or self._inspecting):
                return
            if (fork or self._inspecting) and not around.tidy():
                return
            used = True
        self.spoiled = False

    def _stretch(self) -> int:
        """Up to which test, exclusive, the tests may run one after another in the same two processes."""
        apart = self._stateless and not (self._strict or self._inspecting)
        return stretch(self._tests, self._index) if apart else self._index

    def _await_load(self, pair: Pair, around: Surroundings) -> bool:
        """Wait until the solution is loaded; False once its failure is written down."""
        pair.watch.restart(START_SECONDS)
        end = pair.watch.next()
        if end.kind == "message" and end.message["k"] != "ready":
            return self._load_failed(*self._why(end.message, around))
        if end.kind == "gone" and self.readable:
            self.readable = False
            return False
        if end.kind != "message":  # nothing of the solution has run yet
            return self._load_failed("starved", end.detail)
        self._stateless = end.message["stateless"]
        self._beat()
        pair.watch.restart(LOAD_FACTOR * float(self._limits["timeout"]))
        end = pair.watch.next()
        if end.kind != "message":
            return self._load_failed(end.kind, end.detail)
        if end.message["k"] != "load":
            return self._load_failed(*self._why(end.message, around))
        self._alone = end.message["alone"]
        self.spoiled = False
        return end.message["o"] == "ok" or self._load_failed(end.message["o"], end.message["d"])

    def _why(self, message: dict[str, Any], around: Surroundings) -> tuple[str, str]:
        """What it means that the judge lost its player, or was told nonsense by it."""
        if message["k"] == "malformed":
            return "malformed", f"broke the protocol: {str(message.get('d'))[:_DETAIL]}"
        status = message.get("d") if isinstance(message.get("d"), int) else around.player_status()
        detail = exit_text(status)
        return ("timeout" if detail == CPU_TEXT else "lost"), detail

    def _load_failed(self, kind: str, detail: str) -> bool:
        outcome = OUTCOME_OF_END.get(kind, kind)
        while self._index < len(self._tests):
            self._set_rest(outcome, detail or DETAIL_OF_END.get(kind, "ended while it was loaded"))
        return False

    def _follow(self, pair: Pair, command: dict[str, Any], around: Surroundings) -> bool:
        """Watch the tests of one command; False if the pair cannot be used again."""
        if self._inspecting:
            test = self._tests[command["first"]]
            pair.order({"op": "inspect", "s": test.source, "c": test.class_name})
        else:
            pair.order({"op": "run", **command})
        pair.watch.restart()
        self._since = time.monotonic()
        last = command["last"]
        ahead = command["ahead"]
        while True:
            end = pair.watch.next()
            if end.kind != "message":
                if ahead:  # nothing is known of the tests yet; where they are run one by one, it will be
                    self.may_be_hosted = False
                    return False
                self._seconds += time.monotonic() - self._since
                if self._index < last:
                    self._broke(end)
                return False
            message, kind = end.message, end.message["k"]
            ahead = ahead and kind in ("lost", "malformed")
            if kind == "end":
                status = message.get("status")
                if self._index < last:
                    if status == OUR_FAILURE << 8 and not self._inspecting:
                        self._broke(WatchEnd("gone", {}))
                    else:
                        self._lost(exit_text(status))
                    return False
                return type(status) is int and not os.WIFSIGNALED(status)
            now = message.get("t", self._since)
            if type(now) is float:
                self._seconds += max(0.0, now - self._since)
                self._since = now
            if kind == "tidy":  # between the copies of a test that is judged inline
                if not around.tidy_player():  # it said that it had ended, and had not
                    self._lost("its process did not end")
                    return False
                pair.order({"op": "go"})
                pair.watch.restart()
                continue
            if kind in ("lost", "malformed"):
                if ahead:
                    self.may_be_hosted = False
                elif self._index < last:
                    kind, detail = self._why(message, around)
                    self._broke(WatchEnd(kind, {}, detail))
                return False
            if kind != "beat" and (self._index >= last or not self._take(kind, message)):
                if self._index < last:
                    self._lost("the test wrote to the judge's channel")
                return False
            pair.watch.restart()

    def _take(self, kind: Any, message: dict[str, Any]) -> bool:
        """Note what the judge says of the current test; False if it is not its turn to say that."""
        if kind == "inspected" and self._inspecting:
            return self._inspected(message)
        if self._inspecting:
            return False
        if kind == "done":
            if message.get("j") not in ("apart", "handle", "inline"):
                return False
            self._judge, self._fast = message["j"], self._together
            self._done(message.get("fixture"))
            return True
        return kind == "m" and self._method(message)

    def _inspected(self, message: dict[str, Any]) -> bool:
        fields = {name: message.get(name) for name in ("ok", "why", "methods", "skipped")}
        lists = fields["methods"], fields["skipped"]
        if not all(type(some) is list and all(type(n) is str for n in some) for some in lists):
            return False
        self._close(**fields)
        return True

    def _method(self, message: dict[str, Any]) -> bool:
        keys = self._keys()
        expected = keys[len(self._outcomes)] if len(self._outcomes) < len(keys) else None
        if message.get("n") != expected or message.get("o") not in _METHOD_OUTCOMES:
            return False
        self._outcomes[keys[len(self._outcomes)]] = message["o"]
        self._hopeless = False
        if message["o"] != "pass" and not self._detail:
            self._detail = f"{keys[len(self._outcomes) - 1]}: {str(message.get('d'))[:_DETAIL]}"
        self._beat()
        return True

    def _done(self, fixture: Any) -> None:
        """The run came to its end: methods without an outcome share the fixture's."""
        if isinstance(fixture, list) and len(fixture) == 2 and fixture[0] in ("error", "memory", "tampered"):
            self._fixture = fixture[0]
            self._detail = self._detail or str(fixture[1])[:_DETAIL]
        if self._fixture == "tampered":
            self._outcomes = {}
        self._set_rest(self._fixture or "error", self._detail or "ended without an outcome")

    def _invalid(self, why: str) -> None:
        self._close(ok=False, why=why, methods=[], skipped=[])

    def _broke(self, end: WatchEnd) -> None:
        if self._inspecting and end.kind == "starved":
            self._close(starved=True)
        elif self._inspecting and end.kind == "timeout" and self._doubted != self._index:
            self._doubted = self._index  # it may have been the machine: once more
        elif self._inspecting:
            hangs = end.kind == "timeout"
            self._invalid("hangs on its own" if hangs else f"cannot be inspected ({end.detail or end.kind})")
        elif end.kind == "malformed":
            self._outcomes = {}
            self._set_rest("tampered", end.detail)
        else:
            detail = end.detail or DETAIL_OF_END.get(end.kind, "")
            self._set(OUTCOME_OF_END[end.kind], detail)

    def _lost(self, detail: str) -> None:
        """The test's process ended without a verdict: the method in progress is an error."""
        if self._inspecting:
            self._invalid(f"cannot be inspected ({detail})")
        else:
            self._set("timeout" if detail == CPU_TEXT else "error", detail)
