"""Honest programs that yield, iterate and manage contexts."""

from __future__ import annotations

from typing import Any

CASES = {
    "lazy-generator": (
        """
            seen = []
            def f(n):
                for i in range(n):
                    seen.append(i)
                    yield i * i
        """,
        """
            import types
            found = f(3)
            self.assertIsInstance(found, types.GeneratorType)
            self.assertEqual(seen, [])
            self.assertEqual(next(found), 0)
            self.assertEqual(seen, [0])
            self.assertEqual(list(found), [1, 4])
            self.assertEqual(list(found), [])
            self.assertRaises(StopIteration, next, found)
        """,
        ("yield i * i", "yield i"),
    ),
    "endless-generator": (
        """
            def f():
                a, b = 0, 1
                while True:
                    yield a
                    a, b = b, a + b
        """,
        "import itertools\nself.assertEqual(list(itertools.islice(f(), 8)), [0, 1, 1, 2, 3, 5, 8, 13])",
        ("a + b", "a + b + 1"),
    ),
    "generator-that-is-sent-to": (
        """
            def f():
                total = 0
                while True:
                    got = yield total
                    if got is None:
                        return
                    total += got
        """,
        """
            found = f()
            self.assertEqual([next(found), found.send(3), found.send(4)], [0, 3, 7])
            self.assertRaises(StopIteration, found.send, None)
        """,
        ("total += got", "total = got"),
    ),
    "generator-that-is-closed": (
        """
            log = []
            def f():
                try:
                    yield 1
                finally:
                    log.append('closed')
        """,
        """
            found = f()
            next(found)
            found.close()
            self.assertEqual(log, ['closed'])
            self.assertEqual(list(found), [])
        """,
        ("'closed'", "'open'"),
    ),
    "generator-that-is-thrown-at": (
        """
            def f():
                try:
                    yield 1
                except ValueError as error:
                    yield str(error)
        """,
        """
            found = f()
            next(found)
            self.assertEqual(found.throw(ValueError('why')), 'why')
        """,
        ("str(error)", "1"),
    ),
    "value-of-a-generator": (
        """
            def inner():
                yield 1
                return 'end'
            def f():
                result = yield from inner()
                yield result
        """,
        """
            self.assertEqual(list(f()), [1, 'end'])
            found = inner()
            next(found)
            with self.assertRaises(StopIteration) as caught:
                next(found)
            self.assertEqual(caught.exception.value, 'end')
        """,
        ("'end'", "'e'"),
    ),
    "generator-as-an-argument": (
        "def f(numbers, n):\n    return [next(numbers) for _ in range(n)]\n",
        """
            import itertools
            numbers = (n * n for n in itertools.count())
            self.assertEqual(f(numbers, 3), [0, 1, 4])
            self.assertEqual(next(numbers), 9)
        """,
        ("range(n)", "range(n + 1)"),
    ),
    "iterator-as-an-argument": (
        "def f(xs):\n    first = next(xs, None)\n    return first, list(xs)\n",
        "self.assertEqual(f(iter([1, 2, 3])), (1, [2, 3]))\nself.assertEqual(f(iter([])), (None, []))",
        ("list(xs)", "[2]"),
    ),
    "iterator-class": (
        """
            class Down:
                def __init__(self, n):
                    self.n = n
                def __iter__(self):
                    return self
                def __next__(self):
                    if self.n == 0:
                        raise StopIteration
                    self.n -= 1
                    return self.n
        """,
        """
            down = Down(3)
            self.assertIs(iter(down), down)
            self.assertEqual(next(down), 2)
            self.assertEqual([n for n in down], [1, 0])
            self.assertEqual(list(down), [])
        """,
        ("-= 1", "-= 3"),
    ),
    "context-manager": (
        """
            class Guard:
                def __init__(self):
                    self.log = []
                def __enter__(self):
                    self.log.append("in")
                    return self
                def __exit__(self, kind, error, trace):
                    self.log.append(kind and kind.__name__)
                    return kind is KeyError
        """,
        """
            guard = Guard()
            with guard as same:
                self.assertIs(same, guard)
            with guard:
                raise KeyError
            with self.assertRaises(ValueError):
                with guard:
                    raise ValueError
            self.assertEqual(guard.log, ["in", None, "in", "KeyError", "in", "ValueError"])
        """,
        ("kind is KeyError", "True"),
    ),
    "context-function": (
        """
            import contextlib
            @contextlib.contextmanager
            def opened(log):
                log.append("open")
                try:
                    yield log
                finally:
                    log.append("shut")
        """,
        """
            log = []
            with opened(log) as same:
                self.assertIs(same, log)
                log.append("use")
            with self.assertRaises(ValueError), opened(log):
                raise ValueError
            self.assertEqual(log, ["open", "use", "shut", "open", "shut"])
        """,
        ('"shut"', '"open"'),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
