"""From solutions and tests to an execution matrix, through the sandbox pool."""

from coderm_reward.execution.cache import MemoryCache, VerdictCache
from coderm_reward.execution.cache_file import FileCache, open_cache
from coderm_reward.execution.executor import SandboxExecutor
from coderm_reward.execution.modules import importable_modules
from coderm_reward.execution.pool_seam import Pool
from coderm_reward.execution.pools import make_executor, make_pool, started

__all__ = [
    "FileCache",
    "MemoryCache",
    "Pool",
    "SandboxExecutor",
    "VerdictCache",
    "importable_modules",
    "make_executor",
    "make_pool",
    "open_cache",
    "started",
]
