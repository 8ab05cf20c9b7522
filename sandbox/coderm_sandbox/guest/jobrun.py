"""Drive one child after another through the tests of one request, and say how each ended.

Trusts nothing a child says beyond what it says about its own solution: an outcome is taken only for
the method whose turn it is, with the word that this run was given, and whatever is missing in the
end is not a pass.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .endings import CPU_TEXT, DETAIL_OF_END, OUTCOME_OF_END, exit_text
from .watch import LOAD_FACTOR, START_SECONDS, Watch, WatchEnd

__all__ = ["Child", "JobRun", "Surroundings"]

_BEAT_SECONDS = 1.0
_DETAIL = 300
_METHOD_OUTCOMES = ("pass", "fail", "error", "memory", "output")


class Child(NamedTuple):
    """A forked solution process and how we follow it."""

    pid: int
    sock: socket.socket
    watch: Watch


class Surroundings(Protocol):
    """What the zygote knows of a child from outside, and does between its tests."""

    def forkable(self, pid: int) -> bool:
        """Whether a fork of the loaded solution is as good as loading it again."""

    def tidy(self, pid: int) -> bool:
        """Remove what a test left behind; False if the child must go too."""


class JobRun:
    """How far one request has come: the next method to run, and the outcomes so far."""

    def __init__(self, request: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
        self._tests = request["tests"]
        self._inspecting = request["op"] == "inspect"
        self._limits = request["limits"]
        self._hang_limit = self._limits["hang_limit"]
        self._send = send
        self._sent = 0.0
        self._hangs = 0
        self._hung_tests: set[int] = set()
        self._hopeless = True
        self._alone = False
        self._open(0)

    def _open(self, index: int) -> None:
        self._index = index
        self._outcomes: dict[str, str] = {}
        self._detail = ""
        self._fixture = ""
        self._assumed = 0
        self._seconds = 0.0

    def _keys(self) -> list[str]:
        return [] if self._inspecting else self._tests[self._index]["m"]

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
        """Whether every vote so far was a timeout, and there were enough of them in more than one test."""
        enough = 0 < self._hang_limit <= self._hangs and len(self._hung_tests) > 1
        return enough and self._hopeless

    def _close(self, **extra: Any) -> None:
        """Send what is known of the current test and turn to the next."""
        answer = {
            "i": self._index,
            "outcomes": self._outcomes,
            "fixture": self._fixture,
            "d": self._detail,
            "s": round(self._seconds, 6),
            "assumed": self._assumed,
        }
        answer.update(extra)
        self._send(answer)
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

    def drive(self, child: Child, around: Surroundings) -> None:
        """Use one child for as many tests as it survives."""
        self._beat()
        child.watch.restart(child.pid, START_SECONDS)
        if not self._await_load(child):
            return
        fork = self._inspecting or (not self._alone and around.forkable(child.pid))
        used = False
        while not self.finished():
            self._beat()
            if not (self._follow(child, fork, used) and around.tidy(child.pid)):
                return
            used = True

    def _await_load(self, child: Child) -> bool:
        """Wait until the solution is loaded; False once its failure is written down."""
        end = child.watch.next()
        if end.message.get("k") != "ready":  # nothing of the solution has run yet
            return self._load_failed("starved", end.detail)
        if self._inspecting:
            return True
        self._beat()
        child.watch.restart(seconds=LOAD_FACTOR * float(self._limits["timeout"]))
        end = child.watch.next()
        if end.kind != "message":
            return self._load_failed(end.kind, end.detail)
        outcome, detail = end.message.get("o"), str(end.message.get("d"))[:_DETAIL]
        if end.message.get("k") != "load" or outcome not in ("ok", "memory", "error", "output", "tampered"):
            return self._load_failed("malformed", "wrote to the result channel")
        self._alone = end.message.get("alone") is True
        return outcome == "ok" or self._load_failed(outcome, detail)

    def _load_failed(self, kind: str, detail: str) -> bool:
        outcome = OUTCOME_OF_END.get(kind, kind)
        while self._index < len(self._tests):
            if self._inspecting:
                self._broke(WatchEnd(kind, {}, detail))
            else:
                self._set_rest(outcome, detail or DETAIL_OF_END.get(kind, "ended while it was loaded"))
        return False

    def _follow(self, child: Child, fork: bool, used: bool) -> bool:
        """Watch one run of the current test; False if the child cannot be used again.

        A child that has run a test before (`used`) may end for reasons of its own, and what it does
        before it turns to this test is no news of this one: a fresh child will try it.
        """
        word = os.urandom(16).hex()
        command = {"i": self._index, "start": len(self._outcomes), "fork": fork, "word": word}
        try:
            child.sock.send(json.dumps(command).encode("ascii"))
        except OSError:
            if not used:
                self._lost("the solution's process ended")
            return False
        child.watch.restart(child.pid)
        began, turned, done = time.monotonic(), False, False
        while True:
            end = child.watch.next()
            now = time.monotonic()
            self._seconds += 0.0 if done else now - began
            began = now
            if end.kind == "message" and end.message.get("w") != word:
                end = WatchEnd("malformed", {}, "wrote to the result channel")
            message, kind = end.message, end.message.get("k")
            if end.kind != "message":
                if not (done or (used and (not turned or end.kind == "lost"))):
                    self._broke(end)
                return False
            if kind == "run" and not turned:
                turned = True
                child.watch.restart(message["pid"] if isinstance(message.get("pid"), int) else None)
            elif kind == "end":
                if not done:
                    self._lost(exit_text(message.get("status")))
                return True
            elif done or not self._take(kind, message):
                if not done:
                    self._broke(WatchEnd("malformed", {}, "wrote to the result channel"))
                return False
            else:
                done = kind != "m"
                child.watch.restart()

    def _take(self, kind: Any, message: dict[str, Any]) -> bool:
        """Note what a run says of the current test; False if it is not its turn to say that."""
        if kind == "inspected" and self._inspecting:
            return self._inspected(message)
        if self._inspecting:
            return False
        if kind == "done":
            self._done(message.get("fixture"))
            return True
        return kind == "m" and self._method(message)

    def _inspected(self, message: dict[str, Any]) -> bool:
        fields = {name: message.get(name) for name in ("ok", "why", "methods", "skipped")}
        lists = [fields["methods"], fields["skipped"]]
        if not all(isinstance(some, list) and all(isinstance(n, str) for n in some) for some in lists):
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
