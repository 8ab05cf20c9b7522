"""Scores the rollouts of a running training (online.sample.RewardScorer)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from coderm_reward.data.chat import prompt_hash, question
from coderm_reward.online.sample import GroupOutcome, GroupSink, Sample, TruthSource
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.types import Problem, RewardOutput, Rollout, RolloutGroup, content_hash

__all__ = ["OnlineScorer"]


class OnlineScorer:
    """Each sample by itself, for now."""

    def __init__(
        self,
        pipeline: RewardPipeline,
        *,
        sink: GroupSink | None = None,
        run: str = "",
        truth: TruthSource | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._sink = sink
        self._run = run
        self._rows = itertools.count()

    async def score(self, sample: Sample) -> RewardOutput:
        """Return the rollout's reward."""
        return (await self.score_all([sample]))[0]

    async def score_all(self, samples: Sequence[Sample]) -> list[RewardOutput]:
        """Score samples that are known to be all there is of their groups."""
        return list(await asyncio.gather(*map(self._score, samples)))

    async def _score(self, sample: Sample) -> RewardOutput:
        identity = prompt_hash(sample.messages)
        problem = Problem(
            identity, question(sample.messages), sample.entry_point, sample.task_id, sample.reference
        )
        row = next(self._rows)
        group = RolloutGroup(
            content_hash(self._run, identity, str(row)),
            problem,
            (Rollout(row, sample.response),),
            sample.run or self._run,
            sample.step,
            sample.uid,
        )
        (record,) = [record async for record in self._pipeline.score([group])]
        if self._sink is not None:
            self._sink.add(
                GroupOutcome(record=record, validation=sample.validation, siblings=sample.siblings)
            )
        return record.rollouts[0].reward

    async def aclose(self) -> None:
        """Let go of everything; a second call does nothing."""
