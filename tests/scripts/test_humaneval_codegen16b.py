"""The converter of the real data: files joined by task, in the forms that `score` and `evaluate` read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coderm_reward.data.dump import load_dump

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CODERM_DATA") or REPOSITORY.parent / "shared" / "data")


def convert(data: Path, out: Path) -> subprocess.CompletedProcess[str]:
    script = REPOSITORY / "scripts" / "humaneval_codegen16b.py"
    command = [sys.executable, str(script), str(data), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def packed(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_files_are_joined_by_task(tmp_path: Path) -> None:
    codegen, calibrated = tmp_path / "humaneval-codegen16b", tmp_path / "humaneval-coderm-calibrated"
    packed(
        codegen / "problems.jsonl.gz",
        {"task_id": "B", "question": "b?", "entry_point": "g", "canonical_solution": "secret"},
        {"task_id": "A", "question": "a?", "entry_point": "f", "canonical_solution": "secret"},
    )
    packed(
        codegen / "solutions.jsonl.gz",
        {"task_id": "A", "solutions": ["1"]},
        {"task_id": "B", "solutions": ["2"]},
    )
    packed(codegen / "truth.jsonl.gz", {"task_id": "A", "passed": [1]}, {"task_id": "B", "passed": [0]})
    packed(
        codegen / "unit_tests.jsonl.gz",
        {
            "task_id": "A",
            "unit_tests": [{"raw": "r", "unittest": "u", "asserts": ["assert f(1) == 2", "assert f(2)"]}],
            "n": 1,
        },
    )
    packed(calibrated / "unit_tests.jsonl.gz", {"task_id": "A", "responses": ["t"], "n": 1})

    assert convert(tmp_path, tmp_path / "out").returncode == 0

    out = tmp_path / "out"
    assert read(out / "solutions.jsonl") == [
        {"task_id": "A", "prompt": "a?", "entry_point": "f", "solutions": ["1"]},
        {"task_id": "B", "prompt": "b?", "entry_point": "g", "solutions": ["2"]},
    ]
    assert read(out / "truth.jsonl") == [{"task_id": "A", "passed": [1]}, {"task_id": "B", "passed": [0]}]
    assert read(out / "unit_tests.jsonl") == [{"task_id": "A", "unit_tests": [{"unittest": "u"}]}]
    split = read(out / "assertion_tests.jsonl")[0]["unit_tests"][0]["unittest"]
    assert [line for line in split.splitlines() if line.startswith("    ")] == [
        "    def test_00(self):",
        "        assert f(1) == 2",
        "    def test_01(self):",
        "        assert f(2)",
    ]
    assert read(out / "calibrated_tests.jsonl") == [{"task_id": "A", "responses": ["t"]}]
    assert read(out / "prompts.jsonl") == [
        {"task_id": "A", "prompt": "a?", "pass_rate": 1.0, "n": 1},
        {"task_id": "B", "prompt": "b?", "pass_rate": 0.0, "n": 1},
    ]


def test_missing_data_ends_in_one_sentence(tmp_path: Path) -> None:
    done = convert(tmp_path / "none", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "CODERM_DATA" in done.stderr


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not here (CODERM_DATA)")
def test_real_rollouts_load_without_a_column_map(tmp_path: Path) -> None:
    assert convert(DATA, tmp_path).returncode == 0
    dump = load_dump([tmp_path / "solutions.jsonl"])
    assert (len(dump.rows), len(dump.groups), len(dump.bad_rows)) == (8200, 82, 0)
    assert dump.groups[0].problem.entry_point == "has_close_elements"
