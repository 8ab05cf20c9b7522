"""Where a pool's workers run, and what the pool counts."""

from __future__ import annotations

import dataclasses
import itertools
import os

from coderm_sandbox.worker import Worker

__all__ = ["Place", "PoolStats", "cores_for", "usable_cores"]

_pools = itertools.count()


def usable_cores() -> int:
    """Cores this process may use (affinity, not the host's count)."""
    return len(os.sched_getaffinity(0))


@dataclasses.dataclass
class PoolStats:
    """Counters since the pool started."""

    jobs: int = 0
    tests: int = 0
    workers_replaced: int = 0
    retried: int = 0
    """Tests run once more after a worker died or the machine starved them."""
    unknown: int = 0
    """Tests that stayed without evidence."""
    audited: int = 0
    """Tests run again to check the fast way of stateless solutions."""
    audit_disagreements: int = 0
    """Methods whose outcome was another then."""


@dataclasses.dataclass
class Place:
    """Room for one worker at work: a plain one and one with numpy, each started when it is needed."""

    core: int | None
    workers: dict[bool, Worker] = dataclasses.field(default_factory=dict)


def cores_for(workers: int) -> list[int | None]:
    """The core of each worker, or None for all.

    Judge and player talk four times faster on one core than across two. Another pool on
    this host, of this process or another, had better begin elsewhere.
    """
    cores = sorted(os.sched_getaffinity(0))
    if workers > len(cores):
        return [None] * workers
    start = (os.getpid() + next(_pools)) % len(cores)
    return [cores[(start + i) % len(cores)] for i in range(workers)]
