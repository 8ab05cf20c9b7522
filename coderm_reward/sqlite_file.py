"""SQLite files of our own kinds: made, checked and opened the same way by all that keep something.

A file is told from others by SQLite's `application_id` and `user_version` and by its tables. What is not
ours, newer than us or damaged is refused with one sentence and left as it is, byte for byte: nothing is
written before all checks have passed, and no write-ahead log is moved into a file that is refused. Files are
in write-ahead mode, which needs a local disk: no network file system.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from coderm_reward.errors import InputError, OutputError

__all__ = ["PATIENCE", "FileKind", "open_again", "open_file", "open_read_only", "transaction"]

PATIENCE = 30.0
"""Seconds that another process may hold a file."""
_HEADER = b"SQLite format 3\0"
_NOT_WRITABLE = "cannot be written, as it lies on a read-only disk or its permissions forbid it"
_VERSION_AT, _APPLICATION_AT = 60, 68
"""Where the header of a file has its user_version and its application_id, 4 bytes each."""


class FileKind(NamedTuple):
    """A kind of file: what it is called, how it is recognised, what is in it."""

    name: str
    """With its article left out: `verdict cache`."""
    option: str
    """The setting that names such a file; part of the fix in every sentence."""
    application: int
    version: int
    schema: tuple[str, ...]
    """The statements that make its tables."""
    checked_bytes: int
    """A file of up to this size is checked page by page when it is opened."""
    page_bytes: int = 4096
    """Of a new file: several rows should fit."""

    def unusable(self, path: Path, why: str) -> OutputError:
        """The error for a file that cannot be used."""
        fix = f"name another file with {self.option}" + ("" if why == _NOT_WRITABLE else " or remove it")
        return OutputError(f"The {self.name} {path} {why}; {fix}.")


def open_file(kind: FileKind, path: Path) -> sqlite3.Connection:
    """Open a file for reading and writing; it is made if it is not there.

    The connection may be used from any thread, by one at a time, and is in autocommit mode.

    Raises:
        OutputError: it is no such file, damaged, of a newer version or cannot be written; it is as it was.
    """
    with _clear_errors(kind, path):
        _check_header(kind, path)
        if path.exists() and not all(os.access(place, os.W_OK) for place in (path, path.parent)):
            raise kind.unusable(path, _NOT_WRITABLE)
        checked = _log_bytes(path) > 0
        if checked:  # closing a writable connection would move the log into the file
            with closing(_connect(path, "ro")) as connection:
                _check(kind, path, connection, pages=True)
        connection = _connect(path, "rwc")
        try:
            _check(kind, path, connection, pages=not checked)
            _prepare(kind, path, connection)
        except BaseException:
            connection.close()
            raise
        return connection


def open_read_only(kind: FileKind, path: Path) -> sqlite3.Connection:
    """Open a file that is there to read it alone, also on a read-only disk.

    There it works for a file that was closed properly, which nobody may then write to by another way, or
    whose `-wal` and `-shm` lie beside it. Elsewhere its folder must be writable: readers keep `-shm` there.

    Raises:
        InputError: there is no such file.
        OutputError: as open_file, or a file on a read-only disk whose last changes are still in its log.
    """
    if not path.exists():
        raise InputError(f"There is no {kind.name} {path}; check {kind.option}.")
    with _clear_errors(kind, path):
        _check_header(kind, path)
        try:
            return _checked(kind, path, _connect(path, "ro"))
        except sqlite3.OperationalError:
            if not os.statvfs(path).f_flag & os.ST_RDONLY:
                raise
            if _log_bytes(path):
                raise kind.unusable(
                    path, "was not closed and lies on a read-only disk, so its last changes cannot be read"
                ) from None
            return _checked(kind, path, _connect(path, "ro&immutable=1"))


def open_again(kind: FileKind, path: Path) -> sqlite3.Connection:
    """A second connection to a file that is open already, for reading alone: it never waits for writers.

    Raises:
        OutputError: it cannot be opened any more.
    """
    with _clear_errors(kind, path):
        connection = _connect(path, "rw")
        connection.execute("PRAGMA query_only = 1")
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the right to write from the start; a commit that fails is taken back too."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite takes some failures back by itself
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _clear_errors(kind: FileKind, path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise kind.unusable(path, _hindrance(path, error)) from None
    except sqlite3.DatabaseError as error:
        raise kind.unusable(path, f"is damaged, or no {kind.name} ({error})") from None
    except OSError as error:
        raise kind.unusable(path, f"cannot be opened ({error.strerror or error})") from None


def _hindrance(path: Path, error: sqlite3.Error) -> str:
    """Why it cannot be opened, where a look at the place says more than SQLite does."""
    if not path.parent.is_dir():
        return f"cannot be opened (there is no folder {path.parent})"
    return f"cannot be opened ({error})" if os.access(path.parent, os.W_OK) else _NOT_WRITABLE


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def _log_bytes(path: Path) -> int:
    """Size of the write-ahead log that a process left behind, or works on."""
    with suppress(FileNotFoundError):
        return path.with_name(path.name + "-wal").stat().st_size
    return 0


def _check_header(kind: FileKind, path: Path) -> None:
    """Refuse what the file's first bytes rule out, so that SQLite recovers nothing that is not ours."""
    if not path.exists():
        return
    if not path.is_file():
        raise kind.unusable(path, "cannot be opened (it is no file)")
    with path.open("rb") as stream:
        header = stream.read(100)
    if header[: len(_HEADER)] != _HEADER:
        if header:
            raise kind.unusable(path, f"is damaged, or no {kind.name} (file is not a database)")
        return
    application = int.from_bytes(header[_APPLICATION_AT : _APPLICATION_AT + 4], "big")
    if application == kind.application:
        _check_version(kind, path, int.from_bytes(header[_VERSION_AT : _VERSION_AT + 4], "big"))
    elif application:
        raise kind.unusable(path, "is a database of another kind")


def _check_version(kind: FileKind, path: Path, version: int) -> None:
    if version > kind.version:
        raise kind.unusable(path, f"was written by a newer version of coderm-reward (format {version})")


def _checked(kind: FileKind, path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        _check(kind, path, connection, pages=True)
        if not _tables(connection):
            raise kind.unusable(path, "is empty")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(kind: FileKind, path: Path, connection: sqlite3.Connection, *, pages: bool) -> None:
    """Refuse what is not ours to write to, without writing."""
    connection.execute("BEGIN")  # one view of all three: another process may be making the tables
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        found = _tables(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if application != kind.application:
        if application or found:
            raise kind.unusable(path, "is a database of another kind")
        return
    _check_version(kind, path, version)
    with closing(sqlite3.connect(":memory:")) as fresh:
        _make_tables(kind, fresh)
        expected = _tables(fresh)
    if not expected.items() <= found.items():
        raise kind.unusable(path, "is damaged (its tables are not what they were made)")
    for name in expected:
        connection.execute(f"SELECT * FROM {name} LIMIT 1").fetchone()
    if pages and path.stat().st_size <= kind.checked_bytes:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise kind.unusable(path, "is damaged")


def _tables(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))


def _make_tables(kind: FileKind, connection: sqlite3.Connection) -> None:
    for statement in kind.schema:
        connection.execute(statement)


def _prepare(kind: FileKind, path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables where there are none, whoever comes first, and turn on write-ahead mode."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != kind.application:
        connection.execute(f"PRAGMA page_size = {kind.page_bytes}")
        with transaction(connection):
            if connection.execute("PRAGMA application_id").fetchone()[0] != kind.application:
                _make_tables(kind, connection)
                connection.execute(f"PRAGMA application_id = {kind.application}")
                connection.execute(f"PRAGMA user_version = {kind.version}")
    connection.execute("PRAGMA synchronous = NORMAL")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:  # another process is at it, and SQLite may not wait here
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            raise kind.unusable(path, "is in a place without shared memory, such as a network file system")
        return
