"""An event loop in a thread of its own, for an engine that must not be held up by whoever uses it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """Runs coroutines from any thread and any event loop; one that is over cannot be started again."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` in the thread; cancelling the future cancels it there.

        Raises:
            RuntimeError: the thread is over, or about to be: nothing would ever come of it.
        """
        with self._lock:
            if not self._over:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise RuntimeError(f"the event loop of {self._thread.name} is over")

    def call(self, function: Callable[[], object]) -> None:
        """Have `function` called in the thread, unless that is over."""
        with contextlib.suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """End the loop, and wait until the thread is gone; safe to call twice."""
        with self._lock:
            over, self._over = self._over, True
        if self._thread.is_alive():
            if not over:
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()
