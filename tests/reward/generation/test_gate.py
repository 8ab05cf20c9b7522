"""Who may send, in which order, and what happens to those who stop waiting."""

from __future__ import annotations

import asyncio

import pytest

from coderm_reward.errors import GenerationError
from coderm_reward.generation.concurrency import ROUNDS_TO_DEAD, AdaptiveLimit, ServerHealth
from coderm_reward.generation.gate import Gate


class Door:
    """A gate of a given width, and the names of those who went through it."""

    def __init__(self, width: int) -> None:
        self.limit = AdaptiveLimit(width)
        self.health = ServerHealth("http://there/v1", patience=60.0, cooldown=60.0)
        self.gate = Gate(self.limit, self.health)
        self.passed: list[str] = []

    async def walk(self, name: str, *, first: bool = False) -> None:
        await self.gate.enter(first=first)
        self.passed.append(name)

    async def queue(self, *names: str) -> list[asyncio.Task[None]]:
        """Have these wait, in this order."""
        tasks = [asyncio.create_task(self.walk(name)) for name in names]
        await asyncio.sleep(0)
        return tasks

    def kill(self) -> None:
        now = asyncio.get_running_loop().time()
        for _ in range(ROUNDS_TO_DEAD):
            self.health.unreachable(now, sent=now, connected=False, why="refused")


def test_they_go_in_the_order_of_asking_and_no_more_than_the_limit() -> None:
    async def run() -> None:
        door = Door(2)
        tasks = await door.queue("a", "b", "c", "d")
        assert (door.passed, door.gate.in_flight) == (["a", "b"], 2)
        door.gate.leave()
        await tasks[2]
        door.gate.leave()
        await tasks[3]
        assert (door.passed, door.gate.in_flight) == (["a", "b", "c", "d"], 2)

    asyncio.run(run())


def test_whoever_was_through_before_goes_first() -> None:
    async def run() -> None:
        door = Door(1)
        tasks = await door.queue("a", "b")
        again = asyncio.create_task(door.walk("again", first=True))
        await asyncio.sleep(0)
        door.gate.leave()
        await again
        door.gate.leave()
        await tasks[1]
        assert door.passed == ["a", "again", "b"]

    asyncio.run(run())


def test_who_stops_waiting_is_passed_over() -> None:
    async def run() -> None:
        door = Door(1)
        _, second, third = await door.queue("a", "b", "c")
        second.cancel()
        door.gate.leave()
        await third
        assert (door.passed, door.gate.in_flight) == (["a", "c"], 1)

    asyncio.run(run())


def test_a_turn_given_to_someone_who_is_cancelled_in_that_moment_is_not_lost() -> None:
    async def run() -> None:
        door = Door(1)
        _, second, third = await door.queue("a", "b", "c")
        door.gate.leave()
        second.cancel()
        await third
        assert (door.passed, door.gate.in_flight) == (["a", "c"], 1)

    asyncio.run(run())


def test_nobody_goes_before_the_blocked_time_is_over() -> None:
    async def run() -> None:
        loop, door = asyncio.get_running_loop(), Door(1)
        until = loop.time() + 0.05
        door.limit.block(until)
        (task,) = await door.queue("a")
        assert door.passed == []
        await task
        assert loop.time() >= until - 0.001

    asyncio.run(run())


def test_all_who_wait_for_a_dead_server_are_sent_home() -> None:
    async def run() -> None:
        door = Door(1)
        _, *waiting = await door.queue("a", "b", "c")
        door.kill()
        door.gate.wake()
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, GenerationError)
        with pytest.raises(GenerationError, match="http://there/v1"):
            await door.walk("d")
        assert (door.passed, door.gate.in_flight) == (["a"], 1)

    asyncio.run(run())
