"""One group whose rollouts come one by one: what can be done before the last one is there, is.

The plan is made for the first rollout. Then every further one brings its share of the responses, so that
different rollouts stand in the prompts in turn and tests are written while others still roll out, and runs
on the tests that are there. What is left for the end is the last share, and putting it all together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from coderm_reward.data.records import GroupRecord
from coderm_reward.group_run import GroupRun, Stages
from coderm_reward.planning import Planning
from coderm_reward.protocols import Demand, GrowingGenerator, PilotingEstimator
from coderm_reward.types import Difficulty, Problem, Rollout, RolloutGroup, Solution

__all__ = ["GroupStream", "share_of"]


def share_of(responses: int, present: int, expected: int | None) -> int:
    """Return how many of the responses to have asked for once so many of the rollouts are there.

    In proportion, rounded up; as if there were one more to come where nobody knows how many.
    """
    rollouts = max(expected or present + 1, 1)
    return min(responses, -(-responses * present // rollouts))


class GroupStream:
    """A group that is being filled; its coroutines belong to one event loop.

    Args:
        expected: how many rollouts are thought to come.
    """

    def __init__(
        self, stages: Stages, planning: Planning, problem: Problem, expected: int | None = None
    ) -> None:
        self.run = GroupRun(stages, problem)
        self._stages = stages
        self._planning = planning
        self._problem = problem
        self._expected = expected
        self._present = 0
        self._difficulty: Difficulty | None = None
        self._planned: int | None = None
        self._rounds: list[int | None] = []
        self._had: int | None = -1
        """The total that the suite has grown to; None is everything there is."""
        self._lock = asyncio.Lock()
        self._filling: asyncio.Task[None] | None = None

    @property
    def names_function(self) -> bool:
        """Whether the function under test is known without any test, so that solutions are what they are."""
        return self.run.names_function

    async def add(self, rollouts: Sequence[Rollout]) -> list[Solution]:
        """Take rollouts in while others are still to come; return once they ran on the tests there are."""
        new = self.run.add(rollouts)
        self._present += len(rollouts)
        async with self._lock:
            if self._difficulty is None:
                await self._plan(max(self._expected or 0, self._present))
        if self._filling is None or (self._filling.done() and self._filling.exception() is None):
            self._filling = asyncio.create_task(self._fill())
        await self.run.run_ahead(new)
        return new

    async def finish(self, group: RolloutGroup, last: Sequence[Rollout] = ()) -> GroupRecord:
        """Return the record of a group to which nobody else comes in time.

        Args:
            group: all of its rollouts, in the order in which they came.
            last: those that were not added before.

        Raises:
            Exception: what went wrong in the generator, the estimator or the executor beyond their own
                infrastructure failures, which are rewards.
        """
        self.run.add(last)
        self._present += len(last)
        again = self.run.failed
        if self._filling is not None:
            await self._filling
        async with self._lock:
            if self._difficulty is None:
                programs = self.run.programs() if self._planning.counts_programs else self._present
                await self._plan(programs)
            estimator = self._planning.estimator
            if isinstance(estimator, PilotingEstimator):
                await self._reach(again)
                await self.run.settle()
                self._difficulty = estimator.estimate_after(self._problem, self.run.evidence())
                programs = self.run.programs() if self._planning.counts_programs else self._present
                self._planned = self._allotted(programs)
            await self._reach(again)
            record = await self._record(group)
        self._planning.learn(group, record)
        return record

    async def add_late(self, group: RolloutGroup, late: Sequence[Rollout]) -> GroupRecord:
        """Return the record of a finished group with rollouts that came after it was: the same suite, the
        same plan."""
        async with self._lock:
            self.run.add(late)
            return await self._record(group)

    async def aclose(self) -> None:
        """Stop what is under way."""
        if self._filling is not None:
            self._filling.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._filling

    async def _plan(self, rollouts: int) -> None:
        await self._planning.prepare([self._problem])
        self._difficulty = self._planning.estimator.estimate(self._problem)
        self._planned = self._allotted(rollouts) if self._planning.pilot is None else self._planning.pilot

    def _allotted(self, rollouts: int) -> int | None:
        """The responses that the allocator gives; none for a prompt that asks nothing."""
        if not self._problem.question:
            return 0
        assert self._difficulty is not None
        demand = Demand(self._problem.prompt_hash, self._difficulty, rollouts)
        (responses,) = self._planning.allocator.allocate([demand])
        return responses

    async def _fill(self) -> None:
        """Ask for the share of those who are there, until it is had; after a failure the end tries again."""
        while not self.run.failed and (share := self._share()) != self._had:
            await self.run.grow(share, ahead=True)
            self._had = share

    def _share(self) -> int | None:
        """What should have been asked for by now; all of it where the prompts do not depend on rollouts."""
        total = self._total()
        if total is None or self._problem.reference is not None:
            return total
        return share_of(total, self._present, self._expected)

    def _total(self) -> int | None:
        """What is planned; of a generator that writes when asked, everything there is is a number."""
        generator = self._stages.generator
        if not isinstance(generator, GrowingGenerator) or self._planned is not None:
            return self._planned
        return self._stages.config.generation.responses

    async def _reach(self, again: bool) -> None:
        """Grow the suite to what is planned, unless it is there; `again` also if nothing could be had of it
        a while ago."""
        self._rounds.append(self._planned)
        if self._had != (total := self._total()) or (again and self.run.failed):
            await self.run.grow(total)
            self._had = total

    async def _record(self, group: RolloutGroup) -> GroupRecord:
        await self.run.settle()
        assert self._difficulty is not None
        why = self._planning.why(self._difficulty, self._planned, self._rounds)
        return self.run.record(group, self._difficulty, self._planned, why)
