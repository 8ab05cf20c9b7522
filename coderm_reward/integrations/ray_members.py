"""Which nodes work for a pool: found, started, compared, watched, and started again when they are lost."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from coderm_reward.config import SandboxConfig
from coderm_reward.integrations.ray_dispatch import Dispatcher
from coderm_reward.integrations.ray_link import Link, in_one_line
from coderm_reward.integrations.ray_nodes import (
    Circumstances,
    Node,
    NodeFacts,
    Share,
    alive_nodes,
    common_circumstances,
    free_cpus,
    node_actor,
    share_of,
)
from coderm_sandbox import PoolStats, SandboxError, SandboxUnavailableError

__all__ = ["Members"]

_PLACE_SECONDS = 30.0
"""An actor that has not begun by then is taken for one that waits for CPUs which somebody else got."""
_START_SECONDS = 60.0
_ENDING_PAUSES = (0.2, 1.0, 3.0)
"""Seconds before a pool is looked for again that ended as it was to be started."""
_SILENCE_SECONDS = 60.0
"""A node that says nothing for so long is taken for lost."""
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds before a node's pool is started again, by how often it failed in a row."""
_STABLE_SECONDS = 60.0
_log = logging.getLogger("coderm_reward")


class _UnusableNodeError(Exception):
    """A node whose pool cannot work with the others'; the text says why."""


class Members:
    """The node pools that one RayPool uses. Adds their links to the dispatcher, and takes them out again.

    All have the same circumstances (NodeFacts), so that no verdict depends on where it was reached: those
    that most workers have when it starts.

    Args:
        client: the name of this pool at the nodes.
        refresh: seconds between two looks at the cluster.
    """

    def __init__(self, config: SandboxConfig, client: str, dispatcher: Dispatcher, refresh: float) -> None:
        self.links: dict[str, Link] = {}
        """By node, those that work."""
        self.circumstances: Circumstances | None = None
        self.description = ""
        """How the workers are isolated, in words."""
        self.lost = 0
        self._config = config
        self._client = client
        self._dispatcher = dispatcher
        self._refresh = refresh
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._checks: dict[Link, asyncio.Task[None]] = {}
        self._counted: dict[str, PoolStats] = {}
        self._actors: dict[str, Any] = {}
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start a pool on every node and choose the circumstances; nodes that take long may join later.

        Raises:
            SandboxUnavailableError: no node can run solutions; the text says why, node by node.
        """
        import ray

        if not ray.is_initialized():
            raise SandboxUnavailableError("Ray is not running in this process; call ray.init() first")
        nodes = await asyncio.to_thread(alive_nodes)
        joining = {node: asyncio.create_task(self._join(node)) for node in nodes}
        try:
            if joining:
                await asyncio.wait(joining.values(), timeout=_PLACE_SECONDS)
            while not any(map(_joined, joining.values())):
                waiting = [task for task in joining.values() if not task.done()]
                if not waiting:
                    raise SandboxUnavailableError(_nowhere(joining))
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            for task in joining.values():
                task.cancel()
            self._actors.clear()
            raise
        facts = [task.result().facts for task in joining.values() if _joined(task)]
        self.circumstances = common_circumstances(facts)
        alike = (one.description for one in facts if one.circumstances == self.circumstances)
        self.description = min(alike)
        for node, task in joining.items():
            self._keepers[node.id] = asyncio.create_task(self._keep(node, task))
        await asyncio.sleep(0)  # the keepers add the nodes that have joined
        self._watch = asyncio.create_task(self._watch_cluster())

    async def close(self) -> None:
        """Leave every node, and end the pools that this one started."""
        import ray

        links = list(self.links.values()) if ray.is_initialized() else []
        tasks = [*([self._watch] if self._watch else []), *self._keepers.values(), *self._checks.values()]
        for link in links:
            link.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in links:
            if link.facts.owner == self._client:
                _kill(link.actor)
        self._actors.clear()

    def stats(self) -> PoolStats:
        """The nodes' counters since they started, those of lost ones included, as they said last."""
        for link in self.links.values():
            self._counted[link.facts.id] = link.last_report.stats
        names = [field.name for field in dataclasses.fields(PoolStats)]
        return PoolStats(**{n: sum(getattr(one, n) for one in self._counted.values()) for n in names})

    async def _keep(self, node: Node, joining: asyncio.Task[Link]) -> None:
        """Have the node work for as long as it lives; ends if it cannot work together with the others."""
        failures, told = 0, ""
        while True:
            try:
                link = joining.result() if joining.done() else await joining
                self._admit(link)
            except _UnusableNodeError as error:
                _log.warning("sandbox node %s is left out: %s", node, error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, it may be over the next time
                if str(error) != told:
                    why = error if isinstance(error, SandboxUnavailableError) else repr(error)
                    _log.warning("sandbox node %s is left out until it can be started: %s", node, why)
                told = str(error)
            else:
                began, told = time.monotonic(), ""
                await self._use(link)
                if time.monotonic() - began > _STABLE_SECONDS:
                    failures = 0
            failures += 1
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES)) - 1])
            joining = asyncio.create_task(self._join(node))

    async def _use(self, link: Link) -> None:
        """Send work to a node until it is lost."""
        self.links[link.node.id] = link
        self._dispatcher.add(link)
        try:
            reason = await asyncio.shield(link.lost)
        except asyncio.CancelledError:  # and not GeneratorExit, with which a process ends
            self._leave(link, "the sandbox pool was closed")
            raise
        self.lost += 1
        moved = self._leave(link, reason)
        _log.warning("sandbox node %s is lost (%s); jobs that go elsewhere: %d", link.node, reason, moved)

    def _leave(self, link: Link, reason: str) -> int:
        """Send nothing there any more; returns how many jobs go elsewhere."""
        self.links.pop(link.node.id, None)
        self._counted[link.facts.id] = link.last_report.stats
        return self._dispatcher.remove(link, f"{link.node}: {reason}")

    def _admit(self, link: Link) -> None:
        """Raises _UnusableNodeError if verdicts of this node would not be like those of the others."""
        ours, its = self.circumstances, link.facts.circumstances
        if ours is None or ours == its:
            return
        if link.facts.owner == self._client:
            _kill(link.actor)
        raise _UnusableNodeError(
            f"its circumstances are {' / '.join(its)} and those of the others {' / '.join(ours)}, so their "
            "verdicts must not be mixed; give all nodes the same, or choose with sandbox.isolation and "
            "sandbox.sandbox_python what all of them have"
        )

    async def _join(self, node: Node) -> Link:
        """Get the node's pool, made anew if there is none, and start it.

        Raises:
            SandboxUnavailableError: it cannot be started there, or not in time.
        """
        free = await asyncio.to_thread(free_cpus, node)
        share = share_of(node.cpus, free, self._config.workers)
        link = await self._start(node, share, _PLACE_SECONDS)
        if link is None:
            link = await self._start(node, Share(1, 0), _START_SECONDS)
        if link is None:
            raise SandboxUnavailableError("its actor does not start")
        if link.facts.owner == self._client:
            self._tell(node, link.facts)
        return link

    async def _start(
        self, node: Node, share: Share, seconds: float, pauses: Sequence[float] = _ENDING_PAUSES
    ) -> Link | None:
        """The running pool, or None if it takes longer."""
        from ray.exceptions import RayActorError, RayError

        try:
            actor = await asyncio.to_thread(node_actor, node, self._config, share, self._client)
            if self._actors.get(node.id) != actor:  # Ray ends an actor with the first handle of its creator
                self._actors[node.id] = actor
            facts = await asyncio.wait_for(_awaited(actor.start.remote(self._client)), seconds)
            return Link(actor, node, facts, self._client, self._dispatcher)
        except asyncio.TimeoutError:
            _kill(actor)
            return None
        except (RayError, ValueError) as error:  # Ray says ValueError of names
            if isinstance(getattr(error, "cause", None), SandboxError):
                _kill(actor)  # it runs, but nothing can run in it
            if not (pauses and isinstance(error, RayActorError)):
                raise SandboxUnavailableError(in_one_line(error)) from error
        await asyncio.sleep(pauses[0])  # it was another client's, who has ended just now
        return await self._start(node, share, seconds, pauses[1:])

    def _tell(self, node: Node, facts: NodeFacts) -> None:
        asked = self._config.workers
        if facts.cpus == 0:
            _log.warning(
                "Ray has no CPU to spare on node %s: its sandbox has one worker, which shares the cores of "
                "others; start Ray there with a larger --num-cpus, or reserve less there, for more",
                node,
            )
        elif asked is not None and facts.workers < asked:
            _log.warning(
                "node %s has %d sandbox workers instead of %d: Ray has no more CPUs to spare there",
                node,
                facts.workers,
                asked,
            )

    async def _watch_cluster(self) -> None:
        """Find nodes that come and go, and ask those that work how they are."""
        while True:
            await asyncio.sleep(self._refresh)
            try:
                nodes = {node.id: node for node in await asyncio.to_thread(alive_nodes)}
            except Exception as error:  # noqa: BLE001 - the next look may be better
                _log.warning("the nodes of the Ray cluster cannot be listed: %s", in_one_line(error))
                continue
            for gone in self._keepers.keys() - nodes.keys():
                if gone in self.links:
                    self.links[gone].fail("the node left the cluster")
                else:
                    self._keepers.pop(gone).cancel()
                    self._actors.pop(gone, None)
            for new in nodes.keys() - self._keepers.keys():
                joining = asyncio.create_task(self._join(nodes[new]))
                self._keepers[new] = asyncio.create_task(self._keep(nodes[new], joining))
            for link in self.links.values():
                if link not in self._checks:
                    self._checks[link] = check = asyncio.create_task(self._check(link))
                    check.add_done_callback(functools.partial(self._checked, link))

    async def _check(self, link: Link) -> None:
        """Take a node that does not answer any more for lost, and end what may be left of it."""
        from ray.exceptions import RayError

        try:
            await asyncio.wait_for(link.check(), _SILENCE_SECONDS)
        except asyncio.TimeoutError:
            _kill(link.actor)
            link.fail(f"it was silent for {_SILENCE_SECONDS:.0f} s")
        except RayError as error:
            link.fail(in_one_line(error))
        else:
            self._dispatcher.pump()  # others may have left room

    def _checked(self, link: Link, _: object) -> None:
        del self._checks[link]


def _joined(task: asyncio.Task[Link]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _nowhere(joining: Mapping[Node, asyncio.Task[Link]]) -> str:
    """Why no node can be used, each reason with the nodes that gave it."""
    if not joining:
        return "no node of the Ray cluster has CPUs; start Ray with --num-cpus on one that has"
    nodes: dict[str, list[str]] = {}
    for node, task in joining.items():
        nodes.setdefault(str(task.exception()), []).append(str(node))
    return "no node of the Ray cluster can run solutions: " + "; ".join(
        f"{', '.join(names)}: {reason}" for reason, names in nodes.items()
    )


async def _awaited(reply: Any) -> Any:
    return await reply


def _kill(actor: Any) -> None:
    """End an actor; one that has ended stays so."""
    import ray

    ray.kill(actor)
