"""The door to one server: who may send now, in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque

from coderm_reward.errors import GenerationError
from coderm_reward.generation.concurrency import AdaptiveLimit, ServerHealth

__all__ = ["Gate"]


class Gate:
    """Lets as many requests through as the limit says, none while it blocks, and none to a dead server.

    Call `wake` after anything changed the limit or the health.
    """

    def __init__(self, limit: AdaptiveLimit, health: ServerHealth) -> None:
        self._limit = limit
        self._health = health
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Requests that are let through and have not left."""
        return self._in_flight

    async def enter(self, *, first: bool = False) -> None:
        """Wait for a turn; a request that was sent before may go `first`.

        Raises:
            GenerationError: the server is dead; nothing was let through.
        """
        future = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(future)
        else:
            self._waiting.append(future)
        self.wake()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave()  # let through and cancelled in one step of the loop
            raise

    def leave(self) -> None:
        """Give the turn back."""
        self._in_flight -= 1
        self.wake()

    def wake(self) -> None:
        """Let through whoever may go now."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()  # cancelled
                continue
            now = loop.time()
            if now < self._limit.blocked_until and not self._health.dead:
                self._set_alarm(loop)
                return
            if self._in_flight >= self._limit.limit and not self._health.dead:
                return
            future = self._waiting.popleft()
            if reason := self._health.turn_away(now):
                future.set_exception(GenerationError(reason))
            else:
                self._in_flight += 1
                future.set_result(None)

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(self._limit.blocked_until, self.wake)
