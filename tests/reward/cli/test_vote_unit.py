"""--vote-unit assertion, as a user gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coderm_reward.data.records import read_records

COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
PROMPT = "Write a function `double(x)` that doubles a number."
RESPONSES = [
    "```python\ndef double(x):\n    return 2 * x\n```",
    "```python\ndef double(x):\n    return x ** 2\n```",
    "```python\ndef double(x):\n    return x\n```",
]
TEST = (
    "```python\nimport unittest\n\nclass TestDouble(unittest.TestCase):\n"
    "    def test_all(self):\n        assert double(1) == 2\n        assert double(2) == 4\n"
    "        self.assertEqual(double(0), 0)\n        self.assertEqual(double(3), 6)\n```"
)


def coderm(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scored twice: `soft.jsonl` by assertions, `hard.jsonl` by methods."""
    place = tmp_path_factory.mktemp("votes")
    rows = [{"prompt": PROMPT, "response": response} for response in RESPONSES]
    (place / "dump.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "tests.jsonl").write_text(json.dumps({"prompt": PROMPT, "responses": [TEST]}) + "\n")
    (place / "truth.jsonl").write_text(json.dumps({"prompt": PROMPT, "passed": [1, 0, 0]}) + "\n")
    for name, unit in (("soft", "assertion"), ("hard", "method")):
        command = ("score", "dump.jsonl", "--tests", "tests.jsonl", "--out", f"{name}.jsonl")
        done = coderm(place, *command, "--vote-unit", unit)
        assert done.returncode == 0, done.stderr
        (place / f"{name}.txt").write_text(done.stdout)
    return place


def scores(folder: Path, name: str) -> list[float]:
    return [json.loads(line)["coderm_score"] for line in (folder / name).read_text().splitlines()]


def test_the_reward_is_the_share_of_assertions_passed(folder: Path) -> None:
    assert scores(folder, "soft.jsonl") == [1.0, 0.5, 0.25]
    assert scores(folder, "hard.jsonl") == [1.0, 0.0, 0.0]
    assert "assertion verdicts" in (folder / "soft.txt").read_text()
    assert "assertion verdicts" not in (folder / "hard.txt").read_text()


def test_records_hold_the_votes_beside_the_same_verdicts(folder: Path) -> None:
    (soft,) = read_records(folder / "soft.groups.jsonl")
    (hard,) = read_records(folder / "hard.groups.jsonl")
    assert [r.assertions for r in soft.rollouts] == ["PPPP", "FPPF", "FFPF"]
    assert [r.assertions for r in hard.rollouts] == [None] * 3
    assert [(r.classes, r.methods) for r in soft.rollouts] == [(r.classes, r.methods) for r in hard.rollouts]
    assert hard.matrix().assertion_verdicts is None
    matrix = soft.matrix()
    assert matrix.assertion_method is not None
    assert matrix.assertion_method.tolist() == [0, 0, 0, 0]


def test_evaluate_works_on_records_that_have_them(folder: Path) -> None:
    command = ("evaluate", "soft.jsonl", "--truth", "truth.jsonl", "--json")
    assertion, method = (
        json.loads(coderm(folder, *command, *options).stdout.splitlines()[-1])
        for options in ((), ("--vote-unit", "method"))
    )
    assert (assertion["vote_unit"], assertion["assertion_pairs"]) == ("assertion", 12.0)
    assert (method["vote_unit"], method["assertion_tests"]) == ("method", None)
    assert assertion["method_tests"] == method["method_tests"]


def test_evaluate_says_so_where_records_have_none(folder: Path) -> None:
    done = coderm(folder, "evaluate", "hard.jsonl", "--truth", "truth.jsonl", "--vote-unit", "assertion")
    assert done.returncode == 2
    assert "score the rollouts again with --vote-unit assertion" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_tests_of_such_records_can_be_scored_by_methods_again(folder: Path) -> None:
    command = ("score", "dump.jsonl", "--tests", "soft.groups.jsonl", "--out", "again.jsonl")
    assert coderm(folder, *command).returncode == 0
    assert scores(folder, "again.jsonl") == [1.0, 0.0, 0.0]
    (again,) = read_records(folder / "again.groups.jsonl")
    assert again.tests[0].votes == ()
