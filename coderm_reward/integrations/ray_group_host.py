"""Where siblings meet on a Ray cluster: named actors, each with its share of the prompts.

An actor gathers the rollouts of its prompts, whichever reward worker they come from, and runs them on the
sandbox pools of all nodes. Its client is in ray_groups.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from coderm_reward.config import RewardConfig
from coderm_reward.integrations.prompt_book import DatasetFiles, PromptBook
from coderm_reward.integrations.ray_log import LogSettings, RemoteLog
from coderm_reward.integrations.ray_pool import RayPool
from coderm_reward.online.assembly import open_scorer
from coderm_reward.online.sample import RewardScorer, Sample
from coderm_reward.types import RewardOutput, content_hash

__all__ = ["FAMILIES", "GroupHost", "GroupSettings", "shard_of"]

FAMILIES = "coderm-groups-"
_TRY_AGAIN = 5.0


class GroupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the actors of one training must agree on."""

    config: RewardConfig
    run: str = ""
    siblings: int | None = None
    """How many rollouts a prompt is thought to have in training, and in validation the next."""
    validation_siblings: int | None = None
    dataset: DatasetFiles | None = None
    """Where to look up what the trainer does not hand over."""
    log: LogSettings | None = None
    """Where groups are recorded; None records nothing."""

    def name(self, shard: int) -> str:
        """Name of an actor."""
        return f"{self.family}-{shard}"

    @property
    def family(self) -> str:
        """What the names of its actors begin with; other settings, other actors."""
        settings = msgspec.json.encode(self, order="deterministic").decode()
        return f"{FAMILIES}{content_hash(settings)}"


class GroupHost:
    """The actor. Its scorer is opened by the first call, and after a failure by a later one."""

    def __init__(self, settings: GroupSettings, shard: int) -> None:
        self._settings = settings
        self._shard = shard
        self._book: PromptBook | None = None
        self._stack = AsyncExitStack()
        self._opening: asyncio.Task[None] | None = None
        self._scorer: RewardScorer | None = None
        self._failed_at = math.inf
        self._stage = "has not begun to open"

    async def stage(self) -> str:
        """What the actor is at, for whoever waits for `open`."""
        return self._stage

    async def open(self) -> None:
        """Make everything ready. All who ask wait for one attempt, which goes on if they are cancelled.

        Raises:
            CodermError: settings or files that cannot be used.
            SandboxUnavailableError: (of coderm_sandbox) no node can run solutions.
        """
        if self._opening is None or time.monotonic() - self._failed_at >= _TRY_AGAIN:
            self._failed_at = math.inf
            self._opening = asyncio.create_task(self._try_to_open())
        await asyncio.shield(self._opening)

    async def _try_to_open(self) -> None:
        try:
            await self._open()
        except Exception as error:
            self._failed_at = time.monotonic()
            self._stage = f"failed to open ({error})"
            raise

    async def _open(self) -> None:
        settings = self._settings
        if settings.dataset is not None:
            shards = settings.config.training.group_actors
            ours = partial(_is_in_shard, self._shard, shards)
            self._stage = "reads the training's dataset files"
            self._book = await asyncio.to_thread(PromptBook, settings.dataset, ours)
        async with AsyncExitStack() as stack:
            log = None
            if settings.log is not None:
                self._stage = "looks for the actor of the run log"
                log = await stack.enter_async_context(RemoteLog(settings.log))
            self._stage = "starts the sandbox pools of the nodes"
            pool = await stack.enter_async_context(RayPool(settings.config.sandbox))
            config = _share(settings.config)
            self._stage = "opens the generator of tests and the estimator"
            self._scorer = await stack.enter_async_context(
                open_scorer(config, sink=log, pool=pool, run=settings.run)
            )
            self._stack = stack.pop_all()
        self._stage = "is ready"

    async def score(self, sample: Sample) -> RewardOutput:
        """Return the reward of one rollout, once its siblings have come or are not waited for any longer."""
        await self.open()
        assert self._scorer is not None
        return await self._scorer.score(self._completed(sample))

    async def score_all(self, samples: Sequence[Sample]) -> list[RewardOutput]:
        """Return the rewards of rollouts that are all there is of their groups."""
        await self.open()
        assert self._scorer is not None
        return await self._scorer.score_all([self._completed(sample) for sample in samples])

    def _completed(self, sample: Sample) -> Sample:
        """The sample with all that is known of it here."""
        if self._book is not None:
            sample = self._book.completed(sample)
        settings = self._settings
        expected = settings.validation_siblings if sample.validation else settings.siblings
        return msgspec.structs.replace(sample, siblings=sample.siblings or expected)

    async def close(self) -> None:
        """Let go of everything; the log has written what it was given."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        self._opening = self._scorer = None
        await self._stack.aclose()


def shard_of(prompt: str, shards: int) -> int:
    """Which of the actors has a prompt, given its hash."""
    return int(prompt, 16) % shards


def _is_in_shard(shard: int, shards: int, prompt: str) -> bool:
    return shard_of(prompt, shards) == shard


def _share(config: RewardConfig) -> RewardConfig:
    """The settings of one of the actors, which share what the server is asked at once."""
    each = -(-config.generation.requests_at_once // config.training.group_actors)
    generation = msgspec.structs.replace(config.generation, requests_at_once=each)
    return msgspec.structs.replace(config, generation=generation)
