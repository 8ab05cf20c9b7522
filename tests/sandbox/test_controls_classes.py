"""Honest programs whose classes are looked into: attributes, properties, inheritance, odd instances."""

from __future__ import annotations

from typing import Any

CASES = {
    "isinstance": (
        "class Shape: ...\nclass Square(Shape): ...\ndef f():\n    return Square()\n",
        """
            self.assertIsInstance(f(), Square)
            self.assertIsInstance(f(), Shape)
            self.assertNotIsInstance(f(), int)
            self.assertTrue(issubclass(Square, Shape))
            self.assertFalse(issubclass(Shape, Square))
            self.assertIs(type(f()), Square)
            self.assertIs(f().__class__, Square)
            self.assertEqual(type(f()).__name__, 'Square')
        """,
        ("Square()", "Shape()"),
    ),
    "attributes-of-classes": (
        """
            class Account:
                rate = 2
                @staticmethod
                def check(n):
                    return n > 0
                @classmethod
                def rich(cls):
                    return cls(1000)
                def __init__(self, money):
                    self.money = money
        """,
        """
            self.assertEqual(Account.rate, 2)
            self.assertTrue(Account.check(1))
            rich = Account.rich()
            self.assertIsInstance(rich, Account)
            self.assertEqual(rich.money, 1000)
            Account.rate = 3
            self.assertEqual(rich.rate, 3)
            self.assertEqual(Account.__name__, 'Account')
        """,
        ("1000", "100"),
    ),
    "property": (
        """
            class Heat:
                def __init__(self, degrees):
                    self.degrees = degrees
                @property
                def degrees(self):
                    return self._degrees
                @degrees.setter
                def degrees(self, n):
                    if n < -273:
                        raise ValueError("too cold")
                    self._degrees = n
                @property
                def kelvin(self):
                    return self._degrees + 273
        """,
        """
            heat = Heat(0)
            heat.degrees += 10
            self.assertEqual(heat.kelvin, 283)
            with self.assertRaisesRegex(ValueError, "too cold"):
                heat.degrees = -300
            self.assertEqual(heat._degrees, 10)
            with self.assertRaises(AttributeError):
                heat.kelvin = 5
        """,
        ("+ 273", "+ 272"),
    ),
    "attributes-set-by-the-test": (
        """
            class C:
                def __init__(self):
                    self.a = 1
                def total(self):
                    return sum(vars(self).values())
        """,
        """
            c = C()
            c.a = 5
            c.b = 6
            self.assertEqual(c.total(), 11)
            del c.b
            self.assertEqual(c.total(), 5)
            self.assertTrue(hasattr(c, 'a'))
            self.assertFalse(hasattr(c, 'b'))
            self.assertEqual(getattr(c, 'b', 'none'), 'none')
            self.assertEqual(vars(c), {'a': 5})
        """,
        ("sum(", "max("),
    ),
    "inheritance": (
        """
            import abc
            class Shape(abc.ABC):
                @abc.abstractmethod
                def area(self): ...
                def text(self):
                    return f"{type(self).__name__} of {self.area()}"
            class Square(Shape):
                def __init__(self, side):
                    self.__side = side
                def area(self):
                    return self.__side ** 2
            class Named(Square):
                def text(self):
                    return "named " + super().text()
        """,
        """
            self.assertEqual(Square(2).text(), 'Square of 4')
            self.assertEqual(Named(3).text(), 'named Named of 9')
            self.assertEqual(Named(3)._Square__side, 3)
            with self.assertRaises(TypeError):
                Shape()
        """,
        ("super().text()", "self.__class__.__name__"),
    ),
    "slots": (
        """
            class P:
                __slots__ = ('x',)
                def __init__(self, x):
                    self.x = x
        """,
        """
            p = P(1)
            p.x = 2
            self.assertEqual(p.x, 2)
            with self.assertRaises(AttributeError):
                p.y = 1
        """,
        ("__slots__ = ('x',)", "pass"),
    ),
    "fluent": (
        """
            class Query:
                def __init__(self):
                    self.parts = []
                def add(self, part):
                    self.parts.append(part)
                    return self
        """,
        """
            query = Query()
            self.assertIs(query.add('a').add('b'), query)
            self.assertEqual(query.parts, ['a', 'b'])
        """,
        ("return self", "return Query()"),
    ),
    "singleton": (
        """
            class One:
                made = None
                def __new__(cls):
                    if cls.made is None:
                        cls.made = super().__new__(cls)
                    return cls.made
        """,
        "self.assertIs(One(), One())\nOne().x = 5\nself.assertEqual(One().x, 5)",
        ("if cls.made is None", "if True"),
    ),
    "callable-instance": (
        """
            class Poly:
                def __init__(self, *c):
                    self.c = c
                def __call__(self, x):
                    return sum(n * x ** i for i, n in enumerate(self.c))
        """,
        "self.assertEqual(Poly(1, 2, 3)(10), 321)\nself.assertEqual(list(map(Poly(0, 2), [1, 2])), [2, 4])",
        ("x ** i", "x * i"),
    ),
    "rich-result": (
        "import re\ndef f(text):\n    return re.match(r'(\\w)(?P<n>\\d+)', text)\n",
        """
            found = f('a12 ')
            self.assertEqual(found.group(0), 'a12')
            self.assertEqual(found['n'], '12')
            self.assertEqual(found.groups(), ('a', '12'))
            self.assertEqual(found.span(2), (1, 3))
            self.assertIsNone(f('1a'))
            self.assertTrue(found)
        """,
        ("\\d+", "\\d"),
    ),
    "instance-of-the-library": (
        """
            import argparse, collections, string
            def f():
                chain = collections.ChainMap({'a': 1}, {'b': 2})
                return argparse.Namespace(a=1), string.Template('$x y'), chain
        """,
        """
            space, template, chain = f()
            self.assertEqual(space.a, 1)
            self.assertEqual(template.substitute(x='X'), 'X y')
            self.assertEqual(chain['b'], 2)
        """,
        ("'b': 2", "'b': 3"),
    ),
    "lock-step-objects": (
        """
            class Bank:
                def __init__(self):
                    self.accounts = {}
                def open(self, name):
                    self.accounts[name] = Account(self)
                    return self.accounts[name]
            class Account:
                def __init__(self, bank):
                    self.bank, self.money = bank, 0
        """,
        """
            bank = Bank()
            ann = bank.open('ann')
            ann.money += 5
            self.assertIs(ann.bank, bank)
            self.assertIs(bank.accounts['ann'], ann)
            self.assertEqual(bank.accounts['ann'].money, 5)
            self.assertEqual(list(bank.accounts), ['ann'])
        """,
        ("return self.accounts[name]", "return Account(self)"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
