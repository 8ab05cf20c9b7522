"""Judging a test in the solution's own process, where its text leaves no other way. See canary.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from . import guard, runner
from .limiting import limit_cpu
from .output import redirect

__all__ = ["run"]

_DEEPEST = (1 << 31) - 1


def run(
    send: Callable[[list[Any]], None],
    source: str,
    class_name: str | None,
    keys: list[str],
    names: dict[str, Any],
    limits: dict[str, Any],
) -> None:
    """Run the methods `keys` and send ["m", name, outcome, detail] for each, then ["done", fixture]."""
    sink = redirect(limits["output_mb"] << 20)
    limit_cpu(limits, len(keys))
    sys.setrecursionlimit(min(sys.getrecursionlimit() + runner.FRAMES, _DEEPEST))

    def report(message: dict[str, Any]) -> None:
        fields = [message["n"], message["o"], message["d"]] if message["k"] == "m" else [message["fixture"]]
        send([message["k"], *fields])

    around = runner.Surroundings(
        exceeded=lambda: sink.exceeded,
        from_solution=runner.raised_in_solution,
        intact=lambda: guard.unittest_intact() and guard.builtins_intact(),
        broken=lambda: False,
    )
    code = compile(source, "<test>", "exec", dont_inherit=True)
    runner.run_methods(code, class_name, keys, names, around, report)
