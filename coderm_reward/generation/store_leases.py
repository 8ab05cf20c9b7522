"""Leases: who may ask a generator for a prompt's missing responses, over all processes of a machine.

A lease is a row with its owner: a process, by pid and start time within a pid namespace of a boot. It holds
while that process renews it. Where the owner's pid can be looked up, a lease ends with the process (kill -9
included) for whoever asks next; otherwise, as in another container, or if the owner is stopped, it ends
LEASE_SECONDS after it was last renewed. A lease that was lost this way does no harm: a filled slot is never
filled again.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from coderm_reward.text import storable

__all__ = ["HEARTBEAT", "LEASE_SECONDS", "Key", "Owner", "is_free", "release", "release_all", "renew", "take"]

LEASE_SECONDS = 60.0
HEARTBEAT = 15.0
"""Seconds between two renewals."""

Key = tuple[str, str]
"""(prompt hash, generator identity)."""


class Owner(NamedTuple):
    """One open store of one process."""

    token: str
    """Unique to the store."""
    host: str
    """Where the pid means something: boot and pid namespace."""
    pid: int
    started: str
    """When the process began, in the kernel's ticks since boot; a pid alone is used again."""

    @classmethod
    def here(cls) -> Owner:
        """A new owner in this process."""
        pid = os.getpid()
        token = uuid.uuid4().hex
        return cls(token, _host() or token, pid, _start_of(pid) or "")


def is_free(connection: sqlite3.Connection, key: Key, now: float) -> bool:
    """Whether nobody holds the lease; `now` is time.time()."""
    row = connection.execute(
        "SELECT host, pid, started, renewed FROM leases WHERE prompt = ? AND generator = ?", _storable(key)
    ).fetchone()
    return row is None or not _holds(*row, now=now)


def take(connection: sqlite3.Connection, key: Key, owner: Owner, now: float) -> bool:
    """Take the lease if it is free; to be called in a transaction."""
    if not is_free(connection, key, now):
        return False
    connection.execute("REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)", (*_storable(key), *owner, now))
    return True


def renew(connection: sqlite3.Connection, keys: Iterable[Key], owner: Owner, now: float) -> None:
    """Hold these leases for another LEASE_SECONDS, those that somebody took over excluded."""
    connection.executemany(
        "UPDATE leases SET renewed = ? WHERE prompt = ? AND generator = ? AND owner = ?",
        [(now, *_storable(key), owner.token) for key in keys],
    )


def release(connection: sqlite3.Connection, key: Key, owner: Owner) -> None:
    """Give a lease back; one that somebody took over stays theirs."""
    connection.execute(
        "DELETE FROM leases WHERE prompt = ? AND generator = ? AND owner = ?", (*_storable(key), owner.token)
    )


def release_all(connection: sqlite3.Connection, owner: Owner) -> None:
    """Give back whatever the owner holds."""
    connection.execute("DELETE FROM leases WHERE owner = ?", (owner.token,))


def _storable(key: Key) -> Key:
    return storable(key[0]), storable(key[1])


def _holds(host: str, pid: int, started: str, renewed: float, *, now: float) -> bool:
    if abs(now - renewed) > LEASE_SECONDS:  # also where the clock was set back
        return False
    return host != _host() or _is_alive(pid, started)


def _is_alive(pid: int, started: str) -> bool:
    """Whether this very process still runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    found = _start_of(pid)
    return found is None or found == started


def _start_of(pid: int) -> str | None:
    """Start time of a process; empty for one that has ended and waits to be reaped, None if it is hidden."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if after_name[0] in "ZX" else after_name[19]


def _host() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None
