"""One sandbox pool on each node of a Ray cluster: the actor, how big it is, and how it is found.

A client (see ray_link) hands jobs over in batches and collects in batches what is done, because a call of an
actor costs about as much as a small job: `exchange` does both in one call.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import pickle
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from coderm_reward.config import SandboxConfig
from coderm_reward.execution.pools import make_pool
from coderm_reward.integrations.ray_desk import Desk, Inspect, NodeReport
from coderm_reward.types import content_hash
from coderm_sandbox import SANDBOX_VERSION, Job, PoolStats
from coderm_sandbox.interpreter import describe_interpreter
from coderm_sandbox.isolation import LEVELS

__all__ = [
    "Circumstances",
    "Node",
    "NodeFacts",
    "SandboxNode",
    "Share",
    "alive_nodes",
    "common_circumstances",
    "free_cpus",
    "node_actor",
    "share_of",
]

Circumstances = tuple[str, str, str]
"""Isolation, interpreter and sandbox of a node's pool."""

_ABSENT_SECONDS = 120.0
"""A client that was not heard of for so long is gone, and its jobs with it."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster, as Ray knows it."""

    id: str
    host: str
    cpus: float
    """Ray's CPUs there, reserved or not."""

    def __str__(self) -> str:
        return f"{self.host} ({self.id[:8]})"


@dataclass(frozen=True)
class Share:
    """What a node's pool gets of it."""

    workers: int
    cpus: int
    """Ray CPUs reserved for them: as many as workers, one less where that would be all, or 0."""


@dataclass(frozen=True)
class NodeFacts:
    """What a running node pool is, and all about it that verdicts could depend on."""

    workers: int
    cpus: int
    description: str
    """How its workers are isolated, in words."""
    python: str
    """Path and version of the interpreter that runs solutions."""
    owner: str
    """The client that created the actor."""
    id: str
    """Of the actor: another one if it had to be started again."""
    sandbox: str = SANDBOX_VERSION

    @property
    def circumstances(self) -> Circumstances:
        """Equal on two nodes if a verdict of one is a verdict of the other.

        Where bwrap lies, and who started it, makes no difference (coderm_sandbox.conformance).
        """
        level = self.description.split(" ", 1)[0]
        return level if level == LEVELS[0] else self.description, self.python, self.sandbox


def common_circumstances(nodes: Iterable[NodeFacts]) -> Circumstances:
    """Return what most workers have; of two that as many have, the stronger isolation."""
    workers: Counter[Circumstances] = Counter()
    for facts in nodes:
        workers[facts.circumstances] += facts.workers
    strength = {level: rank for rank, level in enumerate(LEVELS)}

    def rank(circumstances: Circumstances) -> tuple[int, int, Circumstances]:
        level = circumstances[0].split(" ", 1)[0]
        return -workers[circumstances], strength.get(level, len(LEVELS)), circumstances

    return min(workers, key=rank)


class SandboxNode:
    """The pool of one node, as a Ray actor that works for several clients; see `node_actor`.

    Args:
        config: the settings of the pool, but for the number of workers.
        share: what it has of the node.
        owner: the client that creates it.
    """

    def __init__(self, config: SandboxConfig, share: Share, owner: str) -> None:
        self._python = config.sandbox_python or sys.executable
        self._pool = make_pool(msgspec.structs.replace(config, workers=share.workers))
        self._share = share
        self._owner = owner
        self._id = uuid.uuid4().hex
        self._started: asyncio.Future[Any] | None = None
        self._desks: dict[str, Desk] = {}
        self._numbers = itertools.count(1)

    async def start(self, client: str) -> NodeFacts:
        """Begin to work for a client, without whatever it had here before.

        Raises:
            SandboxUnavailableError: (of coderm_sandbox) no worker can be started on this node.
        """
        if self._started is None:
            self._started = asyncio.ensure_future(self._pool.__aenter__())
        await asyncio.shield(self._started)
        await self.leave(client)
        python = await asyncio.to_thread(describe_interpreter, self._python)
        return NodeFacts(
            workers=self._share.workers,
            cpus=self._share.cpus,
            description=self._pool.description,
            python=f"{python.executable} {'.'.join(map(str, python.version))}",
            owner=self._owner,
            id=self._id,
        )

    async def exchange(self, client: str, message: bytes) -> bytes:
        """Take a client's new jobs and dropped tickets; return what is done, once it is worth a message.

        A second call ends the wait of the first, whose answer may be empty then. The message is a pickle of
        ({ticket: Job or Inspect}, [ticket]), the answer one of ([(ticket, results or Failure)], NodeReport).
        """
        work, dropped = pickle.loads(message)
        desk = self._desk(client)
        desk.cancel(dropped)
        for ticket, one in work.items():
            desk.tasks[ticket] = task = asyncio.ensure_future(self._do(one))
            task.add_done_callback(functools.partial(desk.finish, ticket))
        done = await desk.collect()
        report = replace(self._report(client), desk=desk.number)  # there may be another one by now
        return pickle.dumps((done, report), protocol=5)

    async def report(self, client: str) -> NodeReport:
        """Say how busy the node is; tells it as well that the client is still there."""
        self._desk(client)
        now = time.monotonic()
        for name in [name for name, desk in self._desks.items() if now - desk.seen > _ABSENT_SECONDS]:
            await self.leave(name)
        return self._report(client)

    async def leave(self, client: str) -> None:
        """Drop all that a client has here."""
        desk = self._desks.pop(client, None)
        if desk is not None:
            desk.cancel(list(desk.tasks))

    async def stats(self) -> PoolStats:
        """The pool's counters, over all clients."""
        return self._pool.stats

    async def pid(self) -> int:
        """The process that the pool lives in."""
        return os.getpid()

    def close(self) -> None:
        """End the workers; what clients still ask for fails."""
        self._pool.close()

    def _desk(self, client: str) -> Desk:
        if client not in self._desks:
            self._desks[client] = Desk(self._share.workers // 2 + 2, next(self._numbers))
        desk = self._desks[client]
        desk.seen = time.monotonic()
        return desk

    async def _do(self, work: Job | Inspect) -> Any:
        if isinstance(work, Job):
            return await self._pool.run(work)
        return await self._pool.inspect(work.tests, votes=work.votes)

    def _report(self, client: str) -> NodeReport:
        jobs = [len(desk.tasks) for name, desk in self._desks.items() if desk.tasks and name != client]
        desk = self._desks.get(client)
        return NodeReport(sum(jobs), len(jobs), replace(self._pool.stats), desk.number if desk else 0)


def share_of(cpus: float, free: float, asked: int | None) -> Share:
    """Return what a node's pool gets, given its Ray CPUs, those that are free, and the setting `workers`.

    Without the setting: half of the node. One free CPU is never reserved, because a task of the
    trainer would wait for one for ever. Where nothing can be reserved: one
    worker, which Ray does not count.
    """
    room = max(0, int(free) - 1)
    if asked is None:
        workers = min(max(1, int(cpus) // 2), room)
        return Share(workers, workers) if workers >= 1 else Share(1, 0)
    workers = max(1, min(asked, int(free)))
    return Share(workers, min(workers, room))


def alive_nodes() -> list[Node]:
    """The nodes of the cluster that are alive and have CPUs."""
    import ray

    return [
        Node(str(node["NodeID"]), str(node["NodeManagerHostname"]), float(node["Resources"]["CPU"]))
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) > 0
    ]


def free_cpus(node: Node) -> float:
    """CPUs of the node that nobody has reserved, as Ray's head knows it (a moment ago)."""
    import ray._private.state

    resources = ray._private.state.available_resources_per_node().get(node.id, {})
    return float(resources.get("CPU", 0.0))


def node_actor(node: Node, config: SandboxConfig, share: Share, client: str) -> Any:
    """The node's SandboxNode for these settings in the caller's namespace: the one there is, or a new one.

    It is no detached actor: it ends with the process that created it. Blocks for a round trip to Ray's head.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    settings = msgspec.json.encode([SANDBOX_VERSION, config], order="deterministic").decode()
    cls = ray.remote(SandboxNode)
    return cls.options(
        name=f"coderm-sandbox-{content_hash(settings)}-{node.id}",
        namespace=ray.get_runtime_context().namespace,
        get_if_exists=True,
        num_cpus=share.cpus,
        max_concurrency=1000,
        enable_task_events=False,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node.id, soft=False),
    ).remote(config, share, client)
