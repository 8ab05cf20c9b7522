"""The dataset's own tests as a judge of rollouts, where a row of it has any (`reward_model.ground_truth`)."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
import numpy as np

from coderm_reward.data.entry_points import entry_point_from_tests
from coderm_reward.data.ground_truth import GroundTruth, read_ground_truth
from coderm_reward.data.plain_values import plain
from coderm_reward.generation.parsing import parse_sources
from coderm_reward.protocols import Executor
from coderm_reward.types import ExecutionMatrix, Problem, Solution, TestSuite, Verdict, content_hash

__all__ = ["TruthForms", "TruthJudge", "truth_suite"]

_SUITES_KEPT = 2000
_CHARS_KEPT = 50_000_000
_log = logging.getLogger("coderm_reward")

_IGNORED = {
    "none": "there is none",
    "number": "it is a number",
    "text": "it is text without any test: an answer, or code",
    "list": "it is a list without any test",
    "object": "it is an object without any test",
    "stdin": "it is input and output of a program, and names no function",
    "unreadable": "it cannot be read",
    "no_tests": "its tests cannot be run: none of them calls the function under test without a fixture",
}


class TruthForms:
    """Says once for every form why ground truths of that form are ignored."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """Form -> how many distinct ground truths of it were read; `no_tests` if nothing of them can run."""

    def heard(self, truth: GroundTruth, suite: TestSuite | None) -> None:
        """Count one ground truth, and log a line for the first of a form that cannot be run."""
        form = truth.form if suite is not None or not truth.sources else "no_tests"
        self.counts[form] = self.counts.get(form, 0) + 1
        if suite is None and form != "none" and self.counts[form] == 1:
            reason = f" ({truth.reason})" if truth.reason else ""
            _log.warning(
                "ground truths of the form %r do not judge rollouts: %s%s; this is said once",
                form,
                _IGNORED.get(form, "nothing in it can be run"),
                reason,
            )


def truth_suite(value: object, problem: Problem, forms: TruthForms | None = None) -> TestSuite | None:
    """Return the tests in a ground truth (see data.ground_truth); None where there is none to run.

    Pure, and it never raises. `dropped` of the suite counts the parts that were left out.
    """
    truth = read_ground_truth(value, problem)
    suite = _parsed(truth, problem) if truth.sources else None
    if forms is not None:
        forms.heard(truth, suite)
    return suite


def _parsed(truth: GroundTruth, problem: Problem) -> TestSuite | None:
    suite = parse_sources(truth.sources, truth.function, problem.prompt_hash)
    if truth.function is None or not suite.tests:
        # The name is unknown, or came from the prompt and is not the one that the tests call. Tests that
        # call nothing but what they define themselves would pass every solution.
        suite = parse_sources(truth.sources, None, problem.prompt_hash)
        if entry_point_from_tests(suite.tests) is None:
            return None
    if not suite.tests:
        return None
    dropped = {
        reason: truth.dropped.get(reason, 0) + suite.dropped.get(reason, 0)
        for reason in sorted(truth.dropped.keys() | suite.dropped.keys())
    }
    return TestSuite(suite.prompt_hash, suite.tests, suite.responses, dropped)


class TruthJudge:
    """Runs the tests in ground truths, in the sandbox like any others.

    Args:
        executor: where they run.
        kept: how many ground truths stay parsed; those of the rows asked for longest ago go first.
    """

    def __init__(self, executor: Executor, *, kept: int = _SUITES_KEPT) -> None:
        self._executor = executor
        self._kept = kept
        self._suites: OrderedDict[str, TestSuite | None] = OrderedDict()
        self._chars = 0
        self.forms = TruthForms()

    async def judge(
        self, problem: Problem, solutions: Sequence[Solution], value: object
    ) -> list[bool | None]:
        """Return [R] whether each solution passes the ground truth.

        True: every method of every valid test passed. False: one failed, in whatever way, or there is no
        code that could be run. None: there is no executable truth, or for lack of evidence neither is known
        (an UNKNOWN among passes is no pass).
        """
        if not solutions:
            return []
        suite = await self._suite(problem, value)
        if suite is None:
            return [None] * len(solutions)
        verdicts = _Verdicts(len(solutions))
        for tests in (suite.tests[:1], suite.tests[1:]):  # most wrong solutions fail at once
            left = verdicts.undecided()
            if tests and left:
                part = msgspec.structs.replace(suite, tests=tests)
                verdicts.add(left, await self._executor.execute([solutions[i] for i in left], part))
        return verdicts.truths()

    async def _suite(self, problem: Problem, value: object) -> TestSuite | None:
        try:
            key = content_hash(repr(plain(value)), problem.entry_point or "", problem.question)
        except (ValueError, RecursionError):
            return truth_suite(value, problem, self.forms)  # unreadable: nothing is parsed, nothing kept
        if key not in self._suites:
            found = await asyncio.to_thread(truth_suite, value, problem, self.forms)
            self._keep(key, found)
            return found
        self._suites.move_to_end(key)
        return self._suites[key]

    def _keep(self, key: str, suite: TestSuite | None) -> None:
        if key in self._suites:  # another group of the prompt was faster
            return
        self._suites[key] = suite
        self._chars += _chars(suite)
        while self._suites and (len(self._suites) > self._kept or self._chars > _CHARS_KEPT):
            self._chars -= _chars(self._suites.popitem(last=False)[1])


def _chars(suite: TestSuite | None) -> int:
    return sum(len(test.source) for test in suite.tests) if suite is not None else 0


_NO_EVIDENCE = (Verdict.UNKNOWN, Verdict.INVALID_TEST)


class _Verdicts:
    """What the tests run so far say of R solutions."""

    def __init__(self, solutions: int) -> None:
        self._failed = [False] * solutions
        self._passed = [0] * solutions
        self._unknown = [False] * solutions
        self._no_code = [False] * solutions
        self._any_valid = False

    def undecided(self) -> list[int]:
        """Return the solutions that more tests could still say something about."""
        return [i for i, failed in enumerate(self._failed) if not failed]

    def add(self, solutions: Sequence[int], matrix: ExecutionMatrix) -> None:
        valid = [test.id not in matrix.invalid for test in matrix.tests]
        self._any_valid |= any(valid)
        votes = np.concatenate([matrix.class_verdicts[:, valid], matrix.method_verdicts], axis=1)
        for i, has_code, row in zip(solutions, matrix.has_code, votes, strict=True):
            self._no_code[i] = not has_code
            self._failed[i] |= not np.isin(row, (Verdict.PASS, *_NO_EVIDENCE)).all()
            self._passed[i] += int((row == Verdict.PASS).sum())
            self._unknown[i] |= bool((row == Verdict.UNKNOWN).any())

    def truths(self) -> list[bool | None]:
        """Return [R] True, False, or None where there is no evidence."""
        found: list[bool | None] = []
        for i, failed in enumerate(self._failed):
            if failed or (self._no_code[i] and self._any_valid):
                found.append(False)
            else:
                known = self._passed[i] and not (self._unknown[i] or self._no_code[i])
                found.append(True if known else None)
        return found
