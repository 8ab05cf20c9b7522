"""Every property of isolation at every level that claims it, and whether the suite itself can be trusted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coderm_sandbox.conformance import PROPERTIES, LevelReport, Property, Result, as_json, as_table
from coderm_sandbox.conformance.bystanders import Bystanders
from coderm_sandbox.conformance.trial import LIMITS, Trial
from coderm_sandbox.isolation import LEVELS

README = Path(__file__).parents[2] / "sandbox" / "README.md"
CLAIMS = [
    pytest.param(level, one, id=f"{level}-{one.id}")
    for level in LEVELS
    for one in PROPERTIES
    if level in one.levels
]


@pytest.fixture(scope="module")
def trials(make_sandbox: Callable[..., Any]) -> Iterator[Callable[[str], tuple[Any, Trial]]]:
    """One pool for each level, made when it is first asked for."""
    made: dict[str, tuple[Any, Trial]] = {}
    with Bystanders() as around:

        def at(level: str) -> tuple[Any, Trial]:
            if level not in made:
                sandbox = make_sandbox(isolation=level, limits=LIMITS)
                made[level] = sandbox, Trial(sandbox.pool, level, around)
            return made[level]

        yield at


@pytest.mark.parametrize(("level", "one"), CLAIMS)
def test_property(level: str, one: Property, trials: Callable[[str], tuple[Any, Trial]]) -> None:
    sandbox, trial = trials(level)
    seen = sandbox.do(one.check(trial))
    assert seen == ""


UNPROTECTED = """
import asyncio, json
from coderm_sandbox import SandboxPool
from coderm_sandbox.conformance import PROPERTIES
from coderm_sandbox.conformance.bystanders import Bystanders
from coderm_sandbox.conformance.trial import LIMITS, Trial
async def main():
    found = {}
    for one in PROPERTIES:
        if "none" not in one.levels:
            with Bystanders() as around:
                async with SandboxPool(workers=1, limits=LIMITS, isolation="none") as pool:
                    found[one.id] = await one.check(Trial(pool, "none", around))
    print(json.dumps(found))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def unprotected() -> dict[str, str]:
    """What each check sees where nothing protects. In a process of its own: one kills all below it."""
    done = subprocess.run(
        [sys.executable, "-c", UNPROTECTED], capture_output=True, text=True, timeout=120, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user may do less also where nothing protects")
@pytest.mark.parametrize("name", [one.id for one in PROPERTIES if "none" not in one.levels])
def test_a_check_fails_where_nothing_protects(name: str, unprotected: dict[str, str]) -> None:
    if name == "process-signals":
        pytest.skip("level none does not claim it, but the keeper's scope keeps signals in on this kernel")
    assert unprotected[name]


def test_the_table_of_the_readme_is_the_list() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| (.+?) \| (\w+|-) \| (\w+|-) \| (\w+|-) \|$", README.read_text(), re.M
    )
    listed = [
        (one.id, one.sentence, *("yes" if level in one.levels else "-" for level in LEVELS))
        for one in PROPERTIES
    ]
    assert rows == listed


def test_ids_are_unique_and_levels_exist() -> None:
    assert len({one.id for one in PROPERTIES}) == len(PROPERTIES)
    assert {level for one in PROPERTIES for level in one.levels} == set(LEVELS)


def test_a_stronger_level_claims_all_that_a_weaker_one_does() -> None:
    for one in PROPERTIES:
        assert one.levels == LEVELS[: len(one.levels)], one.id


REPORTS = [
    LevelReport("bubblewrap", False, "there is no bwrap"),
    LevelReport(
        "landlock", True, "landlock (ABI 7)", (Result("memory", "pass"), Result("ipc", "FAIL", "reached it"))
    ),
    LevelReport("none", True, "no isolation", (Result("memory", "pass"), Result("ipc", "not covered"))),
]


def test_a_failure_is_shown_with_what_was_seen() -> None:
    lines = as_table(REPORTS).splitlines()
    assert lines[0].split() == ["property", "bubblewrap", "landlock", "none"]
    assert next(line for line in lines if line.startswith("ipc")).split() == [
        "ipc",
        "-",
        "FAIL",
        "not",
        "covered",
    ]
    assert "bubblewrap: not available: there is no bwrap" in lines
    sentence = next(one.sentence for one in PROPERTIES if one.id == "ipc")
    assert lines[-1] == f"FAIL landlock ipc ({sentence}): reached it"


def test_only_a_failure_is_not_ok() -> None:
    assert as_json(REPORTS)["ok"] is False
    assert as_json([REPORTS[0], REPORTS[2]])["ok"] is True
    assert as_json(REPORTS)["levels"]["landlock"]["properties"]["ipc"] == {
        "result": "FAIL",
        "detail": "reached it",
    }


def check(*options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "coderm_sandbox", "check", *options]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_prints_the_table_and_the_object() -> None:
    done = check("--isolation", "none", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ok"] is True
    results = {name: one["result"] for name, one in found["levels"]["none"]["properties"].items()}
    assert results == {one.id: "pass" if "none" in one.levels else "not covered" for one in PROPERTIES}
    assert done.stdout.splitlines()[0].split() == ["property", "none"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--isolation", "docker"], 2, "landlock"),
        (["--isolation", "auto"], 2, "bubblewrap"),
        (["--python", "/nowhere/python"], 3, "does not run"),
        (["surplus"], 2, "surplus"),
    ],
)
def test_options_that_make_no_sense(options: list[str], code: int, words: str) -> None:
    done = check(*options)
    assert done.returncode == code
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
