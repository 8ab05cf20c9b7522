"""The client of the actors in which siblings meet (ray_group_host), in every reward worker.

An actor belongs to the process that asked for it first and ends with it; whoever asks next makes a new one,
and sends again what had no answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from coderm_reward.data.chat import prompt_hash
from coderm_reward.errors import CodermError
from coderm_reward.integrations.ray_group_host import FAMILIES, GroupHost, GroupSettings, shard_of
from coderm_reward.online.sample import Sample
from coderm_reward.types import RewardOutput

__all__ = ["RayScorer"]

_log = logging.getLogger("coderm_reward")
_MARGIN = 30.0
"""Seconds that an actor has beyond its own deadline before its client gives it up."""
_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)
_NEWS_SECONDS = 30.0
"""How often a long start says what it waits for."""
_STAGE_SECONDS = 2.0


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
        """Have the actors made ready, blocking, and say now and then what that waits for; those that take
        longer are not waited for.

        Raises:
            CodermError: what they found wrong with settings, files or sandbox.
        """
        import ray

        deadline = time.monotonic() + timeout
        while True:
            try:
                shards = range(self._settings.config.training.group_actors)
                actors = {shard: self._actor(shard) for shard in shards}
                # In a thread of its own: Ray warns of blocking where an event loop runs, here for no reason.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(_open_all, actors, deadline).result()
                _look_for_others(self._settings)
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
        return shard_of(prompt_hash(sample.messages), self._settings.config.training.group_actors)

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


def _open_all(actors: Mapping[int, Any], deadline: float) -> None:
    """Return when all of them are ready, or at the deadline; raises what Ray raises."""
    import ray

    began = time.monotonic()
    opening = [actor.open.remote() for actor in actors.values()]
    while (left := deadline - time.monotonic()) > 0:
        try:
            ray.get(opening, timeout=min(left, _NEWS_SECONDS))
            return
        except ray.exceptions.GetTimeoutError:
            seconds = time.monotonic() - began
            _log.warning("the rewards are not ready after %.0f s: %s", seconds, _stages(actors))
    _log.warning("training goes on and its first rewards will wait for that")


def _look_for_others(settings: GroupSettings) -> None:
    """Say if there are group actors of other settings here: siblings do not meet in different ones."""
    import ray

    here = ray.get_runtime_context().namespace
    named = ray.util.list_named_actors(all_namespaces=True)
    families = {one["name"].rpartition("-")[0] for one in named if one["namespace"] == here}
    others = {name for name in families if name.startswith(FAMILIES)} - {settings.family}
    if others:
        _log.warning(
            "rewards with other settings run beside these (%s, and here %s): siblings do not meet "
            "across them; if this is one training, give its nodes the same settings, reward.yaml included",
            ", ".join(sorted(others)),
            settings.family,
        )


def _stages(actors: Mapping[int, Any]) -> str:
    """What each of the actors is at."""
    import ray

    asked = {shard: actor.stage.remote() for shard, actor in actors.items()}
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=_STAGE_SECONDS)
    said = []
    for shard, reply in asked.items():
        try:
            stage = ray.get(reply, timeout=0)
        except ray.exceptions.GetTimeoutError:
            stage = "does not answer; Ray has not started its process, or it is stuck (see `ray list actors`)"
        said.append(f"group actor {shard} {stage}")
    return ", ".join(said)


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
