"""The main job, as a user runs it: dump and tests in, rewards, sidecar and report out, all for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coderm_reward.data.records import GroupRecord, read_records
from coderm_reward.types import RewardOutput, Verdict

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "offline_scoring"
COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
TIMING = {"coderm_gen_seconds", "coderm_exec_seconds"}


def coderm(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def score_recipe(folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    tests = RECIPE / "unit_tests.jsonl"
    return coderm("score", RECIPE / "dump", "--tests", tests, "--out", folder / "scored.parquet", *options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


class Scored:
    """The recipe, scored once for all tests of this module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "scored.parquet"
        self.process = score_recipe(
            folder, "--report", folder / "report.html", "--out", folder / "scored.jsonl"
        )
        assert self.process.returncode == 0, self.process.stderr
        self.rows = pq.read_table(self.out).to_pylist()
        self.records = list(read_records(folder / "scored.groups.jsonl"))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    return Scored(tmp_path_factory.mktemp("scored"))


def hidden(records: Sequence[GroupRecord]) -> dict[int, bool]:
    """Global row -> truth of the example data."""
    truth: dict[int, bool] = {}
    for row in lines(RECIPE / "truth.jsonl"):
        rows = sorted(
            r.row for record in records if record.question == row["prompt"] for r in record.rollouts
        )
        truth.update(zip(rows, map(bool, row["passed"]), strict=True))
    return truth


def test_every_input_row_and_column_comes_back_in_order(scored: Scored) -> None:
    given = lines(RECIPE / "dump" / "1.jsonl") + lines(RECIPE / "dump" / "2.jsonl")
    assert [{k: v for k, v in row.items() if not k.startswith("coderm_")} for row in scored.rows] == given
    ours = {f"coderm_{name}" for name in RewardOutput.__struct_fields__}
    assert all(ours <= row.keys() for row in scored.rows)
    assert lines(scored.folder / "scored.jsonl") == scored.rows


def test_groups_are_prompt_and_step(scored: Scored) -> None:
    assert [len(record.rollouts) for record in scored.records] == [8] * 15
    assert [record.step for record in scored.records] == ["1"] * 7 + ["2"] * 8
    assert len({record.prompt_hash for record in scored.records}) == 14
    twice = [r for r in scored.records if sum(r.prompt_hash == o.prompt_hash for o in scored.records) == 2]
    assert twice[0].tests == twice[1].tests


def test_rewards_follow_the_hidden_truth(scored: Scored) -> None:
    """A right rollout passes the right test methods and no wrong one; a wrong one fails a right one."""
    truth = hidden(scored.records)
    wrong_tests = {
        row["prompt"]: {(response, method) for response, method in row["wrong"]}
        for row in lines(RECIPE / "wrong_tests.jsonl")
    }
    seen = 0
    for record in scored.records:
        columns = [(test.response, method) for test in record.tests for method in test.methods]
        right = [column not in wrong_tests[record.question] for column in columns]
        for rollout in record.rollouts:
            passed = [letter == Verdict.PASS.letter for letter in rollout.methods]
            if truth[rollout.row]:
                assert passed == right, (record.entry_point, rollout.row)
            elif rollout.status == "ok":
                assert not all(p for p, r in zip(passed, right, strict=True) if r), (
                    record.entry_point,
                    rollout.row,
                )
            seen += 1
    assert seen == 120


def test_no_code_scores_zero_and_endless_loops_time_out(scored: Scored) -> None:
    no_code = [row for row in scored.rows if row["coderm_no_code"]]
    assert len(no_code) == 4
    assert {row["coderm_score"] for row in no_code} == {0.0}
    assert sum(row["coderm_timeout_rate"] > 0 for row in scored.rows) == 3
    assert {row["coderm_infra_error"] for row in scored.rows} == {0.0}


def test_the_table_and_the_report_are_there(scored: Scored) -> None:
    for name in (
        "rollouts",
        "groups",
        "tests parsed",
        "dropped in parsing",
        "mean reward",
        "class verdicts",
        "timeouts",
    ):
        assert name in scored.process.stdout
    page = (scored.folder / "report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "longest_rise" in page


def test_scoring_again_gives_the_same_rewards(scored: Scored, tmp_path: Path) -> None:
    assert score_recipe(tmp_path, "--workers", 1).returncode == 0
    again = pq.read_table(tmp_path / "scored.parquet").to_pylist()
    assert [without_timing(row) for row in again] == [without_timing(row) for row in scored.rows]


def without_timing(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMING}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on_and_ends_the_same(scored: Scored, tmp_path: Path, number: int) -> None:
    arguments = [
        "score",
        RECIPE / "dump",
        "--tests",
        RECIPE / "unit_tests.jsonl",
        "--out",
        tmp_path / "scored.parquet",
    ]
    part = tmp_path / "scored.groups.jsonl.part"
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--workers", "1"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (part.exists() and part.read_bytes().count(b"\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, number)
    said = process.communicate(timeout=60)[1]
    done = part.read_bytes().count(b"\n")
    assert 2 <= done < 15
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), said
    assert number == signal.SIGKILL or "--resume" in said

    refused = score_recipe(tmp_path)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    resumed = score_recipe(tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{done} of 15 groups are recorded already" in resumed.stderr
    assert not part.exists()
    rows = pq.read_table(tmp_path / "scored.parquet").to_pylist()
    assert [without_timing(row) for row in rows] == [without_timing(row) for row in scored.rows]


def test_resume_with_other_settings_is_refused(scored: Scored, tmp_path: Path) -> None:
    (tmp_path / "scored.groups.jsonl").write_bytes((scored.folder / "scored.groups.jsonl").read_bytes())
    refused = score_recipe(tmp_path, "--resume", "--aggregator", "combined")
    assert refused.returncode == 2
    assert "other settings" in refused.stderr


def test_a_scored_file_can_be_evaluated_and_reported(scored: Scored, tmp_path: Path) -> None:
    evaluated = coderm("evaluate", scored.out, "--truth", RECIPE / "truth.jsonl", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    table = json.loads(evaluated.stdout.splitlines()[-1])
    assert table["groups"] == 15
    assert {row["aggregator"] for row in table["aggregators"]} == {
        "majority",
        "majority_consensus",
        "dual_agreement",
        "combined",
        "bayes",
    }
    majority = table["aggregators"][0]
    assert table["random_pick"] < majority["best_of_n"] <= table["oracle"] == 1.0
    assert majority["auc"] > 0.9

    again = coderm("report", scored.out, "--out", tmp_path / "again.html")
    assert again.returncode == 0, again.stderr
    assert "longest_rise" in (tmp_path / "again.html").read_text("utf-8")


def test_an_earlier_runs_records_serve_as_tests(scored: Scored, tmp_path: Path) -> None:
    sidecar = scored.folder / "scored.groups.jsonl"
    rescored = coderm(
        "score",
        RECIPE / "dump",
        "--tests",
        sidecar,
        "--out",
        tmp_path / "scored.parquet",
        "--vote-unit",
        "class",
    )
    assert rescored.returncode == 0, rescored.stderr
    rows = pq.read_table(tmp_path / "scored.parquet").to_pylist()
    assert {row["coderm_tests_planned"] for row in rows} != {
        row["coderm_tests_planned"] for row in scored.rows
    }


def test_no_process_and_no_file_stays_behind(scored: Scored) -> None:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(scored.folder) not in listed
    assert {path.name for path in scored.folder.iterdir()} == {
        "scored.parquet",
        "scored.jsonl",
        "scored.groups.jsonl",
        "report.html",
    }


def test_the_example_can_be_ablated(scored: Scored, tmp_path: Path) -> None:
    done = coderm(
        *("ablate", scored.out, "--truth", RECIPE / "truth.jsonl", "--budgets", "1,4", "--json"),
        *("--draws", 4, "--replicates", 50, "--report", tmp_path / "a.html"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["groups"], result["rollouts"], result["all_wrong_groups"]) == (15, 4, 0)
    uniform = [cell for cell in result["cells"] if cell["policy"] == "uniform"]
    assert [cell["aggregator"] for cell in uniform] == ["majority"] * 2 + ["bayes"] * 2
    few, more = (cell["figures"]["auc"]["value"] for cell in uniform[:2])
    assert 0.5 < few < more
    assert (tmp_path / "a.html").stat().st_size > 10_000
