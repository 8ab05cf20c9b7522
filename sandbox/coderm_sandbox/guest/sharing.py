"""Containers that both processes hold: known by number, kept alike across every message.

A container that crosses gets a number on both sides. Before each message the sender looks which
of them changed since both sides last agreed, and sends their contents along; after an answer
each side forgets those that only one side still uses. For ordinary functions nothing is left over.
"""

from __future__ import annotations

import collections
import operator
import sys
from typing import Any

from .channel import WireError
from .tables import builtin_base

__all__ = ["Sharing"]

_MOST = 1_000_000


def _snapshot(value: Any) -> Any:
    """The contents as far as identity goes; contents of contents have numbers of their own."""
    if isinstance(value, dict):
        base: Any = builtin_base(type(value))
        return [*base.keys(value), *base.values(value)]
    if isinstance(value, list):
        return list.copy(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, set):
        return list(set.__iter__(value))
    if isinstance(value, collections.deque):
        return list(collections.deque.__iter__(value))
    return value.copy()  # a numpy array


def _same(value: Any, before: Any) -> bool:
    now = _snapshot(value)
    if type(now) is list:
        return len(now) == len(before) and all(map(operator.is_, now, before))
    if type(now) is bytes:
        return bool(now == before)
    return bool(now.shape == before.shape and now.tobytes() == before.tobytes())


class Sharing:
    """One side's view of the shared containers; `first` is 0 or 1 and keeps the two sides' numbers apart."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._parity = first
        self._objects: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._before: dict[int, Any] = {}
        self._fixed: dict[int, Any] = {}
        self._open: set[int] = set()

    def number(self, value: Any) -> int | None:
        """The number of a container that is known already."""
        return self._numbers.get(id(value))

    def _mine(self) -> int:
        number, self._next = self._next, self._next + 2
        return number

    def _check(self, number: Any) -> int:
        if type(number) is not int or number in self._objects or number in self._fixed:
            raise WireError("sent a container with a wrong number")
        if number % 2 == self._parity:
            raise WireError("sent a container under a number of ours")
        return number

    def add(self, value: Any, number: Any = None) -> int:
        """Enter a mutable container, under the peer's number where it came from there."""
        number = mine = self._mine() if number is None else self._check(number)
        if len(self._objects) > _MOST:
            raise WireError("sent too many containers")
        self._objects[number] = value
        self._numbers[id(value)] = number
        self._before[number] = _snapshot(value)
        return mine

    def known(self, number: int) -> Any:
        """What both sides know of the contents."""
        return self._before[number]

    def note(self, number: int) -> None:
        """Both sides know the present contents."""
        self._before[number] = _snapshot(self._objects[number])

    def open_fixed(self, value: Any) -> int:
        """Enter an immutable container whose parts are still on their way."""
        number = self._mine()
        self._fixed[number] = value
        self._numbers[id(value)] = number
        self._open.add(number)
        return number

    def close_fixed(self, number: int) -> None:
        self._open.discard(number)

    def is_open(self, number: int) -> bool:
        return number in self._open

    def add_fixed(self, value: Any, number: Any) -> Any:
        """Enter an immutable container of the peer's."""
        self._fixed[self._check(number)] = value
        if value != ():  # there is only one of these
            self._numbers[id(value)] = number
        return value

    def find(self, number: Any) -> Any:
        """The container with this number. Raises WireError."""
        if type(number) is int:
            if number in self._objects:
                return self._objects[number]
            if number in self._fixed:
                return self._fixed[number]
        raise WireError("named a container that is not there")

    def changed(self) -> list[int]:
        """Numbers of the containers whose contents are not what the peer knows; then they count as known."""
        if not self._objects:
            return []
        found = [n for n, value in self._objects.items() if not _same(value, self._before[n])]
        for number in found:
            self.note(number)
        return found

    def mark(self) -> int:
        """Where the numbers of ours stand; see `rollback`."""
        return self._next

    def rollback(self, mark: int) -> None:
        """Forget what was entered since, because it was not sent after all."""
        for number in [n for n in self._objects if n >= mark and n % 2 == self._parity]:
            self.drop(number)
        for number in [n for n in self._fixed if n >= mark and n % 2 == self._parity]:
            self._numbers.pop(id(self._fixed.pop(number)), None)

    def mutable(self, number: Any) -> Any:
        """The mutable container with this number. Raises WireError."""
        if type(number) is not int or number not in self._objects:
            raise WireError("changed a container that is not there")
        return self._objects[number]

    def forget_fixed(self) -> None:
        """Immutable containers are the same object within one call and its answer only."""
        for value in self._fixed.values():
            self._numbers.pop(id(value), None)
        self._fixed.clear()
        self._open.clear()

    def unused(self) -> list[int]:
        """Forget the containers that nothing on this side refers to any more, and return their numbers.

        Outer containers were entered before inner ones, so their contents are let go of in time.
        """
        self.forget_fixed()
        gone = []
        for number in list(self._objects):
            value = self._objects.pop(number)
            before = self._before.pop(number)
            if sys.getrefcount(value) == 2:
                del self._numbers[id(value)]
                gone.append(number)
            else:
                self._objects[number] = value
                self._before[number] = before
            del value, before
        return gone

    def keep(self, numbers: set[int]) -> None:
        """Forget all mutable containers but these."""
        self.forget_fixed()
        for number in [n for n in self._objects if n not in numbers]:
            self.drop(number)

    def drop(self, number: int) -> None:
        value = self._objects.pop(number, None)
        if value is not None:
            self._numbers.pop(id(value), None)
            self._before.pop(number, None)

    def numbers(self) -> list[int]:
        return list(self._objects)

    def clear(self) -> None:
        """Forget everything; numbers are not used again."""
        self.keep(set())
