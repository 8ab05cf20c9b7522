"""Fill an execution matrix from the sandbox pool: each distinct solution and test runs once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
import numpy as np

from coderm_reward.execution.verdicts import JUDGE_OF_LABEL, VERDICT_OF_OUTCOME
from coderm_reward.types import (
    CodeStatus,
    ExecutionMatrix,
    ExecutionStats,
    Solution,
    TestSuite,
    UnitTest,
    Verdict,
)
from coderm_sandbox import Inspection, Job, SandboxPool, Test, TestResult, WorkerDiedError

__all__ = ["DETAILS_PER_SOLUTION", "SandboxExecutor"]

DETAILS_PER_SOLUTION = 5
"""Failing tests of one solution whose first failing method is described in the record."""
_INSPECTIONS_KEPT = 20_000
_log = logging.getLogger("coderm_reward")


class SandboxExecutor:
    """Executor (coderm_reward.protocols) over a running SandboxPool.

    Each test is inspected once, without any solution, and remembered: what is invalid then is an
    INVALID_TEST column for every rollout.
    """

    def __init__(self, pool: SandboxPool) -> None:
        self._pool = pool
        self._inspections: OrderedDict[str, Inspection] = OrderedDict()

    async def execute(self, solutions: Sequence[Solution], suite: TestSuite) -> ExecutionMatrix:
        """Run every solution with code against every valid test of the suite."""
        began = time.perf_counter()
        try:
            inspections = await self._inspect(suite.tests)
        except WorkerDiedError as error:
            _log.warning("no verdicts for prompt %s: %s", suite.prompt_hash, error)
            return _no_evidence(suite.tests, _distinct(solutions))
        tests = tuple(_with_methods(t, i) for t, i in zip(suite.tests, inspections, strict=True))
        valid = [t for t, inspection in enumerate(inspections) if inspection.valid]
        jobs = tuple(_sandbox_test(tests[t], inspections[t]) for t in valid)

        indices = _distinct(solutions)
        codes = {int(index): s.code for index, s in zip(indices, solutions, strict=True) if index >= 0}
        results: list[list[TestResult]] = []
        if jobs:
            results = await asyncio.gather(*(self._pool.run(Job(code, jobs)) for code in codes.values()))
        stats = ExecutionStats(
            pairs=int((indices >= 0).sum()) * sum(tests[t].copies for t in valid),
            pairs_run=sum(map(len, results)),
            assumed_timeouts=sum(result.assumed for row in results for result in row),
            retried=sum(result.retried for row in results for result in row),
            seconds=time.perf_counter() - began,
        )
        invalid = {test.id: i.reason for test, i in zip(tests, inspections, strict=True) if not i.valid}
        voteless = [
            f"{test.class_name}.{name}" in i.skipped or not i.valid
            for test, i in zip(tests, inspections, strict=True)
            for name in test.methods
        ]
        return _assemble(tests, valid, np.array(voteless, dtype=np.bool_), indices, results, invalid, stats)

    async def _inspect(self, tests: Sequence[UnitTest]) -> list[Inspection]:
        """Inspections of the tests, in order; those seen before are not repeated."""
        known = {test.id: self._inspections[test.id] for test in tests if test.id in self._inspections}
        fresh = list({test.id: test for test in tests if test.id not in known}.values())
        found = await self._pool.inspect([Test(test.source, test.class_name) for test in fresh])
        known.update(zip((test.id for test in fresh), found, strict=True))
        for test in tests:
            self._inspections[test.id] = known[test.id]
            self._inspections.move_to_end(test.id)
        while len(self._inspections) > _INSPECTIONS_KEPT:
            self._inspections.popitem(last=False)
        return [known[test.id] for test in tests]


def _no_evidence(
    tests: tuple[UnitTest, ...], indices: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> ExecutionMatrix:
    """UNKNOWN throughout: the sandbox could not even look at the tests."""
    voteless = np.zeros(sum(len(test.methods) for test in tests), dtype=np.bool_)
    pairs = int((indices >= 0).sum()) * sum(test.copies for test in tests)
    return _assemble(tests, [], voteless, indices, [], {}, ExecutionStats(pairs=pairs))


def _with_methods(test: UnitTest, inspection: Inspection) -> UnitTest:
    """The test with the methods that unittest itself finds in it, where it could be loaded."""
    if not inspection.valid:
        return test
    return msgspec.structs.replace(test, methods=tuple(n.rsplit(".", 1)[1] for n in inspection.methods))


def _sandbox_test(test: UnitTest, inspection: Inspection) -> Test:
    return Test(test.source, test.class_name, inspection.methods, inspection.skipped)


def _distinct(solutions: Sequence[Solution]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """[R] index of each rollout's distinct solution, in order of first appearance; -1 without code."""
    seen: dict[str, int] = {}
    return np.array(
        [seen.setdefault(s.id, len(seen)) if s.status is CodeStatus.OK else -1 for s in solutions],
        dtype=np.intp,
    )


def _assemble(
    tests: tuple[UnitTest, ...],
    valid: Sequence[int],
    voteless: np.ndarray[tuple[int], np.dtype[np.bool_]],
    indices: np.ndarray[tuple[int], np.dtype[np.intp]],
    results: Sequence[Sequence[TestResult]],
    invalid: dict[str, str],
    stats: ExecutionStats,
) -> ExecutionMatrix:
    """Spread the results of distinct solutions over all rollouts that share them.

    `voteless` [M] are the methods that the test itself skips, and those of invalid tests.
    """
    method_test = np.array([t for t, test in enumerate(tests) for _ in test.methods], dtype=np.intp)
    first_method = np.searchsorted(method_test, np.arange(len(tests)))
    distinct = len(results)
    classes = np.full((distinct + 1, len(tests)), Verdict.UNKNOWN, dtype=np.uint8)  # last row: no code
    methods = np.full((distinct + 1, len(method_test)), Verdict.UNKNOWN, dtype=np.uint8)
    judges = np.zeros((distinct + 1, len(tests)), dtype=np.uint8)
    seconds = np.zeros(distinct + 1, dtype=np.float64)
    details: dict[int, dict[str, str]] = {}
    for index, row in enumerate(results):
        for t, result in zip(valid, row, strict=True):
            classes[index, t] = VERDICT_OF_OUTCOME[result.outcome]
            judges[index, t] = JUDGE_OF_LABEL[result.judge]
            seconds[index] += result.seconds
            for m, outcome in enumerate(result.methods.values(), start=first_method[t]):
                methods[index, m] = VERDICT_OF_OUTCOME[outcome]
            if result.detail and len(details.setdefault(index, {})) < DETAILS_PER_SOLUTION:
                details[index][tests[t].id] = result.detail
    classes[:, [test.id in invalid for test in tests]] = Verdict.INVALID_TEST
    methods[:, voteless] = Verdict.INVALID_TEST
    rows = indices if distinct else np.full_like(indices, -1)
    return ExecutionMatrix(
        tests=tests,
        class_verdicts=classes[rows],
        method_verdicts=methods[rows],
        method_test=method_test,
        has_code=indices >= 0,
        solution_index=indices,
        judges=judges[rows],
        exec_seconds=seconds[rows],
        invalid=invalid,
        details={index: found for index, found in details.items() if found},
        stats=stats,
    )
