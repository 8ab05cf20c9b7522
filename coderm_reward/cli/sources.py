"""Where `generate` and `score` get their unit tests: files, a store, or a model behind a server or engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from coderm_reward.activity import Activity
from coderm_reward.cli.console import note
from coderm_reward.config import GenerationConfig
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.generation.completions import Completion, CompletionBackend
from coderm_reward.generation.model_generator import ModelGenerator
from coderm_reward.generation.openai_backend import OpenAIBackend
from coderm_reward.generation.recorded import RecordedGenerator
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.store_file import MEMORY
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
        return self.config.base_url is not None or self.config.engine is not None

    @property
    def prompts_at_once(self) -> int:
        """Prompts in flight: enough to keep the server busy while some wait for their last response."""
        return max(8, -(-2 * self.config.requests_at_once // self.responses))

    def groups_at_once(self, workers: int) -> int:
        """Those that wait for the model, besides those that keep the workers busy; bounded."""
        return min(_MOST_GROUPS, max(2, 2 * workers) + self.prompts_at_once)

    def check(self) -> None:
        """Raise ConfigError where the settings name no source, or more than one."""
        if self.config.base_url is not None and self.config.engine is not None:
            raise ConfigError("--base-url names a server and --engine an engine in this process; give one.")
        if not self.asks and self.config.store == "memory":
            raise ConfigError(
                "There is nobody to write unit tests; name a server with --base-url, an engine with --engine "
                "vllm, or a --store that has them."
            )

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
        self.check()
        path = MEMORY if self.config.store == "memory" else self.config.store
        with SuiteStore.open(path, read_only=not self.asks) as store:
            identity = None if self.asks else self._stored_generator(store)
            backend = self._backend()
            try:
                generator = ModelGenerator(
                    backend,
                    store,
                    self.config,
                    identity=identity,
                    activity=activity,
                    on_completion=on_completion,
                )
                await self._look(generator, backend, problems)
                yield generator
            finally:
                if backend is not None:
                    await backend.aclose()

    def _backend(self) -> CompletionBackend | None:
        if self.config.base_url is not None:
            return OpenAIBackend(
                self.config.base_url,
                self.config.model,
                max_concurrency=self.config.requests_at_once,
                deadline=self.config.request_timeout,
                n_per_request=self.config.choices_per_request,
            )
        if self.config.engine is not None:
            from coderm_reward.generation.vllm_engine import VllmBackend

            return VllmBackend(
                self.config.model,
                max_model_len=self.config.context,
                gpu_memory_utilization=self.config.gpu_memory_utilization,
                tensor_parallel_size=self.config.tensor_parallel_size,
                max_concurrency=self.config.requests_at_once,
                deadline=self.config.request_timeout,
            )
        return None

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

    def _stored_generator(self, store: SuiteStore) -> str | None:
        """Whose tests of the store to take: those that the settings name, or the only ones there are.

        Raises:
            InputError: there are several others.
        """
        there = list(store.generators())
        ours = ModelGenerator(None, store, self.config).identity
        if ours in there or not there:
            return None
        if len(there) == 1 and not self.model_named:
            note(f"{self.config.store} has tests by {there[0]}")
            return there[0]
        raise InputError(
            f"The store {self.config.store} has no tests by {ours}; it has some by {'; '.join(there)}: name "
            "one with --model, --template and sampling settings to match."
        )
