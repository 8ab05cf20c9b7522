"""The connection to one node, whatever the order and the company in which answers arrive; no Ray in here."""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from coderm_reward.config import SandboxConfig
from coderm_reward.integrations.ray_desk import Failure, NodeReport
from coderm_reward.integrations.ray_dispatch import Dispatcher, Errand
from coderm_reward.integrations.ray_link import Link
from coderm_reward.integrations.ray_nodes import Node, NodeFacts, SandboxNode, Share
from coderm_sandbox import Job, Outcome, PoolStats, Test, TestResult
from coderm_sandbox.messages import uniform

T = TypeVar("T")
NODE = Node("0123456789abcdef", "here", 4.0)


class Method:
    """A method of an actor's handle."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.remote = call


class ScriptedActor:
    """A node that answers when it is told, in the order in which it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[int, Any], list[int]]] = []
        self.replies: list[asyncio.Future[bytes]] = []
        self.exchange = Method(self._exchange)
        self.leave = Method(lambda client: None)

    def _exchange(self, client: str, message: bytes) -> asyncio.Future[bytes]:
        self.asked.append(pickle.loads(message))
        self.replies.append(asyncio.get_running_loop().create_future())
        return self.replies[-1]

    def answer(self, *done: tuple[int, object], report: NodeReport | None = None) -> None:
        self.replies.pop(0).set_result(pickle.dumps((list(done), report or NodeReport())))


class Bursts:
    """A real SandboxNode whose messages take their time, so that several arrive at one moment."""

    def __init__(self, node: SandboxNode, chance: random.Random) -> None:
        self._node = node
        self._chance = chance
        self._due: list[tuple[asyncio.Future[bytes], bytes]] = []
        self.exchange = Method(self._exchange)
        self.report = Method(node.report)
        self.leave = Method(node.leave)

    def _exchange(self, client: str, message: bytes) -> asyncio.Future[bytes]:
        reply = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(self._node.exchange(client, message))
        task.add_done_callback(lambda task: self._due.append((reply, task.result())))
        return reply

    async def deliver(self) -> None:
        while True:
            await asyncio.sleep(self._chance.choice([0.0, 0.0, 0.003, 0.03]))
            due, self._due = self._due, []
            for reply, message in due:
                reply.set_result(message)


class QuickPool:
    """Stands for a SandboxPool: each job takes its time, and passes."""

    def __init__(self, chance: random.Random, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.stats = PoolStats()
        self._chance = chance

    async def run(self, job: Job) -> list[TestResult]:
        await asyncio.sleep(self._seconds or self._chance.choice([0.0, 0.001, 0.01, 0.05]))
        return [uniform(test, Outcome.PASS, "") for test in job.tests]


def linked(actor: Any, dispatcher: Dispatcher, workers: int = 2) -> Link:
    link = Link(actor, NODE, NodeFacts(workers, workers, "fork", "python", "me", "id"), "me", dispatcher)
    dispatcher.add(link)
    return link


def in_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        return await asyncio.wait_for(work(), 20)

    return asyncio.run(run())


async def turns(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def ask(dispatcher: Dispatcher, *names: str) -> list[asyncio.Task[Errand]]:
    tasks = [asyncio.ensure_future(dispatcher.do(Job(name, ()))) for name in names]
    await turns()
    return tasks


def test_two_answers_at_one_moment_do_not_end_the_asking() -> None:
    async def work() -> None:
        actor, dispatcher = ScriptedActor(), Dispatcher(60.0)
        linked(actor, dispatcher)
        tasks = [*await ask(dispatcher, "a", "b"), *await ask(dispatcher, "c")]
        assert [len(work) for work, _ in actor.asked] == [2, 1]
        actor.answer()  # the node ends the first request when the second comes
        actor.answer((1, "A"))
        await turns()
        assert len(actor.replies) == 1  # nobody would hear of b and c otherwise
        actor.answer((2, "B"), (3, "C"))
        assert [(await task).answer.result() for task in tasks] == ["A", "B", "C"]
        await turns()
        assert not actor.replies

    in_loop(work)


@pytest.mark.parametrize("heard", [True, False], ids=["heard-of-it-before", "before-its-first-answer"])
def test_a_node_that_dropped_the_jobs_of_a_client_it_took_for_gone_is_lost(heard: bool) -> None:
    async def work() -> None:
        node = SandboxNode(SandboxConfig(), Share(2, 0), "me")
        node._pool = QuickPool(random.Random(0), seconds=5.0)  # type: ignore[assignment]
        actor, dispatcher = Bursts(node, random.Random(0)), Dispatcher(60.0)
        link = linked(actor, dispatcher)
        delivery = asyncio.ensure_future(actor.deliver())
        await ask(dispatcher, "a")
        if heard:
            await link.check()
            assert not link.lost.done()
            await node.leave("me")
        else:
            await node.leave("me")
            await link.check()  # makes a new desk before the old one's answer is written
        assert "dropped its jobs" in await link.lost
        assert dispatcher.remove(link, "") == 1
        delivery.cancel()

    in_loop(work)


def test_what_a_lost_node_still_says_of_a_job_that_has_gone_elsewhere_does_not_count() -> None:
    async def work() -> None:
        flaky, good, dispatcher = ScriptedActor(), ScriptedActor(), Dispatcher(60.0)
        link = linked(flaky, dispatcher)
        (task,) = await ask(dispatcher, "a")
        link.fail("it could not be reached for a moment")
        dispatcher.remove(link, "it could not be reached for a moment")
        linked(good, dispatcher)
        await turns()
        flaky.answer((1, Failure("no worker can be started any more")))
        await turns()
        assert not task.done()  # it runs at the other node, which has not failed
        good.answer((1, "A"))
        assert (await task).answer.result() == "A"
        assert [len(work) for work, _ in good.asked] == [1]

    in_loop(work)


@pytest.mark.parametrize("seed", range(20))
def test_every_job_is_answered_however_messages_bunch(seed: int) -> None:
    async def work() -> None:
        chance = random.Random(seed)
        node = SandboxNode(SandboxConfig(), Share(2, 0), "me")
        node._pool = QuickPool(chance)  # type: ignore[assignment]
        actor, dispatcher = Bursts(node, chance), Dispatcher(60.0)
        linked(actor, dispatcher)
        delivery = asyncio.ensure_future(actor.deliver())
        test = Test("", methods=("T.test_a",))

        async def client(name: int) -> None:
            for _ in range(chance.randrange(1, 6)):
                await asyncio.sleep(chance.choice([0.0, 0.001, 0.02]))
                await dispatcher.do(Job(str(name), (test,)))

        await asyncio.gather(*map(client, range(6)))
        delivery.cancel()

    in_loop(work)
