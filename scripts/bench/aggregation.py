"""How long each aggregator takes on one group: 128 rollouts on 512 votes. budget.py prints the figures.

The votes are random, so that every rollout is a cluster of its own: the worst case of those that cluster.
Taken at both ends of what 512 votes can be: one method a class, and four. The least of many runs counts:
whatever else the machine does only adds to it.
"""

from __future__ import annotations

import time

import numpy as np

from coderm_reward.scoring import AGGREGATORS, Ballots, count_votes
from coderm_reward.types import ExecutionMatrix, UnitTest, Verdict

__all__ = ["aggregation_figures"]

ROLLOUTS, VOTES = 128, 512


def ballots(methods: int, seed: int = 0) -> Ballots:
    """Random votes of classes with so many methods."""
    rng = np.random.default_rng(seed)
    classes = VOTES // methods
    votes = np.where(rng.random((ROLLOUTS, VOTES)) < 0.6, Verdict.PASS, Verdict.FAIL).astype(np.uint8)
    passed = (votes.reshape(ROLLOUTS, classes, methods) == Verdict.PASS).all(axis=2)
    names = tuple(f"test_{i}" for i in range(methods))
    matrix = ExecutionMatrix(
        tests=tuple(UnitTest(f"t{i}", "", f"T{i}", names) for i in range(classes)),
        class_verdicts=np.where(passed, Verdict.PASS, Verdict.FAIL).astype(np.uint8),
        method_verdicts=votes,
        method_test=np.repeat(np.arange(classes), methods).astype(np.intp),
        has_code=np.ones(ROLLOUTS, dtype=np.bool_),
        solution_index=np.arange(ROLLOUTS, dtype=np.intp),
        judges=np.zeros((ROLLOUTS, classes), dtype=np.uint8),
        exec_seconds=np.zeros(ROLLOUTS),
    )
    return count_votes(matrix, "method", "weight")


def aggregation_figures(repeats: int = 50) -> dict[str, float]:
    """Return the milliseconds of each aggregator, as `<name>_ms`: the slower of both ends."""
    found: dict[str, float] = {}
    for methods in (1, 4):
        votes = ballots(methods)
        for name, aggregate in AGGREGATORS.items():
            aggregate(votes)
            times = []
            for _ in range(repeats):
                began = time.perf_counter()
                aggregate(votes)
                times.append(1000.0 * (time.perf_counter() - began))
            key = f"{name}_ms"
            found[key] = max(found.get(key, 0.0), round(min(times), 3))
    return found
