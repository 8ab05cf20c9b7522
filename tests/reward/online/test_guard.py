"""Failures of ours on their way to a training."""

from __future__ import annotations

import asyncio
import math

import msgspec
import pytest

from coderm_reward.config import load_config
from coderm_reward.errors import GenerationError, TooManyFailuresError
from coderm_reward.online.answers import no_reward
from coderm_reward.online.guard import RewardGuard
from coderm_reward.types import RewardOutput


async def failing() -> RewardOutput:
    raise GenerationError("no server")


async def fine() -> RewardOutput:
    return msgspec.structs.replace(no_reward(load_config().scoring), score=0.5, neutral=0.0, infra_error=0.0)


def test_a_failure_is_the_neutral_reward_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    guard = RewardGuard(load_config())
    outputs = [asyncio.run(guard.reward(failing)) for _ in range(5)]
    assert {output.infra_error for output in outputs} == {1.0}
    assert all(math.isfinite(value) for value in outputs[0].as_dict().values())
    assert [record.message for record in caplog.records] == [
        "1 rollouts got the neutral reward with infra_error (GenerationError: no server)"
    ]


def test_the_neutral_reward_is_the_number_that_the_settings_name() -> None:
    assert no_reward(load_config(neutral=0.7).scoring).score == 0.7
    assert no_reward(load_config(neutral=0.7).scoring).acc == 1.0
    assert no_reward(load_config().scoring).score == 0.0


def test_too_many_failures_stop_the_training() -> None:
    guard = RewardGuard(load_config(failure_share=0.5, failure_window=4))

    async def run() -> None:
        for scoring in (fine, failing, fine):
            await guard.reward(scoring)
        await guard.reward(failing)
        with pytest.raises(TooManyFailuresError, match="no server"):
            await guard.reward(failing)

    asyncio.run(run())


def test_evidence_that_could_not_be_had_is_counted_too() -> None:
    guard = RewardGuard(load_config(failure_share=0.1, failure_window=10))

    async def neutral() -> RewardOutput:
        return no_reward(load_config().scoring)

    async def run() -> None:
        await guard.reward(neutral)
        with pytest.raises(TooManyFailuresError):
            await guard.reward(neutral)

    asyncio.run(run())


def test_a_caller_that_gives_up_is_no_failure() -> None:
    guard = RewardGuard(load_config(failure_share=0.1, failure_window=10))

    async def never() -> RewardOutput:
        await asyncio.Event().wait()
        raise AssertionError

    async def run() -> None:
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(guard.reward(never), 0.01)

    asyncio.run(run())
