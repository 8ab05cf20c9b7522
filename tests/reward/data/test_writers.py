"""The scored file: the input's columns kept, ours beside them, whole or not at all."""

from __future__ import annotations

import datetime
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.data.dump import Dump, load_dump
from coderm_reward.data.writers import check_writable, write_scored
from coderm_reward.errors import OutputError
from coderm_reward.types import RewardOutput

FIELDS = RewardOutput.__struct_fields__
ALL_OUTPUTS = pytest.mark.parametrize("name", ["o.parquet", "o.jsonl", "o.jsonl.gz"])


def reward(score: float) -> RewardOutput:
    return RewardOutput(*[score if field == "score" else 0.0 for field in FIELDS])


def dump_of(folder: Path, *rows: dict[str, Any]) -> Dump:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps({"prompt": "P", "response": "a", **row}) + "\n" for row in rows))
    return load_dump([path])


def write(path: Path, dump: Dump) -> list[str]:
    rewards = {row.index: reward(row.index / 8) for row in dump.rows}
    return write_scored(path, dump.rows, rewards, dump.column_types)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode("utf-8").split("\n")[:-1]]


@ALL_OUTPUTS
def test_input_columns_are_kept_and_ours_added_in_input_order(tmp_path: Path, name: str) -> None:
    dump = dump_of(tmp_path, {"prompt": "Q", "n": 1}, {"n": 2}, {"prompt": "Q", "n": 3})
    assert write(tmp_path / name, dump) == []
    rows = read(tmp_path / name)
    assert [(row["prompt"], row["n"], row["coderm_score"]) for row in rows] == [
        ("Q", 1, 0.0),
        ("P", 2, 0.125),
        ("Q", 3, 0.25),
    ]
    ours = [f"coderm_{field}" for field in FIELDS] + ["coderm_group", "coderm_prompt_hash"]
    assert list(rows[0]) == ["prompt", "response", "n", *ours]
    assert [row["coderm_group"] for row in rows] == [row.group for row in dump.rows]
    assert [row["coderm_prompt_hash"] for row in rows] == [row.prompt_hash for row in dump.rows]


@ALL_OUTPUTS
def test_list_rows_give_one_row_per_rollout(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"prompt": "P", "solutions": ["a", "b"], "k": [1, 2]}))
    write(tmp_path / name, load_dump([path]))
    assert [(row["solutions"], row["k"]) for row in read(tmp_path / name)] == [("a", [1, 2]), ("b", [1, 2])]


@ALL_OUTPUTS
def test_scored_file_can_be_scored_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"task_id": "T", "prompt": "P", "solutions": ["a", "b"], "mixed": 1}))
    write(tmp_path / name, load_dump([path]))
    first = read(tmp_path / name)
    again = load_dump([tmp_path / name])
    notes = write(tmp_path / name, again)
    assert "the input's column coderm_score is replaced by ours" in notes
    second = read(tmp_path / name)
    assert [list(row) for row in second] == [list(row) for row in first]
    assert [len(group.rollouts) for group in again.groups] == [2]


def test_parquet_types_are_kept(tmp_path: Path) -> None:
    table = pa.table(
        {
            "prompt": pa.array(["P", "P"], pa.large_string()),
            "response": pa.array(["a", "b"]).dictionary_encode(),
            "n": pa.array([1, None], pa.int8()),
            "t": pa.array([1_700_000_000_000_000_001, None], pa.timestamp("ns", "UTC")),
            "d": pa.array([datetime.date(2026, 1, 2), None]),
            "b": pa.array([b"\xff", None]),
            "s": pa.array(
                [{"index": 1, "x": None}, None], pa.struct({"index": pa.int32(), "x": pa.string()})
            ),
            "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "empty": pa.array([None, None], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    assert write(tmp_path / "o.parquet", load_dump([tmp_path / "in.parquet"])) == []
    written = pq.read_table(tmp_path / "o.parquet").select(table.column_names)
    assert written.schema.equals(table.schema)
    assert written.equals(table)


def test_list_column_of_parquet_becomes_a_column_of_its_elements(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["P"], "responses": pa.array([["a", "b"]], pa.list_(pa.large_string()))})
    pq.write_table(table, tmp_path / "in.parquet")
    write(tmp_path / "o.parquet", load_dump([tmp_path / "in.parquet"]))
    assert pq.read_schema(tmp_path / "o.parquet").field("responses").type == pa.large_string()


@pytest.mark.parametrize(
    "values",
    [
        ("4", ["4", "5"]),
        (1, True),
        (1, "x"),
        ({"a": 1}, {"a": "x"}),
        ({"a": {}}, None),
        (2**70, 1),
        ({f"k{i}": i for i in range(300)}, None),
    ],
)
def test_column_without_a_common_type_is_stored_as_json_text(tmp_path: Path, values: tuple[Any, Any]) -> None:
    dump = dump_of(tmp_path, *({"gts": value} for value in values))
    assert write(tmp_path / "o.parquet", dump) == [
        "column gts is stored as JSON text: its values have no common type"
    ]
    stored = [row["gts"] for row in read(tmp_path / "o.parquet")]
    assert [None if value is None else json.loads(value) for value in stored] == list(values)


def test_column_of_some_rows_is_null_elsewhere_in_parquet_and_absent_in_json(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, {"acc": 1.0}, {})
    write(tmp_path / "o.parquet", dump)
    write(tmp_path / "o.jsonl", dump)
    assert [row["acc"] for row in read(tmp_path / "o.parquet")] == [1.0, None]
    assert ["acc" in row for row in read(tmp_path / "o.jsonl")] == [True, False]


@ALL_OUTPUTS
def test_nan_is_kept(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, dump_of(tmp_path, {"x": math.nan}))
    assert math.isnan(read(tmp_path / name)[0]["x"])


def test_more_rows_than_one_chunk(tmp_path: Path) -> None:
    late = [{"n": i if i < 9000 else None} for i in range(9001)]
    write(tmp_path / "o.parquet", dump_of(tmp_path, *late))
    assert [row["n"] for row in read(tmp_path / "o.parquet")] == [row["n"] for row in late]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(values=st.lists(JSON, min_size=1, max_size=4))
def test_any_json_column_can_be_written(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("any")
    dump = dump_of(folder, *({"x": value} for value in values))
    write(folder / "o.parquet", dump)
    write(folder / "o.jsonl", dump)
    assert len(read(folder / "o.parquet")) == len(values)
    assert [row["x"] for row in read(folder / "o.jsonl")] == values


@ALL_OUTPUTS
def test_equal_rows_give_equal_files(tmp_path: Path, name: str) -> None:
    dump = dump_of(tmp_path, {"n": 1})
    write(tmp_path / name, dump)
    first = (tmp_path / name).read_bytes()
    write(tmp_path / name, dump)
    assert (tmp_path / name).read_bytes() == first


@ALL_OUTPUTS
def test_missing_folders_are_made_and_nothing_else_is_left(tmp_path: Path, name: str) -> None:
    out = tmp_path / "new" / "deep" / name
    write(out, dump_of(tmp_path, {}))
    assert [p.name for p in out.parent.iterdir()] == [name]


def test_missing_reward_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, {}, {})
    out = tmp_path / "o.jsonl"
    out.write_text("old")
    with pytest.raises(OutputError, match="1 of 2 rollouts have no reward"):
        write_scored(out, dump.rows, {0: reward(1.0)})
    assert out.read_text() == "old"


def _extension(folder: Path) -> Path:
    return folder / "o.csv"


def _directory(folder: Path) -> Path:
    (folder / "o.jsonl").mkdir()
    return folder / "o.jsonl"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "o.jsonl"


def _no_folder_can_be_made(folder: Path) -> Path:
    return Path("/proc/none/o.jsonl")


def _name_too_long(folder: Path) -> Path:
    return folder / ("o" * 300 + ".jsonl")


@pytest.mark.parametrize(
    "place", [_extension, _directory, _below_a_file, _no_folder_can_be_made, _name_too_long]
)
def test_unwritable_place_is_known_before_and_at_writing(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    out = place(tmp_path)
    with pytest.raises(OutputError):
        check_writable(out)
    dump = dump_of(tmp_path, {})
    with pytest.raises(OutputError):
        write(out, dump)


def test_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "o.parquet")
    assert list((tmp_path / "new").iterdir()) == []
