"""Ground truths in every form: what is found in them, and what is no test. Nothing is run here."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.data.ground_truth import read_ground_truth
from coderm_reward.data.truth_cases import MAX_CASES, VOTES_PER_CLASS
from coderm_reward.online.truth import TruthForms, truth_suite
from coderm_reward.source import safe_parse
from coderm_reward.types import Problem, TestSuite

PROBLEM = Problem("hash", "Write a function `add(a, b)`.", "add")
NAMELESS = Problem("hash", "Add two numbers.")
CALLS = {"inputs": [[1, 2], [3, 4]], "outputs": [3, 7]}


def methods(suite: TestSuite | None) -> list[tuple[str, ...]]:
    assert suite is not None
    return [test.methods for test in suite.tests]


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, "none"),
        ("  ", "none"),
        ([], "none"),
        (3, "number"),
        (0.5, "number"),
        (True, "number"),
        (np.float32(1.0), "number"),
        ("42", "text"),
        ("The answer is \\boxed{42}.", "text"),
        ("def add(a, b):\n    return a + b", "text"),
        ("def add(a, b):\n    assert a\n    return a + b", "text"),
        (
            "def add(a, b):\n    if a < 0:\n        raise ValueError(a)\n    return a + b\nprint(add(1, 2))",
            "text",
        ),
        (["42", "43"], "list"),
        (["prose, no code", "f(x)"], "list"),
        ([1, 2], "list"),
        ({"answer": "42"}, "object"),
        ({"tests": None, "test_list": []}, "object"),
        ({"inputs": None, "outputs": None, "fn_name": "add"}, "object"),
        ({"inputs": ["1 2\n"], "outputs": ["3\n"]}, "stdin"),
        (json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}), "stdin"),
        ({"inputs": [["1 2"]], "outputs": [["3"]], "fn_name": None}, "stdin"),
        ([{"input": "1 2", "output": "3", "testtype": "stdin"}], "stdin"),
        ([{"type": "stdin_stdout", "input": "1 2", "output": "3", "fn_name": "add"}], "stdin"),
        ({"inputs": [[1]], "outputs": [1, 2], "fn_name": "add"}, "unreadable"),
        ({1, 2}, "unreadable"),
        (object(), "unreadable"),
    ],
)
def test_what_is_no_test_of_a_function_is_named(value: object, form: str) -> None:
    for problem in (PROBLEM, NAMELESS):
        found = read_ground_truth(value, problem)
        assert (found.form, found.sources) == (form, ())
        assert truth_suite(value, problem) is None


CHECK = "METADATA = {'author': 'x'}\n\n\ndef check(candidate):\n    assert candidate(1, 2) == 3\n"
UNITTEST = (
    "import unittest\nfrom solution import add\n\n\nclass TestAdd(unittest.TestCase):\n"
    "    def test_one(self):\n        self.assertEqual(add(1, 2), 3)\n"
    "    def test_two(self):\n        self.assertEqual(add(0, 0), 0)\n"
)
PYTEST = (
    "import pytest\nfrom solution import add\n\n\ndef test_one():\n    assert add(1, 2) == 3\n\n\n"
    "@pytest.mark.parametrize('a, b', [(1, 1), (2, 2)])\n"
    "def test_double(a, b):\n    assert add(a, b) == 2 * a\n"
)
ASSERTS = ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]


@pytest.mark.parametrize(
    "value",
    [
        ASSERTS,
        tuple(ASSERTS),
        np.array(ASSERTS, dtype=object),
        "\n".join(ASSERTS),
        ("\n".join(ASSERTS)).encode(),
        json.dumps(ASSERTS),
        json.dumps(json.dumps(ASSERTS)),
        str(ASSERTS),
        {"assert_case": ASSERTS, "inputs": ["", ""], "outputs": [None, None]},
        {"test_list": np.array(ASSERTS, dtype=object), "test_setup_code": "", "challenge_test_list": []},
        {"functional": "\n".join(ASSERTS)},
        json.dumps({"functional": json.dumps(ASSERTS)}),
        "```python\n" + "\n".join(ASSERTS) + "\n```",
        "    " + "\n    ".join(ASSERTS),
    ],
    ids=repr,
)
def test_assertions_are_methods_of_their_own_in_every_wrapping(value: object) -> None:
    for problem in (PROBLEM, NAMELESS):
        assert methods(truth_suite(value, problem)) == [("test_assert_1", "test_assert_2")]


def test_a_few_assertions_share_a_class() -> None:
    suite = truth_suite([f"import math\nassert add({i}, 0) == math.floor({i})" for i in range(9)], PROBLEM)
    assert [len(names) for names in methods(suite)] == [VOTES_PER_CLASS, VOTES_PER_CLASS, 1]
    assert suite is not None
    assert all(test.source.count("import math") == 1 for test in suite.tests)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (CHECK, ("test_whole",)),
        (CHECK + "\ncheck(add)\n", ("test_whole",)),
        ({"test": CHECK, "entry_point": "add"}, ("test_whole",)),
        ("x = add(1, 2)\nassert x == 3\nx += 1\nassert x == 4", ("test_whole",)),
        ("for i in range(3):\n    assert add(i, 0) == i", ("test_whole",)),
        (["s = [1]\nadd(s, s)\nassert s == [1]"], ("test_whole",)),
        ({"test_setup_code": "x = 1", "test_list": ["assert add(x, 2) == 3"]}, ("test_whole",)),
        (UNITTEST, ("test_one", "test_two")),
        ([UNITTEST], ("test_one", "test_two")),
        (PYTEST, ("test_double_1", "test_double_2", "test_one")),
    ],
)
def test_other_texts_are_run_as_they_are_meant(value: object, names: tuple[str, ...]) -> None:
    assert methods(truth_suite(value, PROBLEM)) == [names]


def test_each_text_of_a_list_with_statements_of_its_own_is_a_test_of_its_own() -> None:
    suite = truth_suite(["x = add(1, 1)\nassert x == 2", "x = add(2, 2)\nassert x == 4"], PROBLEM)
    assert methods(suite) == [("test_whole",), ("test_whole",)]


def test_a_check_without_a_known_function_cannot_be_run() -> None:
    assert truth_suite(CHECK, Problem("hash", "Add up.")) is None
    assert methods(truth_suite(CHECK, Problem("hash", "Write a function `add(a, b)`."))) == [("test_whole",)]


def test_tests_that_call_another_function_than_the_prompt_says_are_kept() -> None:
    problem = Problem("hash", "Write a function `wrong_guess(a)`.", "wrong_guess")
    suite = truth_suite(ASSERTS, problem)
    assert methods(suite) == [("test_assert_1", "test_assert_2")]


@pytest.mark.parametrize("problem", [PROBLEM, NAMELESS])
def test_a_text_that_tests_its_own_copy_would_pass_everything_and_is_none(problem: Problem) -> None:
    own = "def plus(a, b):\n    return a + b\n\nassert plus(1, 2) == 3\n"
    assert truth_suite(own, problem) is None


def test_a_copy_of_the_function_under_test_is_taken_out() -> None:
    suite = truth_suite("def add(a, b):\n    return a + b\n\nassert add(1, 2) == 3\n", PROBLEM)
    assert suite is not None
    assert "def add" not in suite.tests[0].source


def test_what_needs_a_fixture_is_refused_and_said_once() -> None:
    forms = TruthForms()
    value = "def test_one(server):\n    assert add(server.x, 1) == 2\n"
    assert truth_suite(value, PROBLEM, forms) is None
    assert forms.counts == {"no_tests": 1}


def test_helpers_that_the_question_gives_are_given_to_the_tests() -> None:
    question = "def encode(s):\n    return s[::-1]\n\n\ndef decode(s):\n    '''Undo encode.'''\n"
    suite = truth_suite(
        "def check(candidate):\n    assert candidate(encode('ab')) == 'ab'\n",
        Problem("h", question, "decode"),
    )
    assert suite is not None
    assert "def encode" in suite.tests[0].source
    assert "def decode" not in suite.tests[0].source


def test_a_class_of_the_question_is_never_given_to_the_tests() -> None:
    question = "class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, x): ...\n"
    suite = truth_suite("assert run(Stack()) == 1", Problem("h", question, "run"))
    assert suite is not None
    assert "class Stack" not in suite.tests[0].source


LIVE = [
    {"input": "1\n2", "output": "3", "testtype": "functional", "metadata": json.dumps({"func_name": "add"})},
    {"input": "[1]\n\n[2]\n", "output": "[1, 2]", "testtype": "functional"},
]


@pytest.mark.parametrize(
    "value",
    [
        {**CALLS, "fn_name": "add"},
        json.dumps({**CALLS, "fn_name": "add"}),
        json.dumps(json.dumps({**CALLS, "fn_name": "add"})),
        {"input_output": json.dumps({**CALLS, "fn_name": "add"})},
        {"inputs": json.dumps(CALLS["inputs"]), "outputs": json.dumps(CALLS["outputs"]), "fn_name": "add"},
        {
            "inputs": np.array([np.array([1, 2]), np.array([3, 4])]),
            "outputs": np.array([3, 7]),
            "fn_name": "add",
        },
        {"inputs": ["1\n2", "3\n4"], "outputs": ["3", "7"], "fn_name": "Solution.add"},
        {"inputs": [{"a": 1, "b": 2}, {"a": 3, "b": 4}], "outputs": [3, 7], "fn_name": "add"},
        [{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]}] * 2,
        {"language": "python", "test_cases": [{"fn_name": "add", "input": [1, 2], "output": [3]}] * 2},
        {
            "verification_info": json.dumps(
                {"test_cases": [{"fn_name": "add", "input": [1], "output": 1}] * 2}
            )
        },
        LIVE,
        json.dumps(LIVE),
        {
            "inputs": None,
            "outputs": None,
            "fn_name": "add",
            "tests": [{"input": [i], "output": i} for i in (1, 2)],
        },
        [{"inputs": None, "input": [i, 1], "output": i, "fn_name": "add"} for i in (1, 2)],
        {"public_test_cases": None, "test_cases": json.dumps(LIVE), "metadata": '{"func_name": "add"}'},
    ],
    ids=range(16),
)
def test_calls_of_a_function_are_cases(value: object) -> None:
    for problem in (PROBLEM, NAMELESS):
        found = read_ground_truth(value, problem)
        assert (found.form, found.function) == ("cases", "add")
        assert methods(truth_suite(value, problem)) == [("test_case_1", "test_case_2")]


def test_a_function_that_has_the_name_of_a_helper_is_tested_all_the_same() -> None:
    for name in ("same", "math", "function", "case_1", "close", "found", "expected"):
        suite = truth_suite({**CALLS, "fn_name": name}, NAMELESS)
        assert methods(suite) == [("test_case_1", "test_case_2")]


def test_cases_beyond_the_bounds_are_left_out_and_counted() -> None:
    huge = {
        "inputs": [[i] for i in range(MAX_CASES + 5)],
        "outputs": list(range(MAX_CASES + 5)),
        "fn_name": "f",
    }
    suite = truth_suite(huge, NAMELESS)
    assert sum(map(len, methods(suite))) == MAX_CASES
    assert suite is not None
    assert suite.dropped == {"too_large": 5}
    suite = truth_suite({"inputs": [["x" * 300_000], ["y"]], "outputs": [1, 2], "fn_name": "f"}, NAMELESS)
    assert methods(suite) == [("test_case_2",)]
    suite = truth_suite({"inputs": ["no json", "1"], "outputs": ["1", "1"], "fn_name": "f"}, NAMELESS)
    assert suite is not None
    assert suite.dropped == {"bad_case": 1}


def test_texts_too_long_to_be_parsed_are_none() -> None:
    assert truth_suite("assert add(1, 2) == 3\n" * 20_000, PROBLEM) is None
    assert methods(truth_suite(["assert add(1, 2) == 3", "#" * 300_000], PROBLEM)) == [("test_assert_1",)]


WORDS = """assert add ( ) == 1 import ' { } [ ] , : "inputs" "outputs" "fn_name" ``` </think>"""
KEYS = """
inputs outputs fn_name input output test_list assert_case functional metadata testtype type test_cases
entry_point test_setup_code test ground_truth
"""
words = st.sampled_from(
    ["\n", "    ", "def check(candidate):", "class TestX:", "def test_x():", *WORDS.split()]
)
keys = st.sampled_from(KEYS.split())
texts = st.text() | st.lists(words).map(" ".join) | st.sampled_from([CHECK, UNITTEST, PYTEST, "functional"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | texts,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys | st.text() | st.integers(), inner)
        | st.lists(inner).map(lambda v: json.dumps(v, default=repr))
        | st.dictionaries(keys, inner).map(lambda v: json.dumps(v, default=repr))
        | st.lists(inner).map(tuple)
    ),
    max_leaves=12,
)


@given(anything)
def test_no_value_raises_and_what_is_found_parses(value: Any) -> None:
    for problem in (PROBLEM, NAMELESS):
        suite = truth_suite(value, problem)
        for test in suite.tests if suite is not None else ():
            assert safe_parse(test.source) is not None
            assert test.methods


@given(
    st.lists(st.tuples(st.lists(st.integers() | st.text() | st.floats(), max_size=3), st.text()), max_size=6)
)
def test_every_case_becomes_a_method(calls: list[tuple[list[Any], str]]) -> None:
    value = {"inputs": [c[0] for c in calls], "outputs": [c[1] for c in calls], "fn_name": "add"}
    suite = truth_suite(json.dumps(value), PROBLEM)
    names = [name for test in suite.tests for name in test.methods] if suite else []
    # cases that are equal share a class only by chance, so none is lost unless a whole class repeats
    assert len(names) + sum(suite.dropped.values() if suite else []) >= min(len(calls), 1)
    assert len(names) <= len(calls)
    if len(calls) <= VOTES_PER_CLASS:
        assert len(names) == len(calls)
