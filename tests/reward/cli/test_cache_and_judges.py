"""--verdict-cache and --exclude-judge, as a user gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coderm_reward.data.records import GroupRecord, read_records

COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
PROMPT = "Write a function `double(x)` that doubles a number."
RESPONSES = [
    "```python\ndef double(x):\n    return 2 * x\n```",
    "```python\n# twice\ndef double(x):\n    return 2*x\n```",
    "```python\ndef double(x):\n    return x\n```",
]
TEST = (
    "```python\nimport unittest\n\nclass TestDouble(unittest.TestCase):\n"
    "    def test_two(self):\n        self.assertEqual(double(2), 4)\n```"
)


def coderm(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"prompt": PROMPT, "response": response} for response in RESPONSES]
    (tmp_path / "dump.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tests.jsonl").write_text(json.dumps({"prompt": PROMPT, "responses": [TEST]}) + "\n")
    passed = {"prompt": PROMPT, "passed": [1, 1, 0]}
    (tmp_path / "truth.jsonl").write_text(json.dumps(passed) + "\n")
    return tmp_path


def score(folder: Path, out: str, *options: object) -> subprocess.CompletedProcess[str]:
    return coderm(folder, "score", "dump.jsonl", "--tests", "tests.jsonl", "--out", out, *options)


def record(folder: Path, out: str) -> GroupRecord:
    (found,) = read_records(folder / out.replace(".jsonl", ".groups.jsonl"))
    return found


def scores(folder: Path, out: str) -> list[float]:
    return [json.loads(line)["coderm_score"] for line in (folder / out).read_text().splitlines()]


def table_row(done: subprocess.CompletedProcess[str], name: str) -> str:
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.splitlines()]
    (value,) = [row[1] for row in cells if row[0] == name]
    return value


def test_a_cache_file_serves_the_next_run(folder: Path) -> None:
    first = score(folder, "a.jsonl", "--verdict-cache", "verdicts.db")
    second = score(folder, "b.jsonl", "--verdict-cache", "verdicts.db")
    assert table_row(first, "pairs asked") == "3, of which 2 distinct (33.3% saved)"
    assert table_row(first, "verdict cache") == "0 hits (0.0% of the distinct pairs)"
    assert table_row(second, "verdict cache") == "2 hits (100.0% of the distinct pairs)"
    assert table_row(second, "pairs run") == "0"
    assert scores(folder, "a.jsonl") == scores(folder, "b.jsonl") == [1.0, 1.0, 0.0]
    assert (record(folder, "b.jsonl").stats.cache_hits, record(folder, "b.jsonl").stats.pairs_run) == (2, 0)
    assert record(folder, "a.jsonl").settings == record(folder, "b.jsonl").settings


def test_off_runs_everything_and_leaves_no_file(folder: Path) -> None:
    done = score(folder, "a.jsonl", "--verdict-cache", "off")
    assert table_row(done, "pairs run") == "2"
    assert not (folder / "off").exists()


def test_every_judge_is_counted(folder: Path) -> None:
    shares = table_row(score(folder, "a.jsonl"), "judges")
    counted = dict(part.split(" ")[:2] for part in shares.split(", "))
    assert list(counted) == ["apart", "handle", "inline"]
    assert sum(map(int, counted.values())) == 3


def test_excluded_judges_can_be_chosen_again_without_a_new_run(folder: Path) -> None:
    score(folder, "a.jsonl", "--exclude-judge", "handle", "--exclude-judge", "inline")
    scored = record(folder, "a.jsonl")
    assert scored.config.scoring.exclude_judges == ("handle", "inline")
    assert {rollout.reward.infra_error for rollout in scored.rollouts} == {0.0}

    def evaluated(*options: str) -> Any:
        done = coderm(folder, "evaluate", "a.jsonl", "--truth", "truth.jsonl", "--json", *options)
        return json.loads(done.stdout.splitlines()[-1])

    trusted = sum(judge == "A" for rollout in scored.rollouts for judge in rollout.judges)
    assert (evaluated()["exclude_judges"], evaluated()["class_pairs"]) == (["handle", "inline"], trusted)
    again = evaluated("--exclude-judge", "none")
    assert (again["exclude_judges"], again["class_pairs"]) == ([], 3.0)
