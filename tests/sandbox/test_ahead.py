"""Answers that are had before a test asks for them are those that it would have been given."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_sandbox import Outcome
from coderm_sandbox.guest.ahead import AheadAnswers, KnownCall, calls_in, fingerprint
from coderm_sandbox.guest.channel import WireError


@pytest.fixture(scope="module")
def audited(make_sandbox: Callable[..., Any]) -> Iterator[Any]:
    """A pool that runs every shared verdict again in processes of its own."""
    sandbox = make_sandbox(audit_share=1.0)
    yield sandbox
    assert sandbox.pool.stats.audited > 0


def calls(text: str) -> list[tuple[str, bytes]]:
    return [(call.name, call.key) for call in calls_in(ast.parse(textwrap.dedent(text)))]


def test_calls_with_written_arguments_are_known() -> None:
    found = calls(
        "self.assertEqual(f([1, (2, 'a')], -1.5), g({'k': None}))\nfor x in [f(1)]:\n    f(x)\n    f(1)"
    )
    assert set(found) == {
        ("f", fingerprint(([1, (2, "a")], -1.5))),
        ("g", fingerprint(({"k": None},))),
        ("f", fingerprint((1,))),
    }


@pytest.mark.parametrize(
    "text", ["f(x)", "f(*[1])", "f(k=1)", "a.f(1)", "f(1)(x)(y)", "f(b'a')", "f('%s' % 1)"]
)
def test_other_calls_are_not(text: str) -> None:
    assert all(key == fingerprint((1,)) for _, key in calls(text))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types throughout."""
    return repr(a) == repr(b)


@given(PLAIN, PLAIN)
def test_a_fingerprint_tells_values_and_types_apart(a: Any, b: Any) -> None:
    assert (fingerprint((a,)) == fingerprint((b,))) == same(a, b)


@given(PLAIN)
def test_a_call_finds_its_own_value(value: Any) -> None:
    (call,) = calls_in(ast.parse(f"f({value!r})")) or [None]
    if call is not None:
        assert call.key == fingerprint((value,))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300)
@given(JSON)
def test_malformed_answers_are_the_players_fault(answers: Any) -> None:
    known = AheadAnswers()
    call = KnownCall("f", [1], fingerprint((1,)) or b"")

    def f() -> None: ...

    try:
        known.enter([call], answers)
        known.bind({"f": f}, lambda value: value is f)
        found = known.find(f, (1,))
    except WireError:
        return
    assert found is None or len(found) == 1


HANGS = """
    def f(x):
        while x == 2:
            pass
        return x
"""
SWALLOWS = """
    def f(x):
        while x == 2:
            try:
                while True:
                    pass
            except:
                continue
        return x
"""
IN_C = """
    def f(x):
        return x if x != 2 else sum(range(10 ** 12))
"""


@pytest.mark.parametrize("solution", [HANGS, SWALLOWS, IN_C])
def test_a_call_that_the_test_would_not_reach_does_not_count(sandbox: Any, solution: str) -> None:
    failed, passed = (
        "self.assertEqual(f(1), 0)\nself.assertEqual(f(2), 2)",
        "self.assertEqual(f(1), 1)",
    )
    assert sandbox.check(solution, failed).outcome is Outcome.FAIL
    assert sandbox.check(solution, passed).outcome is Outcome.PASS
    assert sandbox.check(solution, "self.assertEqual(f(2), 2)").outcome is Outcome.TIMEOUT


TIMED = {
    "except": "def f(x):\n    try:\n        while True:\n            pass\n    except:\n        return 42",
    "finally": "def f(x):\n    while True:\n        try:\n            while True:\n                pass\n"
    "        finally:\n            return 42",
}


@pytest.mark.parametrize("name", TIMED)
def test_the_end_of_the_time_is_no_signal(sandbox: Any, name: str) -> None:
    found = sandbox.check(TIMED[name], "self.assertEqual(f(1), 42)")
    assert found.outcome is Outcome.TIMEOUT, found.detail


ASKED_AGAIN = {
    "looks for an argument in another": (
        "def f(a, b):\n    return a is b",
        "x = [1]\nself.assertEqual([f([1], [1]), f(x, x), f((1, 2), (1, 2))], [False, True, True])",
    ),
    "looks at the order of a set": (
        "def f(x):\n    return list(x)",
        "self.assertEqual(f({8, 0, 16, 'b'}), list({8, 0, 16, 'b'}))",
    ),
    "is warned by re": (
        "import re\ndef f(x):\n    return re.match('[[a]', x).end()",
        "with self.assertWarns(FutureWarning):\n    f('a')",
    ),
    "leaves much garbage": (
        "def f(x):\n    print()\n    k = [bytes(150 << 20)]\n    k.append(k)\n    return 2",
        "self.assertEqual(f(1), 2)",
    ),
    "looks for a part in another": (
        "def f(a):\n    return a[0] is a[1]",
        "self.assertEqual([f([[0], [0]]), f([[0]] * 2), f([(), ()])], [False, True, True])",
    ),
    "prints, and then takes long": (
        "def f(x):\n    print('q' * (10 << 20))\n    while x == 2:\n        pass\n    return 1",
        "x = 1\nself.assertEqual(f(x), 1)\nif not x:\n    f(2)",
    ),
    "gives its argument back": ("def f(x):\n    return x", "x = [1]\nf([1])\nself.assertIs(f(x), x)"),
    "gives a part of it back": (
        "def f(x):\n    return x[0]",
        "x = [[1]]\nf([[1]])\nself.assertIs(f(x), x[0])",
    ),
    "changes its argument": (
        "def f(x):\n    x.append(1)\n    return 5",
        "x = [1]\nf([1])\nf(x)\nself.assertEqual(x, [1, 1])",
    ),
    "prints": (
        "def f(x):\n    print('said', x)",
        "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    f(1), f(1)\n"
        "self.assertEqual(out.getvalue(), 'said 1\\nsaid 1\\n')",
    ),
    "prints into a patched print": (
        "def f(x):\n    print('said', x)",
        "from unittest.mock import patch\nwith patch('builtins.print') as said:\n    f(1)\n"
        "said.assert_called_once_with('said', 1)",
    ),
    "raises": (
        "def f(x):\n    raise ValueError(x)",
        "with self.assertRaises(ValueError) as got:\n    f(1)\nself.assertEqual(got.exception.args, (1,))",
    ),
    "returns a function": ("def f(x):\n    return lambda y: x + y", "self.assertEqual(f(1)(2), 3)"),
    "returns a generator": (
        "def f(n):\n    for i in range(n):\n        yield i",
        "it = f(3)\nself.assertEqual(next(it), 0)\nself.assertEqual(list(it), [1, 2])\n"
        "self.assertEqual(list(f(3)), [0, 1, 2])",
    ),
    "returns an instance": (
        "class A:\n    def size(self):\n        return 4\ndef f(x):\n    return A()",
        "self.assertEqual(f(1).size(), 4)\nself.assertIsNot(f(1), f(1))",
    ),
}
KNOWN = {
    "types are exact": (
        "def f(x):\n    return repr(x)",
        "self.assertEqual([f(1), f(True), f(1.0), f('1'), f([1]), f((1,))], "
        "['1', 'True', '1.0', \"'1'\", '[1]', '(1,)'])",
    ),
    "results are new each time": (
        "def f(x):\n    return [x]",
        "a, b = f(1), f(1)\nself.assertIsNot(a, b)\na.append(2)\nself.assertEqual(f(1), [1])",
    ),
    "results share parts": ("def f(x):\n    a = [x]\n    return [a, a]", "a, b = f(1)\nself.assertIs(a, b)"),
    "result of a rare type": (
        "from collections import Counter, deque\ndef f(x):\n    return Counter(x), deque(x), {1}, 1j, b'x'",
        "import collections\nself.assertEqual(f('aab')[0], collections.Counter(a=2, b=1))\n"
        "self.assertEqual(f('aab')[1].popleft(), 'a')\nself.assertEqual(f('aab')[2:], ({1}, 1j, b'x'))",
    ),
    "constant of the module": ("N = [1]\ndef f(x):\n    return N[0] + x", "self.assertEqual(f(1), 2)"),
    "the solution's name is changed by the test": (
        "def g(x):\n    return x\ndef f(x):\n    return g(x)",
        "import solution\nsolution.g = lambda x: 7\nself.assertEqual(solution.f(1), 7)",
    ),
    "large": ("def f(n):\n    return list(range(n))", "self.assertEqual(len(f(50000)), 50000)"),
    "slow": (
        "def f(n):\n    k = 0\n    for i in range(n):\n        k += i\n    return k",
        "self.assertEqual([f(300000), f(300001), f(300002)][0], 44999850000)\nself.assertEqual(f(3), 3)",
    ),
}


@pytest.mark.parametrize("name", [*ASKED_AGAIN, *KNOWN])
def test_honest_programs_pass_and_agree_with_the_audit(audited: Any, name: str) -> None:
    solution, body = {**ASKED_AGAIN, **KNOWN}[name]
    before = audited.pool.stats.audit_disagreements
    result = audited.check(solution, body)
    assert result.outcome is Outcome.PASS, result.detail
    assert audited.pool.stats.audit_disagreements == before


def test_recursion_ends_at_the_same_depth(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    solution = """
        def f(n):
            try:
                return f(n + 1)
            except RecursionError:
                return n
    """
    (result,) = make_sandbox().run(solution, method("self.assertEqual([f(0), f(0)], [f(0)] * 2)"))
    assert result.outcome is Outcome.PASS, result.detail
    # One that finds no answer in the table, and then one that does: they fail with the depth.
    sandbox = make_sandbox(audit_share=0.0)
    asked, known = (sandbox.check(solution, f"x = 0\nself.assertEqual(f({a}), '')") for a in ("x", "0"))
    assert asked.outcome is Outcome.FAIL
    assert asked.detail == known.detail
