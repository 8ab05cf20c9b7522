"""The SQLite file of a suite store, or its stand-in in memory: connections, and failures in clear sentences.

Two connections: one writes, from one thread at a time, and may wait for other processes; the other reads and
never waits for any writer. On opening, a file is checked by its header, its tables and a row of each, page by
page only up to 16 MiB (checking takes about a second for every 400 MiB). Damage beyond that is found
where it is met, as every response carries a checksum, and `verify` looks for it in all of the file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from coderm_reward.errors import GenerationError
from coderm_reward.generation.store_rows import SCHEMA, read_suite, suites_of
from coderm_reward.sqlite_file import (
    PATIENCE,
    FileKind,
    open_again,
    open_file,
    open_read_only,
    transaction,
)

__all__ = ["KIND", "MEMORY", "StoreFile"]

MEMORY = Path(":memory:")
"""The store that lives as long as this process has it open."""
KIND = FileKind(
    name="suite store",
    option="--store",
    application=0x43524D53,  # CRMS
    version=1,
    schema=SCHEMA,
    checked_bytes=16 << 20,
    page_bytes=16384,
)
_LITTLE = 64 << 10
"""Free bytes below which a disk counts as full."""


class StoreFile:
    """Connections to one store. Safe to use from several threads, not across a fork.

    Raises:
        OutputError: the file cannot be used; it is left as it was.
        InputError: it is to be read only and is not there.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._read_lock = threading.Lock()
        self._write_lock = threading.Lock()
        if path == MEMORY:
            self._reader = self._writer = _in_memory()
            self._read_lock = self._write_lock
        elif read_only:
            self._reader = self._writer = open_read_only(KIND, path)
        else:
            self._writer = open_file(KIND, path)
            self._reader = open_again(KIND, path)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection that reads. Raises GenerationError if the store fails."""
        with self._read_lock, self._clear_errors():
            yield self._reader

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection that writes, in a transaction. Raises GenerationError if the store fails."""
        if self.read_only:
            raise self._failed("is opened to read it alone, and something is to be written to it", _MOVE)
        with self._write_lock, self._clear_errors(), transaction(self._writer):
            yield self._writer

    def verify(self) -> None:
        """Check all of the file: its structure, and every text. Seconds for a large one; others may go on.

        Raises:
            OutputError: it is damaged.
        """
        try:
            if self.path == MEMORY or self.read_only:
                with self._read_lock:
                    _verify(self._reader)
            else:
                with closing(open_again(KIND, self.path)) as connection:
                    _verify(connection)
        except sqlite3.DatabaseError as error:
            raise KIND.unusable(self.path, f"is damaged ({error})") from None

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self._read_lock:
            self._reader.close()
        with self._write_lock:
            self._writer.close()

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise  # our mistake, not the file's
        except sqlite3.DatabaseError as error:
            said = str(error)
            if not isinstance(error, sqlite3.OperationalError) or "decode" in said:
                raise self._failed(f"is damaged ({said})", _REPLACE) from None
            if "full" in said or self._disk_is_full():
                raise self._failed("takes no more, as its disk is full", "make room and run again") from None
            if "readonly" in said:
                raise self._failed("can no longer be written", _MOVE) from None
            if "locked" in said:
                why = f"was held by another process for {PATIENCE:.0f} s"
                raise self._failed(why, "end that process and run again") from None
            raise self._failed(f"failed ({said})", "see to its disk and run again") from None

    def _disk_is_full(self) -> bool:
        if self.path == MEMORY:
            return False
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize < _LITTLE

    def _failed(self, why: str, fix: str) -> GenerationError:
        return GenerationError(f"The suite store {self.path} {why}; what it holds is kept: {fix}.")


_MOVE = f"copy it to a disk that can be written and name that with {KIND.option}"
_REPLACE = f"take a copy of it from before, or name another file with {KIND.option}"


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for statement in SCHEMA:
        connection.execute(statement)
    return connection


def _verify(connection: sqlite3.Connection) -> None:
    (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(said)
    for suite in suites_of(connection, None):
        read_suite(connection, suite)
