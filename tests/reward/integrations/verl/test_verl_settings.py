"""What verl's configuration says to us."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from coderm_reward.errors import ConfigError, InputError
from coderm_reward.integrations.verl import CodeRMRewardManager, compute_score_sync
from coderm_reward.integrations.verl_settings import (
    check_version,
    group_settings,
    is_batched,
    settings_from_kwargs,
)


def configuration(kwargs: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {
        "reward": {
            "custom_reward_function": {"reward_kwargs": kwargs},
            "reward_model": {
                "enable": False,
                "enable_resource_pool": False,
                "model_path": "/models/CodeRM-8B",
            },
        },
        "actor_rollout_ref": {"rollout": {"n": 8, "val_kwargs": {"n": 2}}},
        "data": {"train_files": "a.parquet", "val_files": ["b.parquet"], "train_batch_size": 64},
        "trainer": {"project_name": "p", "experiment_name": "e", "logger": ["console", "wandb"]},
    } | sections


@pytest.mark.parametrize("known", ["0.8.0", "0.9.1", "0.9.2.dev0"])
def test_the_versions_that_are_known(known: str, caplog: pytest.LogCaptureFixture) -> None:
    check_version(known)
    assert not caplog.records


def test_an_older_verl_is_an_error_that_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"0\.7\.1 .*install 'verl>=0\.8,<0\.10'"):
        check_version("0.7.1")


@pytest.mark.parametrize("newer", ["0.10.0", "1.0", "from-source"])
def test_a_newer_verl_is_told(newer: str, caplog: pytest.LogCaptureFixture) -> None:
    check_version(newer)
    assert newer in caplog.text


@pytest.mark.skipif(importlib.util.find_spec("verl") is not None, reason="verl is installed")
def test_without_verl_the_manager_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"coderm-reward\[verl\]"):
        CodeRMRewardManager({}, None)


def test_settings_come_from_a_file_and_single_ones_count_more(tmp_path: Path) -> None:
    file = tmp_path / "reward.yaml"
    file.write_text("scoring: {aggregator: bayes}\nsandbox: {timeout: 2.0}\n")
    settings = settings_from_kwargs(
        {"config_path": str(file), "timeout": 3.0, "training": {"quiet_seconds": 1}}
    )
    assert (settings.scoring.aggregator, settings.sandbox.timeout) == ("bayes", 3.0)
    assert settings.training.quiet_seconds == 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"config_path": "nowhere.yaml"}, "nowhere.yaml does not exist"),
        ({"aggregater": "bayes"}, "aggregater"),
        ({"timeout": "long"}, "timeout"),
        ({"tests": "t.jsonl", "base_url": "http://x/v1"}, "give one"),
        ({"tests": "t.jsonl", "allocator": "greedy", "budget": 4}, "price"),
        ({}, "."),
    ],
)
def test_bad_settings_are_errors_at_the_start(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        group_settings(configuration(kwargs), None)


def test_all_that_actors_must_agree_on() -> None:
    found = group_settings(configuration({"tests": "t.jsonl"}), None)
    assert (found.siblings, found.validation_siblings, found.run) == (8, 2, "e")
    assert found.config.generation.base_url is None
    assert found.dataset is not None
    assert found.dataset.columns == ()
    assert found.log is not None
    assert found.log.folder == "coderm_records"
    assert (found.log.loggers, found.log.project, found.log.groups_per_step) == (("wandb",), "p", 64)
    other = group_settings(configuration({"tests": "t.jsonl", "timeout": 2.0}), None)
    assert found.name(0) != found.name(1) != other.name(1)


def test_records_lie_beside_the_checkpoints() -> None:
    trainer = {"default_local_dir": "/out/checkpoints", "logger": "console"}
    found = group_settings(configuration({"tests": "t.jsonl"}, trainer=trainer), None)
    assert found.log is not None
    assert (found.log.folder, found.log.loggers) == ("/out/checkpoints/coderm", ())


def test_the_router_is_the_server_and_its_model_the_one_it_serves() -> None:
    config = configuration({})
    config["reward"]["reward_model"]["enable"] = True
    found = group_settings(config, "10.0.0.1:80")
    assert found.config.generation.base_url == "http://10.0.0.1:80/v1"
    assert found.config.generation.model == "/models/CodeRM-8B"
    assert is_batched(config)
    assert found.dataset is not None
    assert (found.dataset.train, found.dataset.validation) == (("a.parquet",), ("b.parquet",))
    config["reward"]["reward_model"]["enable_resource_pool"] = True
    assert not is_batched(config)
    streamed = group_settings(config, "10.0.0.1:80").dataset
    assert streamed is not None
    assert streamed.columns == ()  # verl hands them over


@pytest.mark.parametrize(
    ("drawn", "filtered", "expected"),
    [(None, False, 64), (64, False, 64), (96, False, None), (None, True, None)],
)
def test_groups_of_a_step_are_known_where_none_is_dropped(
    drawn: int | None, filtered: bool, expected: int | None
) -> None:
    data = {"train_files": "a.parquet", "val_files": [], "train_batch_size": 64, "gen_batch_size": drawn}
    algorithm = {"filter_groups": {"enable": filtered}}
    found = group_settings(configuration({"tests": "t.jsonl"}, data=data, algorithm=algorithm), None)
    assert found.log is not None
    assert found.log.groups_per_step == expected


def test_actors_have_one_name_wherever_a_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = {"default_local_dir": "checkpoints/p/e"}
    here = group_settings(configuration({"tests": "t.jsonl"}, trainer=trainer), None).name(0)
    monkeypatch.chdir(tmp_path)
    assert group_settings(configuration({"tests": "t.jsonl"}, trainer=trainer), None).name(0) == here


def test_the_offline_function_judges_by_the_ground_truth() -> None:
    truth = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]
    right, wrong = (f"```python\ndef add(a, b):\n    return a {sign} b\n```" for sign in "+-")
    assert compute_score_sync("mbpp", right, truth) == 1.0
    assert compute_score_sync("mbpp", wrong, truth) == 0.0
    assert compute_score_sync("mbpp", "I do not know.", truth) == 0.0
    # A prompt alone brings no tests: nobody is named who has or writes any.
    prompt = {"prompt": [{"role": "user", "content": "Write `add(a, b)`."}]}
    assert compute_score_sync("mbpp", right, truth, prompt) == 1.0
    with pytest.raises(InputError, match="neither a prompt"):
        compute_score_sync("gsm8k", right, "42")
