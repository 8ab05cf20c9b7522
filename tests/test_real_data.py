"""A slice of the real data through the real command: CodeGen-16B's rollouts on HumanEval problems."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coderm_reward.data.records import read_records

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
PROBLEMS = 6
ROLLOUTS = 12
RESPONSES = 6


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converter's files, cut down to a few problems with correct and wrong rollouts."""
    full, small = tmp_path_factory.mktemp("full"), tmp_path_factory.mktemp("small")
    run(sys.executable, ROOT / "scripts" / "humaneval_codegen16b.py", real_data, "--out", full)
    truth = {row["task_id"]: row["passed"][:ROLLOUTS] for row in rows(full / "truth.jsonl")}
    mixed = [task for task, passed in truth.items() if 3 <= sum(passed) <= ROLLOUTS - 3][:PROBLEMS]
    assert len(mixed) == PROBLEMS
    cuts = {"solutions": ROLLOUTS, "passed": ROLLOUTS, "unit_tests": RESPONSES, "responses": RESPONSES}
    for file in full.iterdir():
        kept = [row for row in rows(file) if row["task_id"] in mixed]
        for row in kept:
            row.update({name: row[name][:cut] for name, cut in cuts.items() if name in row})
        (small / file.name).write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    return small


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("tests", ["unit_tests.jsonl", "calibrated_tests.jsonl"])
def test_both_sets_score_and_tell_right_from_wrong(data: Path, tmp_path: Path, tests: str) -> None:
    scored = tmp_path / "scored.parquet"
    run(*COMMAND, "score", data / "solutions.jsonl", "--tests", data / tests, "--out", scored)
    records = list(read_records(tmp_path / "scored.groups.jsonl"))
    assert [len(record.rollouts) for record in records] == [ROLLOUTS] * PROBLEMS
    assert all(record.tests and not record.invalid for record in records)
    assert all(rollout.reward.infra_error == 0 for record in records for rollout in record.rollouts)

    table = json.loads(
        run(*COMMAND, "evaluate", scored, "--truth", data / "truth.jsonl", "--json").splitlines()[-1]
    )
    aucs = {row["aggregator"]: row["auc"] for row in table["aggregators"]}
    assert table["auc_groups"] == PROBLEMS
    assert min(aucs.values()) > (0.8 if tests.startswith("calibrated") else 0.5), aucs
