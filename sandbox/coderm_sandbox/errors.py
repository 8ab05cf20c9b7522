"""What can go wrong with the sandbox itself; what goes wrong with a program in it is an Outcome."""

from __future__ import annotations

__all__ = ["PoolClosedError", "SandboxError", "SandboxUnavailableError", "WorkerDiedError"]


class SandboxError(Exception):
    """Base: the sandbox (not the program in it) failed; the text is one sentence."""


class SandboxUnavailableError(SandboxError):
    """The asked-for isolation level, or the sandbox interpreter, cannot start on this host."""


class WorkerDiedError(SandboxError):
    """A worker ended or stopped answering in the middle of a job; the pool replaces it."""


class PoolClosedError(WorkerDiedError):
    """The pool was closed while a job was in flight or waiting."""
