"""Follow one child through one test: messages, deadlines, memory, processes. Facts only, no policy.

Time that the machine kept the test waiting for a core is not charged to it (DESIGN section 5.3):
the deadline moves by the scheduler's own count of that wait, up to a wall limit.
"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any, NamedTuple

from . import processes

__all__ = ["SupervisorGoneError", "Watch", "WatchEnd"]

WALL_FACTOR = 4.0
"""A test may take this many times its timeout by the wall clock, however busy the machine is."""
_TICK = 0.05
_MAX_MESSAGE = 1 << 16


class SupervisorGoneError(Exception):
    """The control socket closed: nobody waits for results any more."""


class WatchEnd(NamedTuple):
    """Why watching ended: message, timeout, starved, memory, processes, malformed or lost."""

    kind: str
    message: dict[str, Any]
    detail: str = ""


class Watch:
    """Reads one child's messages under the limits of one job."""

    def __init__(
        self, sock: socket.socket, control: socket.socket, limits: dict[str, Any], base_rss: int
    ) -> None:
        self._sock = sock
        self._limits = limits
        self._base_rss = base_rss
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._poll.register(control, select.POLLIN)
        self._control = control.fileno()
        self._pid = 0
        self._started = 0.0
        self._credit = 0.0

    def restart(self, pid: int | None = None) -> None:
        """Start the clock anew, for the process `pid` where it is another than before."""
        if pid is not None:
            self._pid = pid
            self._credit = 0.0
        self._started = time.monotonic()

    def next(self) -> WatchEnd:
        """Wait for the child's next message, or for the limit that it breaks first."""
        timeout = float(self._limits["timeout"])
        deadline = self._started + timeout
        wall = self._started + WALL_FACTOR * timeout
        while True:
            now = time.monotonic()
            if now >= deadline:
                extra, alone = self._starvation()
                if extra > 0:
                    deadline = min(deadline + extra, wall)
                if now >= deadline:
                    starved = now >= wall and extra > 0 and alone
                    return WatchEnd("starved" if starved else "timeout", {})
            ready = self._poll.poll(max(0.0, min(_TICK, deadline - now)) * 1000)
            for descriptor, _ in ready:
                if descriptor == self._control:
                    raise SupervisorGoneError
            if ready:
                return self._read()
            broken = self._over_limits()
            if broken is not None:
                return broken

    def _read(self) -> WatchEnd:
        try:
            data, _, flags, _ = self._sock.recvmsg(_MAX_MESSAGE)
        except OSError as error:
            return WatchEnd("lost", {}, str(error))
        if not data:
            return WatchEnd("lost", {})
        if flags & socket.MSG_TRUNC:
            return WatchEnd("malformed", {}, "wrote to the result channel")
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            return WatchEnd("malformed", {}, "wrote to the result channel")
        if not isinstance(message, dict):
            return WatchEnd("malformed", {}, "wrote to the result channel")
        return WatchEnd("message", message)

    def _starvation(self) -> tuple[float, bool]:
        """(seconds of waiting for a core not yet credited, whether nobody but the test can be the cause)."""
        delay = processes.run_delay(self._pid) if self._pid else None
        if delay is None:
            return 0.0, False
        extra, self._credit = delay - self._credit, delay
        # One process and one thread beside the child that forked it: it did not crowd itself out.
        return extra, processes.usage(self._base_rss).tasks <= 2

    def _over_limits(self) -> WatchEnd | None:
        used = processes.usage(self._base_rss)
        if used.rss > self._limits["memory_mb"] << 20:
            return WatchEnd("memory", {}, "used more memory than the limit")
        if used.tasks > self._limits["processes"] + 2:
            return WatchEnd("processes", {}, "started more processes than the limit")
        return None
