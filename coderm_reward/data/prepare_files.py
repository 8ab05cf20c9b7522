"""Datasets in, verl's Parquet files out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from coderm_reward.data.files import BadRow, RawRow, expand_inputs, read_rows
from coderm_reward.data.prepare import PreparedRow, Preparer
from coderm_reward.data.prepare_forms import choose_form
from coderm_reward.errors import InputError, OutputError

__all__ = ["SCHEMA", "check_outputs", "dataset_rows", "hub_rows", "read_dataset", "write_splits"]

_TEXT = pa.string()
_MESSAGES = pa.list_(pa.struct({"role": _TEXT, "content": _TEXT}))
SCHEMA = pa.schema(
    {
        "data_source": _TEXT,
        "prompt": _MESSAGES,
        "ability": _TEXT,
        "reward_model": pa.struct({"style": _TEXT, "ground_truth": _TEXT}),
        "extra_info": pa.struct(
            {
                "split": _TEXT,
                "index": pa.int64(),
                "task_id": _TEXT,
                "entry_point": _TEXT,
                "reference": _TEXT,
                "prompt": _MESSAGES,
            }
        ),
    }
)
"""The same in every file, so that verl can put several together."""
_ROWS_AT_ONCE = 2000
_PEEK_ROWS = 200
_PROGRESS_ROWS = 100


def read_dataset(
    source: str,
    preparer: Preparer,
    mapped: Mapping[str, str],
    *,
    config: str | None = None,
    split: str = "train",
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> str:
    """Give a preparer the rows of one dataset; return a sentence on how they were read.

    Stops once the preparer has `limit` rows. `progress` hears the rows read so far, now and then.

    Raises:
        InputError: as dataset_rows, no rows, or no prompt in them.
    """
    rows = dataset_rows(source, config=config, split=split)
    head = list(islice(rows, _PEEK_ROWS))
    readable = [row.columns for row in head if isinstance(row, RawRow)]
    if not readable:
        first = next((f" ({row.where}: {row.reason})" for row in head if isinstance(row, BadRow)), "")
        raise InputError(f"{source} holds no row that can be read{first}; is it a dataset?")
    form, roles = choose_form(source, readable, mapped)
    del readable
    name = Path(source).name.split(".")[0] if Path(source).exists() else source
    for row in chain(head, rows):
        if limit is not None and len(preparer.done.rows) >= limit:
            break
        if isinstance(row, BadRow):
            preparer.bad_row(row.reason)
        else:
            preparer.add(name, form, roles, row.columns)
        if progress and preparer.done.rows_in % _PROGRESS_ROWS == 0:
            progress(preparer.done.rows_in)
    return f"{source}: as {form.name}, {roles.sentence()}"


def dataset_rows(source: str, *, config: str | None, split: str) -> Iterator[RawRow | BadRow]:
    """Yield the rows of a local file or folder (JSON, JSON lines, Parquet), or of a dataset on the hub.

    Raises:
        InputError: there is no such file and no such dataset, or it cannot be read.
    """
    path = Path(source)
    if not path.exists():
        if path.suffix in (".json", ".jsonl", ".parquet", ".gz") or source.startswith((".", "/", "~")):
            raise InputError(f"There is no file or directory {source}; check the path.")
        yield from hub_rows(source, config, split)
        return
    if path.is_file() and path.suffix == ".json":
        rows = _json_rows(path)
        if rows is not None:
            yield from rows
            return
    for file in expand_inputs([path]):
        yield from read_rows(file)


def hub_rows(name: str, config: str | None, split: str) -> Iterator[RawRow]:
    """Yield the rows of a dataset of the Hugging Face hub, by the library `datasets`.

    Raises:
        InputError: the library is not installed, or says that the dataset cannot be had.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{name} is no local file, and a dataset of the hub needs the library `datasets`: "
            "pip install datasets."
        ) from None
    try:
        found = datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"The hub's dataset {name!r} cannot be loaded ({reason}); check its name, --config and --split."
        ) from None
    for line, row in enumerate(found, 1):
        yield RawRow(line, dict(row))


def check_outputs(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Make sure that files can be written, before any work is done.

    Raises:
        OutputError: one is there, without `overwrite`, or its folder cannot be written to.
    """
    for path in paths:
        if path.is_dir() or (path.exists() and not overwrite):
            raise OutputError(
                f"{path} is there already; name another folder with --out, or give --overwrite."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _temporary(path).open("ab").close()
            _temporary(path).unlink()
        except OSError as error:
            raise _unwritable(path, error) from None


def write_splits(files: Mapping[Path, tuple[str, Sequence[PreparedRow]]]) -> None:
    """Write each path's (split, rows); all files appear at the end, whole, or none does.

    Raises:
        OutputError: one of them cannot be written.
    """
    path = Path()
    try:
        for path, (split, rows) in files.items():
            _write(_temporary(path), split, rows)
        for path in files:
            os.replace(_temporary(path), path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        for path in files:
            _temporary(path).unlink(missing_ok=True)


def _write(path: Path, split: str, rows: Sequence[PreparedRow]) -> None:
    with path.open("wb") as stream:
        with pq.ParquetWriter(stream, SCHEMA, compression="zstd") as writer:
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                part = rows[start : start + _ROWS_AT_ONCE]
                columns = [row.columns(split, index) for index, row in enumerate(part, start)]
                writer.write_table(pa.Table.from_pylist(columns, SCHEMA))
        stream.flush()
        os.fsync(stream.fileno())


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written ({error.strerror or error}); name another folder with --out."
    )


def _json_rows(path: Path) -> Iterator[RawRow | BadRow] | None:
    """Return the rows of a JSON text, a list of objects or an object that holds one; None for JSON lines."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value = next((part for part in value.values() if _is_rows(part)), [value])
    if not _is_rows(value):
        raise InputError(f"{path} holds no list of objects; write one object for each row.")
    return (RawRow(number, row) for number, row in enumerate(value, 1))


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)
