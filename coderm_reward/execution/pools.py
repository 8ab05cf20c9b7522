"""From settings to a sandbox pool and to what runs groups on it; the one place that makes either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from coderm_reward.config import RewardConfig, SandboxConfig
from coderm_reward.errors import SandboxUnavailableError
from coderm_reward.execution.cache import VerdictCache
from coderm_reward.execution.executor import SandboxExecutor
from coderm_reward.execution.pool_seam import Pool
from coderm_sandbox import Limits, SandboxPool
from coderm_sandbox import SandboxUnavailableError as PoolUnavailableError

__all__ = ["make_executor", "make_pool", "started"]

_Started = TypeVar("_Started")


def make_pool(config: SandboxConfig) -> SandboxPool:
    """The sandbox pool that the settings describe, not yet started."""
    limits = Limits(
        timeout=config.timeout,
        memory_mb=config.memory,
        processes=config.processes,
        file_mb=config.file_size,
        output_mb=config.output,
        hang_limit=config.hang_limit,
    )
    return SandboxPool(
        workers=config.workers, limits=limits, isolation=config.isolation, python=config.sandbox_python
    )


@asynccontextmanager
async def started(pool: AbstractAsyncContextManager[_Started]) -> AsyncIterator[_Started]:
    """Run a pool for as long as the block.

    Raises:
        SandboxUnavailableError: the isolation asked for cannot start here.
    """
    try:
        async with pool as running:
            yield running
    except PoolUnavailableError as error:
        raise SandboxUnavailableError(
            f"{str(error).rstrip('.')}; run `coderm-reward doctor` to see what this host lacks and what "
            "to do about it."
        ) from None


def make_executor(pool: Pool, config: RewardConfig, cache: VerdictCache | None) -> SandboxExecutor:
    """What runs groups on this pool as the settings say."""
    return SandboxExecutor(
        pool,
        cache,
        python=config.sandbox.sandbox_python,
        assertions=config.scoring.vote_unit == "assertion",
    )
