"""The `recorded` generator: unit tests that were written before. Also the public fake of every generator."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from coderm_reward.generation.parsing import parse_responses
from coderm_reward.text import prompt_key
from coderm_reward.types import Problem, RecordedSuite, Solution, TestSuite, UnitTest, content_hash

__all__ = ["RecordedGenerator"]


class RecordedGenerator:
    """Answers from a mapping of recorded model responses (protocols.UnitTestGenerator).

    Args:
        recorded: prompt hash, task id or question text -> responses, in the order they are spent. What
            data.recorded_tests reads from files fits, and so does `{"task/1": ["```python..."]}`.

    Ready tests count as the responses that they came from and are spent before any text.
    """

    def __init__(self, recorded: Mapping[str, RecordedSuite | Sequence[str]]) -> None:
        self._suites = {
            key: suite if isinstance(suite, RecordedSuite) else RecordedSuite(responses=tuple(suite))
            for key, suite in recorded.items()
        }
        self._by_text = {prompt_key(key): suite for key, suite in self._suites.items()}
        self._parsed: dict[tuple[str, str | None, int | None], TestSuite] = {}
        self._identity = "recorded:" + _content(self._suites)

    @property
    def identity(self) -> str:
        """`recorded:` and a hash of all that is recorded."""
        return self._identity

    def fingerprint(self, problem: Problem) -> str:
        """Hash of what is recorded for this problem, empty where nothing is."""
        return _content({"": self._find(problem) or RecordedSuite()})

    def coverage(self, problems: Iterable[Problem]) -> int:
        """Return how many of these problems have anything recorded."""
        return sum(self._find(problem) is not None for problem in problems)

    async def generate(self, problem: Problem, solutions: Sequence[Solution], n: int | None) -> TestSuite:
        """Return the suite of the first `n` recorded responses; empty where nothing is recorded.

        A suite is parsed once; `seconds` is what that took, 0.0 when it is given again.
        """
        key = (problem.prompt_hash, problem.entry_point, n)
        if key in self._parsed:
            return msgspec.structs.replace(self._parsed[key], seconds=0.0)
        started = time.perf_counter()
        suite = _suite(self._find(problem) or RecordedSuite(), problem, n)
        suite = msgspec.structs.replace(suite, seconds=time.perf_counter() - started)
        self._parsed[key] = suite
        return suite

    def _find(self, problem: Problem) -> RecordedSuite | None:
        """Look a problem up by prompt hash, then question text, then task id."""
        if problem.prompt_hash in self._suites:
            return self._suites[problem.prompt_hash]
        by_text = self._by_text.get(prompt_key(problem.question))
        if by_text is None and problem.task_id is not None:
            return self._suites.get(problem.task_id)
        return by_text


def _suite(recorded: RecordedSuite, problem: Problem, n: int | None) -> TestSuite:
    """Return the suite of the first `n` responses: ready tests by their response, then parsed text."""
    ready = max((test.response + 1 for test in recorded.tests), default=0)
    spent = ready if n is None else min(ready, n)
    texts = recorded.responses if n is None else recorded.responses[: n - spent]
    parsed = parse_responses(
        texts, problem.entry_point, problem.prompt_hash, prompted_by=recorded.prompted_by
    )
    tests: dict[str, UnitTest] = {test.id: test for test in recorded.tests if test.response < spent}
    for test in parsed.tests:
        first = tests.setdefault(
            test.id, msgspec.structs.replace(test, response=test.response + spent, copies=0)
        )
        tests[test.id] = msgspec.structs.replace(first, copies=first.copies + test.copies)
    return msgspec.structs.replace(parsed, tests=tuple(tests.values()), responses=spent + len(texts))


def _content(suites: Mapping[str, RecordedSuite]) -> str:
    """Hash every prompt's suite with its keys; a suite under several keys is hashed once."""
    hashes: dict[int, str] = {}
    for suite in suites.values():
        if id(suite) not in hashes:
            hashes[id(suite)] = content_hash(*suite.responses, "", *(test.id for test in suite.tests))
    return content_hash(*(part for key in sorted(suites) for part in (key, hashes[id(suites[key])])))
