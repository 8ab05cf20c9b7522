"""A class without fixtures runs without unittest's suite: what its methods leave to be done runs."""

from __future__ import annotations

from typing import Any

import pytest

from coderm_sandbox import Outcome

SOLUTION = "def f(x):\n    return x + 1\n"
BODIES = {
    "nothing": "pass",
    "class-cleanup": "self.addClassCleanup(boom)",
    "module-cleanup": "unittest.addModuleCleanup(boom)",
    "tear-down-of-the-class": "type(self).tearDownClass = classmethod(lambda cls: boom())",
    "tear-down-of-the-module": "global tearDownModule\n        tearDownModule = boom",
    "a-cleanup-that-works": "self.addClassCleanup(int)",
    "cleanup-of-the-method": "self.addCleanup(int)",
}
FAILS = {"class-cleanup", "module-cleanup", "tear-down-of-the-class", "tear-down-of-the-module"}


def text(body: str, before: str = "", own: str = "pass") -> str:
    return f"""
import unittest
def boom():
    raise ValueError("boom")
{before}
class T(unittest.TestCase):
    {own}
    def test_a(self):
        {body}
        self.assertEqual(f(1), 2)
    def test_b(self):
        self.assertEqual(f(2), 3)
"""


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("solution", [SOLUTION, SOLUTION + "n = []\nn.append(0)\n"], ids=["harmless", "not"])
def test_what_a_method_leaves_to_be_torn_down_counts(sandbox: Any, name: str, solution: str) -> None:
    (found,) = sandbox.run(solution, text(BODIES[name]))
    assert found.outcome is (Outcome.ERROR if name in FAILS else Outcome.PASS)
    assert found.methods == {"T.test_a": Outcome.PASS, "T.test_b": Outcome.PASS}
    assert ("boom" in found.detail) == (name in FAILS)


@pytest.mark.parametrize(
    ("before", "own"),
    [
        ("def setUpModule():\n    boom()", "pass"),
        ("def tearDownModule():\n    boom()", "pass"),
        ("", "setUpClass = classmethod(lambda cls: boom())"),
        ("", "tearDownClass = classmethod(lambda cls: boom())"),
        ("", "doClassCleanups = classmethod(lambda cls: boom())"),
    ],
)
def test_fixtures_of_a_class_and_its_module_run(sandbox: Any, before: str, own: str) -> None:
    (found,) = sandbox.run(SOLUTION, text("pass", before, own))
    assert found.outcome is Outcome.ERROR


def test_a_hang_after_the_last_method_is_one_of_the_fixture(sandbox: Any) -> None:
    (found,) = sandbox.run(SOLUTION, text("self.addClassCleanup(__import__('time').sleep, 9)"))
    assert found.methods == {"T.test_a": Outcome.PASS, "T.test_b": Outcome.PASS}
    assert found.outcome is Outcome.TIMEOUT


def test_the_last_method_counts_where_an_earlier_one_failed(sandbox: Any) -> None:
    (found,) = sandbox.run(SOLUTION, text("self.fail('no')"))
    assert found.methods == {"T.test_a": Outcome.FAIL, "T.test_b": Outcome.PASS}
    assert found.outcome is Outcome.FAIL
