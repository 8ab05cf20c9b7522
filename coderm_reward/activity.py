"""For how long each kind of work was under way, and several kinds at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Activity"]


class Activity:
    """Adds up wall seconds by the set of kinds that at least one piece of work is of at the time.

    For the tasks of one event loop; not for threads.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._since = now()
        self._under_way: Counter[str] = Counter()
        self._seconds: dict[frozenset[str], float] = {}

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Work of this kind is under way within the block."""
        self._settle()
        self._under_way[kind] += 1
        try:
            yield
        finally:
            self._settle()
            self._under_way[kind] -= 1

    def seconds(self, *kinds: str) -> float:
        """Return the seconds during which work of every one of these kinds was under way."""
        self._settle()
        return sum(spent for under_way, spent in self._seconds.items() if under_way.issuperset(kinds))

    def _settle(self) -> None:
        now = self._now()
        under_way = frozenset(kind for kind, count in self._under_way.items() if count)
        self._seconds[under_way] = self._seconds.get(under_way, 0.0) + now - self._since
        self._since = now
