"""Finding, measuring, killing and reaping everything that descends from this process.

The zygote is pid 1 of its own namespace, or else a subreaper, so every orphan becomes its child:
walking the children files of /proc from here finds every process that candidate code left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import NamedTuple

__all__ = [
    "Usage",
    "adopt_orphans",
    "descendants",
    "die_with_parent",
    "kill_all",
    "kill_strays",
    "run_delay",
    "usage",
]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROUNDS = 200
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Usage(NamedTuple):
    """What the descendants use together."""

    rss: int
    """Bytes resident, without what each inherited from this process."""
    tasks: int
    """Processes and threads."""


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (a change of uid clears that)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, as pid 1 of a namespace is by itself."""
    if os.getpid() != 1:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass  # the process ended while we looked: it has no children any more
    return found


def descendants() -> list[int]:
    """Pids of everything below this process, parents before children."""
    found: list[int] = []
    queue = _children(os.getpid())
    while queue:
        found += queue
        queue = [child for pid in queue for child in _children(pid)]
    return found


def usage(base_rss: int) -> Usage:
    """Measure the descendants; `base_rss` bytes of each are this process's own pages."""
    rss = tasks = 0
    for pid in descendants():
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                rss += max(0, int(file.read().split()[1]) * _PAGE - base_rss)
            tasks += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue  # it ended while we looked
    return Usage(rss, tasks)


def run_delay(pid: int) -> float | None:
    """Seconds that `pid` was ready to run and had to wait for a core; None if the kernel won't say."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def kill_strays(keep: int) -> bool:
    """Kill and reap the orphans that came to us, leaving our child `keep` alone.

    False if `keep` has children of its own or orphans keep coming: then only kill_all helps.
    """
    for _ in range(_ROUNDS):
        strays = [pid for pid in _children(os.getpid()) if pid != keep]
        if not strays:
            return not _children(keep)
        for pid in strays:
            os.kill(pid, signal.SIGKILL)  # our own unreaped child, so the pid cannot be another's
            os.waitpid(pid, 0)
    return False


def kill_all() -> bool:
    """Kill and reap every descendant; False if some could not be got rid of."""
    for _ in range(_ROUNDS):
        if os.getpid() == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # everything in the namespace but us, in one step
        for pid in descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        if not descendants():
            return True
    return False
