"""Honest programs that are called back, and that take, make and hand out functions."""

from __future__ import annotations

from typing import Any

CASES = {
    "lambda": (
        "def f(call):\n    return call(20) + 1\n",
        "self.assertEqual(f(lambda x: x * 2), 41)",
        ("call(20)", "20"),
    ),
    "test-function": (
        "def f(call):\n    return [call(x, times=2) for x in 'ab']\n",
        "def double(x, times): return x * times\nself.assertEqual(f(double), ['aa', 'bb'])",
        ("call(x, times=2)", "x"),
    ),
    "bound-method": (
        "def f(call):\n    call(1)\n    call(2)\n",
        "seen = []\nf(seen.append)\nself.assertEqual(seen, [1, 2])",
        ("call(2)", "pass"),
    ),
    "callable-object": (
        "def f(call):\n    return call(1) + call(2)\n",
        """
            class Adder:
                calls = 0
                def __call__(self, x):
                    self.calls += 1
                    return x + 10
            add = Adder()
            self.assertEqual(f(add), 23)
            self.assertEqual(add.calls, 2)
        """,
        ("call(2)", "12"),
    ),
    "mock-as-a-callback": (
        "def f(call):\n    return call('a', key=1)\n",
        """
            from unittest.mock import Mock
            call = Mock(return_value=5)
            self.assertEqual(f(call), 5)
            call.assert_called_once_with('a', key=1)
        """,
        ("key=1", "key=2"),
    ),
    "callback-that-changes-the-argument": (
        "def f(xs, call):\n    call()\n    return len(xs)\n",
        "xs = []\nself.assertEqual(f(xs, lambda: xs.append(1)), 1)",
        ("len(xs)", "0"),
    ),
    "callback-that-calls-back": (
        "def f(n, call):\n    return call(n - 1) + 1 if n else 0\n",
        """
            self.assertEqual(f(20, lambda n: f(n, lambda m: m)), 20)
            self.assertEqual(f(3, lambda n: n * 10), 21)
        """,
        ("+ 1", "+ 2"),
    ),
    "callback-that-raises": (
        "def f(call):\n    return call(1)\n",
        """
            def fail(x):
                raise KeyError("no", x)
            with self.assertRaises(KeyError) as caught:
                f(fail)
            self.assertEqual(caught.exception.args, ("no", 1))
        """,
        ("return call(1)", "return 1"),
    ),
    "own-exception-of-the-test-passes-through": (
        """
            log = []
            def f(call):
                try:
                    return call()
                finally:
                    log.append("left")
        """,
        """
            class Stop(Exception):
                def __init__(self, code):
                    super().__init__(f"stopped with {code}")
                    self.code = code
            def stop():
                raise Stop(7)
            with self.assertRaises(Stop) as caught:
                f(stop)
            self.assertEqual(caught.exception.code, 7)
            self.assertEqual(log, ["left"])
        """,
        ("return call()", "return 7"),
    ),
    "callback-error-that-the-solution-handles": (
        """
            def f(call):
                try:
                    return call()
                except ZeroDivisionError as error:
                    return str(error)
        """,
        """
            self.assertEqual(f(lambda: 1 / 0), 'division by zero')
            self.assertRaises(TypeError, f, lambda: 1 + 'a')
        """,
        ("str(error)", "None"),
    ),
    "sort-key-of-the-test": (
        "def f(xs, key):\n    return sorted(xs, key=key)\n",
        "self.assertEqual(f(['bb', 'a', 'ccc'], lambda w: -len(w)), ['ccc', 'bb', 'a'])",
        (", key=key", ""),
    ),
    "sort-key-of-the-solution": (
        "def f(word):\n    return -len(word)\n",
        """
            self.assertEqual(sorted(['bb', 'a', 'ccc'], key=f), ['ccc', 'bb', 'a'])
            self.assertEqual(max(['bb', 'a'], key=f), 'a')
        """,
        ("-len(word)", "len(word)"),
    ),
    "mapped-and-filtered": (
        "def f(x):\n    return x % 3\n",
        """
            self.assertEqual(list(map(f, range(4))), [0, 1, 2, 0])
            self.assertEqual(list(filter(f, range(4))), [1, 2])
        """,
        ("% 3", "% 2"),
    ),
    "own-function-as-an-argument": (
        """
            def inc(x):
                return x + 1
            def compose(g, h):
                return lambda x: g(h(x))
        """,
        "self.assertEqual(compose(inc, compose(inc, abs))(-5), 7)",
        ("g(h(x))", "g(x)"),
    ),
    "own-function-comes-back": (
        "def f(x):\n    return x\ndef g():\n    return f\n",
        "self.assertIs(g(), f)\nself.assertIs(f(f), f)",
        ("return f", "return lambda: f"),
    ),
    "test-function-comes-back": (
        "def f(x):\n    return {'kept': x}\n",
        """
            def own(): return 5
            self.assertIs(f(own)['kept'], own)
            self.assertIs(f(self)['kept'], self)
        """,
        ("x}", "lambda: x}"),
    ),
    "closure": (
        """
            def f(n):
                def add(x):
                    nonlocal n
                    n += x
                    return n
                return add
        """,
        "add, other = f(1), f(10)\nself.assertEqual([add(1), add(1), other(1)], [2, 3, 11])",
        ("n += x", "n = x"),
    ),
    "curried": (
        "def f(a):\n    return lambda b: lambda *c: (a, b, c)\n",
        "self.assertEqual(f(1)(2)(3, 4), (1, 2, (3, 4)))",
        ("(a, b, c)", "(b, a, c)"),
    ),
    "decorator-of-the-solution": (
        """
            import functools
            def twice(call):
                @functools.wraps(call)
                def both(*args):
                    return call(*args), call(*args)
                return both
        """,
        """
            @twice
            def greet(name):
                \"""Say it.\"""
                return "hi " + name
            self.assertEqual(greet("a"), ("hi a", "hi a"))
            self.assertEqual((greet.__name__, greet.__doc__), ("greet", "Say it."))
        """,
        ("@functools.wraps(call)", ""),
    ),
    "retry-decorator": (
        """
            def retry(times):
                def wrap(call):
                    def again(*args):
                        for left in range(times, 0, -1):
                            try:
                                return call(*args)
                            except ValueError:
                                if left == 1:
                                    raise
                    return again
                return wrap
        """,
        """
            tries = []
            @retry(3)
            def unsteady(at):
                tries.append(at)
                if len(tries) < at:
                    raise ValueError("again")
                return len(tries)
            self.assertEqual(unsteady(3), 3)
            with self.assertRaisesRegex(ValueError, "again"):
                unsteady(99)
            self.assertEqual(len(tries), 6)
        """,
        ("range(times", "range(times + 1"),
    ),
    "cached-function": (
        """
            import functools
            @functools.lru_cache(maxsize=None)
            def f(x):
                return [x]
        """,
        """
            self.assertIs(f(1), f(1))
            f(2)
            self.assertEqual((f.cache_info().hits, f.cache_info().misses), (1, 2))
            f.cache_clear()
            self.assertEqual(f.cache_info().currsize, 0)
            self.assertEqual(f.__wrapped__(3), [3])
        """,
        ("[x]", "(x,)"),
    ),
    "partial-function": (
        """
            import functools
            def power(x, n):
                return x ** n
            square = functools.partial(power, n=2)
        """,
        """
            self.assertEqual(square(7), 49)
            self.assertEqual(square.keywords, {'n': 2})
            self.assertIs(square.func, power)
        """,
        ("n=2", "n=3"),
    ),
    "function-with-attributes": (
        'def f():\n    """Count."""\n    f.calls += 1\nf.calls = 0\n',
        """
            f()
            f()
            self.assertEqual(f.calls, 2)
            self.assertEqual(f.__doc__, 'Count.')
            self.assertEqual(f.__name__, 'f')
            self.assertTrue(callable(f))
        """,
        ("+= 1", "+= 2"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
