"""From solutions and tests to an execution matrix, through the sandbox pool."""

from coderm_reward.execution.executor import SandboxExecutor

__all__ = ["SandboxExecutor"]
