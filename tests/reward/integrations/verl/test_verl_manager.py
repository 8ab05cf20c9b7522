"""What the manager does by itself; neither verl nor Ray in here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.integrations.ray_group_host import GroupSettings
from coderm_reward.integrations.ray_groups import RayScorer
from coderm_reward.integrations.verl import CodeRMRewardManager
from coderm_reward.online.answers import no_reward
from coderm_reward.online.guard import RewardGuard
from coderm_reward.types import RewardOutput


class Data:
    """A batch of one row."""

    def __init__(self, number: int, **fields: Any) -> None:
        self.number = number
        self.non_tensor_batch = fields

    def __getitem__(self, _: object) -> Data:
        return self


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A manager whose odd rows are scored, each in its wave; the others fail at once."""
    monkeypatch.setattr(CodeRMRewardManager, "__init__", lambda _: None)
    monkeypatch.setattr(CodeRMRewardManager, "__abstractmethods__", frozenset(), raising=False)
    made: Any = CodeRMRewardManager()  # type: ignore[call-arg]
    waves: list[int] = []

    async def score(data: Data) -> RewardOutput:
        if data.number % 2 == 0:
            raise ValueError("no prompt")
        waves.append(made._wave)
        await asyncio.sleep(0.01)
        return no_reward(RewardConfig().scoring)

    made._guard, made._score, made.waves = RewardGuard(RewardConfig()), score, waves
    made._wave, made._in_flight, made._wave_is_over = 0, 0, True
    made._batched, made._crowded = True, False
    return made


def test_rows_that_fail_at_once_make_no_wave_of_their_own(manager: Any) -> None:
    async def batches() -> None:
        for _ in range(3):
            await asyncio.gather(*[asyncio.create_task(manager.run_single(Data(i))) for i in range(6)])
            await asyncio.sleep(0.01)  # verl's workers hear of the next batch later
        await asyncio.gather(*[asyncio.create_task(manager.run_single(Data(2 * i))) for i in range(6)])

    asyncio.run(batches())
    assert manager.waves == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert manager._wave == 4


@pytest.mark.parametrize(("rows", "batched", "told"), [(999, False, 0), (1500, False, 1), (1500, True, 0)])
def test_more_rollouts_than_ray_lets_in_are_told_once(
    manager: Any, caplog: pytest.LogCaptureFixture, rows: int, batched: bool, told: int
) -> None:
    async def batches() -> None:
        manager._batched = batched
        manager._guard = RewardGuard(load_config(None, failure_share=1.0))
        for _ in range(2):
            await asyncio.gather(*[manager.run_single(Data(1)) for _ in range(rows)])

    asyncio.run(batches())
    assert caplog.text.count("raise reward.num_workers") == told


def test_a_call_that_ends_late_does_not_let_go_of_the_actor_made_since(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scorer = RayScorer(GroupSettings(config=RewardConfig()))
    scorer._actors[0] = "new"
    for _ in range(100):
        scorer._lose(0, "old", ValueError("it has died"))
    assert (scorer._actors, caplog.text) == ({0: "new"}, "")
    scorer._lose(0, "new", ValueError("it has died"))
    assert not scorer._actors
    assert caplog.text.count("a group actor is lost (ValueError: it has died)") == 1


def test_a_column_of_the_dataset_keeps_its_name(manager: Any) -> None:
    plain = asyncio.run(manager.run_single(Data(1, uid="u")))
    renamed = asyncio.run(manager.run_single(Data(1, uid="u", difficulty="hard")))
    assert set(plain["reward_extra_info"]) == set(RewardOutput.__struct_fields__)
    assert set(renamed["reward_extra_info"]) - set(plain["reward_extra_info"]) == {"coderm_difficulty"}
    assert "difficulty" not in renamed["reward_extra_info"]
