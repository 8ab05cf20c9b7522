"""What every process that runs candidate text is limited to (setrlimit), and what it starts with."""

from __future__ import annotations

import math
import os
import resource
import sys
from typing import Any

__all__ = ["DESCRIPTORS", "allow_cpu", "close_others", "limit_cpu", "settle"]

DESCRIPTORS = 4
"""Open files of a player before its solution is loaded: the standard three and its channel."""
_STACK = 64 << 20
_OPEN_FILES = 256
_LARGEST = 1 << 60


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    _, highest = resource.getrlimit(kind)
    highest = _LARGEST if highest == resource.RLIM_INFINITY else highest
    resource.setrlimit(kind, (min(soft, highest), min(soft if hard is None else hard, highest)))


def _apply(limits: dict[str, Any]) -> None:
    with open("/proc/self/statm", "rb") as file:
        own = int(file.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, own + (limits["memory_mb"] << 20))
    _limit(resource.RLIMIT_FSIZE, limits["file_mb"] << 20)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_STACK, _STACK)
    for kind in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_NICE,
        resource.RLIMIT_RTPRIO,
        resource.RLIMIT_MSGQUEUE,
    ):
        _limit(kind, 0)  # an unlimited host hands its own on
    if limits["count_processes"]:
        _limit(resource.RLIMIT_NPROC, limits["processes"] + 2)  # the zygote and the child count too


def limit_cpu(limits: dict[str, Any], votes: int) -> None:
    """Bound the processor time of this process: all the votes it may be asked for, and a little more."""
    seconds = math.ceil(limits["timeout"] * max(1, votes)) + 2
    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)


def allow_cpu(limits: dict[str, Any], votes: int) -> None:
    """The same for a process that lives on: what it has used by now, and this much more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime + limits["timeout"] * (max(1, votes) + 3) + 20) + 2
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))


def close_others(*kept: int) -> None:
    """Close every descriptor but the standard three and these."""
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 1024)


def settle(limits: dict[str, Any], home: str) -> None:
    """Make this process, and every fork of it, fit for candidate text."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    sys.argv[:] = ["solution.py"]
    os.chdir(home)
    _apply(limits)
