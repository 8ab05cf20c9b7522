"""Answers that lie when they are compared: objects equal to everything, and subclasses of plain values.

A plain value is compared by the judge alone. What only a solution's own object can answer may pass,
and then the verdict says `judge=handle`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coderm_sandbox import Outcome

# What a test says about a plain value; every answer below is wrong for all of them.
CHECKS = """
self.assertEqual(f(1), 2)
self.assertEqual(2, f(1))
self.assertEqual(f(1), "two")
self.assertEqual("two", f(1))
self.assertEqual(f(1), [2, 3])
self.assertEqual([2, 3], f(1))
self.assertEqual({"a": 2}, f(1))
self.assertEqual(f(1), (2, 3))
self.assertEqual(f(1), None)
self.assertEqual(f(1), True)
self.assertEqual([f(1)], [2])
self.assertEqual({"a": 2}, {"a": f(1)})
self.assertEqual((1, f(1)), (1, 2))
self.assertEqual({2}, {f(1)})
self.assertEqual({2: "two"}.get(f(1)), "two")
self.assertEqual(f(1), Fraction(1, 3))
self.assertEqual(Decimal("2.5"), f(1))
self.assertListEqual(f(1), [2, 3])
self.assertListEqual([2, 3], f(1))
self.assertTupleEqual((2, 3), f(1))
self.assertDictEqual(f(1), {"a": 2})
self.assertDictEqual({"a": 2}, f(1))
self.assertSetEqual(f(1), {2, 3})
self.assertSequenceEqual(f(1), [2, 3])
self.assertCountEqual(f(1), [2, 3])
self.assertCountEqual([2, 3], f(1))
self.assertMultiLineEqual(f(1), "two")
self.assertAlmostEqual(f(1), 2.5)
self.assertAlmostEqual(2.5, f(1), places=3)
self.assertAlmostEqual(f(1), 2.5, delta=1e-3)
self.assertIn(f(1), [2, 3])
self.assertIn(f(1), {2, 3})
self.assertIs(f(1), True)
self.assertIsNone(f(1))
self.assertTrue(f(1) == 2)
self.assertTrue(2 == f(1))
self.assertFalse(f(1) != 2)
self.assertFalse(2 != f(1))
self.assertTrue(any(f(1) == number for number in (2, 3)))
self.assertTrue(abs(f(1) - 2.5) < 1e-6)
self.assertTrue(abs(2.5 - f(1)) < 1e-6)
self.assertTrue(math.isclose(f(1), 2.5))
self.assertEqual(round(f(1), 2), 2.25)
self.assertEqual(sum([f(1), 0]), 2)
self.assertEqual(sorted([f(1)]), [2])
self.assertEqual(max(f(1), f(1)), 2)
self.assertEqual(str(f(1)), "two")
self.assertEqual(repr(f(1)), "two")
self.assertEqual(copy.deepcopy(f(1)), 2)
self.assertEqual(f(1).value, 2)
self.assertEqual(f(1)[0], 2)
self.assertEqual(next(iter(f(1))), 2)
assert f(1) == 2
""".strip().splitlines()

LIES = """
def yes(*a, **k): return True
def no(*a, **k): return False
class Text(str):
    __eq__ = yes
    __ne__ = no
    __hash__ = str.__hash__
class Lies:
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = __contains__ = __bool__ = yes
    __ne__ = no
    def __hash__(self): return 2
    def me(self, *a): return self
    def nothing(self, *a): return 0
    __add__ = __radd__ = __getitem__ = __round__ = __abs__ = __neg__ = __copy__ = __deepcopy__ = me
    __sub__ = __rsub__ = __mod__ = nothing
    def __len__(self): return 2
    def __iter__(self): return iter([self, self])
    def __str__(self): return Text("wrong")
    __repr__ = __str__
    def __float__(self): return 0.0
    def __int__(self): return 0
    __index__ = __int__
    value = property(me)
"""

# name -> the lines that bind `answer`
LIARS = {
    "eq": "class E:\n    __eq__ = yes\nanswer = E()",
    "ne": "class E:\n    __ne__ = no\n    __eq__ = yes\n    def __hash__(self): return 2\nanswer = E()",
    "everything": "answer = Lies()",
    "mock-any": "from unittest.mock import ANY as answer",
    "magic-mock": (
        "from unittest.mock import MagicMock\nanswer = MagicMock()\n"
        "answer.__eq__.return_value = True\nanswer.__ne__.return_value = False"
    ),
    "int": "class I(Lies, int): ...\nanswer = I(5)",
    "float": "class F(Lies, float): ...\nanswer = F(5)",
    "complex": "class C(Lies, complex): ...\nanswer = C(5)",
    "str": "class S(Lies, str): ...\nanswer = S('five')",
    "bytes": "class B(Lies, bytes): ...\nanswer = B(b'five')",
    "list": "class L(Lies, list): ...\nanswer = L([5, 5])",
    "tuple": "class P(Lies, tuple): ...\nanswer = P([5, 5])",
    "dict": "class D(Lies, dict): ...\nanswer = D(a=5)",
    "set": "class M(Lies, set): ...\nanswer = M([5])",
    "frozenset": "class M(Lies, frozenset): ...\nanswer = M([5])",
    "deque": "import collections\nclass Q(Lies, collections.deque): ...\nanswer = Q([5, 5])",
    "counter": "import collections\nclass Q(Lies, collections.Counter): ...\nanswer = Q(a=5)",
    "ordered-dict": "import collections\nclass Q(Lies, collections.OrderedDict): ...\nanswer = Q(a=5)",
    "default-dict": "import collections\nclass Q(Lies, collections.defaultdict): ...\nanswer = Q(yes, a=5)",
    "decimal": "import decimal\nclass D(Lies, decimal.Decimal): ...\nanswer = D(5)",
    "fraction": "import fractions\nclass R(Lies, fractions.Fraction): ...\nanswer = R(5)",
    "date": "import datetime\nclass W(Lies, datetime.date): ...\nanswer = W(5, 5, 5)",
    "namedtuple": (
        "import collections\nclass N(Lies, collections.namedtuple('N', 'a b')): ...\nanswer = N(5, 5)"
    ),
    "enum": "import enum\nclass G(enum.Enum):\n    A = 5\n    __eq__ = yes\nanswer = G.A",
    "int-enum": "import enum\nclass G(enum.IntEnum):\n    A = 5\n    __eq__ = yes\nanswer = G.A",
    "class-that-is-a-lie": ("class E(Lies):\n    __class__ = property(lambda self: int)\nanswer = E()"),
    "metaclass": (
        "class M(type):\n    __eq__ = __instancecheck__ = __subclasscheck__ = yes\n    __ne__ = no\n"
        "    def __hash__(self): return 2\nclass answer(metaclass=M): ..."
    ),
    "getattr": ("class E:\n    __eq__ = yes\n    def __getattr__(self, name): return Lies()\nanswer = E()"),
    "getattribute": ("class E(Lies):\n    def __getattribute__(self, name): return Lies()\nanswer = E()"),
    "reduce": (
        "class E(Lies):\n    def __reduce__(self): return eval, ('__import__(\"unittest.mock\").mock.ANY',)\n"
        "    def __reduce_ex__(self, protocol): return self.__reduce__()\n"
        "    __deepcopy__ = property(lambda self: {}[0])\nanswer = E()"
    ),
    "weak-proxy": "import weakref\nkept = Lies()\nanswer = weakref.proxy(kept)",
    "function": "def answer(*a): return True\nanswer.__eq__ = yes\nanswer.value = Lies()",
    "exception": "class X(Lies, Exception): ...\nanswer = X(5)",
    "in-a-list": "answer = [Lies(), Lies()]",
    "in-a-tuple": "answer = (Lies(), Lies())",
    "in-a-dict": "answer = {'a': Lies()}",
    "in-a-set": "answer = {Lies()}",
    "text-in-a-list": "answer = [Text('five'), Text('five')]",
}


@pytest.fixture(autouse=True)
def _honest_afterwards(sandbox: Any, method: Callable[..., str]) -> Iterator[None]:
    """Whatever was done before, the next job in this pool gets its right verdicts."""
    yield
    right, wrong = method("self.assertEqual(f(1), 2)"), method("self.assertEqual(f(1), 3)")
    results = sandbox.run("def f(x):\n    return x + 1\n", right, wrong)
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


@pytest.mark.parametrize("name", LIARS)
def test_no_check_of_a_plain_value_passes(sandbox: Any, method: Callable[..., str], name: str) -> None:
    imports = "import copy, math\nfrom decimal import Decimal\nfrom fractions import Fraction\n"
    solution = f"{LIES}{LIARS[name]}\ndef f(x):\n    return answer\n"
    (result,) = sandbox.run(solution, imports + method(*CHECKS))
    passed = [CHECKS[int(key.rpartition("_")[2])] for key, found in result.methods.items() if found == "pass"]
    assert passed == []


# The solution's own object has the only answer: it may pass, but not as a verdict by value.
BY_HANDLE = {
    "bool": "self.assertTrue(f(1))",
    "len": "self.assertEqual(len(f(1)), 2)",
    "greater": "self.assertGreater(f(1), 10 ** 9)",
    "less": "self.assertLess(f(1), -1)",
    "between-two": "self.assertLess(f(1), f(2))",
    "own-instances": "self.assertEqual(f(1), g(2))",
    "own-instances-in-lists": "self.assertEqual([f(1)], [g(2)])",
    "contains": "self.assertIn(2, f(1))",
    "isinstance-of-a-builtin": "self.assertIsInstance(f(1), int)",
    "isinstance-of-its-class": "self.assertIsInstance(5, Every)",
    "issubclass-of-its-class": "self.assertTrue(issubclass(int, Every))",
}


@pytest.mark.parametrize("name", BY_HANDLE)
def test_what_the_solution_says_of_its_own_objects_is_labelled(sandbox: Any, name: str) -> None:
    more = """
        class Meta(type):
            __instancecheck__ = __subclasscheck__ = yes
        class Every(metaclass=Meta): ...
        class Lie(Lies):
            __class__ = property(lambda self: int)
        def f(x):
            return Lie()
        def g(x):
            return Lies()
    """
    result = sandbox.check(LIES + textwrap.dedent(more), BY_HANDLE[name])
    assert result.outcome is not Outcome.PASS or result.judge == "handle"


# What cannot be sent, or speaks of what only tests need: none of it brings the solution near its judge.
CANNOT_BE_SENT = {
    "module": "__import__('math')",
    "frame": "__import__('sys')._getframe()",
    "lock": "__import__('threading').Lock()",
    "socket": "__import__('socket').socket()",
    "file": "open('/dev/null')",
    "code": "f.__code__",
    "memoryview": "memoryview(b'ab')",
    "array": "__import__('array').array('i', [5])",
    "slice": "slice(5)",
    "no-class": "type.__new__(type, 'X', (), {'__class__': 5, '__module__': None})()",
    "endless-iterator": "__import__('itertools').repeat(5)",
    "words-of-tests": "'unittest.mock.patch, inspect.getsource, logging, open, random.seed'",
}


@pytest.mark.parametrize("name", CANNOT_BE_SENT)
def test_no_answer_chooses_its_judge(sandbox: Any, name: str) -> None:
    result = sandbox.check(f"def f(x):\n    return {CANNOT_BE_SENT[name]}\n", "self.assertEqual(f(1), 2)")
    assert result.outcome is not Outcome.PASS
    assert result.judge in ("apart", "handle")
