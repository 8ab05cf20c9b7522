"""The recorded generator: lookup, taking the first n responses, ready tests, identity."""

from __future__ import annotations

import asyncio

import pytest

from coderm_reward.generation.parsing import parse_responses
from coderm_reward.generation.recorded import RecordedGenerator
from coderm_reward.protocols import UnitTestGenerator
from coderm_reward.types import Problem, RecordedSuite, TestSuite, UnitTest

PROBLEM = Problem(prompt_hash="h", question="Add one\nto x.", entry_point="f", task_id="a/1")


def response(value: int) -> str:
    return (
        "```python\nimport unittest\n\nclass TestF(unittest.TestCase):\n"
        f"    def test_a(self):\n        self.assertEqual(f(1), {value})\n```"
    )


def generate(generator: UnitTestGenerator, n: int | None = None, problem: Problem = PROBLEM) -> TestSuite:
    return asyncio.run(generator.generate(problem, [], n))


@pytest.mark.parametrize("key", ["h", "a/1", "Add one to x."], ids=["prompt hash", "task id", "question"])
def test_prompt_is_found_by(key: str) -> None:
    generator = RecordedGenerator({key: [response(2)], "other": [response(3)]})
    suite = generate(generator)
    assert "f(1), 2" in suite.tests[0].source
    assert (suite.prompt_hash, suite.responses) == ("h", 1)
    assert generator.coverage([PROBLEM, Problem("x", "Something else.")]) == 1


def test_prompt_hash_goes_before_task_id() -> None:
    suite = generate(RecordedGenerator({"a/1": [response(3)], "h": [response(2)]}))
    assert "f(1), 2" in suite.tests[0].source


def test_prompt_without_tests_gets_an_empty_suite() -> None:
    assert generate(RecordedGenerator({})).tests == ()


@pytest.mark.parametrize(("n", "expected"), [(None, 3), (2, 2), (0, 0), (9, 3)])
def test_first_n_responses_are_taken(n: int | None, expected: int) -> None:
    suite = generate(RecordedGenerator({"h": [response(2), response(3), response(4)]}), n)
    assert [test.response for test in suite.tests] == list(range(expected))
    assert suite.responses == expected


def test_a_suite_is_parsed_once() -> None:
    generator = RecordedGenerator({"h": [response(2)]})
    first, again = generate(generator), generate(generator)
    assert again.tests is first.tests
    assert first.seconds > 0.0
    assert again.seconds == 0.0


READY = UnitTest(
    "r", "import unittest\n\nclass TestR(unittest.TestCase): ...\n", "TestR", ("test_a",), response=1
)


@pytest.mark.parametrize(("n", "ids", "spent"), [(None, 2, 3), (3, 2, 3), (2, 1, 2), (1, 0, 1)])
def test_ready_tests_count_as_their_responses(n: int | None, ids: int, spent: int) -> None:
    suite = generate(RecordedGenerator({"h": RecordedSuite((response(2),), (READY,))}), n)
    assert [test.response for test in suite.tests] == [1, 2][:ids]
    assert suite.responses == spent


def test_ready_test_equal_to_a_parsed_one_gets_its_copies() -> None:
    ready = parse_responses([response(2)], "f").tests
    suite = generate(RecordedGenerator({"h": RecordedSuite((response(2),), ready)}))
    assert [test.copies for test in suite.tests] == [2]


def test_identity_is_the_content() -> None:
    same = RecordedGenerator({"b": [response(3)], "a": [response(2)]})
    one = RecordedGenerator({"a": [response(2)], "b": [response(3)]})
    other = RecordedGenerator({"a": [response(2)], "b": [response(4)]})
    assert one.identity == same.identity != other.identity
    assert one.identity.startswith("recorded:")
