"""Work that ends cleanly when the user or the system says stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

__all__ = ["StoppedError", "stoppable", "until_stopped"]

_T = TypeVar("_T")


class StoppedError(Exception):
    """The run was told to stop by a signal; `exit_code` is 128 plus its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


async def until_stopped(work: Coroutine[Any, Any, _T]) -> _T:
    """Return what `work` returns; SIGINT and SIGTERM cancel it, and once it has ended raise StoppedError."""
    task = asyncio.ensure_future(work)
    stopped: list[int] = []

    def stop(number: int) -> None:
        stopped.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise StoppedError(stopped[0]) from None
        raise
    finally:
        task.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Within it, SIGINT and SIGTERM raise StoppedError: for work that is no coroutine.

    What it gives is to be called now and then: it raises what was lost, because the signal came in a place
    that lets no exception through, such as a finaliser.
    """
    told: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        raise StoppedError(number)

    def check() -> None:
        if told:
            raise StoppedError(told[0])

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
