"""The scored file: every input column under its name, the reward's fields beside them with a prefix.

One row per rollout, in input order. The file appears at once and whole (temporary file, then rename), so
a reader or a kill never meets half of it.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from coderm_reward.data.dump import InputRow
from coderm_reward.data.json_rows import json_text
from coderm_reward.errors import OutputError
from coderm_reward.types import RewardOutput

__all__ = [
    "PREFIX",
    "check_place",
    "check_writable",
    "write_file",
    "write_json_rows",
    "write_scored",
    "write_text",
]

PREFIX = "coderm_"

_OURS = {
    **{f"{PREFIX}{name}": pa.float64() for name in RewardOutput.__struct_fields__},
    f"{PREFIX}group": pa.string(),
    f"{PREFIX}prompt_hash": pa.string(),
}
_CHUNK_ROWS = 4096
_MAX_FIELDS = 200
"""A struct with more fields than this comes from objects used as tables; it is stored as JSON text."""


def check_writable(path: Path) -> None:
    """Make sure that an output can be written, creating missing folders, before any work is done.

    Raises:
        OutputError: an extension other than .parquet, .jsonl and .jsonl.gz, or a place that cannot be
            written.
    """
    if not path.name.endswith((".parquet", ".jsonl", ".jsonl.gz")):
        raise OutputError(f"{path} is no output we can write; name a .parquet, .jsonl or .jsonl.gz file.")
    check_place(path)


def check_place(path: Path, option: str = "--out") -> None:
    """Make sure that a file can be put at `path`, creating missing folders; `option` is the fix named.

    Raises:
        OutputError: it cannot.
    """
    temporary = _temporary(path)
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a directory; name a file in it with {option}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.open("ab").close()
        temporary.unlink()
    except OSError as error:
        raise _unwritable(path, error, option) from None


def write_file(path: Path, data: bytes, option: str = "--out") -> None:
    """Write a whole file, which appears at once; `option` is the fix named.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            _sync(stream)
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path, error, option) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_scored(
    path: Path,
    rows: Sequence[InputRow],
    rewards: Mapping[int, RewardOutput],
    column_types: Mapping[str, pa.DataType] | None = None,
) -> list[str]:
    """Write the rows with their rewards (by InputRow.index); return notes for the user, one sentence each.

    Parquet: `column_types` are kept; a column whose values have no common type is stored as JSON text; a
    column that only some rows have is null elsewhere. JSON lines: each row has the columns it came with.

    Raises:
        OutputError: as check_writable, or a rollout without a reward, or a write that fails.
    """
    check_writable(path)
    unscored = sum(row.index not in rewards for row in rows)
    if unscored:
        raise OutputError(f"{unscored} of {len(rows)} rollouts have no reward; score the rest with --resume.")
    there = dict.fromkeys(name for row in rows for name in row.columns)
    names = [name for name in there if name not in _OURS]
    notes = [f"the input's column {name} is replaced by ours" for name in there if name in _OURS]
    temporary = _temporary(path)
    try:
        if path.name.endswith(".parquet"):
            notes += _write_parquet(temporary, names, rows, rewards, column_types or {})
        else:
            lines = (_without_ours(row) | _ours(row, rewards) for row in rows)
            _write_lines(temporary, lines, packed=path.name.endswith(".gz"))
        os.replace(temporary, path)
    except (OSError, pa.ArrowException) as error:
        raise _unwritable(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)
    return notes


def write_json_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON lines, packed if the name ends in .gz; return their number. It appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    check_place(path)
    temporary = _temporary(path)
    try:
        count = _write_lines(temporary, rows, packed=path.name.endswith(".gz"))
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def write_text(path: Path, text: str, option: str = "--out") -> None:
    """Write a text file, whole or not at all; `option` is the fix named.

    Raises:
        OutputError: it cannot be written.
    """
    check_place(path, option)
    write_file(path, text.encode("utf-8"), option)


def _temporary(path: Path) -> Path:
    """In the same folder, so that the rename is atomic; always the same, so that a later run cleans up."""
    return path.with_name(f".{path.name}.part")


def _unwritable(path: Path, error: Exception, option: str = "--out") -> OutputError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return OutputError(f"{path} cannot be written ({why}); choose another place with {option}.")


def _ours(row: InputRow, rewards: Mapping[int, RewardOutput]) -> dict[str, Any]:
    return {
        **rewards[row.index].as_dict(PREFIX),
        f"{PREFIX}group": row.group,
        f"{PREFIX}prompt_hash": row.prompt_hash,
    }


def _without_ours(row: InputRow) -> dict[str, Any]:
    return {name: value for name, value in row.columns.items() if name not in _OURS}


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]], packed: bool) -> int:
    count = 0
    with path.open("wb") as raw:
        # Without name and time, equal rows give equal files.
        packer = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if packed else None
        stream = cast(IO[bytes], packer or raw)
        for row in rows:
            count += 1
            stream.write(json_text(row).encode("utf-8") + b"\n")
        if packer is not None:
            packer.close()
        _sync(raw)
    return count


def _write_parquet(
    path: Path,
    names: Sequence[str],
    rows: Sequence[InputRow],
    rewards: Mapping[int, RewardOutput],
    types: Mapping[str, pa.DataType],
) -> list[str]:
    """Write chunk by chunk, so that no second copy of all texts is made; return notes."""
    plans = {name: _plan(name, rows, types.get(name)) for name in names}
    schema = pa.schema([(name, plan or pa.string()) for name, plan in plans.items()] + list(_OURS.items()))
    with path.open("wb") as raw:
        with pq.ParquetWriter(raw, schema) as writer:
            for chunk in _chunks(rows):
                ours = [_ours(row, rewards) for row in chunk]
                arrays = [_array([row.columns.get(name) for row in chunk], plans[name]) for name in names]
                arrays += [pa.array([row[name] for row in ours], kind) for name, kind in _OURS.items()]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        _sync(raw)
    return [
        f"column {name} is stored as JSON text: its values have no common type"
        for name, plan in plans.items()
        if plan is None
    ]


def _plan(name: str, rows: Sequence[InputRow], known: pa.DataType | None) -> pa.DataType | None:
    """Return the Arrow type that takes all values of a column; None if only JSON text does."""
    for candidate in (known, _inferred([row.columns.get(name) for row in rows])):
        if (
            candidate is not None
            and _storable(candidate)
            and all(_fits([row.columns.get(name) for row in chunk], candidate) for chunk in _chunks(rows))
        ):
            return candidate
    return None


_MISFITS = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What Arrow raises for values that a type does not take (ArrowInvalid is a ValueError as well)."""


def _inferred(values: list[Any]) -> pa.DataType | None:
    try:
        return pa.infer_type(values)
    except _MISFITS:
        return None


def _fits(values: list[Any], candidate: pa.DataType) -> bool:
    try:
        pa.array(values, candidate)
    except _MISFITS:
        return False
    return True


def _array(values: list[Any], plan: pa.DataType | None) -> Any:
    if plan is not None:
        return pa.array(values, plan)
    return pa.array([None if value is None else json_text(value) for value in values], pa.string())


def _storable(kind: pa.DataType) -> bool:
    """Whether Parquet takes a type: no struct without fields anywhere in it, and not too many fields."""
    if pa.types.is_struct(kind):
        return 0 < kind.num_fields <= _MAX_FIELDS and all(_storable(field.type) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _storable(kind.value_type)
    return True


def _chunks(rows: Sequence[InputRow]) -> Iterator[Sequence[InputRow]]:
    return (rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS))


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())
