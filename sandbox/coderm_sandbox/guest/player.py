"""The process that runs one solution, and nothing of the tests: calls come in, answers go out.

Whatever happens here is the solution's own. The judge believes none of it beyond the values it sends.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import signal
import socket
import sys
import types
import typing
from typing import Any

from . import processes
from .ahead import look_ahead
from .channel import Channel, PlayerLostError, WireError
from .exports import Owner
from .limiting import close_others, limit_cpu
from .peer import Peer
from .playerio import PlayerIO
from .solution import SOLUTION_MODULES, UNREADABLE, Standard, describe

__all__ = ["forget_cached", "player_main"]

_BLANK = frozenset(vars(types.ModuleType("solution"))) | {"__builtins__"}
_FRAMES = 40
"""Stack frames that we use before a function of the solution runs."""
_DEEPEST = (1 << 31) - 1
LATER = Standard("solution", None)
"""A value that is sent when a test asks for it."""


class PlayerOwner(Owner):
    """Lends the solution's objects to the judge, who may do with them what a test may."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: Any = None

    def wait(self, awaitable: Any) -> Any:
        """Run an awaitable in the loop of this process, one for all of them."""
        import asyncio  # not in the zygote, where it would make every fork dearer

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)

        async def waiting() -> Any:
            return await awaitable

        return self._loop.run_until_complete(waiting())


def _by_name(node: list[Any]) -> Any:
    """A function or class of the standard library that a test passes on."""
    value: Any = importlib.import_module(node[1])
    for part in node[2].split("."):
        value = getattr(value, part)
    return value


def _import_of(name: str, value: Any) -> Standard | None:
    """Where a module-level name of the solution was imported from, if it was."""
    if isinstance(value, types.ModuleType):
        return Standard(value.__name__, None)
    module = getattr(value, "__module__", None)
    place = sys.modules.get(module) if isinstance(module, str) and module != "solution" else None
    if place is None or vars(place).get(name) is not value:
        return None
    return Standard(place.__name__, name)


def _goes_ahead(value: Any) -> bool:
    """Whether a module-level value is sent with its name: functions, classes and short plain values."""
    if isinstance(value, types.FunctionType | type) or value is None or type(value) in (bool, int, float):
        return True
    return type(value) is str and len(value) < 1000


class Player:
    """Serves one loaded solution."""

    def __init__(self) -> None:
        """Made in the zygote, so that a fork of it has little left to do; see `connect`."""
        self._channel = Channel()
        self._owner = PlayerOwner()
        self._peer = Peer(self._channel, self._owner, judge=False)
        self._io = PlayerIO(self._peer)
        self._seeded: Any = None
        self._held: Any = None
        """The signal mask before signals were held back, while they are."""
        self._forked = False
        self._frames = sys.getrecursionlimit()
        self._module = types.ModuleType("solution")
        codec, names = self._peer.codec, self._peer.wants
        codec.add(Standard, lambda value: ["S", *value], "g", _by_name)
        names["names"] = lambda arguments: self._names()
        names["module get"] = lambda arguments: getattr(self._module, arguments[0])
        names["module set"] = lambda arguments: setattr(self._module, arguments[0], arguments[1])
        names["module del"] = lambda arguments: delattr(self._module, arguments[0])
        # Bound before the solution is loaded.
        self._fork, self._wait = os.fork, os.waitpid
        self._leave, self._mask = os._exit, signal.pthread_sigmask

    def connect(self, sock: socket.socket, limits: dict[str, Any], inline: bool) -> None:
        """Serve this channel from now on."""
        self._limits = limits
        self._channel.open(sock)
        self._io.limit = limits["output_mb"] << 20
        if inline:  # what watches over judging in one process must be older than the solution
            importlib.import_module(f"{__package__}.inline")

    def load(self, source: str, code: types.CodeType | None = None) -> bool:
        """Load the solution and say how that went: ["ready"], ["loaded", outcome, detail, printed, alone].

        With `code` it is compiled already, and harmless (harmless.py).
        """
        outcome, detail, is_harmless = "", "", code is not None
        try:
            code = code or compile(source, "<solution>", "exec", dont_inherit=True)
        except UNREADABLE as error:
            outcome = "memory" if isinstance(error, MemoryError) else "error"
            detail = describe(error)
        self._channel.send(["ready"])
        # Not in the zygote: whatever has seen a fork of it seeds the generator anew, at a cost.
        uses_random = "random" in source and code is not None and not is_harmless
        random = importlib.import_module("random") if uses_random else None
        unseeded = random and random.getstate()
        if code is not None:
            outcome, detail = self._execute(code)
        self._channel.send(["loaded", outcome or "ok", detail, self._peer.outgoing(), _timer_runs()])
        self._seeded = random and random.getstate()
        if self._seeded == unseeded:
            self._seeded = None
        return not outcome

    def _execute(self, code: types.CodeType) -> tuple[str, str]:
        for name in SOLUTION_MODULES:
            sys.modules[name] = self._module
        try:
            exec(code, self._module.__dict__)
        except MemoryError as error:
            return "memory", describe(error)
        except (WireError, PlayerLostError):
            raise
        except BaseException as error:  # noqa: BLE001  (SystemExit and KeyboardInterrupt of a solution too)
            return "error", describe(error)
        sys.setrecursionlimit(min(sys.getrecursionlimit() + _FRAMES, _DEEPEST))
        return "", ""

    def _names(self) -> dict[str, Any]:
        """The solution's module-level names: imports by where they are from, all else as it is."""
        found: dict[str, Any] = {}
        for name, value in list(vars(self._module).items()):
            if type(name) is str and name not in _BLANK and not name.startswith("__"):
                found[name] = _import_of(name, value) or (value if _goes_ahead(value) else LATER)
        return found

    def serve(self) -> None:
        """Answer until the judge has gone."""
        while True:
            self.serve_one()

    def serve_one(self) -> None:
        """Answer one message."""
        message = self._channel.receive()
        kind = message[0]
        if kind == "q":
            if self._held is not None:  # no fork will follow
                self._release()
            self._peer.serve(message)
        elif kind == "fork":
            pid = self._fork()
            if pid == 0:
                self._begin()
            else:
                self._channel.send(["died", self._wait(pid, 0)[1]])
        elif kind == "bye" and self._forked:
            self._leave(0)
        elif kind == "look":
            processes.set_dumpable(True)  # the zygote is to see what a fork would share
            # A handler of the solution must not run between tests, where what it changes would last.
            self._held = self._mask(signal.SIG_BLOCK, signal.valid_signals())
            self._channel.send(["seen"])
        elif kind == "keep":
            self._owner.keep_all()
        elif kind == "reset":
            self._owner.reset()
            self._peer.reset()
            self._io.reset()
        elif kind == "ahead":
            self._look_ahead(message[1])
        elif kind == "inline":
            self._inline(*message[1:])

    def _look_ahead(self, calls: list[Any]) -> None:
        names = vars(self._module)

        def find(name: str) -> Any:
            return names[name] if type(names.get(name)) is types.FunctionType else None

        def call(function: Any, arguments: list[Any]) -> Any:
            return self._owner.perform("call", [function, "", *arguments])

        answers = look_ahead(calls, find, call, self._io.was_quiet)
        re.purge()  # it warns of a pattern that it does not know
        gc.collect()  # the tests have all the memory
        self._channel.send(["ahead", answers])

    def renew(self) -> None:
        """Forget a harmless solution and all that its tests brought, for the next one."""
        self._owner.forget()
        self._peer.renew()
        self._io.renew()
        self._module = types.ModuleType("solution")
        for name in SOLUTION_MODULES:
            sys.modules.pop(name, None)
        sys.setrecursionlimit(self._frames)
        forget_cached()
        gc.collect()  # here, and not while the next one is served, whose memory and time it would be

    def _release(self) -> None:
        self._mask(signal.SIG_SETMASK, self._held)
        self._held = None

    def _begin(self) -> None:
        """Make this fork fit for one test."""
        self._forked = True
        processes.die_with_parent()  # there the first process is not our parent
        if self._seeded is not None:
            # What seeded the generator at import counts; a fork has seeded it anew.
            sys.modules["random"].setstate(self._seeded)
        if self._held is not None:
            self._release()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._channel.send(["forked"])

    def _inline(self, source: str, class_name: str | None, keys: list[str]) -> None:
        """Run a test here, because its text cannot be run apart."""
        inline = importlib.import_module(f"{__package__}.inline")
        names = {name: value for name, value in vars(self._module).items() if name not in _BLANK}
        inline.run(self._channel.send, source, class_name, keys, names, self._limits)


def forget_cached() -> None:
    """Empty the caches of the standard library in which a harmless solution could look up what another did.

    `re` finds a pattern by flags of 0.0 only if somebody had it with 0, `typing` gives `List[-0.0]` for
    `List[0.0]` if somebody had that.
    """
    re.purge()
    for clear in getattr(typing, "_cleanups", ()):
        clear()


def _timer_runs() -> bool:
    """Whether a timer is armed; no fork inherits it."""
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    return any(signal.getitimer(timer)[0] for timer in timers)


def player_main(player: Player, sock: socket.socket, request: dict[str, Any]) -> None:
    """Serve one solution until this process is killed or the judge has gone.

    The zygote has set the limits and the streams already: what it has, its forks inherit for nothing.
    """
    if os.getppid() != 1:  # everything dies with the first process of a namespace anyway
        processes.die_with_parent()
    close_others(sock.fileno())
    limit_cpu(request["limits"], request["votes"])
    player.connect(sock, request["limits"], inline=request["mode"] == "inline")
    try:
        if player.load(request["solution"]):
            player.serve()
    except (WireError, PlayerLostError):
        return  # nobody is there any more, or somebody else reads from our channel
