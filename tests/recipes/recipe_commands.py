"""Recipes that train, and the commands that their scripts would run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "recipes"
REWARD_KWARGS = "+reward.custom_reward_function.reward_kwargs."


class Recipe(NamedTuple):
    """One training run that a recipe describes."""

    folder: str
    arm: str | None = None
    """The argument of run.sh that comes first, if it takes one."""

    @property
    def settings(self) -> Path:
        return FOLDER / self.folder / f"{self.arm or 'reward'}.yaml"

    def __str__(self) -> str:
        return self.folder if self.arm is None else f"{self.folder}-{self.arm}"


COLOCATED = Recipe("grpo_qwen2.5-coder-7b_8xh100")
STANDALONE = Recipe("grpo_qwen2.5-coder-7b_standalone")
PPO = Recipe("ppo_qwen2.5-coder-7b_8xh100")
EXTERNAL = Recipe("grpo_external_server")
UNIFORM = Recipe("uniform_vs_dynamic", "uniform")
DYNAMIC = Recipe("uniform_vs_dynamic", "dynamic")
RECIPES = (COLOCATED, STANDALONE, PPO, EXTERNAL, UNIFORM, DYNAMIC)

_TAKE_DOWN = '#!/usr/bin/env bash\nprintf "%s\\0" "$@" >"$TAKEN_DOWN"\nenv -0 >"$TAKEN_DOWN.env"\n'


def run(script: Path, *arguments: str, scratch: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a recipe's script where `python` and `vllm` only take down what they were asked."""
    programs = scratch / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("python", "vllm"):
        (programs / name).write_text(_TAKE_DOWN)
        (programs / name).chmod(0o755)
    known = {"PATH": f"{programs}:{os.environ['PATH']}", "TAKEN_DOWN": str(scratch / "taken_down")}
    return subprocess.run(
        [str(script), *arguments],
        env=known | environment,
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )


def taken_down(scratch: Path) -> list[str]:
    """Return the arguments of the program that the script started."""
    return (scratch / "taken_down").read_text().split("\0")[:-1]


def command(recipe: Recipe, scratch: Path, *more: str, **environment: str) -> list[str]:
    """Return what the recipe gives to python, with data in a folder whose name is hard to quote."""
    data = scratch / "a folder, of [data] = 1"
    data.mkdir(exist_ok=True)
    for name in ("train.parquet", "val.parquet"):
        (data / name).touch()
    known = {
        "TRAIN_FILE": str(data / "train.parquet"),
        "VAL_FILE": str(data / "val.parquet"),
        "OUT": str(scratch / "out, here"),
        "CODERM_URL": "http://model-server:8000/v1",
    }
    arguments = (recipe.arm, *more) if recipe.arm else more
    done = run(FOLDER / recipe.folder / "run.sh", *arguments, scratch=scratch, **(known | environment))
    assert done.returncode == 0, done.stderr
    return taken_down(scratch)


def overrides(recipe: Recipe, scratch: Path, *more: str, **environment: str) -> list[str]:
    """Return what the recipe overrides in verl's configuration."""
    head, module, *rest = command(recipe, scratch, *more, **environment)
    assert (head, module) == ("-m", "verl.trainer.main_ppo")
    return rest


def reward_kwargs(given: list[str]) -> dict[str, Any]:
    """Return what the overrides hand to the reward, without hydra's quotes."""
    found = (
        item.removeprefix(REWARD_KWARGS).split("=", 1) for item in given if item.startswith(REWARD_KWARGS)
    )
    return {key: value.strip("'") for key, value in found}
