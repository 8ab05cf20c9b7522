"""Writing the sidecar of group records (data.records): a kill costs at most the group being written."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from coderm_reward.data.json_rows import without_surrogates
from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import OutputError

__all__ = ["LineWriter", "RecordWriter", "record_line", "sidecar_path", "write_records"]

Writer = TypeVar("Writer", bound="LineWriter")

_BLOCK = 1 << 16
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What a file system without locks answers; it is then written unlocked."""


def sidecar_path(out: Path) -> Path:
    """Return where the group records of a scored file lie: scored.parquet -> scored.groups.jsonl."""
    name = out.name.removesuffix(".gz")
    for extension in (".parquet", ".jsonl"):
        name = name.removesuffix(extension)
    return out.with_name(f"{name}.groups.jsonl")


class LineWriter:
    """Appends lines, one system call each; the file is locked against a second writer.

    With `resume` the lines that are there are kept, apart from a last one that a kill cut off; otherwise
    the file starts empty. `option` is the fix that errors name.

    Raises:
        OutputError: the place cannot be written, or another process is writing there.
    """

    def __init__(self, path: Path, resume: bool, option: str = "--out") -> None:
        self.path = path
        self._option = option
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._lock()
            os.ftruncate(self._fd, _end_of_lines(self._fd) if resume else 0)
        except OSError as error:
            os.close(self._fd)
            raise self._failed(error) from None
        except OutputError:
            os.close(self._fd)
            raise

    def write_line(self, line: bytes) -> None:
        """Append one line, given without its end; after this returns it survives the death of this process.

        Raises:
            OutputError: it could not be written whole (then nothing of it stays in the file).
        """
        line += b"\n"
        try:
            start = os.fstat(self._fd).st_size
            written = os.write(self._fd, line)
            if written < len(line):
                os.ftruncate(self._fd, start)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Flush to disk and give the lock back; closing twice is allowed."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.fsync(fd)
        except OSError as error:
            raise self._failed(error) from None
        finally:
            os.close(fd)

    def __enter__(self: Writer) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"Another process is writing {self.path}; wait for it, or choose another place with "
                f"{self._option}."
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path} cannot be written ({error.strerror or error}); choose another place with "
            f"{self._option}."
        )


class RecordWriter(LineWriter):
    """Appends records, one line each."""

    def write(self, record: GroupRecord) -> None:
        """Append one record. Raises OutputError as `write_line` does."""
        self.write_line(record_line(record))


def record_line(record: GroupRecord) -> bytes:
    """Return a record as a line of a sidecar, without its end."""
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        return msgspec.json.encode(without_surrogates(msgspec.to_builtins(record)))


def write_records(path: Path, records: Iterable[GroupRecord], option: str = "--out") -> int:
    """Write a whole file of records, which appears at once; return their number.

    Raises:
        OutputError: it cannot be written; then what was there stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    count = 0
    try:
        with RecordWriter(temporary, resume=False, option=option) as writer:
            for record in records:
                writer.write(record)
                count += 1
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); choose another place with {option}."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _end_of_lines(fd: int) -> int:
    """Return the offset just behind the last newline of a file; 0 if there is none."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
