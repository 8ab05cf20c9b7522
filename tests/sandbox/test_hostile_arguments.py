"""Lies that do not come as the answer: in exceptions, in changed arguments, in what a callback is given,
and in arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coderm_sandbox import Limits, Outcome

LIES = """
def yes(*a, **k): return True
def no(*a, **k): return False
class Text(str):
    __eq__ = yes
    __ne__ = no
    __hash__ = str.__hash__
class Lies:
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = __bool__ = yes
    __ne__ = no
    def __hash__(self): return 2
    def __sub__(self, other): return 0
    __rsub__ = __abs__ = __sub__
    def __float__(self): return 0.0
    def __str__(self): return Text("wrong")
    __repr__ = __str__
"""


@pytest.fixture(autouse=True)
def _honest_afterwards(sandbox: Any, method: Callable[..., str]) -> Iterator[None]:
    """Whatever was done before, the next job in this pool gets its right verdicts."""
    yield
    right, wrong = method("self.assertEqual(f(1), 2)"), method("self.assertEqual(f(1), 3)")
    results = sandbox.run("def f(x):\n    return x + 1\n", right, wrong)
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


RAISED = {
    "text-of-a-builtin": ("ValueError(Text('wrong'))", "str(caught.exception)"),
    "argument": ("ValueError(Text('wrong'))", "caught.exception.args[0]"),
    "argument-that-lies": ("ValueError(Lies())", "caught.exception.args[0]"),
    "text-of-its-own": ("Mine()", "str(caught.exception)"),
    "attribute": ("Mine()", "caught.exception.text"),
    "exception-itself": ("Mine()", "caught.exception"),
}


@pytest.mark.parametrize("name", RAISED)
def test_no_exception_lies_about_its_text(sandbox: Any, name: str) -> None:
    raised, looked_at = RAISED[name]
    solution = f"""{LIES}
class Mine(Lies, ValueError):
    text = Text("wrong")
def f(x):
    raise {raised}
"""
    body = f"with self.assertRaises(ValueError) as caught:\n    f(1)\nself.assertEqual({looked_at}, 'right')"
    assert sandbox.outcome(solution, body) is not Outcome.PASS


@pytest.mark.parametrize("wanted", ["KeyError", "(KeyError, OSError)", "f.wanted"])
def test_no_exception_lies_about_its_class(sandbox: Any, wanted: str) -> None:
    solution = f"""{LIES}
class Meta(type):
    __eq__ = __instancecheck__ = __subclasscheck__ = yes
    def __hash__(self): return 2
    __mro__ = property(lambda self: (KeyError, OSError, Exception, BaseException, object))
class Mine(ValueError, metaclass=Meta):
    __class__ = property(lambda self: KeyError)
def f(x):
    raise Mine
f.wanted = KeyError
"""
    assert sandbox.outcome(solution, f"with self.assertRaises({wanted}):\n    f(1)") is not Outcome.PASS


# An argument of the test's own, that the solution changes so that it seems right.
ARGUMENTS = {
    "element": ("p[0] = Lies()", "p = [1]\nf(p)\nself.assertEqual(p, [2])"),
    "elements": ("p[:] = [Lies()]", "p = [1]\nf(p)\nself.assertEqual(p[0], 2)"),
    "key": ("p.clear(); p[Lies()] = 2", "p = {1: 1}\nf(p)\nself.assertEqual(p, {2: 2})"),
    "value": ("p[1] = Text('wrong')", "p = {1: 'a'}\nf(p)\nself.assertEqual(p, {1: 'right'})"),
    "attribute": ("p.v = Lies()", "p = P(1)\nf(p)\nself.assertEqual(p.v, 2)"),
    "class": (
        "p.__class__ = type('Q', (type(p),), {'__eq__': yes})",
        "p = P(1)\nf(p)\nself.assertEqual(p, P(2))",
    ),
    "eq-of-its-class": ("type(p).__eq__ = yes", "p = P(1)\nf(p)\nself.assertEqual(p, P(2))"),
    "method-of-its-class": ("type(p).get = lambda s: Lies()", "p = P(1)\nf(p)\nself.assertEqual(p.get(), 2)"),
    "method-of-itself": ("p.get = lambda: Lies()", "p = P(1)\nf(p)\nself.assertEqual(p.get(), 2)"),
    "dict-of-itself": ("vars(p).update(v=Lies())", "p = P(1)\nf(p)\nself.assertEqual(p.get(), 2)"),
    "check-of-itself": ("p.check = yes", "p = P(1)\nf(p)\nself.assertTrue(p.check(2))"),
    "check-of-its-class": ("type(p).check = yes", "p = P(1)\nf(p)\nself.assertTrue(p.check(2))"),
    "callback": ("p(Lies())", "seen = []\nf(seen.append)\nself.assertEqual(seen, [2])"),
    "callback-that-compares": (
        "p(Lies())",
        "seen = []\nf(lambda x: seen.append(x == 2))\nself.assertEqual(seen, [True])",
    ),
    "mock": ("p(Lies())", "p = Mock()\nf(p)\np.assert_called_with(2)"),
    "check-of-a-mock": ("p.assert_called_with = yes", "p = Mock()\nf(p)\np.assert_called_with(2)"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_no_argument_is_made_to_lie(sandbox: Any, method: Callable[..., str], name: str) -> None:
    action, body = ARGUMENTS[name]
    text = (
        "from unittest.mock import Mock\n"
        "class P:\n    def __init__(self, v): self.v = v\n    def get(self): return self.v\n"
        "    def check(self, wanted): return self.v == wanted\n"
        "    def __eq__(self, other): return self.v == other.v\n"
    )
    (result,) = sandbox.run(f"{LIES}def f(p):\n    {action}\n", text + method(body))
    assert result.outcome is not Outcome.PASS


NUMPY = {
    "object-array": "np.array([Lies()], dtype=object)",
    "subclass": "np.array([5.0]).view(type('A', (np.ndarray,), {'__eq__': yes, '__array_ufunc__': yes}))",
    "array-protocol": "type('A', (Lies,), {'__array__': lambda self, *a, **k: np.array([Lies()])})()",
    "array-functions": "type('A', (Lies,), {'__array_ufunc__': yes, '__array_function__': yes})()",
}


@pytest.fixture(scope="module")
def arrays(make_sandbox: Callable[..., Any]) -> Any:
    """A pool with room for numpy."""
    sandbox = make_sandbox(limits=Limits(timeout=5.0))
    if sandbox.outcome("import numpy\ndef f(x):\n    return x\n", "self.assertEqual(f(1), 1)") != "pass":
        pytest.skip("the sandbox interpreter has no numpy")
    return sandbox


@pytest.mark.parametrize("name", NUMPY)
def test_no_array_lies(arrays: Any, method: Callable[..., str], name: str) -> None:
    text = "import numpy as np\n" + method(
        "np.testing.assert_allclose(f(1), [2.5])",
        "np.testing.assert_array_equal([2.5], f(1))",
        "self.assertTrue(np.array_equal(f(1), np.array([2.5])))",
        "self.assertTrue((f(1) == np.array([2.5])).all())",
        "self.assertTrue(np.allclose(np.array([2.5]), f(1)))",
        "self.assertEqual(f(1).tolist(), [2.5])",
    )
    (result,) = arrays.run(f"import numpy as np\n{LIES}def f(x):\n    return {NUMPY[name]}\n", text)
    assert [key for key, outcome in result.methods.items() if outcome is Outcome.PASS] == []
