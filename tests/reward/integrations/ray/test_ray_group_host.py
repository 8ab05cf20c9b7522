"""How a group actor opens, for all who wait for it; no Ray in here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coderm_reward.config import load_config
from coderm_reward.integrations import ray_group_host
from coderm_reward.integrations.ray_group_host import GroupHost, GroupSettings
from coderm_sandbox import SandboxUnavailableError


class Pools:
    """Stands for RayPool: counts the pools that are started, which takes until it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.started = self.open = 0
        self.may_start = asyncio.Event()
        self._failure = failure

    @asynccontextmanager
    async def __call__(self, config: Any) -> AsyncIterator[Pools]:
        self.started += 1
        await self.may_start.wait()
        if self._failure is not None:
            raise self._failure
        self.open += 1
        yield self
        self.open -= 1


def host(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> GroupHost:
    @asynccontextmanager
    async def scorer(*_unused: Any, **_options: Any) -> AsyncIterator[object]:
        yield object()

    monkeypatch.setattr(ray_group_host, "RayPool", pools)
    monkeypatch.setattr(ray_group_host, "open_scorer", scorer)
    return GroupHost(GroupSettings(config=load_config(tests="t.jsonl")), 0)


async def calls(opened: GroupHost, number: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(opened.open()) for _ in range(number)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


def test_who_asked_first_and_is_cancelled_does_not_end_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        pools = Pools()
        opened = host(pools, monkeypatch)
        first, second = await calls(opened, 2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        pools.may_start.set()
        await second
        assert (pools.started, pools.open) == (1, 1)
        await opened.close()
        assert pools.open == 0
        await opened.open()
        assert (pools.started, pools.open) == (2, 1)
        await opened.close()

    asyncio.run(asyncio.wait_for(work(), 20))


def test_an_opening_that_fails_fails_for_all_who_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        pools = Pools(SandboxUnavailableError("no node of the Ray cluster can run solutions"))
        opened = host(pools, monkeypatch)
        tasks = await calls(opened, 8)
        pools.may_start.set()
        answers = await asyncio.gather(*tasks, opened.open(), return_exceptions=True)
        assert {type(answer) for answer in answers} == {SandboxUnavailableError}
        assert pools.started == 1
        assert "failed to open (no node" in await opened.stage()
        monkeypatch.setattr(ray_group_host, "_TRY_AGAIN", 0.0)
        with pytest.raises(SandboxUnavailableError):
            await opened.open()
        assert pools.started == 2

    asyncio.run(asyncio.wait_for(work(), 20))
