"""A VerdictCache in one SQLite file, shared by steps, runs and processes of one machine.

The file is in write-ahead mode, which needs a local disk: no network file system. It grows by about 200 bytes
a pair and may be deleted whenever nobody uses it. Who can write to it decides rewards.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from coderm_reward.errors import OutputError
from coderm_reward.execution.cache import (
    KnownResult,
    MemoryCache,
    Pair,
    VerdictCache,
    decode_known,
    encode_known,
)

__all__ = ["FileCache", "open_cache"]

_APPLICATION = 0x43524D56
"""SQLite's application_id of our files: CRMV."""
_VERSION = 1
_PATIENCE = 30.0
"""Seconds that another process may hold the file."""
_CHECKED_BYTES = 256 << 20
"""A file of up to this size is checked page by page when it is opened."""
_TESTS_A_QUERY = 500
_TABLE = """CREATE TABLE verdicts (
    solution BLOB NOT NULL, test BLOB NOT NULL, result BLOB NOT NULL, PRIMARY KEY (solution, test)
) WITHOUT ROWID"""
_log = logging.getLogger("coderm_reward")


def open_cache(setting: str) -> VerdictCache | None:
    """Return the cache that `execution.verdict_cache` names: memory, off (None), or a file.

    Raises:
        OutputError: the file cannot be used; it is left as it was.
    """
    if setting == "off":
        return None
    return MemoryCache() if setting == "memory" else FileCache(Path(setting))


class FileCache:
    """A VerdictCache in a file, which is made if it is not there.

    A file that fails later on (disk full, damaged, locked for half a minute) costs one warning in the log and
    is left alone from then on: the run goes on without it.

    Raises:
        OutputError: on opening, if the file is no verdict cache, damaged, of a newer version or unwritable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = connection = sqlite3.connect(
                path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            self._check(connection)
            self._prepare(connection)
        except sqlite3.OperationalError as error:
            self.close()
            raise self._unusable(f"cannot be opened ({error})") from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._unusable(f"is damaged, or no verdict cache ({error})") from None
        except OutputError:
            self.close()
            raise

    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse what is not ours to write to, without writing."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION and (application or tables):
            raise self._unusable("is a database of another kind")
        if version > _VERSION:
            raise self._unusable(f"was written by a newer version of coderm-reward (format {version})")
        if tables:
            connection.execute("SELECT solution, test, result FROM verdicts LIMIT 1").fetchone()
        if self._path.stat().st_size <= _CHECKED_BYTES:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise self._unusable("is damaged")

    def _unusable(self, why: str) -> OutputError:
        return OutputError(
            f"The verdict cache {self._path} {why}; name another file with --verdict-cache or remove it."
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the table where there is none, whoever comes first, and turn on write-ahead mode."""
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("PRAGMA synchronous = NORMAL")
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError:  # another process is at it, and SQLite may not wait here
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
                continue
            if mode != "wal":
                raise self._unusable("is in a place without shared memory, such as a network file system")
            return

    def find(self, solutions: Collection[str], tests: Collection[str]) -> dict[Pair, KnownResult]:
        names = {bytes.fromhex(test): test for test in tests}
        found: dict[Pair, KnownResult] = {}
        with self._lock:
            if self._connection is None:
                return found
            try:
                for solution in solutions:
                    for test, data in _rows(self._connection, solution, list(names)):
                        found[solution, names[test]] = decode_known(data)
            except (sqlite3.Error, msgspec.DecodeError) as error:
                self._give_up(error)
        return found

    def add(self, results: Mapping[Pair, KnownResult]) -> None:
        rows = [(*map(bytes.fromhex, pair), encode_known(result)) for pair, result in results.items()]
        with self._lock:
            if self._connection is None or not rows:
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                with self._connection:
                    self._connection.executemany("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)", rows)
            except sqlite3.Error as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        _log.warning("the verdict cache %s failed (%s); going on without it", self._path, error)
        self._disconnect()

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _rows(
    connection: sqlite3.Connection, solution: str, tests: Sequence[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    for first in range(0, len(tests), _TESTS_A_QUERY):
        some = tests[first : first + _TESTS_A_QUERY]
        marks = ",".join("?" * len(some))
        query = f"SELECT test, result FROM verdicts WHERE solution = ? AND test IN ({marks})"
        yield from connection.execute(query, (bytes.fromhex(solution), *some))
