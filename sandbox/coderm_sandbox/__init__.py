"""A pool of warm, isolated workers that run Python solutions against unittest classes.

It knows nothing of rewards, needs nothing but the standard library and a `bwrap` binary, and can be
used by itself: `python -m coderm_sandbox run PAIRS.jsonl --out RESULTS.jsonl`.
"""

from coderm_sandbox.errors import PoolClosedError, SandboxError, SandboxUnavailableError, WorkerDiedError
from coderm_sandbox.places import PoolStats, usable_cores
from coderm_sandbox.pool import SandboxPool
from coderm_sandbox.types import (
    SANDBOX_VERSION,
    Inspection,
    Job,
    Limits,
    Outcome,
    Test,
    TestResult,
    class_outcome,
)

__all__ = [
    "SANDBOX_VERSION",
    "Inspection",
    "Job",
    "Limits",
    "Outcome",
    "PoolClosedError",
    "PoolStats",
    "SandboxError",
    "SandboxPool",
    "SandboxUnavailableError",
    "Test",
    "TestResult",
    "WorkerDiedError",
    "class_outcome",
    "usable_cores",
]
