"""From settings to who writes the tests: the backend, the store, and the generator over both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from coderm_reward.activity import Activity
from coderm_reward.config import GenerationConfig
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.generation.completions import Completion, CompletionBackend
from coderm_reward.generation.model_generator import ModelGenerator
from coderm_reward.generation.openai_backend import OpenAIBackend
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.store_file import MEMORY

__all__ = ["asks_somebody", "check_source", "has_source", "make_backend", "model_generator"]


def asks_somebody(config: GenerationConfig) -> bool:
    """Whether there is a server or an engine; otherwise the store is all there is."""
    return config.base_url is not None or config.engine is not None


def has_source(config: GenerationConfig) -> bool:
    """Whether anybody writes tests, or a store has them."""
    return asks_somebody(config) or config.store != "memory"


def check_source(config: GenerationConfig) -> None:
    """Raise ConfigError where the settings name nobody who has tests or writes them, or two who write."""
    if config.base_url is not None and config.engine is not None:
        raise ConfigError("--base-url names a server and --engine an engine in this process; give one.")
    if not has_source(config):
        raise ConfigError(
            "There is nobody to write unit tests; name a server with --base-url (setting base_url), an "
            "engine with --engine vllm, or a --store that has them."
        )


def make_backend(config: GenerationConfig) -> CompletionBackend | None:
    """The server or engine that the settings name, not yet asked for anything; None for a store alone."""
    if config.base_url is not None:
        return OpenAIBackend(
            config.base_url,
            config.model,
            max_concurrency=config.requests_at_once,
            deadline=config.request_timeout,
            n_per_request=config.choices_per_request,
        )
    if config.engine is not None:
        from coderm_reward.generation.vllm_engine import VllmBackend

        return VllmBackend(
            config.model,
            max_model_len=config.context,
            gpu_memory_utilization=config.gpu_memory_utilization,
            tensor_parallel_size=config.tensor_parallel_size,
            max_concurrency=config.requests_at_once,
            deadline=config.request_timeout,
        )
    return None


@asynccontextmanager
async def model_generator(
    config: GenerationConfig,
    *,
    model_named: bool = True,
    activity: Activity | None = None,
    on_completion: Callable[[Completion], None] | None = None,
) -> AsyncIterator[tuple[ModelGenerator, CompletionBackend | None]]:
    """Open store and backend for as long as the block; nobody is asked for anything yet.

    Args:
        model_named: whether the user named the model; else a store alone may give whatever it has.

    Raises:
        ConfigError: the settings name no source, or more than one.
        OutputError: the store is a file that cannot be used.
        InputError: a store alone that is not there, or has the tests of others only.
    """
    check_source(config)
    path = MEMORY if config.store == "memory" else config.store
    with SuiteStore.open(path, read_only=not asks_somebody(config)) as store:
        identity = None if asks_somebody(config) else _stored_generator(config, store, model_named)
        backend = make_backend(config)
        try:
            yield (
                ModelGenerator(
                    backend, store, config, identity=identity, activity=activity, on_completion=on_completion
                ),
                backend,
            )
        finally:
            if backend is not None:
                await backend.aclose()


def _stored_generator(config: GenerationConfig, store: SuiteStore, model_named: bool) -> str | None:
    """Whose tests of the store to take: those that the settings name (None), or the only ones there are.

    Raises:
        InputError: there are several others.
    """
    there = list(store.generators())
    ours = ModelGenerator(None, store, config).identity
    if ours in there or not there:
        return None
    if len(there) == 1 and not model_named:
        return there[0]
    raise InputError(
        f"The store {config.store} has no tests by {ours}; it has some by {'; '.join(there)}: name one with "
        "--model, --template and sampling settings to match."
    )
