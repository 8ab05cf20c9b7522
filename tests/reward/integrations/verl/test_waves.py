"""Which steps the waves of a batched training are, and when they are written; no Ray in here."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from coderm_reward.config import RewardConfig
from coderm_reward.integrations import ray_log
from coderm_reward.integrations.ray_log import WAVE, LogHost, LogSettings, Waves
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


@pytest.mark.parametrize("named", [True, False])
def test_a_step_that_is_whole_is_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setattr(ray_log, "_QUIET_SECONDS", 10_000.0)
    metrics = tmp_path / "metrics.jsonl"

    def steps() -> list[int]:
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        return [json.loads(line)["step"] for line in lines]

    host = LogHost(LogSettings(folder=str(tmp_path), groups_per_step=3))
    for step in (1, 2):
        name = str(step) if named else None
        host.add([outcome(name), outcome(name, validation=named), outcome(name)])
        host.add([outcome(name)])
        until = time.monotonic() + 20
        while step not in steps() and time.monotonic() < until:
            time.sleep(0.01)
        assert steps() == list(range(1, step + 1))
    host._log.close()


def test_a_step_that_has_begun_is_not_written_with_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_log, "_QUIET_SECONDS", 10_000.0)
    host = LogHost(LogSettings(folder=str(tmp_path), groups_per_step=2))
    host.add([outcome("1"), outcome("2"), outcome("1"), *[outcome("no number")] * 2])
    done = threading.Event()
    host._log._put(done.set)
    assert done.wait(20)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines} == {1}
    host._log.close()
