"""A sandbox pool over all nodes of a Ray cluster, with the interface of one on this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import uuid
from collections.abc import Iterable, Sequence

from coderm_reward.config import SandboxConfig
from coderm_reward.execution.pools import make_pool
from coderm_reward.integrations.ray_desk import Inspect
from coderm_reward.integrations.ray_dispatch import Dispatcher, Errand, NowhereError, Place
from coderm_reward.integrations.ray_members import Members
from coderm_reward.integrations.ray_nodes import NodeFacts
from coderm_sandbox import (
    Inspection,
    Job,
    Limits,
    Outcome,
    PoolClosedError,
    PoolStats,
    Test,
    TestResult,
    WorkerDiedError,
)
from coderm_sandbox.interpreter import describe_interpreter
from coderm_sandbox.messages import lacks_evidence, uniform

__all__ = ["RayPool", "RayPoolStats"]

_TESTS_PER_INSPECTION = 16
_NODES_PER_TEST = 3
_SETTLE_SECONDS = 1.0
"""Pools of several nodes end together, with whoever started them; all are noticed within this time."""


@dataclasses.dataclass
class RayPoolStats(PoolStats):
    """Counters of one RayPool. Those of workers and audits are its nodes' own, whoever made them work."""

    moved: int = 0
    """Jobs that were sent once more, because their node was lost or could not do them."""
    nodes_lost: int = 0
    """How often the pool of a node was lost."""


class RayPool:
    """Runs solutions on the sandbox pools of all nodes of the Ray cluster that this process belongs to.

    Use it like a SandboxPool: as an async context manager, within one event loop; `run` and `inspect` wait
    while no node has room. The pools of the nodes are shared by all RayPools of the same settings and
    namespace (see ray_nodes), started again when they are lost, and started on nodes that join later. What a
    lost node had in hand goes elsewhere: UNKNOWN is only what every node failed to find out.

    Args:
        config: the settings of each node's pool; `workers` is for each node, by default half of its CPUs, and
            never more than Ray has CPUs to spare there, but always one.
        patience: seconds that jobs wait when no node is left, before they end as UNKNOWN.
        refresh: seconds between two looks for nodes that came or went.

    Raises:
        SandboxUnavailableError: (of coderm_sandbox) on entering, if no node can run solutions.
    """

    def __init__(self, config: SandboxConfig, *, patience: float = 60.0, refresh: float = 3.0) -> None:
        self.isolation: str = config.isolation
        self.limits: Limits = make_pool(config).limits
        self.description = ""
        """How workers are isolated, in words, once the pool has started; the same on all nodes."""
        self._python = config.sandbox_python or sys.executable
        self._dispatcher = Dispatcher(patience, _SETTLE_SECONDS)
        self._members = Members(config, uuid.uuid4().hex, self._dispatcher, refresh)
        self._own = PoolStats()
        self._closed = False

    async def __aenter__(self) -> RayPool:
        await self._members.start()
        assert self._members.circumstances is not None
        _, python, _ = self._members.circumstances
        self.description = self._members.description
        ours = await asyncio.to_thread(describe_interpreter, self._python)
        if python != f"{ours.executable} {'.'.join(map(str, ours.version))}":
            self.description += f", {python}"  # verdicts are remembered by it (execution.cache)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the node pools that this one started. Jobs in flight or waiting end as UNKNOWN."""
        self._closed = True
        self._dispatcher.close("the sandbox pool was closed")
        await self._members.close()

    @property
    def size(self) -> int:
        """How many workers there are now, on all nodes together."""
        return sum(facts.workers for facts in self.nodes.values())

    @property
    def nodes(self) -> dict[str, NodeFacts]:
        """The nodes that work now, by Ray's id."""
        return {id_: link.facts for id_, link in self._members.links.items()}

    @property
    def stats(self) -> RayPoolStats:
        """The counters so far."""
        theirs = self._members.stats()
        own = dataclasses.asdict(self._own)
        own |= {
            name: getattr(theirs, name)
            for name in ("workers_replaced", "retried", "audited", "audit_disagreements")
        }
        return RayPoolStats(**own, moved=self._dispatcher.moved, nodes_lost=self._members.lost)

    async def node_stats(self) -> dict[str, PoolStats]:
        """The counters of each node that works now, over all pools that share it, by Ray's id."""
        links = dict(self._members.links)
        return dict(zip(links, await asyncio.gather(*(link.stats() for link in links.values())), strict=True))

    async def run(self, job: Job) -> list[TestResult]:
        """Return what each test of the job says about its solution, in order; see SandboxPool.run.

        A test without evidence on one node is run on another one, if there is one.
        """
        self._own.jobs += 1
        self._own.tests += len(job.tests)
        results: dict[int, TestResult] = {}
        missing = list(range(len(job.tests)))
        been: list[Place] = []
        while missing and len(been) < _NODES_PER_TEST:
            part = Job(job.solution, tuple(job.tests[i] for i in missing))
            try:
                errand = await self._do(part, been)
            except NowhereError as error:
                for i in missing:
                    results.setdefault(i, uniform(job.tests[i], Outcome.UNKNOWN, str(error)))
                break
            for i, result in zip(missing, errand.answer.result(), strict=True):
                results[i] = dataclasses.replace(result, retried=True) if been else result
            been += [errand.place] if errand.place is not None else []
            missing = [i for i in missing if lacks_evidence(results[i])]
        self._own.unknown += sum(result.outcome is Outcome.UNKNOWN for result in results.values())
        return [results[i] for i in range(len(job.tests))]

    async def inspect(self, tests: Sequence[Test], *, votes: bool = False) -> list[Inspection]:
        """Say of each test, without any solution, whether it is one; see SandboxPool.inspect.

        Raises:
            WorkerDiedError: no node could; a test is not to blame for that.
        """
        chunks = [tests[i : i + _TESTS_PER_INSPECTION] for i in range(0, len(tests), _TESTS_PER_INSPECTION)]
        found = await asyncio.gather(*(self._inspect(Inspect(tuple(chunk), votes)) for chunk in chunks))
        return [inspection for chunk in found for inspection in chunk]

    async def _inspect(self, chunk: Inspect) -> list[Inspection]:
        try:
            errand = await self._do(chunk)
        except NowhereError as error:
            raise (PoolClosedError if self._closed else WorkerDiedError)(str(error)) from None
        answer: list[Inspection] = errand.answer.result()
        return answer

    async def _do(self, work: Job | Inspect, avoid: Iterable[Place] = ()) -> Errand:
        if not self.description:
            raise RuntimeError("the pool is not running; use it as `async with RayPool(config) as pool`")
        return await self._dispatcher.do(work, avoid)
