"""Samples of small problems and their tests, a sink that keeps what it hears, one pool for many tests."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from coderm_reward.config import load_config
from coderm_reward.execution import make_pool
from coderm_reward.online.sample import GroupOutcome, Sample
from coderm_reward.types import Message, RewardOutput
from coderm_sandbox import SandboxPool

__all__ = ["Kept", "Sandbox", "a_test", "code", "facts", "prompt", "sample", "texts_for"]

TIMES = {"gen_seconds", "exec_seconds"}


def prompt(number: int = 2) -> str:
    return f"Write a function `times(x)` that returns {number} times x."


def code(body: str) -> str:
    return f"Here you are:\n```python\ndef times(x):\n    return {body}\n```\n"


def a_test(*checks: str) -> str:
    """A model's response with one test class of one method for each check."""
    methods = "".join(f"    def test_{i}(self):\n        {check}\n" for i, check in enumerate(checks))
    return f"```python\nimport unittest\n\nclass TestTimes(unittest.TestCase):\n{methods}```"


def texts_for(number: int) -> list[str]:
    return [
        a_test(f"self.assertEqual(times(1), {number})", "self.assertEqual(times(0), 0)"),
        a_test(f"self.assertEqual(times(-3), {-3 * number})"),
        a_test(f"self.assertEqual(times(5), {5 * number})"),
    ]


def sample(body: str, number: int = 2, **more: Any) -> Sample:
    text = body if "```" in body or body == "" else code(body)
    messages = more.pop("messages", (Message("user", prompt(number)),))
    return Sample(messages=messages, response=text, **more)


def facts(reward: RewardOutput) -> dict[str, float]:
    """A reward without the times in it."""
    return {name: value for name, value in reward.as_dict().items() if name not in TIMES}


class Kept:
    """A GroupSink that keeps everything and wakes who waits for it."""

    def __init__(self) -> None:
        self.outcomes: list[GroupOutcome] = []
        self._news = asyncio.Event()

    def add(self, outcome: GroupOutcome) -> None:
        self.outcomes.append(outcome)
        self._news.set()

    async def until(self, count: int) -> None:
        while len(self.outcomes) < count:
            self._news.clear()
            await self._news.wait()


T = TypeVar("T")


class Sandbox:
    """One running pool and the event loop it belongs to."""

    def __init__(self, workers: int = 2, **settings: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.pool: SandboxPool = make_pool(load_config(workers=workers, **settings).sandbox)
        self.run(self.pool.__aenter__())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.pool.__aexit__(None, None, None))
        self.loop.close()
