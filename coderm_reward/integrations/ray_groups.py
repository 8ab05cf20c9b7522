"""Where siblings meet on a Ray cluster: named actors, each with its share of the prompts, and their client.

An actor gathers the rollouts of its prompts, whichever reward worker they come from, and runs them on the
sandbox pools of all nodes. It belongs to the process that asked for it first and ends with it; whoever asks
next makes a new one, and sends again what had no answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec

from coderm_reward.config import RewardConfig
from coderm_reward.data.chat import prompt_hash
from coderm_reward.errors import CodermError
from coderm_reward.integrations.prompt_book import DatasetFiles, PromptBook
from coderm_reward.integrations.ray_log import LogSettings, RemoteLog
from coderm_reward.integrations.ray_pool import RayPool
from coderm_reward.online.assembly import open_scorer
from coderm_reward.online.sample import RewardScorer, Sample
from coderm_reward.types import RewardOutput, content_hash

__all__ = ["GroupHost", "GroupSettings", "RayScorer"]

_log = logging.getLogger("coderm_reward")
_MARGIN = 30.0
"""Seconds that an actor has beyond its own deadline before its client gives it up."""
_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)
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
        """Name of an actor; other settings, other actors."""
        settings = msgspec.json.encode(self, order="deterministic").decode()
        return f"coderm-groups-{content_hash(settings)}-{shard}"


class GroupHost:
    """The actor. Its scorer is opened by the first call, and after a failure by a later one."""

    def __init__(self, settings: GroupSettings, shard: int) -> None:
        self._settings = settings
        self._shard = shard
        self._book: PromptBook | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._scorer: RewardScorer | None = None
        self._failed: tuple[float, CodermError] | None = None

    async def open(self) -> None:
        """Make everything ready.

        Raises:
            CodermError: settings, files, or a sandbox that cannot be used.
        """
        async with self._opening:
            if self._scorer is not None:
                return
            if self._failed is not None and time.monotonic() - self._failed[0] < _TRY_AGAIN:
                raise self._failed[1]
            try:
                await self._open()
            except CodermError as error:
                self._failed = (time.monotonic(), error)
                raise

    async def _open(self) -> None:
        settings = self._settings
        if settings.dataset is not None:
            shards = settings.config.training.group_actors
            ours = partial(_is_in_shard, self._shard, shards)
            self._book = await asyncio.to_thread(PromptBook, settings.dataset, ours)
        async with AsyncExitStack() as stack:
            log = None
            if settings.log is not None:
                log = await stack.enter_async_context(RemoteLog(settings.log))
            pool = await stack.enter_async_context(RayPool(settings.config.sandbox))
            config = _share(settings.config)
            self._scorer = await stack.enter_async_context(
                open_scorer(config, sink=log, pool=pool, run=settings.run)
            )
            self._stack = stack.pop_all()

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
        self._scorer = None
        await self._stack.aclose()


class RayScorer:
    """The client (online.sample.RewardScorer) in a process of the cluster, within one event loop.

    An actor that is lost is made anew, on a node that is left, and what it owed is sent again. So as long
    as the cluster can run anything, every sample is answered; at the latest after `training.answer_timeout`
    and half a minute, with an exception.
    """

    def __init__(self, settings: GroupSettings) -> None:
        self._settings = settings
        self._patience = settings.config.training.answer_timeout + _MARGIN
        self._actors: dict[int, Any] = {}

    def start(self, timeout: float) -> None:
        """Have the actors made ready, blocking; one that takes longer is not waited for.

        Raises:
            CodermError: what they found wrong with settings, files or sandbox.
        """
        import ray

        deadline = time.monotonic() + timeout
        while True:
            try:
                shards = range(self._settings.config.training.group_actors)
                opening = [self._actor(shard).open.remote() for shard in shards]
                left = max(0.0, deadline - time.monotonic())
                # In a thread of its own: Ray warns of blocking where an event loop runs, here for no reason.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(ray.get, opening, timeout=left).result()
                return
            except ray.exceptions.GetTimeoutError:
                _log.warning("the group actors are not ready after %.0f s; rewards will wait", timeout)
                return
            except ray.exceptions.RayTaskError as error:
                raise _cause(error) from None
            except (ray.exceptions.RayError, ValueError) as error:  # those of somebody who ends just now
                self._actors.clear()
                if time.monotonic() > deadline:
                    raise CodermError(f"No group actor can be had ({_line(error)}).") from None
                time.sleep(_PAUSES[1])

    async def score(self, sample: Sample) -> RewardOutput:
        """Return the reward of one rollout.

        Raises:
            CodermError: no answer in time, or one that its actor could not give.
        """
        output: RewardOutput = await self._ask(self._shard(sample), "score", sample)
        return output

    async def score_all(self, samples: Sequence[Sample]) -> list[RewardOutput]:
        """Return the rewards of rollouts that are all there is of their groups; raises as `score` does."""
        shares: dict[int, list[int]] = {}
        for place, sample in enumerate(samples):
            shares.setdefault(self._shard(sample), []).append(place)
        asked = [
            self._ask(shard, "score_all", [samples[i] for i in places]) for shard, places in shares.items()
        ]
        found: dict[int, RewardOutput] = {}
        for places, outputs in zip(shares.values(), await asyncio.gather(*asked), strict=True):
            found.update(zip(places, outputs, strict=True))
        return [found[place] for place in range(len(samples))]

    async def aclose(self) -> None:
        """Let go of the actors, which end when nobody holds them; a second call does nothing."""
        self._actors.clear()

    def _shard(self, sample: Sample) -> int:
        return _shard(prompt_hash(sample.messages), self._settings.config.training.group_actors)

    async def _ask(self, shard: int, method: str, *arguments: Any) -> Any:
        import ray

        deadline = time.monotonic() + self._patience
        pauses = iter(_PAUSES)
        while True:
            actor = reply = None
            try:
                actor = self._actor(shard)
                reply = getattr(actor, method).remote(*arguments)
                return await asyncio.wait_for(_awaited(reply), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                ray.cancel(reply)
                raise CodermError(
                    f"No reward came within {self._patience:.0f} s; see the log of the group actors, or "
                    "raise training.answer_timeout."
                ) from None
            except asyncio.CancelledError:
                if reply is not None:
                    ray.cancel(reply)
                raise
            except ray.exceptions.RayTaskError as error:
                raise _cause(error) from None
            except (ray.exceptions.RayError, ValueError) as error:  # ValueError: its name was just given up
                self._lose(shard, actor, error)
                if time.monotonic() > deadline:
                    raise CodermError(f"No group actor can be had ({_line(error)}).") from None
                await asyncio.sleep(next(pauses, _PAUSES[-1]))

    def _lose(self, shard: int, actor: Any, error: Exception) -> None:
        """Let go of an actor; the one that another call has made since stays, as it would end with us."""
        if actor is None or self._actors.get(shard) is actor:
            _log.warning("a group actor is lost (%s); its rollouts are sent again", _line(error))
            self._actors.pop(shard, None)

    def _actor(self, shard: int) -> Any:
        """The actor of a shard in our namespace: the one there is, or a new one."""
        if shard not in self._actors:
            import ray

            self._actors[shard] = (
                ray.remote(GroupHost)
                .options(
                    name=self._settings.name(shard),
                    namespace=ray.get_runtime_context().namespace,
                    get_if_exists=True,
                    num_cpus=0,
                    max_concurrency=100_000,
                    scheduling_strategy="SPREAD",
                )
                .remote(self._settings, shard)
            )
        return self._actors[shard]


def _share(config: RewardConfig) -> RewardConfig:
    """The settings of one of the actors, which share what the server is asked at once."""
    each = -(-config.generation.requests_at_once // config.training.group_actors)
    generation = msgspec.structs.replace(config.generation, requests_at_once=each)
    return msgspec.structs.replace(config, generation=generation)


def _shard(prompt: str, shards: int) -> int:
    return int(prompt, 16) % shards


def _is_in_shard(shard: int, shards: int, prompt: str) -> bool:
    return _shard(prompt, shards) == shard


async def _awaited(reply: Any) -> Any:
    return await reply


def _cause(error: Any) -> Exception:
    """What a method of an actor raised."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, CodermError):
        return cause
    return CodermError(f"A group actor failed: {_line(cause or error)}.")


def _line(error: BaseException) -> str:
    """The first line of an error's text."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".rstrip(".: ")
