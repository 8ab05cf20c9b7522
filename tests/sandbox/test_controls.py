"""Honest programs that look odd to a judge in another process: values of every kind.

Each must pass, and a wrong variant of it must not, so that none passes for want of a check. The other
test_controls_*.py have the same form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Outcome

VALUES = {
    "none": "None",
    "true": "True",
    "int": "-7",
    "long-int": "10 ** 5000 + 1",
    "float": "0.1 + 0.2",
    "infinity": "-float('inf')",
    "minus-zero": "-0.0",
    "complex": "complex(1, -2.5)",
    "text": "'a\\0b\\n\\'\\u00e9\\U0001f600'",
    "empty-text": "''",
    "lone-surrogate": "'\\ud800'",
    "bytes": "bytes(range(256))",
    "bytearray": "bytearray(b'a\\xff')",
    "list": "[1, 'a', None, [2.5]]",
    "tuple": "(1, ('a', ()))",
    "dict": "{'b': 1, 'a': [2], 3: {}, None: 4, (1, 2): 5, 2.5: 6, True: 7}",
    "set": "{1, 'a', (2, 3), None}",
    "frozenset": "frozenset([frozenset(), frozenset([1])])",
    "range": "range(10, 0, -3)",
    "deque": "collections.deque([1, 2, 3], maxlen=3)",
    "counter": "collections.Counter('abca')",
    "defaultdict": "collections.defaultdict(list, a=[1])",
    "ordered-dict": "collections.OrderedDict([('b', 1), ('a', 2)])",
    "decimal": "decimal.Decimal('-1.500')",
    "decimal-nan": "[str(decimal.Decimal('sNaN')), decimal.Decimal('Infinity')]",
    "fraction": "fractions.Fraction(-6, 4)",
    "date": "datetime.date(2024, 2, 29)",
    "datetime": "datetime.datetime(2024, 2, 29, 1, 2, 3, 4, fold=1)",
    "datetime-with-zone": "datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)",
    "time": "datetime.time(23, 59)",
    "timedelta": "datetime.timedelta(days=-1, microseconds=5)",
    "ellipsis": "[..., NotImplemented]",
    "types": "[int, str, ValueError, type(None), dict]",
}
MODULES = "import collections, datetime, decimal, fractions\n"


@pytest.mark.parametrize("name", VALUES)
def test_value_keeps_its_exact_type_both_ways(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = (
        f"{MODULES}CONSTANT = {VALUES[name]}\ndef same(x):\n    return x\ndef make():\n    return CONSTANT\n"
    )
    body = f"""
        wanted = {VALUES[name]}
        for got in (same(wanted), make(), CONSTANT, [same(wanted)][0]):
            self.assertEqual(got, wanted)
            self.assertEqual(wanted, got)
            self.assertIs(type(got), type(wanted))
    """
    text = MODULES + method(body)
    (result,) = sandbox.run(solution, text)
    assert result.outcome is Outcome.PASS, result.detail
    (result,) = sandbox.run(solution.replace("return x", "return [x]"), text)
    assert result.outcome is Outcome.FAIL


# name -> (solution, what the test does, (what is replaced in the solution, by what))
CASES = {
    "true-is-not-one": (
        "def f(x):\n    return x > 2\n",
        "self.assertIs(f(3), True)",
        ("x > 2", "int(x > 2)"),
    ),
    "one-equals-true": (
        "def f(x):\n    return 1\n",
        "self.assertEqual(f(3), True)",
        ("1", "2"),
    ),
    "none-by-identity": (
        "def f(x):\n    pass\n",
        "self.assertIsNone(f(1))",
        ("pass", "return 0"),
    ),
    "not-a-number": (
        "def f():\n    return [float('nan')] * 2\n",
        """
            import math
            a, b = f()
            self.assertTrue(math.isnan(a))
            self.assertNotEqual(a, b)
        """,
        ("nan", "inf"),
    ),
    "sign-of-zero": (
        "def f():\n    return -0.0\n",
        "import math\nself.assertEqual(math.copysign(1, f()), -1)",
        ("-0.0", "0.0"),
    ),
    "almost-equal": (
        "def f(x):\n    return x * 3\n",
        "self.assertAlmostEqual(f(0.1), 0.3)\nself.assertNotEqual(f(0.1), 0.3)",
        ("* 3", "* 3.01"),
    ),
    "order-of-a-dict": (
        "def f():\n    return {'b': 1, 'a': 2}\n",
        "self.assertEqual(list(f()), ['b', 'a'])",
        ("'b': 1, 'a': 2", "'a': 2, 'b': 1"),
    ),
    "order-of-keywords": (
        "def f(**more):\n    return list(more)\n",
        "self.assertEqual(f(z=1, a=2), ['z', 'a'])",
        ("list", "sorted"),
    ),
    "type-as-a-result": (
        "def f(x):\n    return type(x)\n",
        "self.assertIs(f(1), int)\nself.assertEqual(f('a').__name__, 'str')",
        ("type(x)", "x"),
    ),
    "factory-of-a-defaultdict": (
        """
            from collections import defaultdict
            def f():
                return defaultdict(lambda: 7)
        """,
        """
            found = f()
            self.assertEqual(found['new'], 7)
            self.assertEqual(dict(found), {'new': 7})
        """,
        ("7", "8"),
    ),
    "str-subclass": (
        "class Name(str): ...\ndef f():\n    return Name('a')\n",
        """
            self.assertEqual(f(), 'a')
            self.assertEqual(f() + 'b', 'ab')
            self.assertIsInstance(f(), str)
        """,
        ("'a'", "'b'"),
    ),
    "dict-subclass": (
        "class Box(dict): ...\ndef f():\n    return Box(a=1)\n",
        """
            self.assertEqual(f(), {'a': 1})
            self.assertEqual(f()['a'], 1)
            self.assertIsInstance(f(), dict)
        """,
        ("a=1", "a=2"),
    ),
    "dict-views": (
        "D = {'a': 1, 'b': 2}\ndef f():\n    return D.keys(), D.values(), D.items()\n",
        """
            keys, values, items = f()
            self.assertEqual(sorted(keys), ['a', 'b'])
            self.assertEqual(sum(values), 3)
            self.assertIn(('a', 1), list(items))
        """,
        ("'b': 2", "'b': 3"),
    ),
    "lazy-builtins": (
        "def f(xs):\n    return zip(xs, map(str, xs)), enumerate(xs), filter(None, xs), reversed(xs)\n",
        """
            pairs, numbered, kept, turned = f([0, 1])
            self.assertEqual(list(pairs), [(0, '0'), (1, '1')])
            self.assertEqual(list(numbered), [(0, 0), (1, 1)])
            self.assertEqual(list(kept) + list(turned), [1, 1, 0])
        """,
        ("str", "repr(xs).__add__"),
    ),
    "starred-and-keyword": (
        "def f(a, /, b=2, *rest, c, d=4, **more):\n    return a, b, rest, c, d, more\n",
        """
            self.assertEqual(f(1, c=3), (1, 2, (), 3, 4, {}))
            self.assertEqual(f(1, 2, 3, c=5, e=6), (1, 2, (3,), 5, 4, {'e': 6}))
            self.assertRaises(TypeError, f, 1)
        """,
        ("b=2", "b=3"),
    ),
    "nested-instances": (
        """
            class P:
                def __init__(self, x):
                    self.x = x
            def f():
                return {'all': [P(1), (P(2), {'deep': P(3)})]}
        """,
        "one, (two, three) = f()['all']\nself.assertEqual([one.x, two.x, three['deep'].x], [1, 2, 3])",
        ("P(3)", "P(4)"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()


@pytest.mark.parametrize("name", ["true-is-not-one", "order-of-keywords"])
def test_verdict_by_value_is_reached_apart(sandbox: Any, name: str) -> None:
    solution, body, _ = CASES[name]
    assert sandbox.check(solution, body).judge == "apart"
