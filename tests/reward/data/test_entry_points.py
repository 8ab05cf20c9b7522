"""Entry points from prompts and from tests."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.data.entry_points import entry_point_from_prompt, entry_point_from_tests
from coderm_reward.types import UnitTest

HELPER_FIRST = '''
def helper(x):
    """Help."""
    return x

def wanted(x):
    """Do it with helper(x).
    >>> wanted(1)
    1
    """
'''

PROMPTS = {
    "stub with a docstring": ('def f(x):\n    """Add one."""\n', "f"),
    "stub after a helper": (HELPER_FIRST, "wanted"),
    "stub before a finished function": (
        "def wanted(x):\n    ...\n\ndef helper(x):\n    return x\n",
        "wanted",
    ),
    "stub that raises": ("def f(x):\n    raise NotImplementedError()\n\ndef g(x):\n    return 1", "f"),
    "stub without a body": ("Complete this.\n\ndef f(x: int) -> int:\n", "f"),
    "stub in a fence": ("Complete it:\n```python\ndef f(x):\n    pass\n```\nUse no loop.", "f"),
    "stub in a fence without a body": ("Complete it:\n```python\ndef f(x):\n```", "f"),
    "one finished function": ("Make this faster:\n```python\ndef f(x):\n    return x\n```", "f"),
    "CRLF stub": ("Complete:\r\n\r\ndef f(x):\r\n    pass\r\n", "f"),
    "method of Solution": (
        "```python\nclass Solution:\n    def twoSum(self, nums):\n        \n```",
        "twoSum",
    ),
    "method of Solution, bare": (
        "class Solution:\n    def twoSum(self, nums: List[int]) -> int:\n",
        "twoSum",
    ),
    "Solution with a private method": (
        "class Solution:\n    def __init__(self):\n        pass\n    def run(self):\n        pass\n",
        "run",
    ),
    "assertions": (
        "Find the sum.\nYour code must pass:\nassert find_sum([1]) == 1\nassert find_sum([2]) == 2",
        "find_sum",
    ),
    "assertion behind a builtin": ("It should hold:\nassert set(f(1)) == set()", "f"),
    "call in backticks": ("Write a function `add(a, b)` that adds.", "add"),
    "call": ("Write a function add(a, b) that adds.", "add"),
    "python function": ("Write a python function to_upper(s).", "to_upper"),
    "implement a call": ("Implement two_sum(nums, target).", "two_sum"),
    "named": ("Create a function named add that adds two numbers.", "add"),
    "called, in quotes": ('Write a function called "add" for numbers.', "add"),
    "called, in snake case": ("We need a function called add_two here.", "add_two"),
    "backticks before function": ("Please complete the `add` function.", "add"),
    "signature": ("Function signature: def solve(x):", "solve"),
    "phrase over a line break": ("Write a function\nnamed add_up", "add_up"),
}

NO_NAMES = {
    "empty": "",
    "prose": "Write a function to add two numbers.",
    "stdin": "Read n integers from the standard input and print their sum.",
    "called is no name": "The function called repeatedly must be fast.",
    "two functions": "Explain the `foo` function and the `bar` function.",
    "two finished functions": "Which is faster?\n\ndef f(x):\n    return x\n\ndef g(x):\n    return x\n",
    "two methods": "class Solution:\n    def f(self):\n        pass\n    def g(self):\n        pass\n",
    "builtin": "Write a function sum(xs) like the built-in one.",
    "words before a parenthesis": "Implement quicksort (in place) for lists.",
    "other assertions": "assert foo(1) == 1\nassert bar(1) == 1",
}


@pytest.mark.parametrize(("prompt", "name"), PROMPTS.values(), ids=PROMPTS)
def test_prompt_names_the_function(prompt: str, name: str) -> None:
    assert entry_point_from_prompt(prompt) == name


@pytest.mark.parametrize("prompt", NO_NAMES.values(), ids=NO_NAMES)
def test_prompt_without_a_sure_name(prompt: str) -> None:
    assert entry_point_from_prompt(prompt) is None


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["def f(", "`", "class Solution:\n", " ", "\n", "function named "])).map(
        "".join
    )
)
@settings(max_examples=200, deadline=None)
def test_any_prompt_gives_a_name_or_none(prompt: str) -> None:
    name = entry_point_from_prompt(prompt)
    assert name is None or name.isidentifier()


def test_all_real_questions(real_data: Path) -> None:
    with gzip.open(real_data / "humaneval-codegen16b" / "problems.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    wrong = {
        row["entry_point"]: found
        for row in rows
        for question in (
            row["question"],
            row["codet_prompt"],
            f"Complete this:\n```python\n{row['question']}```",
        )
        if (found := entry_point_from_prompt(question)) != row["entry_point"]
    }
    assert len(rows) == 82
    assert wrong == {}


def unit_test(body: str, head: str = "") -> UnitTest:
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    source = f"import unittest\n{head}\nclass TestF(unittest.TestCase):\n    def test_a(self):\n{lines}\n"
    return UnitTest(id=str(hash(source)), source=source, class_name="TestF", methods=("test_a",))


def test_most_called_name() -> None:
    tests = [unit_test("self.assertEqual(f(g(1)), 2)"), unit_test("self.assertEqual(f(2), 3)")]
    assert entry_point_from_tests(tests) == "f"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("", "for i in range(9):\n    print(len(str(i)))\nself.assertEqual(f(1), 2)"),
        ("def check(x):\n    return x\n", "check(1)\ncheck(2)\nself.assertEqual(f(1), 2)"),
        ("import math\nfrom math import floor\n", "floor(1)\nfloor(2)\nself.assertEqual(f(1), 2)"),
        ("", "g = lambda x: x\ng(1)\ng(2)\nself.assertEqual(f(1), 2)"),
        ("", "solution = Solution()\nself.assertEqual(solution.f(1), 2)"),
        ("", "self.assertEqual(Solution().f(1), 2)"),
    ],
    ids=["builtins", "own helper", "imports", "local function", "Solution held", "Solution direct"],
)
def test_only_the_function_under_test_counts(head: str, body: str) -> None:
    assert entry_point_from_tests([unit_test(body, head)]) == "f"


def test_no_tests_give_no_name() -> None:
    assert entry_point_from_tests([]) is None
    assert entry_point_from_tests([unit_test("self.assertTrue(True)")]) is None
