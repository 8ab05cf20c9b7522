"""Follow one child through one test: messages, deadlines, memory, processes. Facts only, no policy.

Time that the machine kept the test waiting for a core is not charged to it (DESIGN section 5.3):
the deadline moves by the scheduler's own count of that wait, up to a wall limit.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from . import processes

__all__ = ["LOAD_FACTOR", "START_SECONDS", "WALL_FACTOR", "SupervisorGoneError", "Watch", "WatchEnd"]

WALL_FACTOR = 4.0
"""A test may take this many times its timeout by the wall clock, however busy the machine is."""
LOAD_FACTOR = 3.0
"""Loading a solution may take this many times the timeout of a test: imports are slow."""
START_SECONDS = 20.0
"""For what we do ourselves in a new child: its limits, and numpy where a text asks for it."""
_TICK = 0.05
_ALONE = 2
"""One process and one thread, beside the child that forked it, cannot crowd themselves out."""
_STORM = 10
"""From so many tasks on it is the test that keeps others waiting, and no waiting is given back."""
_MAX_MESSAGE = 1 << 16


class SupervisorGoneError(Exception):
    """The control socket closed: nobody waits for results any more."""


class WatchEnd(NamedTuple):
    """Why watching ended: message, timeout, starved, memory, processes, malformed or lost."""

    kind: str
    message: dict[str, Any]
    detail: str = ""


_MALFORMED = WatchEnd("malformed", {}, "wrote to the result channel")


class Watch:
    """Reads one child's messages under the limits of one job."""

    def __init__(
        self,
        sock: socket.socket,
        control: socket.socket,
        limits: dict[str, Any],
        base_rss: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        run_delay: Callable[[int], float | None] = processes.run_delay,
        usage: Callable[[int, int], processes.Usage] = processes.usage,
    ) -> None:
        self._sock = sock
        self._limits = limits
        self._base_rss = base_rss
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._poll.register(control, select.POLLIN)
        self._control = control.fileno()
        self._clock, self._run_delay, self._usage = clock, run_delay, usage
        self._pid = 0
        self._timeout = START_SECONDS
        self._started = self._sampled = clock()
        self._waited = 0.0
        self._most_tasks = 0

    def restart(self, pid: int | None = None, seconds: float | None = None) -> None:
        """Start the clock anew, for the process `pid` where it is another than before.

        The time allowed is `seconds` where given, else the timeout among the limits.
        """
        if pid is not None:
            self._pid = pid
        self._timeout = float(self._limits["timeout"]) if seconds is None else seconds
        self._started = self._sampled = self._clock()
        self._waited = self._run_delay(self._pid) or 0.0
        self._most_tasks = 0

    def next(self) -> WatchEnd:
        """Wait for the child's next message, or for the limit that it breaks first."""
        deadline = self._started + self._timeout
        wall = self._started + WALL_FACTOR * self._timeout
        while True:
            now = self._clock()
            if now - self._sampled >= _TICK:
                self._sampled = now
                broken = self._over_limits()
                if broken is not None:
                    return broken
            # What was sent in time counts even where we were kept from reading it in time.
            ready = self._poll.poll(max(0.0, min(_TICK, deadline - now)) * 1000)
            for descriptor, _ in ready:
                if descriptor == self._control:
                    raise SupervisorGoneError
            if ready:
                return self._read()
            now = self._clock()
            if now >= deadline:
                deadline = self._started + self._timeout + self._starvation()
                if now >= deadline:
                    return WatchEnd("timeout", {})
                if now >= wall:
                    return WatchEnd("timeout" if self._most_tasks > _ALONE else "starved", {})
                deadline = min(deadline, wall)

    def _read(self) -> WatchEnd:
        try:
            data, _, flags, _ = self._sock.recvmsg(_MAX_MESSAGE)
        except OSError as error:
            return WatchEnd("lost", {}, str(error))
        if not data:
            return WatchEnd("lost", {})
        if flags & socket.MSG_TRUNC:
            return _MALFORMED
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            return _MALFORMED
        return WatchEnd("message", message) if isinstance(message, dict) else _MALFORMED

    def _starvation(self) -> float:
        """Seconds since the start in which the process was ready to run and others had the core."""
        delay = self._run_delay(self._pid) if self._pid and self._most_tasks < _STORM else None
        return 0.0 if delay is None else max(0.0, delay - self._waited)

    def _over_limits(self) -> WatchEnd | None:
        used = self._usage(self._base_rss, self._limits["memory_mb"] << 20)
        self._most_tasks = max(self._most_tasks, used.tasks)
        if used.memory > self._limits["memory_mb"] << 20:
            return WatchEnd("memory", {}, "used more memory than the limit")
        if used.tasks > self._limits["processes"] + 2:
            return WatchEnd("processes", {}, "started more processes than the limit")
        return None
