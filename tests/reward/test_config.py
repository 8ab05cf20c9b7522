"""Settings: one loader, unknown keys are errors, and every message says what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.errors import ConfigError


def test_sections_and_flat_names_reach_the_same_setting(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("sandbox: {timeout: 1.5}\nscoring: {aggregator: combined}\n")
    assert load_config(file) == load_config(timeout=1.5, aggregator="combined")


def test_options_win_over_the_file_and_none_is_no_option() -> None:
    config = load_config({"scoring": {"shape": "binary"}, "timeout": 1.0}, shape="fraction", timeout=None)
    assert config.scoring.shape == "fraction"
    assert config.sandbox.timeout == 1.0


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("")
    assert load_config(file) == RewardConfig()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timout": 1}, "did you mean 'timeout'"),
        ({"sandbox": {"aggregator": "majority"}}, "sandbox.aggregator"),
        ({"scoring": {"agregator": "x"}}, "did you mean 'aggregator'"),
        ({"quux": 1}, "known are: sandbox"),
        ({"aggregator": "mean"}, "choose one of majority, majority_consensus, dual_agreement, combined"),
        ({"neutral": "zero"}, "choose one of group_mean, a number"),
        ({"timeout": 0}, "expected float > 0.0"),
        ({"memory": -1}, "expected int >= 1"),
        ({"neutral": float("nan")}, "finite"),
        ({"timeout": float("inf")}, "finite"),
        ({"workers": "many"}, "expected int"),
        ({"sandbox": 3}, "must be a mapping"),
        ({"exclude_judges": ["apart"]}, "give a list of handle, inline"),
        ({"exclude_judges": "inline"}, "give a list of handle, inline"),
        ({"verdict_cache": False}, "expected str"),
        ({"responses": 0}, "expected int >= 1"),
        ({"choices_per_request": 5}, "expected int <= 4"),
        ({"engine": "tgi"}, "choose one of vllm"),
        ({"screen": ["syntax"]}, "give a list of imports, network, files, reference"),
        ({"max_tokens": 4096}, "max_tokens 4096 leaves no room for a prompt in a context of 4096"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_the_fix(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(settings)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    listed = tmp_path / "list.yaml"
    listed.write_text("- 1\n")
    for path, said in [
        (tmp_path / "none.yaml", "does not exist"),
        (broken, "is not YAML"),
        (listed, "mapping"),
    ]:
        with pytest.raises(ConfigError, match=said):
            load_config(path)


def test_the_fingerprint_changes_with_what_decides_a_reward_and_not_with_the_workers() -> None:
    base = load_config().fingerprint()
    assert load_config(workers=7).fingerprint() == base
    assert load_config(verdict_cache="off").fingerprint() == base
    assert load_config(exclude_judges=["inline"]).fingerprint() != base
    assert load_config(timeout=2.0).fingerprint() != base
    assert load_config(shape="binary").fingerprint() != base
    assert load_config(exclude_own_tests=True).fingerprint() != base
    assert load_config({"screen": []}).fingerprint() != base
    assert (
        load_config(model="gpt", temperature=0.1, store="s.db").fingerprint() == base
    )  # the generator's own


def test_excluded_judges_are_a_set_in_one_order() -> None:
    config = load_config(exclude_judges=["inline", "handle", "inline"])
    assert config.scoring.exclude_judges == ("handle", "inline")
    assert config == load_config(exclude_judges=("handle", "inline"))
