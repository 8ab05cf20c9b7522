"""Drive one child after another through the tests of one request, and say how each ended.

Trusts nothing a child says beyond what it says about its own solution: an outcome is taken only for
the method whose turn it is, and whatever is missing in the end is not a pass.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .watch import Watch, WatchEnd

__all__ = ["Child", "JobRun"]


class Child(NamedTuple):
    """A forked solution process and how we follow it."""

    pid: int
    sock: socket.socket
    watch: Watch


class JobRun:
    """How far one request has come: the next method to run, and the outcomes so far."""

    def __init__(self, request: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
        self._tests = request["tests"]
        self._inspecting = request["op"] == "inspect"
        self._hang_limit = request["limits"].get("hang_limit", 0)
        self._send = send
        self._hangs = 0
        self._open(0)

    @property
    def finished(self) -> bool:
        return self._index >= len(self._tests)

    def _open(self, index: int) -> None:
        self._index = index
        self._outcomes: dict[str, str] = {}
        self._detail = ""
        self._fixture = ""
        self._assumed = 0
        self._seconds = 0.0

    def _keys(self) -> list[str]:
        return [] if self._inspecting else self._tests[self._index]["m"]

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
        self._open(self._index + 1)

    def _set(self, outcome: str, detail: str = "") -> None:
        """Give the method in progress its outcome; the test is closed with its last method."""
        keys = self._keys()
        if len(self._outcomes) < len(keys):
            self._outcomes[keys[len(self._outcomes)]] = outcome
        else:
            self._fixture = self._fixture or outcome  # it happened after the last method: tearDownClass
        if outcome != "pass" and not self._detail:
            self._detail = detail or outcome
        self._hangs = self._hangs + 1 if outcome == "timeout" else 0
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

    def drive(self, child: Child, tidy: Callable[[], bool]) -> None:
        """Use one child for as many tests as it survives."""
        child.watch.restart(child.pid)
        if not self._await_load(child):
            return
        while not self.finished:
            if self._hang_limit and self._hangs >= self._hang_limit:
                self._set_rest("timeout", "not run: the solution hung on every vote before", assumed=True)
                continue
            if not self._inspecting and not self._keys():
                self._close()
                continue
            command = {"i": self._index, "start": len(self._outcomes)}
            try:
                child.sock.send(json.dumps(command).encode("ascii"))
            except OSError:
                self._lost("the solution's process ended")
                return
            if not (self._follow(child) and tidy()):
                return

    def _await_load(self, child: Child) -> bool:
        """Wait until the solution is loaded; False once its failure is written down."""
        while True:
            end = child.watch.next()
            kind, message = end.kind, end.message
            if kind == "message" and message.get("k") == "ready":
                child.watch.restart()
                if self._inspecting:
                    return True
            elif kind == "message" and message.get("k") == "load":
                if message.get("o") == "ok":
                    return True
                outcome = message.get("o")
                kind = outcome if outcome in ("memory", "error", "output", "tampered") else "malformed"
                return self._load_failed(kind, str(message.get("d"))[:300])
            elif kind != "message":
                return self._load_failed(kind, end.detail)

    def _load_failed(self, kind: str, detail: str) -> bool:
        outcome = _OUTCOME_OF_END.get(kind, kind)
        while not self.finished:
            if self._inspecting:
                self._close(ok=False, why=f"cannot be inspected ({detail or kind})", methods=[], skipped=[])
            else:
                self._set_rest(outcome, detail or _DETAIL_OF_END.get(kind, "ended while it was loaded"))
        return False

    def _follow(self, child: Child) -> bool:
        """Watch one run of the current test; False if the child cannot be used again."""
        began, index, done = time.monotonic(), self._index, False
        child.watch.restart(child.pid)
        while True:
            end = child.watch.next()
            self._seconds += (time.monotonic() - began) if self._index == index else 0.0
            began = time.monotonic()
            message = end.message
            if end.kind != "message":
                self._broke(end)
                return False
            kind = message.get("k")
            if kind == "run":
                child.watch.restart(message["pid"] if isinstance(message.get("pid"), int) else None)
            elif kind == "m" and self._index == index and not done:
                if not self._method(message):
                    self._broke(WatchEnd("malformed", {}, "wrote to the result channel"))
                    return False
                child.watch.restart()
            elif kind == "inspected" and self._inspecting:
                fields = {name: message.get(name) for name in ("ok", "why", "methods", "skipped")}
                self._close(**fields)
            elif kind == "done":
                done = True
                self._done(index, message.get("fixture"))
                child.watch.restart()
            elif kind == "end":
                if self._index == index and not done:
                    self._lost(_exit_text(message.get("status")))
                return True

    def _method(self, message: dict[str, Any]) -> bool:
        keys = self._keys()
        expected = keys[len(self._outcomes)] if len(self._outcomes) < len(keys) else None
        if message.get("n") != expected or message.get("o") not in _METHOD_OUTCOMES:
            return False
        self._outcomes[keys[len(self._outcomes)]] = message["o"]
        self._hangs = 0
        if message["o"] != "pass" and not self._detail:
            self._detail = f"{keys[len(self._outcomes) - 1]}: {str(message.get('d'))[:300]}"
        return True

    def _done(self, index: int, fixture: Any) -> None:
        """The run came to its end: methods without an outcome share the fixture's."""
        if self._index != index:
            return
        if isinstance(fixture, list) and len(fixture) == 2 and fixture[0] in ("error", "memory", "tampered"):
            self._fixture = fixture[0]
            self._detail = self._detail or str(fixture[1])[:300]
        if self._fixture == "tampered":
            self._outcomes = {}
        self._set_rest(self._fixture or "error", self._detail or "ended without an outcome")

    def _broke(self, end: WatchEnd) -> None:
        if self._inspecting:
            why = (
                "hangs on its own"
                if end.kind == "timeout"
                else f"cannot be inspected ({end.detail or end.kind})"
            )
            self._close(ok=False, why=why, methods=[], skipped=[])
        elif end.kind == "malformed":
            self._outcomes = {}
            self._set_rest("tampered", end.detail)
        else:
            detail = end.detail or _DETAIL_OF_END.get(end.kind, "")
            self._set(_OUTCOME_OF_END[end.kind], detail)

    def _lost(self, detail: str) -> None:
        """The test's process ended without a verdict: the method in progress is an error."""
        if self._inspecting:
            self._close(ok=False, why=f"cannot be inspected ({detail})", methods=[], skipped=[])
        else:
            timed_out = detail == _CPU_TEXT
            self._set("timeout" if timed_out else "error", detail)


_METHOD_OUTCOMES = ("pass", "fail", "error", "memory", "output")
_OUTCOME_OF_END = {
    "timeout": "timeout",
    "starved": "unknown",
    "memory": "memory",
    "processes": "error",
    "malformed": "tampered",
    "lost": "error",
}
_DETAIL_OF_END = {
    "timeout": "timed out",
    "starved": "the machine gave it no processor time",
    "lost": "its process ended without a verdict",
}
_CPU_TEXT = "used up its processor time"


def _exit_text(status: Any) -> str:
    if not isinstance(status, int):
        return "ended without a verdict"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return _CPU_TEXT if number == signal.SIGXCPU else f"died of signal {number} before its verdict"
    return f"exited with code {os.WEXITSTATUS(status)} before its verdict"
