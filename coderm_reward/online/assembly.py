"""From settings to a scorer that is ready: pool, verdict cache, generator, executor, pipeline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from coderm_reward.activity import Activity
from coderm_reward.config import GenerationConfig, RewardConfig
from coderm_reward.data.recorded_tests import read_recorded_tests
from coderm_reward.errors import ConfigError, GenerationError
from coderm_reward.execution import Pool, importable_modules, make_executor, make_pool, open_cache, started
from coderm_reward.generation.completions import CompletionBackend
from coderm_reward.generation.recorded import RecordedGenerator
from coderm_reward.generation.sources import check_source, has_source, model_generator
from coderm_reward.online.online_scorer import OnlineScorer
from coderm_reward.online.sample import GroupSink, TruthSource
from coderm_reward.online.truth import TruthJudge
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.protocols import UnitTestGenerator

__all__ = ["check_settings", "open_scorer"]

_log = logging.getLogger("coderm_reward")


@asynccontextmanager
async def open_scorer(
    config: RewardConfig,
    *,
    sink: GroupSink | None = None,
    pool: Pool | None = None,
    run: str = "",
    truth: TruthSource | None = None,
) -> AsyncIterator[OnlineScorer]:
    """Give a scorer for as long as the block; it belongs to this event loop.

    A model that cannot be reached is one line in the log: groups get the neutral reward with `infra_error`
    until it can be.

    Args:
        sink: hears of every group.
        pool: a running pool, which stays the caller's; by default one is started as `config.sandbox` says.
        run: label of the run for samples that have none.
        truth: judges by the dataset's own tests; by default those that `Sample.ground_truth` holds are run.

    Raises:
        ConfigError: settings that contradict each other, or cannot mean anything in a training.
        InputError: a file of recorded tests, a store or a probe that is not there or cannot be read.
        OutputError: a store, verdict cache or history that cannot be used.
        SandboxUnavailableError: the isolation asked for cannot start here.
    """
    check_settings(config)
    activity = Activity()
    async with AsyncExitStack() as stack:
        cache = await asyncio.to_thread(open_cache, config.execution.verdict_cache)
        if cache is not None:
            stack.callback(cache.close)
        modules = await asyncio.to_thread(importable_modules, config.sandbox.sandbox_python)
        generator = await stack.enter_async_context(_generator(config, activity))
        if pool is None:
            own = await stack.enter_async_context(started(make_pool(config.sandbox)))
            executor = make_executor(own, config, cache)
        else:
            executor = make_executor(pool, config, cache)
        pipeline = RewardPipeline(generator, executor, config, modules=modules, activity=activity)
        stack.callback(pipeline.close)
        judge = TruthJudge(executor) if truth is None else truth
        scorer = OnlineScorer(pipeline, sink=sink, run=run, truth=judge)
        stack.push_async_callback(scorer.aclose)
        yield scorer


def check_settings(config: RewardConfig) -> None:
    """Raise ConfigError for settings that cannot be meant; opens and asks nothing."""
    generation, budget = config.generation, config.budget
    if config.training.tests is None:
        check_source(generation)
    elif has_source(generation):
        raise ConfigError(
            f"The setting training.tests names recorded tests ({config.training.tests}), and base_url, "
            "engine or store names others; give one of them."
        )
    if budget.allocator in ("greedy", "sequential"):
        raise ConfigError(
            f"Allocator {budget.allocator} plans all prompts of a step together, and in a training they come "
            "one by one; set budget.allocator to price, which shares out the same budget as they come."
        )


@asynccontextmanager
async def _generator(config: RewardConfig, activity: Activity) -> AsyncIterator[UnitTestGenerator]:
    """Where the tests come from."""
    if config.training.tests is not None:
        yield RecordedGenerator(await asyncio.to_thread(read_recorded_tests, [Path(config.training.tests)]))
        return
    async with model_generator(config.generation, activity=activity) as (generator, backend):
        looking = asyncio.create_task(_look(backend, config.generation))
        try:
            yield generator
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def _look(backend: CompletionBackend | None, config: GenerationConfig) -> None:
    """Say once if the model is not there yet; an engine is started by this."""
    if backend is None:
        return
    try:
        await backend.check()
    except GenerationError as error:
        _log.warning("%s Until then every reward of new prompts is neutral, with infra_error.", error)
