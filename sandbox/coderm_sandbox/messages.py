"""What the pool and a worker say to each other about tests. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coderm_sandbox.guest import wire
from coderm_sandbox.types import MAX_SOURCE_BYTES, Inspection, Outcome, Test, TestResult, class_outcome

__all__ = ["batch", "inspection", "lacks_evidence", "request", "result", "uniform"]

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


def request(test: Test, votes: bool = False) -> dict[str, Any]:
    """What the worker is told of a test: source, methods to run, each once, and whether assertions vote."""
    methods = [name for name in dict.fromkeys(test.methods) if name not in test.skipped]
    return {"s": test.source, "c": test.class_name, "m": methods, "v": votes or bool(test.votes)}


def uniform(test: Test, outcome: Outcome, detail: str) -> TestResult:
    """The result of a test all of whose methods that count have the same outcome."""
    methods = {n: Outcome.INVALID_TEST if n in test.skipped else outcome for n in test.methods}
    votes = _votes(test, methods, {}, None)
    return TestResult(class_outcome(list(methods.values())), methods, detail=detail, votes=votes)


def _votes(
    test: Test, methods: dict[str, Outcome], said: dict[str, Any], unreached: Outcome | None
) -> dict[str, tuple[Outcome, ...]]:
    """The votes of a test; what nobody said is `unreached`, or else the outcome of its method."""
    found = {}
    for name, count in zip(test.methods, test.votes, strict=False):
        rest = methods[name] if unreached is None else unreached
        given = said.get(name, [])
        if len(given) != count:
            given = [methods[name].value] * count
        found[name] = tuple(rest if vote is None else Outcome(vote) for vote in given)
    return found


def result(test: Test, answer: dict[str, Any], unreached: Outcome | None = None) -> TestResult:
    """The result that a worker's answer stands for; see `_votes`."""
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
        votes=_votes(test, methods, answer.get("v", {}), unreached),
    )


def lacks_evidence(result: TestResult) -> bool:
    """Whether nothing is known about one of its methods or votes."""
    votes = (vote for found in result.votes.values() for vote in found)
    return Outcome.UNKNOWN in result.methods.values() or Outcome.UNKNOWN in votes


def inspection(answer: dict[str, Any]) -> Inspection:
    """The inspection that a worker's answer stands for."""
    return Inspection(
        valid=answer["ok"] is True,
        reason=str(answer["why"]),
        methods=tuple(str(name) for name in answer["methods"]),
        skipped=tuple(str(name) for name in answer["skipped"]),
        votes=tuple(int(count) for count in answer["votes"]),
    )
