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

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from coderm_reward.generation import store_rows as rows
from coderm_reward.generation.store_claims import Claims, Writer
from coderm_reward.generation.store_file import MEMORY, StoreFile
from coderm_reward.generation.store_leases import Key
from coderm_reward.generation.stored import NEXT_SLOT, StoredResponse, StoredSuite
from coderm_reward.types import Problem

__all__ = ["SuiteStore"]


class SuiteStore:
    """A store that is open; see SuiteStore.open. Its coroutines belong to one event loop.

    Reads answer at once. Writes wait for other processes, so they are coroutines, and they run to their end
    also if their task is cancelled. Any of them raises GenerationError, with the fix, if the store fails.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file
        self._writer = Writer()
        self._claims = Claims(file, self._writer)
        self._suites: dict[Key, int] = {}
        self._is_closed = False

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

        added = await self._writer.run(add)
        self._claims.announce(key)
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
            added = await self._writer.run(add)
        self._claims.announce(key)
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

        def missing() -> tuple[int, ...]:
            return () if n is None else self.missing(prompt_hash, generator, n)

        async with self._claims.claim((prompt_hash, generator), lambda: n is not None and not missing()):
            yield missing()

    async def mark(self, prompt_hash: str, test_id: str, mark: str, detail: str = "") -> None:
        """Mark a test of a prompt, as by screening: it stays, and whoever uses the suite decides."""

        def add() -> None:
            with self._file.writing() as connection:
                rows.add_mark(connection, prompt_hash, test_id, mark, detail)

        await self._writer.run(add)

    def marks(self, prompt_hash: str) -> dict[str, dict[str, str]]:
        """Return test id -> mark -> detail, of the marked tests of a prompt."""
        with self._file.reading() as connection:
            return rows.marks_of(connection, prompt_hash)

    def generators(self) -> dict[str, dict[str, Any]]:
        """Return the description of each generator by its identity, in the order of their first response."""
        with self._file.reading() as connection:
            return rows.generators(connection)

    def problems(self, generator: str | None = None) -> list[Problem]:
        """Return the prompts of the suites of a generator, or of all, as begun first; each once."""
        with self._file.reading() as connection:
            return rows.problems_of(connection, generator)

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
        if not self._is_closed:
            self._is_closed = True
            self._claims.close()
            self._writer.close()
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
