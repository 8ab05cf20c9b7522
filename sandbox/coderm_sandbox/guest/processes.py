"""Finding, measuring, killing and reaping everything that descends from this process.

The zygote is pid 1 of its own namespace, or else a subreaper, so every orphan becomes its child:
walking the process tree from here finds every process that candidate code left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
from typing import NamedTuple

__all__ = [
    "Usage",
    "adopt_orphans",
    "descendants",
    "descendants_scheduled",
    "die_with_parent",
    "kill_all",
    "kill_strays",
    "memory_of",
    "own_rss",
    "rss",
    "rule_everyone",
    "scheduled",
    "set_dumpable",
    "shared_mappings",
    "shares_with_forks",
    "usage",
]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROUNDS = 200
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_rules_everyone = os.getpid() == 1
_SHARED = re.compile(rb"^\S+ ...s", re.MULTILINE)
_libc = ctypes.CDLL(None, use_errno=True)
# Without CONFIG_PROC_CHILDREN the tree is put together from every process's stat file, more slowly.
_HAS_CHILDREN_FILES = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


class Usage(NamedTuple):
    """What the descendants use together."""

    memory: int
    """Bytes, without what each inherited from this process."""
    tasks: int
    """Processes and threads."""


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent dies (a change of uid clears that)."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, as pid 1 of a namespace is by itself."""
    if os.getpid() != 1:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same uid may open our /proc files, /proc/PID/mem among them."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def own_rss() -> int:
    """Bytes resident in this process."""
    return int(_read("/proc/self/statm").split()[1]) * _PAGE


def rss(pid: int) -> int:
    """Bytes resident in a process; a great many if it cannot be said."""
    return memory_of(pid)[1]


def memory_of(pid: int) -> tuple[int, int]:
    """Bytes of addresses that a process has mapped, which is what RLIMIT_AS counts, and bytes resident; a
    great many if it cannot be said."""
    try:
        mapped, resident = _read(f"/proc/{pid}/statm").split(None, 2)[:2]
    except (OSError, ValueError):
        return 1 << 62, 1 << 62
    return int(mapped) * _PAGE, int(resident) * _PAGE


def _children(pid: int) -> list[int]:
    if not _HAS_CHILDREN_FILES:
        return _tree().get(pid, [])
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += [int(child) for child in _read(f"/proc/{pid}/task/{task}/children").split()]
    except OSError:
        pass  # the process ended while we looked: it has no children any more
    return found


def _tree() -> dict[int, list[int]]:
    """Children by parent, of every process that /proc shows."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):  # it ended while we looked
                parent = int(_read(f"/proc/{name}/stat").rpartition(b")")[2].split()[1])
                found.setdefault(parent, []).append(int(name))
    return found


def descendants() -> list[int]:
    """Pids of everything below this process, parents before children."""
    children = _children
    if not _HAS_CHILDREN_FILES:
        tree = _tree()
        children = lambda pid: tree.get(pid, [])  # noqa: E731
    found: list[int] = []
    queue = children(os.getpid())
    while queue:
        found += queue
        queue = [child for pid in queue for child in children(pid)]
    return found


def usage(base_rss: int, enough: int) -> Usage:
    """Measure the descendants; `base_rss` bytes of each are this process's own pages.

    Resident pages come first, which counts what forks share once for each of them; only a sum above
    `enough` bytes is taken again by shares (PSS), which costs more.
    """
    pids = descendants()
    memory = tasks = 0
    for pid in pids:
        try:
            memory += max(0, int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE - base_rss)
            tasks += len(os.listdir(f"/proc/{pid}/task"))
        except (OSError, IndexError):
            continue  # it ended while we looked
    if memory > enough:
        memory = sum(_share(pid, base_rss) for pid in pids)
    return Usage(memory, tasks)


def _share(pid: int, base_rss: int) -> int:
    """Proportional set size; resident size where the process hides it from us."""
    with contextlib.suppress(OSError, IndexError):
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) << 10
    with contextlib.suppress(OSError, IndexError):
        return max(0, int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE - base_rss)
    return 0


def scheduled(pid: int) -> tuple[float, float]:
    """Seconds that `pid` ran, and that it was ready to run while others had the core; zeros if unknown."""
    try:
        ran, waited = _read(f"/proc/{pid}/schedstat").split()[:2]
        return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0


def descendants_scheduled() -> tuple[float, float]:
    """The same for all descendants together."""
    each = [scheduled(pid) for pid in descendants()]
    return sum(ran for ran, _ in each), sum(waited for _, waited in each)


def shared_mappings(pid: int | str) -> int:
    """How many of its memory mappings a process shares with its forks. OSError if it won't show them."""
    return len(_SHARED.findall(_read(f"/proc/{pid}/maps")))


def shares_with_forks(pid: int, descriptors: int, mappings: int) -> bool:
    """Whether a fork of `pid` is not a copy of it: threads, children, open files, shared memory.

    `descriptors` and `mappings` are how many it has from us. What cannot be read counts as shared.
    """
    try:
        return (
            len(os.listdir(f"/proc/{pid}/task")) != 1
            or bool(_children(pid))
            or len(os.listdir(f"/proc/{pid}/fd")) != descriptors
            or shared_mappings(pid) != mappings
        )
    except OSError:
        return True


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


def rule_everyone() -> None:
    """Say that signals from here reach descendants only, so that all can be killed in one step."""
    global _rules_everyone
    _rules_everyone = True


def kill_all() -> bool:
    """Kill and reap every descendant; False if some could not be got rid of."""
    for _ in range(_ROUNDS):
        if _rules_everyone:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(-1, signal.SIGKILL)  # nothing that forks can get away between two steps
        killed = descendants()
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in killed:  # parents first: then their children are ours
            with contextlib.suppress(ChildProcessError):  # another than us was its parent, and reaped it
                os.waitpid(pid, 0)
        if not descendants():
            return True
    return False
