"""The connection of one pool to the actor of one node: many jobs in few messages."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Collection
from typing import Any

from coderm_reward.integrations.ray_desk import NodeReport
from coderm_reward.integrations.ray_dispatch import Dispatcher, Errand, Load
from coderm_reward.integrations.ray_nodes import Node, NodeFacts
from coderm_sandbox import PoolStats, SandboxError

__all__ = ["Link", "in_one_line"]

_LONGEST_REASON = 300


class Link:
    """A Place (see ray_dispatch) at a running SandboxNode.

    What is sent within one turn of the event loop goes out as one message, together with the request for what
    is done. At least one request is under way for as long as jobs are.

    Args:
        actor: Ray's handle of the SandboxNode.
        client: the name of this pool there.
        dispatcher: who takes the answers; the link does not add itself to it.
    """

    def __init__(self, actor: Any, node: Node, facts: NodeFacts, client: str, dispatcher: Dispatcher) -> None:
        self.actor = actor
        self.node = node
        self.facts = facts
        self.last_report = NodeReport()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why nothing can be sent there any more, as soon as that is so."""
        self._client = client
        self._dispatcher = dispatcher
        self._errands: dict[int, Errand] = {}
        self._tickets: dict[Errand, int] = {}
        self._served = 0
        self._fresh: list[int] = []
        self._dropped: list[int] = []
        self._requests: set[asyncio.Future[None]] = set()
        self._will_write = False
        self._desk: int | None = None

    @property
    def load(self) -> Load:
        """How busy the node is; what others have there is what it said last."""
        report = self.last_report
        return Load(self.facts.workers, len(self._errands), report.others, report.sharers, self._served)

    @property
    def errands(self) -> Collection[Errand]:
        return self._tickets.keys()

    def send(self, errand: Errand) -> None:
        ticket = self._served = self._served + 1
        self._errands[ticket] = errand
        self._tickets[errand] = ticket
        self._fresh.append(ticket)
        self._write_soon()

    def drop(self, errand: Errand) -> None:
        ticket = self._tickets.pop(errand, None)
        if ticket is not None:
            del self._errands[ticket]
            self._dropped.append(ticket)
            self._write_soon()

    def fail(self, reason: str) -> None:
        """Take nothing any more; a second reason does not count."""
        if not self.lost.done():
            self.lost.set_result(reason)

    def close(self) -> None:
        """Leave the node; whatever is under way there is dropped."""
        self.fail("the sandbox pool was closed")
        self.actor.leave.remote(self._client)
        for request in self._requests:
            request.cancel()

    async def check(self) -> None:
        """Ask the node how busy it is; raises what Ray raises if it cannot say."""
        self._take_in(await self.actor.report.remote(self._client))

    async def stats(self) -> PoolStats:
        """The node's counters; raises what Ray raises if it cannot say."""
        stats: PoolStats = await self.actor.stats.remote()
        return stats

    def _write_soon(self) -> None:
        if not self._will_write:
            self._will_write = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._will_write = False
        if self.lost.done():
            return
        work = {ticket: self._errands[ticket].work for ticket in self._fresh if ticket in self._errands}
        message = pickle.dumps((work, self._dropped), protocol=5)
        self._fresh, self._dropped = [], []
        request = asyncio.ensure_future(self._hear(message))
        self._requests.add(request)
        request.add_done_callback(self._heard)

    async def _hear(self, message: bytes) -> None:
        """Hand on what the node answers."""
        done, report = pickle.loads(await self.actor.exchange.remote(self._client, message))
        self._take_in(report)
        for ticket, answer in done:
            errand = self._errands.pop(ticket, None)
            if errand is not None:
                del self._tickets[errand]
                if errand.place is self:  # else it was taken for lost, and has gone elsewhere
                    self._dispatcher.answered(errand, answer)
        self._dispatcher.pump()

    def _heard(self, request: asyncio.Future[None]) -> None:
        """Ask again if there is more to come and nobody asks; two may have been answered at one moment."""
        self._requests.discard(request)
        if not request.cancelled() and (error := request.exception()) is not None:
            self.fail(in_one_line(error))
        elif self._errands and not self._requests:
            self._write_soon()

    def _take_in(self, report: NodeReport) -> None:
        if self._desk is not None and report.desk != self._desk:
            self.fail("it had not heard of this client for long, and dropped its jobs")
        self._desk = report.desk
        self.last_report = report


def in_one_line(error: BaseException) -> str:
    """What went wrong, from one of Ray's errors of many lines."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, SandboxError):
        return str(cause)
    if isinstance(cause, BaseException):
        error = cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("class_name:", "actor_id:", "pid:", "namespace:"))]
    text = " ".join(dict.fromkeys([said[0], said[-1]])) if said else ""
    name = type(error).__name__
    return f"{name}: {text}"[:_LONGEST_REASON] if text else name
