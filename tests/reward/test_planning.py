"""Who waits for the estimator to get ready, whatever happens to the others who do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from coderm_reward.budget import ConstantEstimator
from coderm_reward.config import load_config
from coderm_reward.errors import InputError
from coderm_reward.planning import Planning
from coderm_reward.types import Problem


class Reads(ConstantEstimator):
    """A PreparingEstimator that reads when it is told, and not what has no text."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        self.ready: set[str] = set()
        self.may_read = threading.Semaphore(0)

    def prepare(self, problems: Sequence[Problem]) -> None:
        self.asked.append([problem.prompt_hash for problem in problems])
        assert self.may_read.acquire(timeout=20)
        if any(not problem.question for problem in problems):
            raise InputError("a prompt has no text")
        self.ready.update(problem.prompt_hash for problem in problems)

    def close(self) -> None:
        pass

    async def until_asked(self, times: int) -> None:
        while len(self.asked) < times:
            await asyncio.sleep(0.001)


def problem(name: str) -> Problem:
    return Problem(name, "" if name == "empty" else f"Write {name}.")


async def two_together(*names: str) -> tuple[Reads, list[asyncio.Task[None]]]:
    """Two prompts that are prepared together, as they came while another one was."""
    estimator = Reads()
    planning = Planning(load_config(), estimator, None)
    first = asyncio.create_task(planning.prepare([problem("first")]))
    await estimator.until_asked(1)
    tasks = [asyncio.create_task(planning.prepare([problem(name)])) for name in names]
    await asyncio.sleep(0)
    estimator.may_read.release()
    await first
    await estimator.until_asked(2)
    assert estimator.asked == [["first"], list(names)]
    return estimator, tasks


def test_who_is_cancelled_takes_nobody_along_who_is_prepared_with_it() -> None:
    async def work() -> None:
        estimator, (one, other) = await two_together("one", "other")
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not other.done()  # it is not ready yet
        estimator.may_read.release()
        await other
        assert estimator.ready == {"first", "one", "other"}

    asyncio.run(asyncio.wait_for(work(), 20))


def test_a_prompt_that_cannot_be_read_takes_nobody_along_who_is_prepared_with_it() -> None:
    async def work() -> None:
        estimator, (empty, other) = await two_together("empty", "other")
        estimator.may_read.release(3)
        with pytest.raises(InputError):
            await empty
        await other
        assert estimator.ready == {"first", "other"}

    asyncio.run(asyncio.wait_for(work(), 20))
