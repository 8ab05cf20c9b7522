"""One pool at one level, with bystanders, and the ways in which a property is tried on it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coderm_sandbox.conformance.bystanders import Bystanders, descendants
from coderm_sandbox.conformance.probes import TOOLS
from coderm_sandbox.pool import SandboxPool
from coderm_sandbox.types import Job, Limits, Outcome, Test, TestResult

__all__ = ["LIMITS", "Trial", "method"]

LIMITS = Limits(timeout=1.0, memory_mb=192, processes=24, file_mb=2, output_mb=1, scratch_mb=8)


def method(*bodies: str) -> str:
    """A test text with one class T, whose methods test_0, test_1, ... have these bodies."""
    lines = ["import unittest", "class T(unittest.TestCase):"]
    for number, body in enumerate(bodies):
        lines.append(f"    def test_{number}(self):")
        lines.append(textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8))
    return "\n".join(lines) + "\n"


@dataclass
class Trial:
    """A running pool of one worker, the level it is at, and what stands beside it."""

    pool: SandboxPool
    level: str
    around: Bystanders

    async def run(self, solution: str, *tests: str) -> list[TestResult]:
        """What each test text says about the solution."""
        inspected = await self.pool.inspect([Test(text) for text in tests])
        ready = [
            Test(text, methods=one.methods, skipped=one.skipped)
            for text, one in zip(tests, inspected, strict=True)
        ]
        return await self.pool.run(Job(solution, tuple(ready)))

    async def reached(self, probe: str, *arguments: Any) -> str:
        """What a probe reached as a solution and as part of a test; empty if nothing."""
        probe = TOOLS + probe
        call = f"self.assertEqual(probe(*{arguments!r}), '')"
        (as_solution,) = await self.run(probe, method(call))
        as_test_text = probe + method("self.assertEqual(f(), 1)", call)
        (as_test,) = await self.run("def f():\n    return 1\n", as_test_text)
        found = {"solution": as_solution, "test": as_test}
        return "; ".join(
            f"as a {role}: {result.outcome.value} ({result.detail})"
            for role, result in found.items()
            if result.outcome is not Outcome.PASS
        )

    async def unlike(self, expected: Sequence[Outcome], solution: str, body: str = "f()") -> str:
        """The outcome where it is none of the expected, or where the worker is of no use afterwards."""
        (result,) = await self.run(solution, method(body))
        seen = "" if result.outcome in expected else f"{result.outcome.value} ({result.detail})"
        return "; ".join(filter(None, (seen, await self.worse())))

    async def worse(self) -> str:
        """What is wrong with the pool, if anything is."""
        (after,) = await self.run("def f():\n    return 1\n", method("self.assertEqual(f(), 1)"))
        return (
            "" if after.outcome is Outcome.PASS else f"an honest solution is {after.outcome.value} afterwards"
        )

    def worker_pids(self) -> list[int]:
        """The worker's own processes as a program in it would name them."""
        if self.level == "bubblewrap":
            return [1]
        return [pid for pid in descendants() if pid != self.around.victim]
