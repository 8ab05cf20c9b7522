"""A test that would hand the solution a function of its own, and a solution that lacks a name of the call."""

from __future__ import annotations

from typing import Any

import pytest

from coderm_sandbox import Job, Outcome, Test
from coderm_sandbox.guest.judgedtest import TextReading, read_text

TEST = """
import unittest
class T(unittest.TestCase):
    def test_it(self):
        self.assertEqual(apply(f, 1), 2)
"""
LACKS = "def f(x):\n    return x + 1\n"
HAS = LACKS + "def apply(g, x):\n    return g(x)\n"


def reading(body: str, head: str = "") -> TextReading:
    text = f"import unittest\n{head}class T(unittest.TestCase):\n    def test_it(self):\n        {body}\n"
    found = read_text(text)
    assert found is not None
    return found


def test_a_call_counts_where_all_its_names_can_be_there() -> None:
    found = reading("apply(f, 1, key=g); f(2)")
    assert (found.traceless, found.handed) == (False, (("apply", "f", "g"),))
    for missing in ("def f(x): pass\ng = 1", "def apply(): pass\ng = 1", "def apply(f): pass"):
        assert found.for_solution(missing).traceless
    assert not found.for_solution("def apply(): pass\ndef f(): pass\ng = 1").traceless


def test_every_such_call_needs_a_missing_name() -> None:
    found = reading("apply(f, 1); other(f)")
    assert not found.for_solution("def apply(): pass\ndef f(): pass").traceless
    assert found.for_solution("def f(): pass").traceless


@pytest.mark.parametrize(
    "solution",
    [
        LACKS + "# apply\n",
        LACKS + "x = 'apply'\n",
        LACKS + "def \uff41pply(g, x): return g(x)\n",  # Python reads it as `apply`
        LACKS + "from operator import *\n",
        LACKS + "from operator import \\\n *\n",
        LACKS + "\u00e9 = 1\n",
    ],
)
def test_a_name_that_could_be_there_counts(solution: str) -> None:
    assert not reading("apply(f, 1)").for_solution(solution).traceless


@pytest.mark.parametrize(
    ("body", "head"),
    [
        ("apply(f, 1)", "from solution import apply\n"),
        ("apply(f, 1); f.mark = 1", ""),
        ("apply(f, 1); import os; os.environ['x'] = '1'", ""),
    ],
)
def test_other_traces_stay_traces(body: str, head: str) -> None:
    found = reading(body, head)
    assert not found.for_solution("pass").traceless
    assert found.handed == ()


def test_a_packed_reading_does_not_know_a_solution() -> None:
    found = reading("apply(f, 1)").for_solution(LACKS)
    assert found.traceless
    assert not TextReading.unpacked(found.packed()).traceless


async def fast_tests(pool: Any, solution: str, *sources: str) -> tuple[list[Outcome], set[int]]:
    found = await pool.inspect([Test(source) for source in sources])
    tests = [Test(source, methods=one.methods) for source, one in zip(sources, found, strict=True)]
    results, _, _, fast = await pool._run_tests(Job(solution, tuple(tests)), range(len(tests)))
    return [results[i].outcome for i in range(len(tests))], fast


def test_verdicts_and_the_fast_way(sandbox: Any) -> None:
    plain = TEST.replace("apply(f, 1)", "f(1)")
    verdicts, fast = sandbox.do(fast_tests(sandbox.pool, LACKS, plain, TEST, plain))
    assert (verdicts, fast) == ([Outcome.PASS, Outcome.ERROR, Outcome.PASS], {0, 1, 2})
    verdicts, fast = sandbox.do(fast_tests(sandbox.pool, HAS, plain, TEST, plain))
    assert (verdicts, fast) == ([Outcome.PASS] * 3, {0, 2})


MARKS = """
def f(x):
    return getattr(f, "mark", x + 1)
def apply(g, x):
    g.mark = 7
    return 2
"""


def test_what_a_call_leaves_in_the_solution_does_not_last(sandbox: Any) -> None:
    plain = TEST.replace("apply(f, 1)", "f(1)")
    verdicts, fast = sandbox.do(fast_tests(sandbox.pool, MARKS, TEST, plain))
    assert verdicts == [Outcome.PASS, Outcome.PASS]
    assert 0 not in fast
