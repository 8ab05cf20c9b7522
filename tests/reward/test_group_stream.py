"""How much of a suite is asked for when, and whose code stands in the prompts of a group that is filling."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.config import load_config
from coderm_reward.data.chat import prompt_hash
from coderm_reward.execution import MemoryCache, make_executor, make_pool
from coderm_reward.generation.model_generator import ModelGenerator
from coderm_reward.generation.openai_backend import OpenAIBackend
from coderm_reward.generation.scripted_server import ScriptedServer
from coderm_reward.generation.store import SuiteStore
from coderm_reward.group_stream import share_of
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.types import Message, Problem, Rollout, RolloutGroup


@given(st.integers(0, 200), st.integers(1, 64), st.one_of(st.none(), st.integers(1, 64)))
def test_shares_grow_with_those_who_are_there_up_to_all(
    responses: int, present: int, expected: int | None
) -> None:
    share = share_of(responses, present, expected)
    assert 0 <= share <= responses
    assert (share > 0) == (responses > 0)
    assert share <= share_of(responses, present + 1, expected)
    if expected is not None:
        assert (present < expected) or share == responses
        assert share >= responses * min(present, expected) / expected


def test_each_rollout_that_comes_brings_its_share_and_stands_in_the_prompts() -> None:
    question = "Write a function `times(x)` that returns two times x."
    bodies = ("2 * x", "x + x + 0", "x * x * x * x")
    rollouts = [Rollout(i, f"```python\ndef times(x):\n    return {b}\n```") for i, b in enumerate(bodies)]
    problem = Problem(prompt_hash([Message("user", question)]), question)

    async def work() -> tuple[list[int], list[str], int]:
        config = load_config(model="scripted", responses=6, workers=1)
        with SuiteStore.open() as store:
            async with (
                ScriptedServer() as server,
                make_pool(config.sandbox) as pool,
                OpenAIBackend(server.url, "scripted") as backend,
            ):
                generator = ModelGenerator(backend, store, config.generation)
                pipeline = RewardPipeline(generator, make_executor(pool, config, MemoryCache()), config)
                stream = pipeline.open(problem, 3)
                asked = []
                for number, rollout in enumerate(rollouts, 1):
                    await stream.add([rollout])
                    await server.until(lambda n=number: len(server.asked) == 2 * n)  # type: ignore[misc]
                    await server.until(lambda: not server.in_flight)
                    asked.append(len(server.asked))
                group = RolloutGroup("g", problem, tuple(rollouts), "run")
                record = await stream.finish(group)
        return asked, [one.prompt for one in server.asked], record.budget.spent

    asked, prompts, spent = asyncio.run(work())
    assert (asked, spent) == ([2, 4, 6], 6)
    assert all("return 2 * x" in prompt for prompt in prompts[:2])
    for body in bodies:
        assert any(f"return {body}" in prompt for prompt in prompts)
