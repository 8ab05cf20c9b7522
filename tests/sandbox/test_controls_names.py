"""Ways in which an honest test names what the solution defines."""

from __future__ import annotations

from typing import Any

CASES = {
    "imported-names": (
        """
            import math
            import collections as c
            from collections import deque
            from typing import List, Optional
            def f(xs: List[int]) -> Optional[int]:
                return max(xs, default=None)
        """,
        """
            xs: List[int] = [1, 2]
            self.assertEqual(f(list(deque(xs))), math.floor(2.5))
            self.assertEqual(c.Counter(xs)[1], 1)
        """,
        ("max(", "min("),
    ),
    "star-import": (
        "def f(x):\n    return x + 1\ndef _hidden():\n    return 5\nLIMIT = 7\n",
        """
            import unittest
            from solution import *
            class T(unittest.TestCase):
                def test_a(self):
                    self.assertEqual(f(1), 2)
                    self.assertEqual(LIMIT, 7)
        """,
        ("x + 1", "x"),
    ),
    "import-of-a-private-name": (
        "def _helper(x):\n    return x + 1\n",
        """
            from solution import _helper, _helper as other
            self.assertEqual(_helper(1), 2)
            self.assertIs(other, _helper)
        """,
        ("x + 1", "x"),
    ),
    "import-in-a-class-body": (
        "def f(x):\n    return x + 1\nclass Tool:\n    size = 3\n",
        """
            import unittest
            class T(unittest.TestCase):
                from your_module import f as call, Tool
                call = staticmethod(call)
                size = Tool.size
                def test_a(self):
                    self.assertEqual(self.call(1), 2)
                    self.assertEqual(self.size, self.Tool().size)
        """,
        ("x + 1", "x"),
    ),
    "module-as-a-name": (
        "LIMIT = 3\ndef f(x):\n    return min(x, LIMIT)\n",
        """
            import importlib, sys
            import solution as s, your_module
            self.assertEqual(s.f(5), 3)
            self.assertIs(importlib.import_module("solution").f, s.f)
            self.assertEqual(your_module.LIMIT, 3)
            self.assertTrue(hasattr(s, "f"))
            self.assertFalse(hasattr(s, "g"))
            self.assertRaises(AttributeError, lambda: s.g)
        """,
        ("min(x, LIMIT)", "x"),
    ),
    "import-that-fails": (
        "def f(x):\n    return x + 1\n",
        """
            import unittest
            try:
                from solution import fast_f as call
            except ImportError:
                from solution import f as call
            class T(unittest.TestCase):
                def test_a(self):
                    self.assertEqual(call(1), 2)
        """,
        ("x + 1", "x"),
    ),
    "name-that-is-missing": (
        "def f(x):\n    return x + 1\n",
        """
            try:
                call = g
            except NameError:
                call = f
            self.assertEqual(call(1), 2)
        """,
        ("x + 1", "x"),
    ),
    "constants": (
        """
            PRIMES = [2, 3, 5]
            SIZE = {'a': 1.5, 'b': float('inf')}
            NAME = 'x'
            NOTHING = None
        """,
        """
            self.assertEqual(PRIMES, [2, 3, 5])
            self.assertEqual(SIZE['b'], float('inf'))
            self.assertEqual(NAME * 2, 'xx')
            self.assertIsNone(NOTHING)
            self.assertIs(PRIMES, PRIMES)
        """,
        ("1.5, 'b': float('inf')", "1.5, 'b': 0"),
    ),
    "constant-that-changes": (
        """
            total = 0
            log = []
            def f(n):
                global total
                total += n
                log.append(n)
        """,
        """
            import solution
            f(2)
            f(3)
            self.assertEqual(solution.total, 5)
            self.assertEqual(log, [2, 3])
        """,
        ("total += n", "total = n"),
    ),
    "constant-set-by-the-test": (
        "LIMIT = 3\ndef f(x):\n    return min(x, LIMIT)\n",
        """
            import solution
            solution.LIMIT = 5
            self.assertEqual(f(9), 5)
            solution.LIMIT = 3
            self.assertEqual(f(9), 3)
        """,
        ("min(x, LIMIT)", "min(x, 3)"),
    ),
    "unicode-names": (
        """
            def größe(wörter, *, länge=1):
                return [w for w in wörter if len(w) > länge]
            class Π:
                ñ = 'ü'
        """,
        "self.assertEqual(größe(['a', 'né'], länge=1), ['né'])\nself.assertEqual(Π().ñ, 'ü')",
        ("> länge", ">= länge"),
    ),
    "instance-at-module-level": (
        """
            class Store:
                def __init__(self):
                    self.data = {}
                def put(self, key, value):
                    self.data[key] = value
            store = Store()
        """,
        """
            import unittest
            shared = Store()
            shared.put("a", 1)
            CASES = [(Store, "b"), (type(shared), "c")]
            class T(unittest.TestCase):
                def test_a(self):
                    store.put("x", [1])
                    self.assertEqual(store.data, {"x": [1]})
                    self.assertEqual(shared.data, {"a": 1})
                    for make, key in CASES:
                        made = make()
                        made.put(key, 2)
                        self.assertEqual(made.data[key], 2)
        """,
        ("= value", "= None"),
    ),
    "name-of-a-builtin": (
        "def sum(a, b):\n    return a + b\n",
        "from solution import sum as add\nself.assertEqual(add(1, 2), 3)",
        ("a + b", "a - b"),
    ),
    "annotated-and-documented": (
        """
            from __future__ import annotations
            from typing import TypeVar, Generic, Protocol
            T = TypeVar('T')
            class Box(Generic[T]):
                \"""Holds one.\"""
                def __init__(self, x: T) -> None:
                    self.x = x
                def get(self) -> T:
                    return self.x
        """,
        """
            box: Box[int] = Box[int](5)
            self.assertEqual(box.get(), 5)
            self.assertEqual(Box.__doc__, 'Holds one.')
            self.assertEqual(Box('a').get(), 'a')
        """,
        ("return self.x", "return None"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
