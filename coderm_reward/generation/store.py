"""The store of suites: raw responses of models by prompt and generator, in numbered slots, for ever.

A slot is filled once and stays as it is. Who wants n responses wants slots 0 to n - 1, so a larger request
later asks for the difference alone, and a slot whose request failed is asked for again. Generators are told
apart by their identity; two of them on one store never mix.

    async with store.claim(prompt_hash, identity, n) as missing:
        for slot in missing:
            ...  # ask the model, and append each answer as it arrives
    responses = store.responses(prompt_hash, identity, n)

One of all tasks and processes of the machine asks for a prompt at a time (single flight); the others wait
and see its answers as they are appended. What was appended is there after a kill -9 at any moment; after a
power cut the last seconds may be missing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from coderm_reward.generation import store_leases as leases
from coderm_reward.generation import store_rows as rows
from coderm_reward.generation.store_file import MEMORY, StoreFile
from coderm_reward.generation.store_leases import Key
from coderm_reward.generation.stored import NEXT_SLOT, StoredResponse, StoredSuite
from coderm_reward.types import Problem

__all__ = ["SuiteStore"]

_T = TypeVar("_T")
_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two looks at what another process does: at first, and after a while of nothing."""
_log = logging.getLogger("coderm_reward")


class SuiteStore:
    """A store that is open; see SuiteStore.open. Its coroutines belong to one event loop.

    Reads answer at once. Writes wait for other processes, so they are coroutines, and they run to their end
    also if their task is cancelled. Any of them raises GenerationError, with the fix, if the store fails.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file
        self._owner = leases.Owner.here()
        self._suites: dict[Key, int] = {}
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="suite-store")
        self._busy: set[Key] = set()
        """What this process asks for, or is about to."""
        self._held: set[Key] = set()
        """Leases of this process; touched in the writer's thread alone."""
        self._news: dict[Key, asyncio.Event] = {}
        self._heart: threading.Thread | None = None
        self._closed = threading.Event()

    @classmethod
    def open(cls, path: Path | str = MEMORY, *, read_only: bool = False) -> SuiteStore:
        """Open the store in a file, which is made if it is not there; by default one in memory.

        `read_only` gives what is there and refuses the rest, also on a read-only disk: there the file must
        have been closed properly, and nobody may write to it by another way meanwhile.

        Raises:
            OutputError: the file is damaged, of another kind or of a newer version, or cannot be written;
                it is left as it was.
            InputError: it is to be read only and is not there.
        """
        return cls(StoreFile(Path(path), read_only=read_only))

    @property
    def path(self) -> Path:
        """Where it is; `:memory:` if nowhere."""
        return self._file.path

    @property
    def read_only(self) -> bool:
        """Whether it takes nothing new."""
        return self._file.read_only

    def responses(self, prompt_hash: str, generator: str, n: int | None = None) -> list[StoredResponse]:
        """Return what is in the slots below `n` (None: all), by slot."""
        suite = self._suite(prompt_hash, generator)
        if suite is None:
            return []
        with self._file.reading() as connection:
            return rows.read_responses(connection, suite, n)

    def missing(self, prompt_hash: str, generator: str, n: int) -> tuple[int, ...]:
        """Return the slots below `n` that are empty."""
        suite = self._suite(prompt_hash, generator)
        if suite is None:
            return tuple(range(n))
        with self._file.reading() as connection:
            filled = rows.read_slots(connection, suite, n)
        return tuple(slot for slot in range(n) if slot not in filled)

    async def append(
        self,
        problem: Problem,
        generator: str,
        responses: Sequence[StoredResponse],
        *,
        description: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        """Keep these responses, all or none; return the slots that were empty and now are filled.

        Of the prompt and of the generator's description, what was told first is kept.
        """
        if any(response.slot < 0 for response in responses):
            raise ValueError("slots are numbered from 0")
        key = (problem.prompt_hash, generator)

        def add() -> list[int]:
            with self._file.writing() as connection:
                suite = rows.make_suite(connection, problem, generator, description or {})
                return rows.add_responses(connection, suite, responses)

        added = await self._write(add)
        self._announce(key)
        return tuple(added)

    async def merge(self, suite: StoredSuite) -> tuple[int, ...]:
        """Add what a suite from elsewhere has more than this store, and its marks; return the new slots.

        A text counts as often as it occurs, so merging a suite twice changes nothing. Responses keep their
        slots where these are free; the others, and those of NEXT_SLOT, come after all that are there. Claims
        the suite, so it waits while anybody has a claim on it.
        """
        if any(response.slot < NEXT_SLOT for response in suite.responses):
            raise ValueError("slots are numbered from 0")
        key = (suite.problem.prompt_hash, suite.generator)

        def add() -> list[int]:
            with self._file.writing() as connection:
                number = rows.make_suite(connection, suite.problem, suite.generator, suite.description)
                for test, marks in suite.marks.items():
                    for mark, detail in marks.items():
                        rows.add_mark(connection, suite.problem.prompt_hash, test, mark, detail)
                return rows.merge_responses(connection, number, suite.responses)

        async with self.claim(*key):  # nobody's answer finds its slot taken by an import
            added = await self._write(add)
        self._announce(key)
        return tuple(added)

    @asynccontextmanager
    async def claim(
        self, prompt_hash: str, generator: str, n: int | None = None
    ) -> AsyncIterator[tuple[int, ...]]:
        """Wait for the sole right to ask this generator for this prompt; give the slots to ask for.

        With `n`, these are the empty slots below it; and if others fill them all meanwhile, the wait is over
        and there is nothing to ask. Without `n` none are named. A process that ends, however, gives up its
        claims. Who needs several claims takes them in one order everywhere, or each in a task of its own.
        """
        key = (prompt_hash, generator)
        pause = _PAUSE
        taken = False
        while not taken:
            if n is not None and not self.missing(*key, n):
                break
            taken = await self._take(key)
            if not taken:
                pause = _PAUSE if await self._heard(key, pause) else min(2 * pause, _LONGEST_PAUSE)
        try:
            yield () if n is None else self.missing(*key, n)
        finally:
            if taken:
                await self._release(key)

    async def mark(self, prompt_hash: str, test_id: str, mark: str, detail: str = "") -> None:
        """Mark a test of a prompt, as by screening: it stays, and whoever uses the suite decides."""

        def add() -> None:
            with self._file.writing() as connection:
                rows.add_mark(connection, prompt_hash, test_id, mark, detail)

        await self._write(add)

    def marks(self, prompt_hash: str) -> dict[str, dict[str, str]]:
        """Return test id -> mark -> detail, of the marked tests of a prompt."""
        with self._file.reading() as connection:
            return rows.marks_of(connection, prompt_hash)

    def generators(self) -> dict[str, dict[str, Any]]:
        """Return the description of each generator by its identity, in the order of their first response."""
        with self._file.reading() as connection:
            return rows.generators(connection)

    def suites(self, generator: str | None = None) -> Iterator[StoredSuite]:
        """Yield the suites of a generator, or of all, as begun first; each as it is when its turn comes."""
        with self._file.reading() as connection:
            numbers = rows.suites_of(connection, generator)
        for number in numbers:
            with self._file.reading() as connection:
                suite = rows.read_suite(connection, number)
            yield suite

    def verify(self) -> None:
        """Check the whole file; opening checks only what is quick. Raises OutputError if it is damaged."""
        self._file.verify()

    def close(self) -> None:
        """Finish what is being written, give up all claims and let go of the file; safe to call twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._heart is not None:
            self._heart.join()
        self._writer.submit(self._release_all).add_done_callback(_warn)
        self._writer.shutdown(wait=True)
        self._file.close()

    def __enter__(self) -> SuiteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _suite(self, prompt_hash: str, generator: str) -> int | None:
        key = (prompt_hash, generator)
        if key not in self._suites:
            with self._file.reading() as connection:
                found = rows.find_suite(connection, *key)
            if found is None:
                return None
            self._suites[key] = found
        return self._suites[key]

    async def _write(self, work: Callable[[], _T]) -> _T:
        """Do this in the writer's thread; it is done also if we are cancelled while we wait."""
        return await asyncio.shield(asyncio.wrap_future(self._writer.submit(work)))

    async def _take(self, key: Key) -> bool:
        """Take the lease of a key if nobody has it."""
        with self._file.reading() as connection:
            if key in self._busy or not leases.is_free(connection, key, time.time()):
                return False
        self._start_heart()
        self._busy.add(key)
        taken = False
        try:
            taken = await self._write(lambda: self._take_lease(key))
            return taken
        except asyncio.CancelledError:
            await self._release(key)  # runs after the taking, which may have succeeded
            raise
        finally:
            if not taken:
                self._busy.discard(key)
                self._announce(key)

    async def _release(self, key: Key) -> None:
        def release() -> None:
            self._held.discard(key)
            with self._file.writing() as connection:
                leases.release(connection, key, self._owner)

        def done(future: asyncio.Future[None]) -> None:
            self._busy.discard(key)
            self._announce(key)
            _warn(future)

        releasing = asyncio.wrap_future(self._writer.submit(release))
        releasing.add_done_callback(done)
        await asyncio.wait([releasing])

    def _take_lease(self, key: Key) -> bool:
        with self._file.writing() as connection:
            taken = leases.take(connection, key, self._owner, time.time())
        if taken:
            self._held.add(key)
        return taken

    def _release_all(self) -> None:
        if self._held:
            with self._file.writing() as connection:
                leases.release_all(connection, self._owner)

    def _renew(self) -> None:
        if self._held:
            with self._file.writing() as connection:
                leases.renew(connection, self._held, self._owner, time.time())

    def _start_heart(self) -> None:
        if self._heart is None and self.path != MEMORY:
            self._heart = threading.Thread(target=self._beat, name="suite-store-leases", daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        """Renew our leases until the store is closed: in a thread, as an event loop may be kept busy."""
        while not self._closed.wait(leases.HEARTBEAT):
            self._writer.submit(self._renew).add_done_callback(_warn)

    async def _heard(self, key: Key, seconds: float) -> bool:
        """Wait until something about a key changes in this process, at most so long; whether it did."""
        news = self._news.setdefault(key, asyncio.Event())
        try:
            await asyncio.wait_for(news.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    def _announce(self, key: Key) -> None:
        if news := self._news.pop(key, None):
            news.set()


def _warn(future: Future[None] | asyncio.Future[None]) -> None:
    """A lease that cannot be written costs other processes a wait, and no result."""
    if error := future.exception():
        _log.warning("who else waits for this claim waits up to %.0f s more: %s", leases.LEASE_SECONDS, error)
