"""Decisions about the whole package, kept as small tests."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import coderm_reward
import coderm_sandbox

ROOT = Path(coderm_reward.__file__).parent
HEAVY = {"torch", "vllm", "ray", "verl", "transformers"}
MODULES = [
    module.name
    for package in (coderm_reward, coderm_sandbox)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")
]


def test_importing_the_package_loads_no_heavy_framework() -> None:
    code = "import coderm_reward, coderm_reward.cli.app, coderm_sandbox, sys; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & {name.split(".")[0] for name in loaded.splitlines()}


def test_importing_the_package_itself_is_light() -> None:
    code = "import coderm_reward, sys; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names = {name.split(".")[0] for name in loaded.splitlines()}
    assert not {"matplotlib", "pyarrow", "jinja2", "rich"} & names


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_exists(name: str) -> None:
    module = importlib.import_module(name)
    assert [n for n in getattr(module, "__all__", []) if not hasattr(module, n)] == []


def test_the_sandbox_needs_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import coderm_sandbox, coderm_sandbox.host; "
        "print('\\n'.join(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    foreign = {name.split(".")[0] for name in loaded.splitlines()} - set(sys.stdlib_module_names)
    assert foreign == {"coderm_sandbox"}


def test_modules_stay_readable_in_one_sitting() -> None:
    sizes = {
        path.relative_to(ROOT.parent): len(path.read_text("utf-8").splitlines())
        for folder in (ROOT, Path(coderm_sandbox.__file__).parent)
        for path in folder.rglob("*.py")
    }
    assert {path: lines for path, lines in sizes.items() if lines > 320} == {}
