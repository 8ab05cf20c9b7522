"""The data preparation as it is called: files in, verl's Parquet out, one sentence for what is wrong."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coderm_reward.data.prepare_files import SCHEMA
from coderm_reward.integrations.verl_samples import sample_from_fields
from coderm_reward.online.gathering import key_of
from coderm_reward.online.truth import truth_suite
from coderm_reward.types import Problem

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "scripts" / "prepare_data.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows(count: int, word: str = "add") -> list[dict[str, Any]]:
    return [
        {
            "task_id": i,
            "question": f"Write a function `{word}{i}(a)`.",
            "tests": f"assert {word}{i}(1) == {i}",
        }
        for i in range(count)
    ]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_files_of_every_kind_become_two_splits(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(rows(10)) + lines(rows(2)) + "broken\n", "utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines(rows(5, "sub")).encode()))
    (tmp_path / "c.json").write_text(json.dumps({"data": rows(5, "mul")}), "utf-8")
    pq.write_table(pa.Table.from_pylist(rows(5, "div")), tmp_path / "d.parquet")
    sources = [tmp_path / name for name in ("a.jsonl", "b.jsonl.gz", "c.json", "d.parquet")]
    out = tmp_path / "out"
    done = run(*sources, "--out", out, "--test-size", "0.2", "--system", "Be brief.", "--json")
    assert done.returncode == 0, done.stderr

    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["rows_in"], summary["kept"], summary["train"], summary["test"]) == (28, 25, 20, 5)
    assert summary["dropped"]["has the prompt of an earlier row"] == 2
    assert sum(summary["dropped"].values()) == 3
    assert summary["tests"] == {"asserts": 25}
    assert "prompt and tests" in done.stderr

    tables = {name: pq.read_table(out / f"{name}.parquet") for name in ("train", "test")}
    assert all(table.schema.equals(SCHEMA) for table in tables.values())
    prompts = {
        name: {row["prompt"][1]["content"] for row in table.to_pylist()} for name, table in tables.items()
    }
    assert not prompts["train"] & prompts["test"]
    for name, table in tables.items():
        written = table.to_pylist()
        assert [row["extra_info"]["index"] for row in written] == list(range(len(written)))
        for row in written:
            assert row["extra_info"]["split"] == name
            assert row["data_source"] in "abcd"
            # What verl's own reward managers hand over is enough to know the prompt.
            alone = sample_from_fields({"extra_info": row["extra_info"]}, "")
            assert (
                key_of(alone).prompt == key_of(sample_from_fields({"raw_prompt": row["prompt"]}, "")).prompt
            )
            assert row["ability"] == "code"
            assert row["prompt"][0] == {"role": "system", "content": "Be brief."}
            problem = Problem("", row["prompt"][1]["content"], row["extra_info"]["entry_point"])
            suite = truth_suite(row["reward_model"]["ground_truth"], problem)
            assert suite is not None
            assert suite.tests[0].methods == ("test_assert_1",)
    assert sorted(path.name for path in out.iterdir()) == ["test.parquet", "train.parquet"]


def test_a_second_run_needs_overwrite_and_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(rows(10)), "utf-8")
    command = [tmp_path / "a.jsonl", "--out", tmp_path, "--test-size", "3", "--limit", "8"]
    assert run(*command).returncode == 0
    first = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("train", "test")]
    done = run(*command)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--overwrite" in done.stderr
    assert run(*command, "--overwrite").returncode == 0
    assert [(tmp_path / f"{name}.parquet").read_bytes() for name in ("train", "test")] == first
    assert [pq.read_table(tmp_path / f"{name}.parquet").num_rows for name in ("train", "test")] == [5, 3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jsonl"], "no file or directory"),
        (["a.jsonl", "--map", "prompt=nothing"], "no column 'nothing'"),
        (["a.jsonl", "--template", "no place"], "{question}"),
        (["a.jsonl", "--test-size", "10"], "--test-size 10"),
        (["numbers.json"], "list of objects"),
        (["broken.jsonl"], "no row that can be read"),
        (["empty.jsonl"], "is empty"),
        (["stdin.jsonl"], "1 asks for a program that reads stdin"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "a.jsonl").write_text(lines(rows(3)), "utf-8")
    (tmp_path / "numbers.json").write_text("[1, 2]", "utf-8")
    (tmp_path / "broken.jsonl").write_text("{\n", "utf-8")
    (tmp_path / "empty.jsonl").write_text("", "utf-8")
    case = {"question": "Sum?", "input_output": json.dumps({"inputs": ["1\n"], "outputs": ["1\n"]})}
    (tmp_path / "stdin.jsonl").write_text(lines([case]), "utf-8")
    done = run(tmp_path / arguments[0], *arguments[1:], "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "train.parquet").exists()


def test_a_dataset_of_the_hub_needs_its_library(tmp_path: Path) -> None:
    try:
        import datasets  # noqa: F401
    except ImportError:
        done = run("someone/some-set", "--out", tmp_path / "out")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "pip install datasets" in done.stderr
    else:
        pytest.skip("the library datasets is installed")


def test_the_real_problems_round_trip(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "humaneval-codegen16b" / "problems.jsonl.gz"
    done = run(source, "--out", tmp_path, "--test-size", "12", "--json")
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["kept"], summary["train"], summary["test"]) == (82, 70, 12)
    assert summary["tests"] == {"asserts": 82}
    for name in ("train", "test"):
        for row in pq.read_table(tmp_path / f"{name}.parquet").to_pylist():
            extra = row["extra_info"]
            assert f"def {extra['entry_point']}(" in extra["reference"]
            problem = Problem("", row["prompt"][0]["content"], extra["entry_point"])
            assert truth_suite(row["reward_model"]["ground_truth"], problem) is not None
