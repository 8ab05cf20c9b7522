"""Where `generate` and `score` get their unit tests: files, a store, or a model behind a server or engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from coderm_reward.activity import Activity
from coderm_reward.cli.console import note
from coderm_reward.config import GenerationConfig
from coderm_reward.errors import InputError
from coderm_reward.generation.completions import Completion, CompletionBackend
from coderm_reward.generation.model_generator import ModelGenerator
from coderm_reward.generation.recorded import RecordedGenerator
from coderm_reward.generation.sources import asks_somebody, model_generator
from coderm_reward.protocols import UnitTestGenerator
from coderm_reward.types import Problem

__all__ = ["ModelSource", "RecordedSource", "TestSource"]

_MOST_GROUPS = 512


class TestSource(Protocol):
    """Where `score` gets its tests."""

    @property
    def asks(self) -> bool:
        """Whether it can give tests later that it does not have now."""
        ...

    def groups_at_once(self, workers: int) -> int:
        """Groups to have in flight with so many sandbox workers."""
        ...

    def open(
        self,
        problems: Sequence[Problem],
        *,
        activity: Activity | None = None,
        on_completion: Callable[[Completion], None] | None = None,
    ) -> AbstractAsyncContextManager[UnitTestGenerator]:
        """Make ready what gives the tests, and say what these problems will lack."""
        ...


@dataclass(frozen=True)
class RecordedSource:
    """Tests from files."""

    generator: RecordedGenerator
    asks: bool = False

    def groups_at_once(self, workers: int) -> int:
        """Two for each worker."""
        return max(2, 2 * workers)

    @asynccontextmanager
    async def open(
        self,
        problems: Sequence[Problem],
        *,
        activity: Activity | None = None,
        on_completion: Callable[[Completion], None] | None = None,
    ) -> AsyncIterator[UnitTestGenerator]:
        """Nothing is to be made ready."""
        yield self.generator


@dataclass(frozen=True)
class ModelSource:
    """Tests that a model writes, or wrote: its settings, and whether anybody is there to be asked."""

    config: GenerationConfig
    responses: int
    """Per prompt."""
    model_named: bool = True
    """Whether the user named the model, or it is only the default."""

    @property
    def asks(self) -> bool:
        """Whether there is a server or an engine; otherwise the store is all there is."""
        return asks_somebody(self.config)

    @property
    def prompts_at_once(self) -> int:
        """Prompts in flight: enough to keep the server busy while some wait for their last response."""
        return max(8, -(-2 * self.config.requests_at_once // self.responses))

    def groups_at_once(self, workers: int) -> int:
        """Those that wait for the model, besides those that keep the workers busy; bounded."""
        return min(_MOST_GROUPS, max(2, 2 * workers) + self.prompts_at_once)

    @asynccontextmanager
    async def open(
        self,
        problems: Sequence[Problem],
        *,
        activity: Activity | None = None,
        on_completion: Callable[[Completion], None] | None = None,
    ) -> AsyncIterator[ModelGenerator]:
        """Open store and backend, make sure that both can be used, and say what is missing for `problems`.

        Raises:
            GenerationError: the server or engine cannot be used, and something is missing.
            OutputError: the store is a file that cannot be used.
            InputError: a store alone has nothing for these prompts.
        """
        opened = model_generator(
            self.config, model_named=self.model_named, activity=activity, on_completion=on_completion
        )
        async with opened as (generator, backend):
            if generator.identity != ModelGenerator(None, generator.store, self.config).identity:
                note(f"{self.config.store} has tests by {generator.identity}")
            await self._look(generator, backend, problems)
            yield generator

    async def _look(
        self, generator: ModelGenerator, backend: CompletionBackend | None, problems: Sequence[Problem]
    ) -> None:
        missing = [generator.missing(problem, self.responses) for problem in problems]
        kept = len(problems) * self.responses - sum(missing)
        if self.config.store != "memory":
            note(f"{self.config.store}: {kept:,} of {kept + sum(missing):,} responses are there already")
        if not any(missing):
            return
        if backend is not None:
            await backend.check()
        elif not kept:
            raise InputError(
                f"The store {self.config.store} has no tests for these prompts by {generator.identity}; "
                "generate them with --base-url or --engine."
            )
        else:
            note(
                f"{sum(missing):,} responses for {sum(map(bool, missing)):,} of {len(problems):,} prompts "
                "are missing; --base-url or --engine would generate them"
            )
