"""Answers, output and errors that are larger or deeper than anyone can hold."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coderm_sandbox import Outcome

BODY = "self.assertEqual(f(1), 2)"


@pytest.fixture(autouse=True)
def _honest_afterwards(sandbox: Any, method: Callable[..., str]) -> Iterator[None]:
    """Whatever was done before, the next job in this pool gets its right verdicts."""
    yield
    results = sandbox.run("def f(x):\n    return x + 1\n", method(BODY), method("self.assertEqual(f(1), 3)"))
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


LARGE = {
    "int": "1 << 10 ** 8",
    "int-that-has-no-text": "10 ** 10 ** 6",
    "nested-list": "nested(100_000)",
    "nested-tuple": "tuples(100_000)",
    "nested-dict": "dicts(100_000)",
    "cycle": "cycle()",
    "shared-many-times": "laughs()",
    "long-list": "[0] * 20_000_000",
    "long-text": "'a' * 150_000_000",
    "many-objects": "[E() for _ in range(300_000)]",
    "repr": "Wide()",
    "repr-of-itself": "Deep()",
    "recursion": "recursion(0)",
    "recursion-in-c": "eval('(' * 5000 + ')' * 5000)",
    "printed": "print('a' * 10 ** 7, flush=True) or 5",
    "printed-elsewhere": "[os.write(n, b'a' * 10 ** 5) for n in (1, 2) for _ in range(200)] and 5",
    "warned": "[warnings.warn('a' * 1000 + str(n)) for n in range(5000)] and 5",
    "raised": "fail(ValueError('a' * 100_000_000))",
    "raised-in-raised": "chain(50_000)",
}
MAKERS = """
    import os, sys, warnings
    class E: ...
    class Wide:
        def __repr__(self): return "a" * 100_000_000
    class Deep:
        def __repr__(self): return repr(self)
    def nested(n):
        top = []
        for _ in range(n): top = [top]
        return top
    def tuples(n):
        top = ()
        for _ in range(n): top = (top,)
        return top
    def dicts(n):
        top = {}
        for _ in range(n): top = {0: top}
        return top
    def cycle():
        top = [2]
        top += [top, {"a": top}]
        return top
    def laughs():
        top = ["ha"] * 10
        for _ in range(40): top = [top] * 10
        return top
    def recursion(n):
        sys.setrecursionlimit(10 ** 9)
        return recursion(n + 1) + 1
    def fail(error):
        raise error
    def chain(n):
        error = None
        for _ in range(n):
            new = ValueError("a")
            new.__cause__ = new.__context__ = error
            error = new
        raise error
"""


@pytest.mark.parametrize("name", LARGE)
def test_answer_that_nobody_can_hold(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = f"{textwrap.dedent(MAKERS)}def f(x):\n    return {LARGE[name]}\n"
    results = sandbox.run(solution, method(BODY), method("self.assertEqual([2, 3], f(1))"))
    assert Outcome.PASS not in {result.outcome for result in results}
