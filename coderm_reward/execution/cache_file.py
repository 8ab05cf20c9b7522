"""A VerdictCache in one SQLite file, shared by steps, runs and processes of one machine.

The file is in write-ahead mode, which needs a local disk: no network file system. It grows by about 200 bytes
a pair and may be deleted whenever nobody uses it. Who can write to it decides rewards.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from coderm_reward.execution.cache import (
    KnownResult,
    MemoryCache,
    Pair,
    VerdictCache,
    decode_known,
    encode_known,
)
from coderm_reward.sqlite_file import FileKind, open_file, transaction

__all__ = ["FileCache", "open_cache"]

_TESTS_A_QUERY = 500
_KIND = FileKind(
    name="verdict cache",
    option="--verdict-cache",
    application=0x43524D56,  # CRMV
    version=1,
    schema=(
        """CREATE TABLE verdicts (
    solution BLOB NOT NULL, test BLOB NOT NULL, result BLOB NOT NULL, PRIMARY KEY (solution, test)
) WITHOUT ROWID""",
    ),
    checked_bytes=256 << 20,
)
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
        self._connection: sqlite3.Connection | None = open_file(_KIND, path)

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
                with transaction(self._connection):
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
