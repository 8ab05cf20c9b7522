"""What a node of the sandbox has in hand for one client, and the values that both sides exchange."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from coderm_sandbox import PoolStats, Test

__all__ = ["Desk", "Failure", "Inspect", "NodeReport"]

_LINGER_SECONDS = 0.02
"""How long something done waits for company on its way back at most, while its client has more jobs here."""
_log = logging.getLogger("coderm_reward")


@dataclass(frozen=True)
class NodeReport:
    """How busy a node's pool is."""

    others: int = 0
    """Jobs that it has of other clients and that are not done."""
    sharers: int = 0
    """Other clients that have such jobs."""
    stats: PoolStats = field(default_factory=PoolStats)
    """Its counters, over all clients."""
    desk: int = 0
    """Which desk the client has there: another one than before if it was given up meanwhile; 0 is none."""


@dataclass(frozen=True)
class Inspect:
    """Work of the other kind than Job: what SandboxPool.inspect is asked."""

    tests: tuple[Test, ...]
    votes: bool


@dataclass(frozen=True)
class Failure:
    """The answer of a node whose pool could not do a job at all."""

    reason: str


class Desk:
    """The jobs of one client at a node: those that run or wait, and those that are done and not collected.

    What is done is worth a message when there is as much of it as of the rest, so that new jobs come before
    the workers run dry.

    Args:
        enough: how much is worth a message in any case.
        number: what distinguishes it from other desks at the node.
    """

    def __init__(self, enough: int, number: int = 1) -> None:
        self.number = number
        self.tasks: dict[int, asyncio.Task[Any]] = {}
        self.seen = time.monotonic()
        self._enough = enough
        self._done: list[tuple[int, Any]] = []
        self._collector: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def finish(self, ticket: int, task: asyncio.Task[Any]) -> None:
        """Take in the answer of a task that has ended."""
        if self.tasks.pop(ticket, None) is None or task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _log.warning("a sandbox node could not do a job: %s", error)
        answer = Failure(f"{type(error).__name__}: {error}") if error is not None else task.result()
        self._done.append((ticket, answer))
        if self._is_worth_a_message:
            self._release()
        else:
            self._linger()

    @property
    def _is_worth_a_message(self) -> bool:
        return len(self._done) >= min(self._enough, len(self.tasks))

    def _linger(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._release)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._collector is not None and not self._collector.done():
            self._collector.set_result(None)

    async def collect(self) -> list[tuple[int, Any]]:
        """Wait until something worth a message is done, or somebody else collects; return what is done."""
        self._release()
        if not self._is_worth_a_message:
            self._collector = asyncio.get_running_loop().create_future()
            if self._done:
                self._linger()
            await self._collector
        done, self._done = self._done, []
        return done

    def cancel(self, tickets: Sequence[int]) -> None:
        """Stop these jobs; nobody waits for them any more."""
        for ticket in tickets:
            task = self.tasks.pop(ticket, None)
            if task is not None:
                task.cancel()
        if not self.tasks:
            self._release()
