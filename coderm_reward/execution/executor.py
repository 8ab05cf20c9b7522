"""Fill an execution matrix from the sandbox pool: each distinct solution and test runs once at most."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from weakref import WeakValueDictionary

import msgspec
import numpy as np
import numpy.typing as npt

from coderm_reward.execution.assertions import with_assertions
from coderm_reward.execution.cache import VerdictCache, circumstances, key_of_test
from coderm_reward.execution.group_memory import GroupMemory
from coderm_reward.execution.identity import normalised_hash, text_hash
from coderm_reward.execution.inspections import Inspections
from coderm_reward.execution.pairs import run_pairs
from coderm_reward.execution.pool_seam import Pool
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
from coderm_sandbox import Inspection, Test, TestResult, WorkerDiedError
from coderm_sandbox.interpreter import describe_interpreter

__all__ = ["DETAILS_PER_SOLUTION", "RememberingExecutor", "SandboxExecutor"]

DETAILS_PER_SOLUTION = 5
"""Failing tests of one solution whose first failing method is described in the record."""
_log = logging.getLogger("coderm_reward")

IntArray = npt.NDArray[np.intp]


class _Interpreter(NamedTuple):
    name: str
    is_ours: bool
    """Whether it has the grammar that solutions are parsed with here."""


class SandboxExecutor:
    """Executor (coderm_reward.protocols) over a running SandboxPool.

    Each test is inspected once, without any solution, and remembered: what is invalid then is an
    INVALID_TEST column for every rollout. Runs of one solution take turns within a prompt, so that what one
    of them finds out the next one knows.

    Args:
        pool: where solutions run.
        cache: verdicts that need no second run; None runs every distinct pair of every group.
        python: the interpreter that the pool was given, if it was given one.
        assertions: judge every assertion by itself as well (vote unit `assertion`).
    """

    def __init__(
        self,
        pool: Pool,
        cache: VerdictCache | None = None,
        *,
        python: str | None = None,
        assertions: bool = False,
    ) -> None:
        self._pool = pool
        self._cache = cache
        self._python = python
        self._assertions = assertions
        self._interpreter: _Interpreter | None = None
        self._inspections = Inspections(pool, votes=assertions)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def remembering(self) -> RememberingExecutor:
        """Return an executor for one group, which runs no pair of it twice."""
        return RememberingExecutor(self)

    async def execute(
        self, solutions: Sequence[Solution], suite: TestSuite, memory: GroupMemory | None = None
    ) -> ExecutionMatrix:
        """Run every solution with code against every valid test of the suite.

        What `memory` knows is not run again, and what ran for it before counts as run in the stats.
        """
        memory = memory or GroupMemory()
        with memory.activity.of("executing"):
            matrix = await self._execute(solutions, suite, memory)
        seconds = memory.activity.seconds("executing")
        return replace(matrix, stats=replace(matrix.stats, seconds=seconds))

    async def _execute(
        self, solutions: Sequence[Solution], suite: TestSuite, memory: GroupMemory
    ) -> ExecutionMatrix:
        has_code = np.array([s.status is CodeStatus.OK for s in solutions], dtype=np.bool_)
        try:
            known = await self._inspections.of(suite.tests)
        except WorkerDiedError as error:
            _log.warning("no verdicts for prompt %s: %s", suite.prompt_hash, error)
            return _no_evidence(suite.tests, _distinct(solutions, exact=True)[0], self._assertions)
        inspections = [test.inspection for test in known]
        tests = tuple(_with_methods(t, i) for t, i in zip(suite.tests, inspections, strict=True))
        valid = [t for t, inspection in enumerate(inspections) if inspection.valid]
        interpreter = await self._describe()
        exact = not interpreter.is_ours or any(known[t].reads_source for t in valid)
        indices, codes = _distinct(solutions, exact=exact)

        isolation = self._pool.description or self._pool.isolation
        where = circumstances(self._pool.limits, isolation, interpreter.name)
        jobs = {t: _sandbox_test(tests[t], inspections[t]) for t in valid}
        keys = {t: key_of_test(job, where) for t, job in jobs.items()}

        def turn(solution: str) -> asyncio.Lock:
            return self._turns.setdefault(f"{suite.prompt_hash} {solution}", asyncio.Lock())

        by_key = {keys[t]: jobs[t] for t in valid}
        results_of = await run_pairs(self._pool, self._cache, codes, by_key, memory, turn)
        results = [[results_of[solution, keys[t]] for t in valid] for solution in codes]

        pairs_run = sum(memory.ran(pair) for pair in results_of)
        stats = ExecutionStats(
            pairs=int(has_code.sum()) * sum(tests[t].copies for t in valid),
            pairs_run=pairs_run,
            cache_hits=len(results_of) - pairs_run,
            assumed_timeouts=sum(result.assumed for result in results_of.values()),
            retried=memory.retried,
        )
        invalid = {test.id: i.reason for test, i in zip(tests, inspections, strict=True) if not i.valid}
        voteless = [
            f"{test.class_name}.{name}" in i.skipped or not i.valid
            for test, i in zip(tests, inspections, strict=True)
            for name in test.methods
        ]
        no_vote = np.array(voteless, dtype=np.bool_)
        matrix = _assemble(tests, valid, no_vote, indices, results, invalid, stats)
        return with_assertions(matrix, valid, no_vote, results) if self._assertions else matrix

    async def _describe(self) -> _Interpreter:
        if self._interpreter is None:
            path, version = sys.executable, tuple(sys.version_info[:3])
            if self._python is not None:
                described = await asyncio.to_thread(describe_interpreter, self._python)
                path, version = described.executable, described.version
            name = f"{path} {'.'.join(map(str, version))}"
            self._interpreter = _Interpreter(name, version[:2] == sys.version_info[:2])
        return self._interpreter


class RememberingExecutor:
    """An Executor for one group over that of all: asked in steps, it runs each pair once, hangs included."""

    def __init__(self, executor: SandboxExecutor) -> None:
        self._executor = executor
        self._memory = GroupMemory()

    async def execute(self, solutions: Sequence[Solution], suite: TestSuite) -> ExecutionMatrix:
        """Run what is new; the stats are those of the whole group so far."""
        return await self._executor.execute(solutions, suite, self._memory)


def _no_evidence(tests: tuple[UnitTest, ...], indices: IntArray, assertions: bool) -> ExecutionMatrix:
    """UNKNOWN throughout: the sandbox could not even look at the tests."""
    tests = tuple(msgspec.structs.replace(test, votes=()) for test in tests)
    voteless = np.zeros(sum(len(test.methods) for test in tests), dtype=np.bool_)
    pairs = int((indices >= 0).sum()) * sum(test.copies for test in tests)
    matrix = _assemble(tests, [], voteless, indices, [], {}, ExecutionStats(pairs=pairs))
    return with_assertions(matrix, [], voteless, []) if assertions else matrix


def _with_methods(test: UnitTest, inspection: Inspection) -> UnitTest:
    """The test with the methods that unittest itself finds in it, where it could be loaded."""
    if not inspection.valid:
        return msgspec.structs.replace(test, votes=())
    methods = tuple(name.rsplit(".", 1)[1] for name in inspection.methods)
    return msgspec.structs.replace(test, methods=methods, votes=inspection.votes)


def _sandbox_test(test: UnitTest, inspection: Inspection) -> Test:
    return Test(test.source, test.class_name, inspection.methods, inspection.skipped, inspection.votes)


def _distinct(solutions: Sequence[Solution], *, exact: bool) -> tuple[IntArray, dict[str, str]]:
    """Return ([R] index of each rollout's distinct solution, -1 without code; identity -> source of each).

    In order of first appearance. `exact` takes only equal texts for the same solution.
    """
    identity = text_hash if exact else normalised_hash
    texts = {s.code: "" for s in solutions if s.status is CodeStatus.OK}
    texts.update((code, identity(code)) for code in texts)
    codes: dict[str, str] = {}
    for code, solution in texts.items():
        codes.setdefault(solution, code)
    number = {solution: i for i, solution in enumerate(codes)}
    indices = [number[texts[s.code]] if s.status is CodeStatus.OK else -1 for s in solutions]
    return np.array(indices, dtype=np.intp), codes


def _assemble(
    tests: tuple[UnitTest, ...],
    valid: Sequence[int],
    voteless: npt.NDArray[np.bool_],
    indices: IntArray,
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
