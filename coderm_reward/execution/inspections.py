"""What tests are by themselves, found out once: in the sandbox, without any solution."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from coderm_reward.execution.identity import reads_source
from coderm_reward.execution.pool_seam import Pool
from coderm_reward.types import UnitTest
from coderm_sandbox import Inspection, Test

__all__ = ["Inspections", "KnownTest"]

_TESTS_KEPT = 20_000


class KnownTest(NamedTuple):
    """What a test is by itself."""

    inspection: Inspection
    reads_source: bool
    """Whether it could tell solutions apart that are the same but for their text."""


class Inspections:
    """Asks the pool about each test once, however many rollouts come with it at the same time.

    Args:
        pool: where tests are inspected.
        votes: also count the assertions that vote (vote unit `assertion`).
    """

    def __init__(self, pool: Pool, *, votes: bool = False) -> None:
        self._pool = pool
        self._votes = votes
        self._known: OrderedDict[str, KnownTest] = OrderedDict()
        self._asked: dict[str, asyncio.Task[dict[str, KnownTest]]] = {}

    async def of(self, tests: Sequence[UnitTest]) -> list[KnownTest]:
        """Return what the tests are, in order.

        Raises:
            WorkerDiedError: (of coderm_sandbox) the pool could not look; the next call asks it again.
        """
        found = {test.id: self._known[test.id] for test in tests if test.id in self._known}
        for id_ in found:
            self._known.move_to_end(id_)
        missing = {test.id: test for test in tests if test.id not in found}
        fresh = [test for id_, test in missing.items() if id_ not in self._asked]
        if fresh:
            asking = asyncio.create_task(self._ask(fresh))
            self._asked.update((test.id, asking) for test in fresh)
            asking.add_done_callback(lambda done: self._answered(fresh, done))
        for asked in {self._asked[id_] for id_ in missing}:
            found.update(await asyncio.shield(asked))  # others wait for it too
        return [found[test.id] for test in tests]

    async def _ask(self, tests: Sequence[UnitTest]) -> dict[str, KnownTest]:
        texts = [Test(test.source, test.class_name) for test in tests]
        found = await self._pool.inspect(texts, votes=self._votes)
        return {
            test.id: KnownTest(inspection, reads_source(test.source))
            for test, inspection in zip(tests, found, strict=True)
        }

    def _answered(self, tests: Sequence[UnitTest], asked: asyncio.Task[dict[str, KnownTest]]) -> None:
        for test in tests:
            self._asked.pop(test.id, None)
        if not asked.cancelled() and asked.exception() is None:
            self._known.update(asked.result())
            while len(self._known) > _TESTS_KEPT:
                self._known.popitem(last=False)
