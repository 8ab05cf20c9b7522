"""Python files of tests, which no model wrote: read as they stand."""

from __future__ import annotations

from coderm_reward.generation.parsing import parse_responses, parse_sources

TESTS = """import unittest


class TestF(unittest.TestCase):
    def test_tag(self):
        self.assertEqual(f("a </think> b"), "<|im_end|><|im_start|>")
"""


def test_a_file_is_not_read_as_an_answer() -> None:
    suite = parse_sources([TESTS], "f", "hash")
    assert (suite.prompt_hash, suite.responses, suite.dropped) == ("hash", 1, {})
    assert "</think>" in suite.tests[0].source
    assert parse_responses([TESTS], "f").tests == ()  # there the tag ends the model's thoughts


def test_what_does_not_parse_is_counted_and_nothing_is_cut_out_of_it() -> None:
    suite = parse_sources([TESTS + "\ndef broken(:\n", TESTS], "f")
    assert len(suite.tests) == 1
    assert suite.dropped == {"does_not_parse": 1}


def test_without_a_name_the_function_is_the_one_that_most_tests_call() -> None:
    suite = parse_sources([TESTS, TESTS.replace("f(", "g("), TESTS.replace('"a', '"b')], None)
    assert len(suite.tests) == 2
    assert suite.dropped == {"no_mention": 1}
