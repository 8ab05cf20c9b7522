"""The training recipes as scripts and settings; what verl makes of them is in test_recipes_in_verl.py."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from recipe_commands import (
    COLOCATED,
    DYNAMIC,
    EXTERNAL,
    FOLDER,
    RECIPES,
    REWARD_KWARGS,
    UNIFORM,
    Recipe,
    command,
    overrides,
    reward_kwargs,
    run,
    taken_down,
)

from coderm_reward.budget.choice import make_allocator, make_estimator
from coderm_reward.config import load_config
from coderm_reward.errors import ConfigError
from coderm_reward.training_config import TrainingConfig

SCRIPTS = sorted(FOLDER.glob("*/*.sh"))
recipes = pytest.mark.parametrize("recipe", RECIPES, ids=str)


def test_every_recipe_that_trains_is_tested_here() -> None:
    training = {path.parent.name for path in SCRIPTS if "verl.trainer.main_ppo" in path.read_text()}
    assert training == {recipe.folder for recipe in RECIPES}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_is_sane(script: Path) -> None:
    assert (
        subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False).stderr == ""
    )
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines


@recipes
def test_a_folder_has_a_script_settings_and_a_page(recipe: Recipe) -> None:
    assert (FOLDER / recipe.folder / "README.md").is_file()
    assert recipe.settings.is_file()


@recipes
def test_every_line_of_the_command_is_quoted_where_it_must_be(recipe: Recipe) -> None:
    text = (FOLDER / recipe.folder / "run.sh").read_text()
    body = text[text.index("exec python") :].splitlines()[1:]
    assert body[-1].strip() == '"$@"'
    for line in body[:-1]:
        assert re.fullmatch(
            r"    \+?[a-z_.]+=(\"[^\"]*\"|\"'\$\(realpath \"\$\w+\"\)'\"|'[^']*'|[\w.:/-]+) \\", line
        ), line


@recipes
def test_settings_load_and_name_a_budget_that_can_be_kept(recipe: Recipe, tmp_path: Path) -> None:
    kwargs = reward_kwargs(overrides(recipe, tmp_path))
    config = load_config(Path(kwargs.pop("config_path")), **kwargs)
    make_allocator(config.budget)
    make_estimator(config.budget)
    assert Path(str(config.training.records)).is_absolute()
    assert Path(config.generation.store).parent.is_dir()
    assert config.generation.template == "coderm"
    assert config.sandbox.workers is not None


@recipes
def test_the_settings_are_those_of_the_recipe(recipe: Recipe, tmp_path: Path) -> None:
    assert Path(reward_kwargs(overrides(recipe, tmp_path))["config_path"]) == recipe.settings


def test_a_misspelt_setting_of_the_reward_is_an_error(tmp_path: Path) -> None:
    given = overrides(COLOCATED, tmp_path, f"{REWARD_KWARGS}respones=4")
    kwargs = reward_kwargs(given)
    with pytest.raises(ConfigError, match="responses"):
        load_config(Path(kwargs.pop("config_path")), **kwargs)


@recipes
def test_what_is_appended_comes_last(recipe: Recipe, tmp_path: Path) -> None:
    assert overrides(recipe, tmp_path, "trainer.total_epochs=1", "a=b c")[-2:] == [
        "trainer.total_epochs=1",
        "a=b c",
    ]


@recipes
def test_nothing_is_set_twice(recipe: Recipe, tmp_path: Path) -> None:
    keys = [item.split("=", 1)[0] for item in overrides(recipe, tmp_path)]
    assert len(keys) == len(set(keys))


@recipes
@pytest.mark.parametrize("name", ["TRAIN_FILE", "VAL_FILE"])
def test_data_that_is_not_named_or_not_there_is_said_at_once(
    recipe: Recipe, name: str, tmp_path: Path
) -> None:
    script, arguments = FOLDER / recipe.folder / "run.sh", [recipe.arm] if recipe.arm else []
    (tmp_path / "here").touch()
    known = {"TRAIN_FILE": "here", "VAL_FILE": "here", "CODERM_URL": "http://host/v1"}
    unset = run(script, *arguments, scratch=tmp_path, **{key: known[key] for key in known if key != name})
    missing = run(script, *arguments, scratch=tmp_path, **(known | {name: "nowhere.parquet"}))
    assert (unset.returncode, missing.returncode) == (2, 2)
    assert f"{name} is not set" in unset.stderr
    assert f"{name}=nowhere.parquet is no file" in missing.stderr
    assert not (tmp_path / "taken_down").exists()


@recipes
def test_relative_files_and_local_models_become_absolute(recipe: Recipe, tmp_path: Path) -> None:
    for name in ("train.parquet", "val.parquet"):
        (tmp_path / name).touch()
    (tmp_path / "policy").mkdir()
    given = overrides(
        recipe, tmp_path, TRAIN_FILE="train.parquet", VAL_FILE="val.parquet", POLICY="policy", OUT="out"
    )
    assert f"data.train_files='{tmp_path}/train.parquet'" in given
    assert f"actor_rollout_ref.model.path='{tmp_path}/policy'" in given
    assert all(value.startswith(("/", "http")) for value in reward_kwargs(given).values())


def test_an_external_server_must_be_named(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    script = FOLDER / EXTERNAL.folder / "run.sh"
    done = run(script, scratch=tmp_path, TRAIN_FILE="here", VAL_FILE="here")
    assert done.returncode == 2
    assert "CODERM_URL is not set" in done.stderr


def test_the_url_reaches_the_settings(tmp_path: Path) -> None:
    kwargs = reward_kwargs(overrides(EXTERNAL, tmp_path, CODERM_URL="http://host:9/v1"))
    assert load_config(Path(kwargs.pop("config_path")), **kwargs).generation.base_url == "http://host:9/v1"


@pytest.mark.parametrize("arguments", [[], ["unifrom"], ["trainer.total_epochs=1"]])
def test_a_pair_needs_to_know_which_run(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    script = FOLDER / UNIFORM.folder / "run.sh"
    done = run(script, *arguments, scratch=tmp_path, TRAIN_FILE="here", VAL_FILE="here")
    assert done.returncode == 2
    assert "uniform or dynamic" in done.stderr


def test_the_pair_differs_in_the_budget_and_nowhere_else() -> None:
    trees = [msgspec.yaml.decode(recipe.settings.read_bytes()) for recipe in (UNIFORM, DYNAMIC)]
    budgets = [tree.pop("budget") for tree in trees]
    assert trees[0] == trees[1]
    assert budgets[0]["budget"] == budgets[1]["budget"] == trees[0]["generation"]["responses"]
    assert [budget["allocator"] for budget in budgets] == ["uniform", "price"]
    assert budgets[1]["difficulty"] == "history"


def test_the_commands_of_the_pair_differ_in_names_alone(tmp_path: Path) -> None:
    uniform, dynamic = (command(recipe, tmp_path) for recipe in (UNIFORM, DYNAMIC))
    assert uniform != dynamic
    assert [item.replace("uniform", "dynamic", 2) for item in uniform] == [
        item.replace("uniform_vs", "dynamic_vs") for item in dynamic
    ]


def test_the_server_is_what_the_settings_expect(tmp_path: Path) -> None:
    done = run(FOLDER / EXTERNAL.folder / "serve.sh", "--seed", "1", scratch=tmp_path, PORT="9", CARDS="4")
    assert done.returncode == 0, done.stderr
    given = taken_down(tmp_path)
    config = load_config(EXTERNAL.settings)
    assert given[:2] == ["serve", "KAKA22/CodeRM-8B"]
    option = dict(itertools.pairwise(given))
    assert option["--served-model-name"] == config.generation.model
    assert int(option["--max-model-len"]) == config.generation.context
    assert (option["--host"], option["--port"], option["--data-parallel-size"]) == ("127.0.0.1", "9", "4")
    assert given[-2:] == ["--seed", "1"]


def test_the_server_lets_nobody_in_without_a_key_and_never_shows_it(tmp_path: Path) -> None:
    script = FOLDER / EXTERNAL.folder / "serve.sh"
    refused = run(script, scratch=tmp_path, HOST="0.0.0.0")
    assert refused.returncode == 2
    assert "CODERM_API_KEY" in refused.stderr
    assert not (tmp_path / "taken_down").exists()
    run(script, scratch=tmp_path, HOST="0.0.0.0", CODERM_API_KEY="hunter2")
    assert "hunter2" not in " ".join(taken_down(tmp_path))
    assert "VLLM_API_KEY=hunter2" in (tmp_path / "taken_down.env").read_text().split("\0")


def test_the_page_names_every_setting_of_training_with_its_default() -> None:
    page = (FOLDER.parent / "docs" / "verl.md").read_text()
    table = page[page.index("## Settings of training") : page.index("Of the others")]
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|", table, re.M)[1:]
    named = [name for names, _ in rows for name in re.findall(r"`(\w+)`", names)]
    defaults = msgspec.structs.asdict(TrainingConfig())
    assert named == list(defaults)
    said = [value.replace(",", "").split() for _, value in rows if re.match(r"[\d., ]+$", value)]
    numbers = [value for value in defaults.values() if value is not None]
    assert [float(value) for values in said for value in values] == numbers
