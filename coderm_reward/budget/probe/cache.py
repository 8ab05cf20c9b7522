"""Hidden states that were read before, in one SQLite file (see coderm_reward.sqlite_file): a prompt is read
once.

The key is the hash of what decides a hidden state (model, layer, template, precision: ReadingSpec.key) with
that of the prompt's text. A state is float32; with 4,096 numbers a prompt the file grows by 16 KiB a prompt.
It may be deleted whenever nobody uses it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from coderm_reward.sqlite_file import FileKind, open_file, transaction

__all__ = ["HiddenStateCache", "StateArray"]

StateArray = npt.NDArray[np.float32]

_PROMPTS_A_QUERY = 500
_KIND = FileKind(
    name="hidden-state cache",
    option="--cache",
    application=0x43524D48,  # CRMH
    version=1,
    schema=(
        """CREATE TABLE states (
    reading BLOB NOT NULL, prompt BLOB NOT NULL, state BLOB NOT NULL, PRIMARY KEY (reading, prompt)
)""",
    ),
    checked_bytes=64 << 20,
)
_log = logging.getLogger("coderm_reward")


class HiddenStateCache:
    """Hidden states by (reading, prompt), both 16 hex digits; any number of processes may use one file.

    A file that fails later on (disk full, damaged) costs one warning in the log and is left alone from then
    on.

    Raises:
        OutputError: on opening, if the file is no such cache, damaged, of a newer version or unwritable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = open_file(_KIND, path)

    def find(self, reading: str, prompts: Sequence[str]) -> dict[str, StateArray]:
        """Return the states that are known, by prompt."""
        found: dict[str, StateArray] = {}
        with self._lock:
            for first in range(0, len(prompts), _PROMPTS_A_QUERY):
                if self._connection is None:
                    break
                some = prompts[first : first + _PROMPTS_A_QUERY]
                query = (
                    "SELECT prompt, state FROM states WHERE reading = ? AND prompt IN "
                    f"({','.join('?' * len(some))})"
                )
                try:
                    rows = self._connection.execute(
                        query, list(map(bytes.fromhex, (reading, *some)))
                    ).fetchall()
                except sqlite3.Error as error:
                    self._give_up(error)
                    break
                found.update({bytes(key).hex(): np.frombuffer(state, dtype="<f4") for key, state in rows})
        return found

    def add(self, reading: str, states: Mapping[str, StateArray]) -> None:
        """Keep states; one that is known already stays."""
        rows = [
            (bytes.fromhex(reading), bytes.fromhex(prompt), state.astype("<f4").tobytes())
            for prompt, state in states.items()
        ]
        with self._lock:
            if self._connection is None or not rows:
                return
            try:
                with transaction(self._connection):
                    self._connection.executemany("INSERT OR IGNORE INTO states VALUES (?, ?, ?)", rows)
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file; closing twice is allowed, and a closed cache knows nothing."""
        with self._lock:
            self._disconnect()

    def _give_up(self, error: sqlite3.Error) -> None:
        _log.warning("the hidden-state cache %s failed (%s); going on without it", self._path, error)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
