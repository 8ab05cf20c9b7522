"""A dump's column of pass rates: only where it is named, and numbers from 0 to 1."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coderm_reward.data.columns import ColumnMap
from coderm_reward.data.dump import load_dump

NAMED = ColumnMap.parse("pass_rate=rate")


def dump_of(folder: Path, *rates: object) -> list[Path]:
    path = folder / "dump.jsonl"
    rows = [{"prompt": "q", "response": "x = 1", "rate": rate, "pass_rate": "often"} for rate in rates]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [path]


def test_the_first_sibling_that_has_a_rate_speaks_for_the_prompt(tmp_path: Path) -> None:
    dump = load_dump(dump_of(tmp_path, None, 0.25, 1), NAMED)
    assert ([group.problem.pass_rate for group in dump.groups], dump.bad_rows) == ([0.25], [])


def test_a_column_that_nobody_named_is_not_read(tmp_path: Path) -> None:
    dump = load_dump(dump_of(tmp_path, 0.25))
    assert ([group.problem.pass_rate for group in dump.groups], dump.bad_rows) == ([None], [])


@pytest.mark.parametrize(
    ("rate", "shown"), [(-0.5, "-0.5"), (1.01, "1.01"), ("0.5", "text"), (True, "True"), ([0.5], "a list")]
)
def test_what_is_no_rate_is_a_bad_row(tmp_path: Path, rate: object, shown: str) -> None:
    dump = load_dump(dump_of(tmp_path, 0.5, rate), NAMED)
    assert [bad.reason for bad in dump.bad_rows] == [
        f"'rate' (the pass_rate) is {shown}, not a number from 0 to 1"
    ]
    assert len(dump.rows) == 1


def test_nan_is_no_rate_and_null_is_none(tmp_path: Path) -> None:
    rates = pa.array([0.5, float("nan"), None], from_pandas=False)
    table = pa.table({"prompt": ["a", "b", "c"], "response": ["x = 1"] * 3, "rate": rates})
    pq.write_table(table, tmp_path / "dump.parquet")
    dump = load_dump([tmp_path / "dump.parquet"], NAMED)
    assert [group.problem.pass_rate for group in dump.groups] == [0.5, None]
    assert "is nan, not a number" in dump.bad_rows[0].reason
