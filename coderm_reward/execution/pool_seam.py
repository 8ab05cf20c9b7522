"""The seam to the sandbox: what execution asks of a pool, one of this process or many on other machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from coderm_sandbox import Inspection, Job, Limits, Test, TestResult

__all__ = ["Pool"]


class Pool(Protocol):
    """What is asked of a pool: a SandboxPool, or whoever passes jobs on to several of them."""

    @property
    def size(self) -> int:
        """How many jobs run at once."""
        ...

    @property
    def limits(self) -> Limits:
        """What one solution may use."""
        ...

    @property
    def isolation(self) -> str:
        """The level asked for."""
        ...

    @property
    def description(self) -> str:
        """How workers are isolated, in words."""
        ...

    @property
    def stats(self) -> Any:
        """Counters, as in coderm_sandbox.places.PoolStats."""
        ...

    async def run(self, job: Job) -> list[TestResult]:
        """Return what each test of the job says about its solution; UNKNOWN where nobody could say."""
        ...

    async def inspect(self, tests: Sequence[Test], *, votes: bool = False) -> list[Inspection]:
        """Say of each test, without any solution, whether it is one. Raises WorkerDiedError."""
        ...
