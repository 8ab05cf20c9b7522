"""A stdout that forgets what is written, counts it, and refuses beyond a limit."""

from __future__ import annotations

import io
import sys
from typing import Any

__all__ = ["CountingSink", "redirect"]


class CountingSink(io.RawIOBase):
    """Raw stream that discards; `exceeded` turns True once more than `limit` bytes came."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.count = 0
        self.exceeded = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1  # descriptor 1 is /dev/null in every run

    def write(self, data: Any) -> int:
        self.count += len(data)
        if self.count > self.limit:
            self.exceeded = True
            raise OSError("output limit exceeded")
        return len(data)


def redirect(limit: int) -> CountingSink:
    """Point sys.stdout and sys.stderr at one new sink and return it."""
    sink = CountingSink(limit)
    stream = io.TextIOWrapper(io.BufferedWriter(sink), encoding="utf-8", errors="surrogateescape")
    sys.stdout = sys.__stdout__ = stream  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = stream  # type: ignore[misc]
    return sink
