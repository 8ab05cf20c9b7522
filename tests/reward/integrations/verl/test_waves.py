"""Which steps the waves of a batched training are; no Ray in here."""

from __future__ import annotations

from coderm_reward.config import RewardConfig
from coderm_reward.integrations.ray_log import WAVE, Waves
from coderm_reward.online.answers import failed_record
from coderm_reward.online.sample import GroupOutcome
from coderm_reward.types import Problem, Rollout, RolloutGroup


def outcome(step: str | None, validation: bool = False) -> GroupOutcome:
    group = RolloutGroup("g", Problem("p", "?"), (Rollout(0, "r"),), "", step)
    record = failed_record(group, RewardConfig(), "made up")
    return GroupOutcome(record=record, validation=validation, siblings=1)


def test_waves_are_numbered_as_the_trainer_counts_its_steps() -> None:
    waves = Waves()
    came = [(1, True), (2, False), (2, False), (3, False), (4, True), (5, True), (6, False), (3, False)]
    found = [waves.numbered(outcome(f"{WAVE}{wave}", validation)).record.step for wave, validation in came]
    assert found == ["0", "1", "1", "2", "2", "2", "3", "2"]


def test_waves_go_on_where_an_earlier_process_ended_and_steps_that_are_known_stay() -> None:
    waves = Waves(40)
    assert waves.numbered(outcome(f"{WAVE}1")).record.step == "41"
    assert waves.numbered(outcome("7")).record.step == "7"
    assert waves.numbered(outcome(None)).record.step is None
