"""From solutions and tests to an execution matrix, through the sandbox pool."""

from coderm_reward.execution.cache import MemoryCache, VerdictCache
from coderm_reward.execution.cache_file import FileCache, open_cache
from coderm_reward.execution.executor import SandboxExecutor
from coderm_reward.execution.modules import importable_modules

__all__ = ["FileCache", "MemoryCache", "SandboxExecutor", "VerdictCache", "importable_modules", "open_cache"]
