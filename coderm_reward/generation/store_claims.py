"""Single flight: one of all tasks and processes asks for a prompt's responses, the others wait for it.

Within a process it is a set of keys, between processes a lease (store_leases). Who waits is woken by what
happens in this process, and looks at the file now and then for what happens in others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from coderm_reward.generation import store_leases as leases
from coderm_reward.generation.store_file import MEMORY, StoreFile
from coderm_reward.generation.store_leases import Key

__all__ = ["Claims", "Writer"]

_T = TypeVar("_T")
_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two looks at what another process does: at first, and after a while of nothing."""
_log = logging.getLogger("coderm_reward")


class Writer:
    """The one thread of an open store that writes; what it was given is done, in order, also at the end."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="suite-store")

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Do this when its turn comes."""
        return self._thread.submit(work)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do this and wait for it; it is done also if we are cancelled while we wait."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(work)))

    def close(self) -> None:
        """Finish everything."""
        self._thread.shutdown(wait=True)


class Claims:
    """The claims of one open store, as the owner of its leases. Coroutines of one event loop use it."""

    def __init__(self, file: StoreFile, writer: Writer) -> None:
        self._file = file
        self._writer = writer
        self._owner = leases.Owner.here()
        self._busy: set[Key] = set()
        """What this process asks for, or is about to."""
        self._held: set[Key] = set()
        """Leases of this process; touched in the writer's thread alone."""
        self._news: dict[Key, asyncio.Event] = {}
        self._heart: threading.Thread | None = None
        self._closed = threading.Event()

    @asynccontextmanager
    async def claim(self, key: Key, is_done: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait for the sole right to a key, or until there is nothing left to do."""
        pause = _PAUSE
        taken = False
        while not taken and not is_done():
            taken = await self._take(key)
            if not taken:
                pause = _PAUSE if await self._heard(key, pause) else min(2 * pause, _LONGEST_PAUSE)
        try:
            yield
        finally:
            if taken:
                await self._release(key)

    def announce(self, key: Key) -> None:
        """Wake who waits for this key in this process."""
        if news := self._news.pop(key, None):
            news.set()

    def close(self) -> None:
        """Give everything up; to be called before the writer is closed."""
        self._closed.set()
        if self._heart is not None:
            self._heart.join()
        self._writer.submit(self._release_all).add_done_callback(_warn)

    async def _heard(self, key: Key, seconds: float) -> bool:
        """Wait until something about a key changes in this process, at most so long; whether it did."""
        news = self._news.setdefault(key, asyncio.Event())
        try:
            await asyncio.wait_for(news.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    async def _take(self, key: Key) -> bool:
        """Take the lease of a key if nobody has it."""
        with self._file.reading() as connection:
            if key in self._busy or not leases.is_free(connection, key, time.time()):
                return False
        self._start_heart()
        self._busy.add(key)
        taken = False
        try:
            taken = await self._writer.run(lambda: self._take_lease(key))
            return taken
        except asyncio.CancelledError:
            await self._release(key)  # runs after the taking, which may have succeeded
            raise
        finally:
            if not taken:
                self._busy.discard(key)
                self.announce(key)

    def _take_lease(self, key: Key) -> bool:
        with self._file.writing() as connection:
            taken = leases.take(connection, key, self._owner, time.time())
        if taken:
            self._held.add(key)
        return taken

    async def _release(self, key: Key) -> None:
        def done(future: asyncio.Future[None]) -> None:
            self._busy.discard(key)
            self.announce(key)
            _warn(future)

        releasing = asyncio.wrap_future(self._writer.submit(lambda: self._release_lease(key)))
        releasing.add_done_callback(done)
        await asyncio.wait([releasing])

    def _release_lease(self, key: Key) -> None:
        self._held.discard(key)
        with self._file.writing() as connection:
            leases.release(connection, key, self._owner)

    def _release_all(self) -> None:
        if self._held:
            with self._file.writing() as connection:
                leases.release_all(connection, self._owner)

    def _start_heart(self) -> None:
        if self._heart is None and self._file.path != MEMORY:
            self._heart = threading.Thread(target=self._beat, name="suite-store-leases", daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        """Renew our leases until the store is closed: in a thread, as an event loop may be kept busy."""
        while not self._closed.wait(leases.HEARTBEAT):
            self._writer.submit(self._renew).add_done_callback(_warn)

    def _renew(self) -> None:
        if self._held:
            with self._file.writing() as connection:
                leases.renew(connection, self._held, self._owner, time.time())


def _warn(future: Future[None] | asyncio.Future[None]) -> None:
    """A lease that cannot be written costs other processes a wait, and no result."""
    if error := future.exception():
        _log.warning("who else waits for this claim waits up to %.0f s more: %s", leases.LEASE_SECONDS, error)
