"""Follow a judge and its player through one vote: messages, deadlines, memory, processes. No policy.

Time that the machine kept the test waiting for a core is not charged to it (DESIGN section 5.3):
the deadline moves by the scheduler's own count of that wait, up to a wall limit.
"""

from __future__ import annotations

import collections
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from . import processes, wire

__all__ = [
    "LOAD_FACTOR",
    "START_SECONDS",
    "VOTE",
    "WALL_FACTOR",
    "Reading",
    "SupervisorGoneError",
    "Watch",
    "WatchEnd",
]

WALL_FACTOR = 4.0
"""A test may take this many times its timeout by the wall clock, however busy the machine is."""
LOAD_FACTOR = 3.0
"""Loading a solution may take this many times the timeout of a test: imports are slow."""
START_SECONDS = 20.0
"""For what we do ourselves before a solution is loaded."""
_TICK = 0.025
_ALONE = 4
"""A process, a thread, the judge and what forked them cannot crowd themselves out."""
_STORM = 12
"""From so many tasks on it is the test that keeps others waiting, and no waiting is given back."""
_MAX_MESSAGE = 1 << 16
VOTE = "v"
"""Kind of a message that is not waited for: one assertion of the method in progress."""


class SupervisorGoneError(Exception):
    """The control socket or the player's zygote is gone: nothing can be judged here any more."""


class WatchEnd(NamedTuple):
    """Why watching ended: message, timeout, starved, memory, processes, or gone (the judge)."""

    kind: str
    message: dict[str, Any]
    detail: str = ""


class Reading(NamedTuple):
    """What the processes of a job use at one moment."""

    usage: processes.Usage
    waited: float
    """Seconds that they were ready to run and others had the core, since they began."""
    ran: float = 0.0
    """Seconds of processor time that they had, since they began."""


def _message(data: bytes) -> dict[str, Any]:
    """A judge's report; a test's text can write to its channel, too, and what is none is called junk."""
    try:
        message = wire.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        message = None
    return message if isinstance(message, dict) and type(message.get("k")) is str else {"k": "junk"}


class Watch:
    """Reads what a judge reports, under the limits of one job.

    The judge is not waited for line by line: it rings where something has to be done, and else its
    reports are read every tick. A clock therefore starts with the first tick that finds a vote
    under way; what ends sooner is never measured.

    Args:
        reports: socket of the judge's messages.
        bell: descriptor on which it rings.
        others: sockets that close when there is nobody left to work for, or with.
        reading: measures the processes of the job.
    """

    def __init__(
        self,
        reports: socket.socket,
        bell: int,
        others: Sequence[socket.socket],
        limits: dict[str, Any],
        reading: Callable[[], Reading],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reports = reports
        self._bell = bell
        self._limits = limits
        self._reading = reading
        self._clock = clock
        self._poll = select.poll()
        for descriptor in (bell, *(other.fileno() for other in others)):
            self._poll.register(descriptor, select.POLLIN)
        self._waiting: collections.deque[dict[str, Any]] = collections.deque()
        self._broken: WatchEnd | None = None
        self._closed = False
        self.restart()

    def restart(self, seconds: float | None = None) -> None:
        """Start the clock anew, for `seconds` or for the timeout among the limits."""
        self._timeout = float(self._limits["timeout"]) if seconds is None else seconds
        self._started: float | None = None
        self._waited = self._ran = 0.0
        self._most_tasks = 0
        self._broken = None

    def next(self) -> WatchEnd:
        """Wait for the judge's next message, or for the limit that is broken first."""
        while True:
            if self._waiting:
                return WatchEnd("message", self._waiting.popleft())
            if self._broken is not None:
                return self._broken
            if self._closed:
                return WatchEnd("gone", {})
            ready = self._poll.poll(self._pause() * 1000)
            for descriptor, _ in ready:
                if descriptor != self._bell:
                    raise SupervisorGoneError
            if ready and not os.read(self._bell, 4096):
                self._closed = True
            # What was sent in time counts even where we were kept from reading it in time.
            if self._drain() or self._closed:
                continue
            self._broken = self._tick()

    def _pause(self) -> float:
        if self._started is None:
            return _TICK
        return max(0.001, min(_TICK, self._started + self._timeout - self._clock()))

    def _drain(self) -> bool:
        while True:
            try:
                data = self._reports.recv(_MAX_MESSAGE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return self._has_news()
            except OSError:
                data = b""
            if not data:
                self._closed = True
                return self._has_news()
            self._waiting.append(_message(data))

    def _has_news(self) -> bool:
        """Whether anything waits but votes, which come in the middle of a method and end no measuring."""
        return any(message["k"] != VOTE for message in self._waiting)

    def _tick(self) -> WatchEnd | None:
        """Nothing was reported for a while: look at what is used, and at the clock."""
        now = self._clock()
        used = self._reading()
        broken = self._over_limits(used.usage)
        if broken is not None:
            return broken
        if self._started is None:
            self._started, self._waited, self._ran = now, used.waited, used.ran
            return None
        charged = now - self._started
        if charged < self._timeout:
            return None
        if self._most_tasks < _STORM:
            # Judge and player wait for each other on one core: what they ran in the meantime is theirs.
            charged = max(charged - max(0.0, used.waited - self._waited), used.ran - self._ran)
        if charged >= self._timeout:
            return WatchEnd("timeout", {})
        if now - self._started >= WALL_FACTOR * self._timeout:
            return WatchEnd("timeout" if self._most_tasks > _ALONE else "starved", {})
        return None

    def _over_limits(self, used: processes.Usage) -> WatchEnd | None:
        self._most_tasks = max(self._most_tasks, used.tasks)
        if used.memory > self._limits["memory_mb"] << 20:
            return WatchEnd("memory", {}, "used more memory than the limit")
        if used.tasks > self._limits["processes"] + 4:
            return WatchEnd("processes", {}, "started more processes than the limit")
        return None
