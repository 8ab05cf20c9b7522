"""Solutions that aim at their judge instead of the task.

Apart, a patch changes the solution's own process and no verdict. A test that can only be judged in
the solution's process stands behind a tripwire: there a patch is found, or at least gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Outcome

BODY = "self.assertEqual(f(1), 2)"
WRONG = "def f(x):\n    return 5\n"

PATCHES = {
    "assertEqual": "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\n",
    "assertEqual-code": (
        "import unittest\nunittest.TestCase.assertEqual.__code__ = (lambda *a, **k: None).__code__\n"
    ),
    "assertRaises": "import unittest\nunittest.TestCase.assertRaises = lambda *a, **k: None\n",
    "run": "import unittest\nunittest.TestCase.run = lambda self, result: result.addSuccess(self)\n",
    "failureException": "import unittest\nunittest.TestCase.failureException = KeyError\n",
    "getattribute": (
        "import unittest\ndef look(self, name):\n    return object.__getattribute__(self, name)\n"
        "unittest.TestCase.__getattribute__ = look\n"
    ),
    "executor": "import unittest.case\nunittest.case._Outcome.testPartExecutor = None\n",
    "result": (
        "import unittest\nunittest.TestResult.addFailure = lambda self, test, err: self.addSuccess(test)\n"
    ),
    "suite": "import unittest\nunittest.TestSuite.run = lambda self, result: result\n",
    "case-class": "import unittest.case\nclass T(unittest.TestCase): ...\nunittest.case.TestCase = T\n",
    "isinstance": "import builtins\nbuiltins.isinstance = lambda *a: True\n",
    "AssertionError": "import builtins\nbuiltins.AssertionError = KeyError\n",
    "build_class": "import builtins\nbuiltins.__build_class__ = lambda *a, **k: None\n",
}


SEEDED = "import random\nrandom.seed(0)\n" + BODY
PATCHED = "from unittest.mock import patch\nwith patch('random.randint', return_value=2):\n    " + BODY
"""Tests that do to their process what has to reach the solution: judged inline."""
BOTH = pytest.mark.parametrize("body", [SEEDED, PATCHED], ids=["seeded", "patched"])
BREAKS_ITSELF = {"isinstance"}
"""Patches after which nothing of the process works that made them, its answers neither."""


def in_the_call(name: str, answer: int) -> str:
    lines = "".join(f"    {line}\n" for line in PATCHES[name].splitlines())
    return f"def f(x):\n{lines}    return {answer}\n"


@pytest.mark.parametrize("name", PATCHES)
def test_patched_at_import(sandbox: Any, name: str) -> None:
    """The verdict is that of the answer. Who breaks the whole interpreter has no answer at all."""
    right = "def f(x):\n    return 2\n"
    for answer, expected in ((WRONG, Outcome.FAIL), (right, Outcome.PASS)):
        result = sandbox.check(PATCHES[name] + answer, BODY)
        assert result.judge == "apart"
        broken = name in BREAKS_ITSELF
        assert result.outcome is (Outcome.ERROR if broken else expected), result.detail


@pytest.mark.parametrize("name", PATCHES)
def test_patched_in_the_call(sandbox: Any, name: str) -> None:
    for answer, expected in ((5, Outcome.FAIL), (2, Outcome.PASS)):
        result = sandbox.check(in_the_call(name, answer), BODY)
        assert result.judge == "apart"
        broken = name in BREAKS_ITSELF
        assert result.outcome is (Outcome.ERROR if broken else expected), result.detail


def test_a_patch_in_one_method_changes_no_other(sandbox: Any, method: Callable[..., str]) -> None:
    (result,) = sandbox.run(
        in_the_call("assertEqual", 2), method(BODY, "self.assertEqual(f(1), 9)", "self.assertEqual(1, 2)")
    )
    assert [outcome.value for outcome in result.methods.values()] == ["pass", "fail", "fail"]


@BOTH
def test_inline_is_what_these_tests_are(sandbox: Any, body: str) -> None:
    result = sandbox.check("import random\ndef f(x):\n    return random.randint(2, 2)\n", body)
    assert (result.judge, result.outcome) == ("inline", Outcome.PASS), result.detail


@BOTH
@pytest.mark.parametrize("name", PATCHES)
def test_inline_patched_at_import(sandbox: Any, name: str, body: str) -> None:
    result = sandbox.check(PATCHES[name] + WRONG, body)
    assert result.outcome in (Outcome.TAMPERED, Outcome.FAIL, Outcome.ERROR), result.detail


@BOTH
@pytest.mark.parametrize("name", PATCHES)
def test_inline_patched_in_the_call(sandbox: Any, name: str, body: str) -> None:
    result = sandbox.check(in_the_call(name, 5), body)
    assert result.outcome in (Outcome.TAMPERED, Outcome.FAIL, Outcome.ERROR), result.detail


@BOTH
@pytest.mark.parametrize("name", ["assertEqual", "assertEqual-code", "result", "AssertionError"])
def test_inline_patched_in_the_call_with_success(sandbox: Any, name: str, body: str) -> None:
    assert sandbox.outcome(in_the_call(name, 2), body) is Outcome.TAMPERED


@BOTH
def test_inline_tampering_in_one_method_takes_the_whole_class(
    sandbox: Any, method: Callable[..., str], body: str
) -> None:
    (result,) = sandbox.run(in_the_call("assertEqual", 2), method(body, "self.assertEqual(f(1), 9)"))
    assert set(result.methods.values()) == {Outcome.TAMPERED}


@pytest.mark.parametrize(
    "solution",
    [
        pytest.param("def print(*a): ...\ndef f(x):\n    print(x)\n    return 2\n", id="own-print"),
        pytest.param(
            "import builtins\nbuiltins.print = lambda *a: None\ndef f(x):\n    return 2\n",
            id="builtins-print",
        ),
        pytest.param("def sum(xs):\n    return 2\ndef f(x):\n    return sum([x])\n", id="own-sum"),
        pytest.param(
            "import unittest\nclass S(unittest.TestCase):\n    def test_s(self): ...\n"
            "def f(x):\n    return 2\n",
            id="own-tests",
        ),
        pytest.param("import gettext\ngettext.install('x')\ndef f(x):\n    return 2\n", id="gettext"),
        pytest.param("import logging, asyncio, unittest.mock\ndef f(x):\n    return 2\n", id="imports"),
    ],
)
def test_what_is_no_tampering(sandbox: Any, solution: str) -> None:
    assert sandbox.outcome(solution, BODY) is Outcome.PASS


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("unittest.TestCase.maxDiff = None", id="maxDiff"),
        pytest.param("unittest.TestCase.longMessage = False", id="longMessage"),
        pytest.param("unittest.util._MAX_LENGTH = 2000", id="max-length"),
        pytest.param("import warnings; warnings.simplefilter('ignore')", id="warnings"),
    ],
)
def test_settings_of_the_test_are_no_tampering(sandbox: Any, line: str, method: Callable[..., str]) -> None:
    (result,) = sandbox.run(
        "def f(x):\n    return 2\n", f"import unittest, unittest.util\n{line}\n" + method(BODY)
    )
    assert result.outcome is Outcome.PASS, result.detail


def test_a_method_that_returns_something_is_no_tampering(sandbox: Any) -> None:
    """unittest warns of it, and a warning leaves its mark in the module that it is about."""
    assert sandbox.outcome("def f(x):\n    return 2\n", "return f(1)") is Outcome.PASS


def test_patches_that_the_test_takes_back(sandbox: Any) -> None:
    body = "from unittest.mock import patch\nwith patch('builtins.abs', return_value=2):\n    "
    assert sandbox.outcome("def f(x):\n    return abs(-7)\n", body + BODY) is Outcome.PASS


def test_an_object_equal_to_everything(sandbox: Any) -> None:
    solution = "class E:\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return E()\n"
    assert sandbox.outcome(solution, BODY) is not Outcome.PASS


def test_reading_the_expected_value_from_the_caller(sandbox: Any) -> None:
    solution = """
        import sys
        def f(x):
            return sys._getframe(1).f_locals["expected"]
    """
    assert sandbox.outcome(solution, "expected = 2\nself.assertEqual(f(1), expected)") is not Outcome.PASS
