"""Raw rows of input files: which files there are, and what each line or Parquet row holds.

Nothing here knows what a column means. A row that cannot be read becomes a BadRow with file and line,
never an exception and never silence; a file that cannot be read at all is an InputError.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from coderm_reward.data.json_rows import parse_row
from coderm_reward.errors import InputError

__all__ = [
    "BadRow",
    "InputFile",
    "RawRow",
    "expand_inputs",
    "list_directory",
    "parquet_types",
    "read_rows",
]

_STEP_FILE = re.compile(r"(\d+)\.jsonl(?:\.gz)?")
_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_SIDECAR_SUFFIX = ".groups.jsonl"
_BATCH_ROWS = 512


class InputFile(msgspec.Struct, frozen=True):
    """One file to read. `run` and `step` say where its rows come from (DESIGN section 4)."""

    path: Path
    kind: Literal["jsonl", "jsonl.gz", "parquet"]
    """Told from the first bytes, not from the name."""
    run: str
    """The directory as given if the file is named `{int}.jsonl`, else the file as given."""
    step: str | None = None
    """The number in the name `{int}.jsonl`."""

    @property
    def label(self) -> str:
        """The path as the user gave it."""
        return str(self.path)


class RawRow(msgspec.Struct, frozen=True):
    """One readable row: `line` counts from 1 (for Parquet: the row number)."""

    line: int
    columns: dict[str, Any]
    repaired: bool = False
    """Whether text that is no valid Unicode (lone surrogates) was replaced by U+FFFD."""


class BadRow(msgspec.Struct, frozen=True):
    """One row, or one response of a row with several, that cannot be scored, and why."""

    file: str
    line: int
    reason: str
    position: int | None = None
    """Index from 0 of the response within a row that holds a list of them."""

    @property
    def where(self) -> str:
        """`file:line`, with `[position]` where one response of a list is meant."""
        return f"{self.file}:{self.line}" + ("" if self.position is None else f"[{self.position}]")


def expand_inputs(paths: Sequence[Path]) -> list[InputFile]:
    """Return the files to read, in order: files as given, directories by step.

    Raises:
        InputError: nothing named, a missing path, an empty file, a directory without input files, or a
            file named twice (its rollouts would vote as siblings of themselves).
    """
    files: list[InputFile] = []
    seen: set[Path] = set()
    for path in map(Path, paths):
        try:
            found = _files_of(path)
            for file in found:
                resolved = file.resolve()
                if resolved in seen:
                    raise InputError(f"{file} is named more than once; name each input once.")
                seen.add(resolved)
                files.append(_input_file(file))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
    if not files:
        raise InputError(
            "No input was named; give a rollout dump: a file or a directory of {step}.jsonl files."
        )
    return files


def list_directory(path: Path) -> tuple[list[Path], list[Path]]:
    """Return (files to read, input-like files left out) of a directory, not descending into it.

    Where there are `{step}.jsonl` files only these are read, in the order of their numbers; otherwise all
    JSONL and Parquet files by name. Group records (`*.groups.jsonl`) and hidden files are never input.
    """
    names = (p for p in path.iterdir() if p.name.endswith(_SUFFIXES) and not p.name.startswith("."))
    files = sorted(p for p in names if p.is_file() and not p.name.endswith(_SIDECAR_SUFFIX))
    steps = [p for p in files if _STEP_FILE.fullmatch(p.name)]
    taken = sorted(steps, key=_step_number) or files
    return taken, [p for p in files if p not in set(taken)]


def read_rows(file: InputFile) -> Iterator[RawRow | BadRow]:
    """Yield the rows of a file as it is read; blank lines are not rows.

    Raises:
        InputError: the file cannot be opened, or is no Parquet file inside.
    """
    try:
        if file.kind == "parquet":
            yield from _read_parquet(file)
        else:
            yield from _read_lines(file)
    except OSError as error:
        raise InputError(f"{file.label} cannot be read ({error}); check its permissions.") from None


def parquet_types(file: InputFile) -> dict[str, pa.DataType]:
    """Return the Arrow type of each column; nothing for JSON lines."""
    if file.kind != "parquet":
        return {}
    with _open_parquet(file) as source:
        return {field.name: field.type for field in source.schema_arrow}


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        taken, _ = list_directory(path)
        if not taken:
            raise InputError(
                f"Directory {path} holds no .jsonl, .jsonl.gz or .parquet file; "
                "name the directory that the dumps were written to."
            )
        return taken
    if not path.exists():
        raise InputError(f"There is no file or directory {path}; check the path.")
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a directory; write the rows to a file first.")
    return [path]


def _step_number(path: Path) -> tuple[int, str]:
    return int(path.name.split(".", 1)[0]), path.name


def _input_file(path: Path) -> InputFile:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if not magic:
        raise InputError(f"{path} is empty; remove it or write its rows again.")
    kind: Literal["jsonl", "jsonl.gz", "parquet"] = "jsonl"
    if magic == b"PAR1":
        kind = "parquet"
    elif magic[:2] == b"\x1f\x8b":
        kind = "jsonl.gz"
    step = _STEP_FILE.fullmatch(path.name)
    if step:
        return InputFile(path=path, kind=kind, run=str(path.parent), step=str(int(step[1])))
    return InputFile(path=path, kind=kind, run=str(path))


def _read_lines(file: InputFile) -> Iterator[RawRow | BadRow]:
    number = 0
    with file.path.open("rb") as raw:
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if file.kind == "jsonl.gz" else raw
        try:
            for number, line in enumerate(stream, 1):
                data = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
                if not data:
                    continue
                try:
                    columns, repaired = parse_row(data)
                except ValueError as error:
                    yield BadRow(file.label, number, str(error))
                else:
                    yield RawRow(number, columns, repaired)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield BadRow(file.label, number + 1, f"the gzip data ends early or is damaged ({error})")


def _open_parquet(file: InputFile) -> Any:
    try:
        source = pq.ParquetFile(file.path)
    except pa.ArrowException as error:
        raise InputError(f"{file.label} is a damaged Parquet file ({error}); write it again.") from None
    names = source.schema_arrow.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        source.close()
        raise InputError(f"{file.label} has more than one column named {twice[0]!r}; rename one of them.")
    return source


def _read_parquet(file: InputFile) -> Iterator[RawRow | BadRow]:
    number = 0
    with _open_parquet(file) as source:
        try:
            for batch in source.iter_batches(batch_size=_BATCH_ROWS):
                for row in _batch_rows(_nanoseconds_as_integers(batch)):
                    number += 1
                    yield BadRow(file.label, number, row) if isinstance(row, str) else RawRow(number, row)
        except pa.ArrowException as error:
            raise InputError(
                f"{file.label} is a damaged Parquet file (after row {number}: {error}); write it again."
            ) from None


def _batch_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    try:
        yield from batch.to_pylist()
    except (UnicodeDecodeError, ValueError):
        for i in range(batch.num_rows):
            try:
                yield batch.slice(i, 1).to_pylist()[0]
            except (UnicodeDecodeError, ValueError) as error:
                yield f"a value that cannot be read ({error})"


def _nanoseconds_as_integers(batch: Any) -> Any:
    """Python's datetime has no nanoseconds; the integers go back into the same Arrow type on writing."""
    for i, field in enumerate(batch.schema):
        if pa.types.is_temporal(field.type) and getattr(field.type, "unit", None) == "ns":
            batch = batch.set_column(i, field.name, batch.column(i).cast(pa.int64()))
    return batch
