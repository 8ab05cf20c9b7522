"""The process that runs the assertions of a job's tests, and nothing of the solution.

The solution's names are stand-ins (proxies.py): what a test does with them happens in the player.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import random
import socket
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from . import canary, runner, wire
from .ahead import AheadAnswers
from .channel import Channel, PlayerLostError, WireError
from .judgedtest import JudgedTest
from .lending import JudgeOwner
from .output import CountingSink, redirect
from .peer import Peer
from .solution import SOLUTION_MODULES, SolutionModule, Standard, bind, describe

__all__ = ["Judge", "Reports"]

_BELL_AFTER = 64
_DETAIL = 300


class Reports:
    """Tells the zygote what happened; rings where it has to act, and is read in its own time otherwise."""

    def __init__(self, sock: socket.socket, bell: int) -> None:
        self._sock = sock
        self._bell = bell
        self._silent = 0

    def tell(self, message: dict[str, Any], ring: bool = False) -> None:
        message["t"] = time.monotonic()
        if type(message.get("d")) is str:
            message["d"] = message["d"][:_DETAIL]
        self._sock.send(wire.dumps(message).encode("ascii"))
        self._silent += 1
        if ring or self._silent >= _BELL_AFTER:
            self._silent = 0
            os.write(self._bell, b"!")


class Judge:
    """Judges one solution.

    Args:
        pause: has the zygotes remove what the player left; False if nobody is there to do it.
        peer: what `close` gave back of a judge whose solution could do nothing to it.
    """

    def __init__(
        self,
        channel: Channel,
        reports: Reports,
        limits: dict[str, Any],
        pause: Callable[[], bool],
        peer: Peer | None = None,
    ) -> None:
        self._reports = reports
        self._pause = pause
        self._limits = limits
        if peer is None:
            peer = Peer(channel, JudgeOwner(), judge=True)
        else:
            peer.channel = channel
        self._peer, self._owner = peer, peer.owner
        self._stdin_before = sys.stdin
        self._sink: CountingSink = redirect(limits["output_mb"] << 20)
        self._flooded = self._printed = False
        self._failure: tuple[str, Any] | None = None
        self._names: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None
        self._print, self._argv = builtins.print, list(sys.argv)
        peer.outgoing, peer.incoming, peer.failed = self._patched, self._replay, self._fail
        peer.codec.add(Standard, lambda value: ["S", *value], "S", lambda node: Standard(*_texts(node)))
        peer.wants.update(print=self._show, input=self._read, stdin=self._stdin)

    # What the solution prints and reads

    def _patched(self) -> Any:
        patched = builtins.print is not self._print
        return None if not patched and sys.argv == self._argv else [patched, [str(a) for a in sys.argv]]

    def _replay(self, extra: Any) -> None:
        if extra is None:
            return
        events, flooded = extra if type(extra) is list and len(extra) == 2 else (None, None)
        if type(events) is not list or not all(type(e) is list and len(e) == 2 for e in events):
            raise WireError("sent malformed output")
        self._printed = True
        self._flooded = self._flooded or flooded is True
        for kind, what in events:
            if kind == "w":
                if not (type(what) is list and len(what) == 2 and type(what[0]) is str):
                    raise WireError("sent a malformed warning")
                category = getattr(builtins, what[0], None)
                if not (isinstance(category, type) and issubclass(category, Warning)):
                    raise WireError("sent a malformed warning")
                warnings.warn_explicit(str(what[1]), category, "<solution>", 1)
            elif type(what) is str:
                (sys.stderr if kind == "e" else sys.stdout).write(what)

    def _show(self, arguments: Any) -> None:
        names, *values = arguments
        keys = names.split("\0") if names else []
        if not set(keys) <= {"sep", "end"}:  # a file of the solution's is its own affair
            raise WireError("asked for an operation that there is not")
        place = len(values) - len(keys)
        show = builtins.print  # the one that the test has put there
        show(*values[:place], **dict(zip(keys, values[place:], strict=True)))

    def _read(self, prompt: Any) -> str:
        return str(builtins.input(*prompt))

    def _stdin(self, arguments: Any) -> str:
        operation, size = arguments
        if operation not in ("read", "readline"):
            raise WireError("asked for an operation that there is not")
        return str(getattr(sys.stdin, operation)(size))

    # Life of a job

    def load(self, stateless: bool, forked: bool) -> bool:
        """Wait until the solution is loaded, and report how that went; `forked` if any test may need a
        fork of it, for which it has to let itself be looked at."""
        try:
            self._peer.expect("ready")
            self._reports.tell({"k": "ready", "stateless": stateless})
            _, outcome, detail, extra, alone = self._peer.expect("loaded")
            self._replay(extra)
            if outcome not in ("ok", "error", "memory") or type(detail) is not str:
                raise WireError("sent a malformed message")
            if self._over_limit():
                outcome, detail = "output", "printed more than the output limit"
            if outcome == "ok" and forked:
                self._peer.channel.send(["look"])
                self._peer.expect("seen")
        except BaseException as error:  # noqa: BLE001  (whatever it is, the player brought it about)
            self._fail(error)
            return False
        self._reports.tell({"k": "load", "o": outcome, "d": detail, "alone": alone is True}, ring=True)
        return bool(outcome == "ok")

    def look_ahead(self, tests: Sequence[JudgedTest]) -> bool:
        """Have a harmless solution answer what these tests will ask; False if that lost the player."""
        calls = list({(call.name, call.key): call for test in tests for call in test.reading.calls}.values())
        ahead = AheadAnswers()
        try:
            self._peer.channel.send(["ahead", [[call.name, call.arguments] for call in calls]])
            ahead.enter(calls, self._peer.expect("ahead")[1])
        except BaseException as error:  # noqa: BLE001  (as in `load`)
            self._fail(error)
            return False
        self._peer.proxies.ahead = ahead
        self._reports.tell({"k": "beat"})
        return True

    def _over_limit(self) -> bool:
        return self._flooded or self._sink.exceeded

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, PlayerLostError):
            status = error.args[0] if error.args else None
            known = type(status) is int and 0 <= status < 1 << 16
            self._failure = self._failure or ("lost", status if known else "")
        else:
            raised = f"made the judge raise {type(error).__name__}"
            why = str(error) if isinstance(error, WireError) else raised
            self._failure = self._failure or ("malformed", why)

    def close(self) -> Peer:
        """Let go of the player, and of all that came from it; the peer is as new."""
        self._peer.channel.close()
        self._owner.forget()
        self._peer.renew()
        sys.stdin = self._stdin_before
        for name in (*SOLUTION_MODULES, runner.TEST_MODULE):
            sys.modules.pop(name, None)
        return self._peer

    def report_failure(self) -> None:
        """Say why there is nothing more to say."""
        if self._failure is not None:
            self._reports.tell({"k": self._failure[0], "d": self._failure[1]}, ring=True)

    def run(self, test: JudgedTest, keys: list[str], fork: bool, soft: bool) -> bool:
        """Judge one test; False if the player is of no use any more."""
        self._flooded = self._printed = self._sink.exceeded = False
        self._sink.count = 0
        try:
            if fork:
                self._peer.channel.drain()
            if test.reading.inline:
                self._run_inline(test, keys)
            else:
                self._run_apart(test, keys, fork, soft)
        except BaseException as error:  # noqa: BLE001  (no exception of a player's ends the judge)
            self._fail(error)
        return self._failure is None

    def _run_apart(self, test: JudgedTest, keys: list[str], fork: bool, soft: bool) -> None:
        if fork:
            self._player_fork()
        streams = sys.stdin, sys.stdout, sys.stderr
        around = runner.Surroundings(
            exceeded=self._over_limit,
            from_solution=lambda error, traceback: self._peer.proxies.was_raised(error),
            intact=lambda: True,
            broken=lambda: self._failure is not None,
        )
        if self._names is None:
            names = self._peer.ask("names")
            if not (type(names) is dict and all(type(name) is str for name in names)):
                raise WireError("sent malformed names")
            if not fork:  # they serve every test
                self._peer.channel.send(["keep"])
                self._peer.proxies.keep_all()
                self._names = names
                if self._peer.proxies.ahead is not None:
                    self._peer.proxies.ahead.bind(names, self._peer.proxies.is_function)
        else:
            names = self._names
        module = SolutionModule(self._peer, names)
        for name in SOLUTION_MODULES:
            sys.modules[name] = module
        code = test.reading.code or compile(test.source, "<test>", "exec", dont_inherit=True)
        try:
            bound = bind(names, test.reading.names, module)
        except (WireError, PlayerLostError):
            raise
        except BaseException as error:  # noqa: BLE001  (the solution's, for one of its names)
            self._told({"k": "done", "fixture": ("error", describe(error))})
        else:
            votes = runner.Votes(test.reading.sites, soft) if test.reading.sites else None
            runner.run_methods(code, test.class_name, keys, bound, around, self._told, votes)
        sys.stdin, sys.stdout, sys.stderr = streams
        if fork:
            self._player_bye()
        elif self._leftovers() and self._failure is None:
            self._peer.channel.send(["reset"])
            self._owner.reset()
            self._peer.reset()
        self._peer.proxies.by_handle = False

    def _leftovers(self) -> bool:
        """Whether one of the two sides holds or counts something because of this test."""
        peer = self._peer
        return (
            self._printed or peer.proxies.has_more() or self._owner.has_more() or bool(peer.shared.numbers())
        )

    def _told(self, message: dict[str, Any]) -> None:
        if message.pop("last", False):
            self._last = message  # goes out with `done`, which follows at once
            return
        if message["k"] == "done":
            message["last"], self._last = self._last, None
            if self._failure is not None:
                return  # there is no verdict of a test whose player has gone
            message["j"] = "handle" if self._peer.proxies.by_handle else "apart"
        self._reports.tell(message)

    def _run_inline(self, test: JudgedTest, keys: list[str]) -> None:
        """Three copies in random order, each in a fork of the player; see canary.py."""
        found: dict[str, list[tuple[str, str]]] = {}
        fixture: Any = None
        variants = list(canary.VARIANTS)
        random.SystemRandom().shuffle(variants)
        for variant in variants:
            if not self._pause():
                return
            self._peer.channel.drain()
            self._player_fork()
            self._peer.channel.send(["inline", canary.text(test.source, variant), test.class_name, keys])
            outcomes: list[tuple[str, str]] = []
            while (message := self._peer.expect("m", "done"))[0] == "m":
                outcome, detail = canary.outcome(message, keys[len(outcomes) :][:1])
                outcomes.append((outcome, detail))
                self._reports.tell({"k": "beat"})
            if variant == canary.GENUINE:
                fixture = canary.fixture(message)
            found[variant] = outcomes
            self._player_bye()
        for key, (outcome, detail) in zip(keys, found[canary.GENUINE], strict=False):
            self._reports.tell({"k": "m", "n": key, "o": outcome, "d": detail})
        fixture = fixture or canary.forged(keys, found, canary.marked(test.source))
        self._reports.tell({"k": "done", "fixture": fixture, "j": "inline"})

    def _player_fork(self) -> None:
        self._peer.channel.send(["fork"])
        self._peer.expect("forked")

    def _player_bye(self) -> None:
        if self._failure is None:
            self._peer.channel.send(["bye"])
            with contextlib.suppress(PlayerLostError):
                self._peer.expect("died")


def _texts(node: list[Any]) -> tuple[str, str | None]:
    _, module, name = node
    if type(module) is not str or not (name is None or type(name) is str):
        raise WireError("sent a malformed import")
    return module, name
