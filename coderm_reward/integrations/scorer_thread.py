"""A scorer that lives in an event loop and thread of its own, for callers that have no loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import Future

from coderm_reward.config import RewardConfig
from coderm_reward.generation.loop_thread import LoopThread
from coderm_reward.online.assembly import open_scorer
from coderm_reward.online.sample import GroupSink, RewardScorer, Sample
from coderm_reward.types import RewardOutput

__all__ = ["ScorerThread"]


class ScorerThread:
    """Opens a scorer (online.assembly.open_scorer, whose arguments and errors are its own) and keeps it.

    Belongs to the process that made it: in a fork of it nothing can be used, and `close` does nothing.
    """

    def __init__(self, config: RewardConfig, *, sink: GroupSink | None = None, run: str = "") -> None:
        self.process = os.getpid()
        self._closing = asyncio.Event()
        self._thread = LoopThread("coderm-reward")
        ready: Future[RewardScorer] = Future()
        self._life = self._thread.submit(self._live(config, sink, run, ready))
        try:
            self._scorer = ready.result()
        except BaseException:
            self.close()
            raise

    def submit(self, samples: Sequence[Sample]) -> Future[list[RewardOutput]]:
        """Begin to score samples that are all there is of their groups; cancelling the future ends that."""
        return self._thread.submit(self._scorer.score_all(samples))

    def close(self) -> None:
        """Let go of everything; a second call does nothing."""
        if os.getpid() != self.process:
            return
        self._thread.call(self._closing.set)
        with contextlib.suppress(Exception):  # told to whoever waits for `ready`, or of no use any more
            self._life.result()
        self._thread.stop()

    async def _live(
        self, config: RewardConfig, sink: GroupSink | None, run: str, ready: Future[RewardScorer]
    ) -> None:
        """Hold the scorer in one task from beginning to end."""
        try:
            async with open_scorer(config, sink=sink, run=run) as scorer:
                ready.set_result(scorer)
                await self._closing.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
