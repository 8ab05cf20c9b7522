"""What the pool and a worker say to each other about tests. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coderm_sandbox.guest import wire
from coderm_sandbox.types import MAX_SOURCE_BYTES, Inspection, Outcome, Test, TestResult, class_outcome

__all__ = ["batch", "inspection", "request", "result", "uniform"]

BYTES_PER_REQUEST = 2 * MAX_SOURCE_BYTES


def batch(tests: Sequence[Test], pending: Sequence[int]) -> list[int]:
    """As many of the pending tests, in order, as one request holds; none if the first is too long."""
    batch: list[int] = []
    total = 0
    for i in pending:
        size = wire.weight(tests[i].source) + sum(wire.weight(name) for name in tests[i].methods)
        total += size
        if size > MAX_SOURCE_BYTES or total > BYTES_PER_REQUEST:
            break
        batch.append(i)
    return batch


def request(test: Test) -> dict[str, Any]:
    """What the worker is told of a test: its source and the methods to run, each once."""
    methods = [name for name in dict.fromkeys(test.methods) if name not in test.skipped]
    return {"s": test.source, "c": test.class_name, "m": methods}


def uniform(test: Test, outcome: Outcome, detail: str) -> TestResult:
    """The result of a test all of whose methods that count have the same outcome."""
    methods = {n: Outcome.INVALID_TEST if n in test.skipped else outcome for n in test.methods}
    return TestResult(class_outcome(list(methods.values())), methods, detail=detail)


def result(test: Test, answer: dict[str, Any]) -> TestResult:
    ran = {name: Outcome(outcome) for name, outcome in answer["outcomes"].items()}
    methods = {name: ran.get(name, Outcome.INVALID_TEST) for name in test.methods}
    fixture = Outcome(answer["fixture"]) if answer["fixture"] else None
    return TestResult(
        outcome=class_outcome(list(methods.values()), fixture),
        methods=methods,
        seconds=float(answer["s"]),
        judge=str(answer["j"]),
        detail=str(answer["d"]),
        assumed=int(answer["assumed"]),
    )


def inspection(answer: dict[str, Any]) -> Inspection:
    """The inspection that a worker's answer stands for."""
    return Inspection(
        valid=answer["ok"] is True,
        reason=str(answer["why"]),
        methods=tuple(str(name) for name in answer["methods"]),
        skipped=tuple(str(name) for name in answer["skipped"]),
    )
