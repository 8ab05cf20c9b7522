"""Scores the rollouts of a running training as they come (online.sample.RewardScorer), in one event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from coderm_reward.online.answers import no_reward
from coderm_reward.online.gathering import Gathered, Gathering, Key, Standing
from coderm_reward.online.open_group import Host, Member, OpenGroup
from coderm_reward.online.sample import GroupOutcome, GroupSink, Sample, TruthSource
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.types import RewardOutput

__all__ = ["OnlineScorer"]

_log = logging.getLogger("coderm_reward")


class OnlineScorer:
    """Lets siblings meet and answers each of them; see online.gathering for who belongs to whom.

    Every call is answered within `training.answer_timeout`, if need be by the neutral reward with
    `infra_error`. A caller of `score` that is cancelled leaves its rollout in its group.

    Args:
        pipeline: the stages; closed by whoever opened it.
        sink: hears of every group that was answered.
        run: label of the run for samples that have none.
        truth: judges by the dataset's own tests.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        pipeline: RewardPipeline,
        *,
        sink: GroupSink | None = None,
        run: str = "",
        truth: TruthSource | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = pipeline.config
        self._sink = sink
        self._run = run
        self._now = now
        self._host = Host(pipeline, truth, self._tell, now)
        self._gathering = Gathering(self._config.training.quiet_seconds, self._open_group)
        self._rows = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._sink_failed = False

    async def score(self, sample: Sample) -> RewardOutput:
        """Return the rollout's reward, when its group has met or was quiet for long enough."""
        place = self._place(self._gathering, self._labelled(sample))
        self._arm()
        return await self._answer(place)

    async def score_all(self, samples: Sequence[Sample]) -> list[RewardOutput]:
        """Return the rewards of samples that are all there is of their groups: nobody else is waited for.

        Those of one prompt are one group, or one for each uid; without uids, as many as `siblings` fill.
        A caller that is cancelled takes their work along.
        """
        together = Gathering(math.inf, partial(self._open_group, complete=True), remembered=len(samples))
        places = []
        for sample in map(self._labelled, samples):
            hint = sample.siblings if sample.uid is None else None
            places.append(self._place(together, msgspec.structs.replace(sample, siblings=hint)))
        groups = {place[0] for place in places if place is not None}
        for group in groups:
            group.close()
        try:
            return list(await asyncio.gather(*map(self._answer, places)))
        except asyncio.CancelledError:
            for group in groups:
                group.drop()
            raise

    async def aclose(self) -> None:
        """Answer who is still waiting with the neutral reward and let go of everything."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _labelled(self, sample: Sample) -> Sample:
        return sample if sample.run else msgspec.structs.replace(sample, run=self._run)

    def _place(self, gathering: Gathering[OpenGroup], sample: Sample) -> tuple[OpenGroup, Member] | None:
        """Take a rollout into its group; None where that cannot be."""
        if self._closed:
            return None
        try:
            gathered, standing, number = gathering.arrive(sample, self._now())
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            _log.warning("a rollout cannot be taken in and gets the neutral reward: %r", error)
            return None
        group = gathered.value
        if standing is Standing.AGAIN:
            return group, group.members[number]
        if not group.members:
            self._start(gathering, gathered)
        if standing is Standing.LATE:
            member, answering = group.join_late(sample, next(self._rows))
            self._keep(answering)
        else:
            member = group.join(sample, next(self._rows))
        if gathered.closed:
            group.close()
        return group, member

    def _open_group(self, key: Key, sample: Sample, *, complete: bool = False) -> OpenGroup:
        return OpenGroup(self._host, key, sample, complete=complete)

    def _start(self, gathering: Gathering[OpenGroup], gathered: Gathered[OpenGroup]) -> None:
        """Let a group work; one that failed is forgotten, so that a late sibling may have better luck."""

        def over(_: asyncio.Task[None]) -> None:
            gathered.value.abandon()
            if gathered.value.failed:
                gathering.forget(gathered)

        self._keep(asyncio.create_task(gathered.value.work())).add_done_callback(over)

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _arm(self) -> None:
        """See to it that groups close when they have been quiet."""
        if self._timer is None and not self._closed and (due := self._gathering.next_due()) is not None:
            wait = max(due - self._now(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._close_quiet)

    def _close_quiet(self) -> None:
        self._timer = None
        for gathered in self._gathering.due(self._now()):
            gathered.value.close()
        self._arm()

    async def _answer(self, place: tuple[OpenGroup, Member] | None) -> RewardOutput:
        """Wait for an answer as long as it may take."""
        if place is None:
            return no_reward(self._config.scoring)
        group, member = place
        await asyncio.wait({member.answer}, timeout=self._config.training.answer_timeout)
        if not member.answer.done():
            group.give_up(member)
        return member.answer.result()

    def _tell(self, outcome: GroupOutcome) -> None:
        try:
            if self._sink is not None:
                self._sink.add(outcome)
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            if not self._sink_failed:
                _log.warning("what listens to groups failed (%r); rewards go on without it", error)
            self._sink_failed = True
