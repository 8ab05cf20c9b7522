"""Tests that are judged in the solution's own process, and solutions that change what judges them there."""

from __future__ import annotations

from typing import Any

import pytest

from coderm_sandbox import Outcome

HEAD = "import unittest\n"
SEED = "import random\nrandom.seed(0)\n"
"""At the head of a text: what follows is judged inline."""
IN_THE_CALL = {
    "on-all-classes": "import unittest\n    unittest.TestCase.assertEqual = lambda *values: None",
    "on-the-instance": "import sys\n    sys._getframe(1).f_locals['self'].assertEqual = lambda *values: None",
    "on-the-class-of-the-test": (
        "import sys\n    type(sys._getframe(1).f_locals['self']).assertEqual = lambda *values: None"
    ),
    "on-the-result": """import gc, unittest
    for one in gc.get_objects():
        if isinstance(one, unittest.TestResult):
            kind = type(one)
            kind.addFailure = kind.addError = lambda self, test, err: self.addSuccess(test)""",
}


@pytest.mark.parametrize("name", IN_THE_CALL)
def test_patched_assertions(sandbox: Any, name: str) -> None:
    """The copy that must fail passes as well, where nothing else gives the patch away."""
    text = HEAD + SEED + "class T(unittest.TestCase):\n    def test_a(self):\n        found = f(1)\n"
    text += "        self.assertEqual(found, 2)\n"
    (result,) = sandbox.run(f"def f(x):\n    {IN_THE_CALL[name]}\n    return 5\n", text)
    assert (result.judge, result.outcome) == ("inline", Outcome.TAMPERED), result.detail


def test_copies_find_the_same_scratch(sandbox: Any) -> None:
    """What a copy leaves on disk is gone for the next, in whatever order they run."""
    text = (
        HEAD
        + SEED
        + """
class T(unittest.TestCase):
    def test_a(self):
        with open("left", "x") as file:
            file.write("x")
        self.assertEqual(f(1), 2)
"""
    )
    for _ in range(10):
        (result,) = sandbox.run("def f(x):\n    return x + 1\n", text)
        assert (result.judge, result.outcome) == ("inline", Outcome.PASS), result.detail


def test_a_wrong_answer_is_a_fail(sandbox: Any) -> None:
    text = (
        HEAD
        + SEED
        + "class T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n"
    )
    (result,) = sandbox.run("def f(x):\n    return 5\n", text)
    assert (result.judge, result.outcome) == ("inline", Outcome.FAIL)
