"""Which files are read, and what a damaged one gives."""

from __future__ import annotations

import datetime
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.data.files import BadRow, RawRow, expand_inputs, list_directory, parquet_types, read_rows
from coderm_reward.data.json_rows import json_text, parse_row
from coderm_reward.errors import InputError

ROW = b'{"a": 1}\n'


def rows_of(path: Path) -> list[RawRow | BadRow]:
    (file,) = expand_inputs([path])
    return list(read_rows(file))


def written(path: Path, data: bytes = ROW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_directory_is_read_by_step_number(tmp_path: Path) -> None:
    for name in ("10.jsonl", "9.jsonl", "100.jsonl.gz", "0.jsonl"):
        written(tmp_path / "dump" / name, gzip.compress(ROW) if name.endswith("gz") else ROW)
    files = expand_inputs([tmp_path / "dump"])
    assert [file.step for file in files] == ["0", "9", "10", "100"]
    assert {file.run for file in files} == {str(tmp_path / "dump")}


def test_step_file_named_alone_belongs_to_the_run_of_its_directory(tmp_path: Path) -> None:
    (file,) = expand_inputs([written(tmp_path / "dump" / "7.jsonl")])
    assert (file.run, file.step) == (str(tmp_path / "dump"), "7")


def test_other_file_is_a_run_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path / "rollouts-7.jsonl")
    (file,) = expand_inputs([path])
    assert (file.run, file.step) == (str(path), None)


def test_directory_without_step_files_is_read_by_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "scored.groups.jsonl", ".hidden.jsonl", "notes.txt"):
        written(tmp_path / name)
    assert [file.path.name for file in expand_inputs([tmp_path])] == ["a.jsonl", "b.jsonl"]


def test_files_beside_step_files_are_left_out_and_listed(tmp_path: Path) -> None:
    for name in ("1.jsonl", "scored.jsonl"):
        written(tmp_path / name)
    taken, left_out = list_directory(tmp_path)
    assert [p.name for p in taken] == ["1.jsonl"]
    assert [p.name for p in left_out] == ["scored.jsonl"]


def test_several_inputs_keep_their_order(tmp_path: Path) -> None:
    second, first = written(tmp_path / "b" / "1.jsonl"), written(tmp_path / "a" / "1.jsonl")
    assert [file.path for file in expand_inputs([second, first.parent])] == [second, first]


@pytest.mark.parametrize("given_as", ["file", "directory"])
def test_input_named_twice_is_refused(tmp_path: Path, given_as: str) -> None:
    path = written(tmp_path / "1.jsonl")
    with pytest.raises(InputError, match="more than once"):
        expand_inputs([path, path if given_as == "file" else tmp_path])


def test_nothing_named() -> None:
    with pytest.raises(InputError, match="No input was named"):
        expand_inputs([])


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file or directory"):
        expand_inputs([tmp_path / "nope"])


def test_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        expand_inputs([written(tmp_path / "1.jsonl", b"")])


def test_directory_without_input_files(tmp_path: Path) -> None:
    written(tmp_path / "notes.txt")
    with pytest.raises(InputError, match=r"holds no \.jsonl"):
        expand_inputs([tmp_path])


def test_device_is_no_input() -> None:
    with pytest.raises(InputError, match="neither a file nor a directory"):
        expand_inputs([Path("/dev/null")])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1', "ends early"),
        (b'{"a": "tex', "ends early"),
        (b"[1]", "a JSON list"),
        (b"null", "a JSON null"),
        (b'"text"', "a JSON string"),
        (b"3", "a JSON number"),
        (b"true", "a JSON boolean"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
        (b"{'a': 1}", "not valid JSON"),
        (b"\x00\x00", "not valid JSON"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot be read"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read"),
    ],
)
def test_malformed_line_is_reported_and_the_others_stay(tmp_path: Path, line: bytes, reason: str) -> None:
    first, bad, last = rows_of(written(tmp_path / "f.jsonl", ROW + line + b"\n" + ROW))
    assert isinstance(bad, BadRow)
    assert bad.where == f"{tmp_path / 'f.jsonl'}:2"
    assert reason in bad.reason
    assert (first, last) == (RawRow(1, {"a": 1}), RawRow(3, {"a": 1}))


def test_byte_order_mark_blank_lines_and_crlf_are_tolerated(tmp_path: Path) -> None:
    path = written(tmp_path / "f.jsonl", b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}')
    assert rows_of(path) == [RawRow(1, {"a": 1}), RawRow(4, {"a": 2})]


def test_nan_and_infinity_are_read(tmp_path: Path) -> None:
    (row,) = rows_of(written(tmp_path / "f.jsonl", b'{"a": NaN, "b": -Infinity}'))
    assert isinstance(row, RawRow)
    assert math.isnan(row.columns["a"])
    assert row.columns["b"] == -math.inf


def test_lone_surrogates_are_replaced_and_pairs_kept(tmp_path: Path) -> None:
    lone, pair = rows_of(written(tmp_path / "f.jsonl", b'{"a": ["x\\ud83d"]}\n{"a": "\\ud83d\\ude00"}'))
    assert lone == RawRow(1, {"a": ["x\ufffd"]}, repaired=True)
    assert pair == RawRow(2, {"a": "\U0001f600"}, repaired=False)


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path / "f.jsonl", gzip.compress(ROW * 2)))[1] == RawRow(2, {"a": 1})


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_truncated_gzip_gives_a_bad_row_at_its_end(tmp_path: Path, keep: float) -> None:
    data = gzip.compress(b"".join(b'{"a": %d}\n' % i for i in range(5000)))
    rows = rows_of(written(tmp_path / "f.jsonl.gz", data[: int(len(data) * keep)]))
    assert [row for row in rows if isinstance(row, BadRow)] == rows[-1:]
    assert rows[-1].line == len(rows)
    assert "gzip" in rows[-1].reason  # type: ignore[union-attr]


def test_damaged_gzip_gives_a_bad_row(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(ROW * 1000))
    data[len(data) // 2] ^= 0xFF
    assert isinstance(rows_of(written(tmp_path / "f.jsonl.gz", bytes(data)))[-1], BadRow)


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_rows_and_types(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", {"a": ["x", None], "n": pa.array([1, 2], pa.int8())})
    assert rows_of(path) == [RawRow(1, {"a": "x", "n": 1}), RawRow(2, {"a": None, "n": 2})]
    (file,) = expand_inputs([path])
    assert parquet_types(file) == {"a": pa.string(), "n": pa.int8()}


def test_nanosecond_times_are_read_without_loss(tmp_path: Path) -> None:
    when = pa.array([1_700_000_000_000_000_001], pa.timestamp("ns"))
    assert rows_of(parquet(tmp_path / "f.parquet", {"t": when})) == [
        RawRow(1, {"t": 1_700_000_000_000_000_001})
    ]


def test_parquet_text_that_is_no_utf8_is_a_bad_row(tmp_path: Path) -> None:
    text = pa.array([b"good", b"\xff", b"too"], pa.binary()).view(pa.string())
    good, bad, too = rows_of(parquet(tmp_path / "f.parquet", {"a": text}))
    assert (good, too) == (RawRow(1, {"a": "good"}), RawRow(3, {"a": "too"}))
    assert isinstance(bad, BadRow)
    assert bad.line == 2


def test_damaged_parquet_file(tmp_path: Path) -> None:
    data = parquet(tmp_path / "f.parquet", {"a": ["x"] * 100}).read_bytes()
    with pytest.raises(InputError, match="damaged Parquet"):
        rows_of(written(tmp_path / "g.parquet", data[: len(data) // 2]))


def test_parquet_with_a_column_twice(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(InputError, match="more than one column named 'a'"):
        rows_of(path)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_row_or_refused(data: bytes) -> None:
    try:
        columns, _ = parse_row(data)
    except ValueError:
        return
    assert isinstance(columns, dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON))
def test_written_json_reads_back_the_same(columns: dict[str, Any]) -> None:
    assert parse_row(json_text(columns).encode("utf-8")) == (columns, False)


def test_json_text_takes_what_parquet_holds() -> None:
    row = {"t": datetime.datetime(2026, 1, 2), "b": b"x", "r": b"\xff", "s": "\ud800"}
    assert json.loads(json_text(row).encode()) == {
        "t": "2026-01-02T00:00:00",
        "b": "x",
        "r": "/w==",
        "s": "\ud800",
    }
