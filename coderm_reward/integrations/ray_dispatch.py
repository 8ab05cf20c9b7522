"""Which node gets which job, and the line of jobs that wait for room. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from coderm_reward.integrations.ray_desk import Failure, Inspect
from coderm_sandbox import Job

__all__ = ["Dispatcher", "Errand", "Load", "NowhereError", "Place", "choose"]

_JOBS_PER_WORKER = 2
_JOBS_ON_THEIR_WAY = 2
"""In flight on a node: for each worker one that runs and one that waits, and two more, so that several travel
in one message and no worker waits for it."""
_LOSSES = 3
"""Places that may be lost under a job before it is given up."""


class NowhereError(Exception):
    """No node could do this; the text says why, node by node or the last one's reason."""


class Load(NamedTuple):
    """How busy a node is, as one of the pools that share it sees it."""

    workers: int
    own: int = 0
    """Jobs of this pool that are in flight there."""
    others: int = 0
    """Jobs of other pools, as the node said last."""
    sharers: int = 0
    """Other pools that have such jobs."""
    served: int = 0
    """Jobs that this pool has sent there so far."""

    @property
    def allowance(self) -> int:
        """Jobs this pool may have in flight there: an equal share of what the node takes, at least one."""
        return max(1, (_JOBS_PER_WORKER * self.workers + _JOBS_ON_THEIR_WAY) // (1 + self.sharers))


def choose(loads: Iterable[Load]) -> int | None:
    """Return the index of the least loaded node with room; None if there is none.

    Least loaded: fewest jobs per worker with this one, those of other pools included; among equals, the one
    that served fewest per worker so far, then the first.
    """
    found: int | None = None
    least = (0.0, 0.0)
    for index, load in enumerate(loads):
        if load.own >= load.allowance:
            continue
        key = ((load.own + load.others + 1) / load.workers, load.served / load.workers)
        if found is None or key < least:
            found, least = index, key
    return found


@dataclass(eq=False)
class Errand:
    """One piece of work on its way to an answer."""

    work: Job | Inspect
    answer: asyncio.Future[Any]
    """What the pool of a node returned, or NowhereError."""
    place: Place | None = None
    """Where it is, or was when it was answered."""
    avoid: set[Place] = field(default_factory=set)
    """Places that could not do it."""
    losses: int = 0
    """How many places were lost under it."""
    reason: str = ""
    """Why it came back last."""

    @property
    def is_suspect(self) -> bool:
        """Whether it could be what ends places: such errands do not travel together any more."""
        return self.losses >= _LOSSES - 1


class Place(Protocol):
    """Where errands can be sent: a node that works."""

    @property
    def load(self) -> Load:
        """How busy it is now."""
        ...

    @property
    def errands(self) -> Collection[Errand]:
        """What it has been sent and has not answered."""
        ...

    def send(self, errand: Errand) -> None:
        """Take an errand, and hand its answer to Dispatcher.answered."""
        ...

    def drop(self, errand: Errand) -> None:
        """Forget an errand that nobody waits for."""
        ...


class Dispatcher:
    """Sends errands to the least loaded place with room; the others wait in line, in order.

    What comes back because its place was lost goes to the head of the line, until it has lost its third. An
    errand that a place could not do goes to each other place once.

    Args:
        patience: seconds that errands wait while there is no place at all; then they fail, and later ones at
            once, until a place is added.
        settle: seconds that errands of a lost place wait before they are sent again: several places may have
            been lost for one reason, which is none of theirs.
    """

    def __init__(self, patience: float, settle: float = 0.0) -> None:
        self.places: list[Place] = []
        self.moved = 0
        """Errands that had to be sent once more."""
        self._patience = patience
        self._settle = settle
        self._settling: deque[Errand] = deque()
        self._line: deque[Errand] = deque()
        self._why_none = "no sandbox node has started"
        self._abandoned = False
        self._timer: asyncio.TimerHandle | None = None

    async def do(self, work: Job | Inspect, avoid: Iterable[Place] = ()) -> Errand:
        """Return the errand with its answer. Cancelling this takes it back wherever it is.

        Raises:
            NowhereError: every place failed, too many were lost under it, or there is none.
        """
        errand = Errand(work, asyncio.get_running_loop().create_future(), avoid=set(avoid))
        if self._abandoned:
            raise NowhereError(self._why_none)
        self._line.append(errand)
        self.pump()
        try:
            await errand.answer
        except asyncio.CancelledError:
            if errand.place is not None:
                errand.place.drop(errand)
                self.pump()
            elif errand in self._line:
                self._line.remove(errand)
            raise
        return errand

    def answered(self, errand: Errand, answer: Any) -> None:
        """Take an answer from the place of the errand. Call `pump` when all that came together are in."""
        if errand.answer.done():
            return
        if isinstance(answer, Failure):
            assert errand.place is not None
            errand.avoid.add(errand.place)
            self._send_again(errand, answer.reason)
        else:
            errand.answer.set_result(answer)

    def add(self, place: Place) -> None:
        """Send work there from now on."""
        self.places.append(place)
        self._abandoned = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.pump()

    def remove(self, place: Place, reason: str) -> int:
        """Send nothing there any more; its errands go elsewhere. Returns how many there were."""
        if place not in self.places:
            return 0
        self.places.remove(place)
        errands = [errand for errand in place.errands if not errand.answer.done()]
        for errand in reversed(errands):
            errand.losses += 1
            if errand.losses >= _LOSSES:
                why = f"{errand.losses} sandbox nodes were lost while they ran it, the last one: {reason}"
                errand.answer.set_exception(NowhereError(why))
            else:
                self._send_again(errand, reason, settle=self._settle > 0)
        if self._settling:
            asyncio.get_running_loop().call_later(self._settle, self._settled)
        if not self.places:
            self._why_none = f"no sandbox node is left: {reason}"
            self._timer = asyncio.get_running_loop().call_later(self._patience, self.abandon)
        self.pump()
        return len(errands)

    def abandon(self, reason: str | None = None) -> None:
        """Let everything in line fail, and what comes, until a place is added."""
        self._abandoned = True
        self._why_none = reason or self._why_none
        line, self._line = [*self._settling, *self._line], deque()
        self._settling.clear()
        for errand in line:
            if not errand.answer.done():
                errand.answer.set_exception(NowhereError(self._why_none))

    def close(self, reason: str) -> None:
        """Let everything fail, in line and on its way."""
        if self._timer is not None:
            self._timer.cancel()
        places, self.places = self.places, []
        self._line.extendleft(errand for place in places for errand in place.errands)
        self.abandon(reason)

    def pump(self) -> None:
        """Send what there is room for."""
        held: list[Errand] = []
        while self._line:
            errand = self._line.popleft()
            if errand.answer.done():
                continue
            places = [place for place in self.places if place not in errand.avoid]
            if self.places and not places:
                errand.answer.set_exception(NowhereError(errand.reason or "no other sandbox node is left"))
                continue
            if errand.is_suspect:
                places = [p for p in places if not any(other.is_suspect for other in p.errands)]
            index = choose(place.load for place in places)
            if index is None:
                held.append(errand)
                if not errand.avoid and not errand.is_suspect:
                    break  # no room anywhere
                continue
            errand.place = places[index]
            errand.place.send(errand)
        self._line.extendleft(reversed(held))

    def _send_again(self, errand: Errand, reason: str, settle: bool = False) -> None:
        errand.place, errand.reason = None, reason
        self.moved += 1
        (self._settling if settle else self._line).appendleft(errand)

    def _settled(self) -> None:
        self._line.extendleft(reversed(self._settling))
        self._settling.clear()
        self.pump()
