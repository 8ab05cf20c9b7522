"""Honest programs that change their arguments, or share objects with the test."""

from __future__ import annotations

from typing import Any

CASES = {
    "sorted-in-place": (
        "def f(xs):\n    xs.sort()\n",
        "xs = [3, 1, 2]\nself.assertIsNone(f(xs))\nself.assertEqual(xs, [1, 2, 3])",
        ("xs.sort()", "sorted(xs)"),
    ),
    "dict-in-place": (
        "def f(d):\n    d['b'] = d.pop('a')\n",
        "d = {'a': 1}\nf(d)\nself.assertEqual(d, {'b': 1})",
        ("d['b'] =", "x ="),
    ),
    "set-in-place": (
        "def f(s):\n    s |= {2}\n    s.discard(1)\n",
        "s = {1}\nf(s)\nself.assertEqual(s, {2})",
        ("s |= {2}", "s = s | {2}"),
    ),
    "bytearray-in-place": (
        "def f(b):\n    b[0] = 120\n    b += b'!'\n",
        "b = bytearray(b'ab')\nf(b)\nself.assertEqual(b, b'xb!')",
        ("b[0] = 120", "pass"),
    ),
    "deque-in-place": (
        "def f(q):\n    q.rotate(1)\n",
        """
            import collections
            q = collections.deque([1, 2, 3])
            f(q)
            self.assertEqual(list(q), [3, 1, 2])
        """,
        ("q.rotate(1)", "pass"),
    ),
    "defaultdict-in-place": (
        "def f(d, w):\n    d[len(w)].append(w)\n",
        """
            import collections
            d = collections.defaultdict(list)
            f(d, 'ab')
            f(d, 'cd')
            self.assertEqual(d, {2: ['ab', 'cd']})
        """,
        (".append(w)", "+ [w]"),
    ),
    "grid-in-place": (
        "def f(g):\n    g[1][0] = 9\n    g.append([])\n",
        """
            g = [[1], [2]]
            row = g[1]
            f(g)
            self.assertEqual(g, [[1], [9], []])
            self.assertEqual(row, [9])
        """,
        ("g[1][0] = 9", "g[1] = [9]"),
    ),
    "in-a-tuple": (
        "def f(t):\n    t[0].append(1)\n",
        "xs = []\nf((xs, 2))\nself.assertEqual(xs, [1])",
        ("t[0].append(1)", "list(t[0]).append(1)"),
    ),
    "in-a-keyword": (
        "def f(*, into):\n    into.append(1)\n",
        "xs = []\nf(into=xs)\nself.assertEqual(xs, [1])",
        ("into.append", "[].append"),
    ),
    "all-at-once": (
        "def f(xs):\n    xs[:] = [x * 2 for x in xs if x]\n",
        "xs = [0, 1, 2]\nf(xs)\nself.assertEqual(xs, [2, 4])",
        ("xs[:]", "xs"),
    ),
    "in-place-and-raises": (
        "def f(xs):\n    xs.append(1)\n    raise ValueError\n",
        "xs = []\nself.assertRaises(ValueError, f, xs)\nself.assertEqual(xs, [1])",
        ("xs.append(1)", "pass"),
    ),
    "left-alone": (
        "def f(xs):\n    return sorted(xs)\n",
        "xs = [2, 1]\nself.assertEqual(f(xs), [1, 2])\nself.assertEqual(xs, [2, 1])",
        ("return sorted(xs)", "xs.sort()\n    return xs"),
    ),
    "same-object-back": (
        "def f(xs):\n    return xs\n",
        "xs = [1]\nself.assertIs(f(xs), xs)",
        ("return xs", "return xs[:]"),
    ),
    "not-the-same-object": (
        "def f(xs):\n    return list(xs)\n",
        "xs = [1]\nself.assertIsNot(f(xs), xs)\nself.assertEqual(f(xs), xs)",
        ("list(xs)", "xs"),
    ),
    "argument-in-the-result": (
        "def f(xs):\n    return {'all': [xs, xs]}\n",
        """
            xs = [1]
            got = f(xs)['all']
            self.assertIs(got[0], xs)
            self.assertIs(got[1], xs)
        """,
        ("xs, xs", "xs, xs + []"),
    ),
    "same-argument-twice": (
        "def f(a, b):\n    a.append(1)\n    return len(b)\n",
        "xs = []\nself.assertEqual(f(xs, xs), 1)\nself.assertEqual(f([], xs), 1)",
        ("len(b)", "0"),
    ),
    "rows-that-are-one": (
        "def f(g):\n    g[0][0] = 5\n    return g\n",
        "g = [[0]] * 2\nself.assertEqual(f(g), [[5], [5]])\nself.assertIs(g[0], g[1])",
        ("g[0][0] = 5", "g[0] = [5]"),
    ),
    "results-that-are-one": (
        "def f():\n    a = [1]\n    return a, a\n",
        "a, b = f()\nself.assertIs(a, b)\na.append(2)\nself.assertEqual(b, [1, 2])",
        ("return a, a", "return a, a[:]"),
    ),
    "list-that-holds-itself": (
        "def f(xs):\n    xs.append(xs)\n    return xs\n",
        """
            xs = [1]
            got = f(xs)
            self.assertIs(got[1][1], xs)
            self.assertEqual(len(got), 2)
        """,
        ("xs.append(xs)", "xs.append(xs[:])"),
    ),
    "list-that-held-itself": (
        "def f(xs):\n    return xs[1] is xs\n",
        """
            xs = [1]
            xs.append(xs)
            self.assertTrue(f(xs))
            self.assertFalse(f([1, [1]]))
        """,
        ("is xs", "is None"),
    ),
    "moved-between-arguments": (
        "def f(a, b):\n    b.append(a.pop())\n",
        """
            inner = [1]
            a, b = [inner], []
            f(a, b)
            self.assertEqual(a, [])
            self.assertIs(b[0], inner)
        """,
        ("a.pop()", "a.pop()[:]"),
    ),
    "kept-list-changed-by-the-test": (
        """
            class C:
                def __init__(self, xs):
                    self.xs = xs
                def total(self):
                    return sum(self.xs)
        """,
        "xs = [1]\nc = C(xs)\nxs.append(5)\nself.assertEqual(c.total(), 6)",
        ("= xs", "= xs[:]"),
    ),
    "kept-list-changed-by-the-object": (
        """
            class C:
                def __init__(self, xs):
                    self.xs = xs
                def add(self, x):
                    self.xs.append(x)
        """,
        "xs = [1]\nc = C(xs)\nc.add(5)\nself.assertEqual(xs, [1, 5])",
        ("= xs", "= xs[:]"),
    ),
    "list-of-an-object-changed-by-the-test": (
        """
            class C:
                def __init__(self):
                    self.items = []
                def count(self):
                    return len(self.items)
        """,
        """
            c = C()
            c.items.append('a')
            c.items += ['b']
            self.assertEqual(c.count(), 2)
            self.assertEqual(c.items, ['a', 'b'])
        """,
        ("len(self.items)", "0"),
    ),
    "constant-changed-by-the-test": (
        "ITEMS = []\ndef f():\n    return len(ITEMS)\n",
        "ITEMS.append(1)\nself.assertEqual(f(), 1)",
        ("len(ITEMS)", "0"),
    ),
    "memo-in-a-default": (
        """
            def f(n, memo={}):
                if n < 2:
                    return n
                if n not in memo:
                    memo[n] = f(n - 1) + f(n - 2)
                return memo[n]
        """,
        "self.assertEqual([f(9), f(30)], [34, 832040])",
        ("n - 2", "n - 3"),
    ),
    "default-that-collects": (
        "def f(x, seen=[]):\n    seen.append(x)\n    return seen\n",
        "first = f(1)\nself.assertEqual(f(2), [1, 2])\nself.assertIs(f(3), first)",
        ("return seen", "return seen[:]"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
