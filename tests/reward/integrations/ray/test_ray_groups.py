"""The client of the group actors, on a real cluster."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray")

from coderm_reward.config import load_config  # noqa: E402
from coderm_reward.integrations import ray_groups  # noqa: E402
from coderm_reward.integrations.ray_group_host import FAMILIES, GroupSettings  # noqa: E402
from coderm_reward.integrations.ray_groups import RayScorer  # noqa: E402

pytestmark = pytest.mark.verl


def settings(folder: Path, name: str) -> GroupSettings:
    """Settings of their own, and so actors of their own."""
    tests = folder / f"{name}.jsonl"
    tests.write_text('{"prompt": "Write a function `add(a, b)`.", "unit_tests": []}\n')
    return GroupSettings(config=load_config(None, tests=str(tests), workers=1))


def test_a_long_start_says_what_it_waits_for(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_groups, "_NEWS_SECONDS", 0.1)
    monkeypatch.setattr(ray_groups, "_STAGE_SECONDS", 0.1)
    caplog.set_level(logging.WARNING, "coderm_reward")
    scorer = RayScorer(settings(tmp_path, "news"))
    scorer.start(60.0)
    assert re.search(r"the rewards are not ready after \d s: group actor 0 does not answer", caplog.text)
    assert "group actor 0 starts the sandbox pools of the nodes" in caplog.text
    assert "training goes on" not in caplog.text


def test_a_start_that_takes_too_long_is_not_waited_for(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "coderm_reward")
    scorer = RayScorer(settings(tmp_path, "late"))
    scorer.start(0.2)
    assert "training goes on and its first rewards will wait for that" in caplog.text


def test_other_settings_beside_ours_are_told(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "coderm_reward")
    until = time.monotonic() + 60
    while any(one["name"].startswith(FAMILIES) for one in ray.util.list_named_actors(all_namespaces=True)):
        assert time.monotonic() < until, "actors of the tests before outlive their owners"
        time.sleep(0.1)
    first, same = (RayScorer(settings(tmp_path, "first")) for _ in range(2))
    first.start(60.0)
    same.start(60.0)
    assert "rewards with other settings" not in caplog.text
    RayScorer(settings(tmp_path, "second")).start(60.0)
    assert caplog.text.count("rewards with other settings run beside these (coderm-groups-") == 1
