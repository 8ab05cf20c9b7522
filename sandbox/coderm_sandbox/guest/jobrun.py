"""Drive one judge after another, each with its player, through the tests of one request.

Many tests at once where neither side can carry anything from one to the next; else one at a time, in
forks of both. Ledger keeps the account.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from .endings import CPU_TEXT, DETAIL_OF_END, OUR_FAILURE, OUTCOME_OF_END, exit_text
from .judgedtest import JudgedTest
from .ledger import Ledger
from .pair import Pair, Surroundings, stretch
from .watch import LOAD_FACTOR, START_SECONDS, VOTE, WatchEnd

__all__ = ["JobRun"]

_DETAIL = 300
_READ_CHARACTERS = 1 << 16


class JobRun:
    """Runs the tests of one request, hard; given the run `before`, softly (see recorder.py)."""

    def __init__(
        self,
        request: dict[str, Any],
        tests: list[JudgedTest],
        send: Callable[[dict[str, Any]], None],
        before: JobRun | None = None,
    ) -> None:
        self._tests = tests
        self._soft = before is not None
        self._strict = bool(request.get("strict"))
        self._inspecting = request["op"] == "inspect"
        self._limits = request["limits"]
        self._doubted = -1
        self._ledger = Ledger(tests, self._inspecting, self._soft, self._limits["hang_limit"], send)
        self.readable = not self._strict and len(request.get("solution", "")) <= _READ_CHARACTERS
        """Whether the judge may parse the solution, to see if it is stateless."""
        self.may_be_hosted = not self._strict
        """Whether the player may be one that serves others after this solution, if it is harmless."""
        if before is not None:
            self.readable, self.may_be_hosted = before.readable, before.may_be_hosted
        self.spoiled = False
        """Whether the judge of the last pair must not be used again."""
        self._stateless = self._alone = False

    def finished(self) -> bool:
        """Close the tests that need no run; True once no test is left."""
        return self._ledger.finished()

    def drive(self, pair: Pair, around: Surroundings) -> None:
        """Use one pair for as many tests as it survives."""
        self._ledger.beat()
        self.spoiled = True  # until the pair has come to its end without anything unusual
        if not self._inspecting and not self._await_load(pair, around):
            return
        self.spoiled = True
        used = False
        while not self.finished():
            self._ledger.beat()
            first, last = self._ledger.index, self._stretch()
            together = self._ledger.together = last > first
            fork = not (together or self._inspecting)
            if fork and not used:
                self._alone = self._alone or not around.forkable()
            if fork and self._alone:
                if used:
                    return
                fork = False
            ahead = pair.hosted and together and not used
            command = {"first": first, "last": max(last, first + 1), "start": self._ledger.done}
            command |= {"ahead": ahead, "fork": fork, "own": fork, "soft": self._soft}
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
        return stretch(self._tests, self._ledger.index) if apart else self._ledger.index

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
        self._ledger.beat()
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
        while self._ledger.index < len(self._tests):
            self._ledger.set_rest(outcome, detail or DETAIL_OF_END.get(kind, "ended while it was loaded"))
        return False

    def _follow(self, pair: Pair, command: dict[str, Any], around: Surroundings) -> bool:
        """Watch the tests of one command; False if the pair cannot be used again."""
        if self._inspecting:
            test = self._tests[command["first"]]
            pair.order({"op": "inspect", "s": test.source, "c": test.class_name, "v": test.soft})
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
                self._ledger.seconds += time.monotonic() - self._since
                if self._ledger.index < last:
                    self._broke(end)
                return False
            message, kind = end.message, end.message["k"]
            ahead = ahead and kind in ("lost", "malformed")
            if kind == "end":
                status = message.get("status")
                if self._ledger.index < last:
                    if status == OUR_FAILURE << 8 and not self._inspecting:
                        self._broke(WatchEnd("gone", {}))
                    else:
                        self._lost(exit_text(status))
                    return False
                return type(status) is int and not os.WIFSIGNALED(status)
            now = message.get("t", self._since)
            if type(now) is float:
                self._ledger.seconds += max(0.0, now - self._since)
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
                elif self._ledger.index < last:
                    kind, detail = self._why(message, around)
                    self._broke(WatchEnd(kind, {}, detail))
                return False
            if kind != "beat" and (self._ledger.index >= last or not self._ledger.take(kind, message)):
                if self._ledger.index < last:
                    self._lost("the test wrote to the judge's channel")
                return False
            if kind != VOTE:  # it has no time of its own
                pair.watch.restart()

    def _broke(self, end: WatchEnd) -> None:
        ledger = self._ledger
        if self._inspecting and end.kind == "starved":
            ledger.close(starved=True)
        elif self._inspecting and end.kind == "timeout" and self._doubted != ledger.index:
            self._doubted = ledger.index  # it may have been the machine: once more
        elif self._inspecting:
            hangs = end.kind == "timeout"
            self._invalid("hangs on its own" if hangs else f"cannot be inspected ({end.detail or end.kind})")
        elif end.kind == "malformed":
            ledger.tampered(end.detail)
        else:
            detail = end.detail or DETAIL_OF_END.get(end.kind, "")
            ledger.set(OUTCOME_OF_END[end.kind], detail)

    def _invalid(self, why: str) -> None:
        self._ledger.close(ok=False, why=why, methods=[], skipped=[], votes=[])

    def _lost(self, detail: str) -> None:
        """The test's process ended without a verdict: the method in progress is an error."""
        if self._inspecting:
            self._invalid(f"cannot be inspected ({detail})")
        else:
            self._ledger.set("timeout" if detail == CPU_TEXT else "error", detail)
