"""Values that JSON takes as they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

__all__ = ["BIG", "LEAVES", "is_flat"]

BIG = 1 << 8192
"""Integers from here on travel as hexadecimal text: decimal takes too long, and Python limits it."""
LEAVES = frozenset({type(None), bool, int, float, str})


def is_flat(values: Collection[Any]) -> bool:
    """Whether all values are leaves that JSON takes as they are."""
    kinds = set(map(type, values))
    if not kinds <= LEAVES:
        return False
    if int not in kinds:
        return True
    if kinds == {int}:
        return bool(min(values) > -BIG and max(values) < BIG)
    return all(type(v) is not int or -BIG < v < BIG for v in values)
