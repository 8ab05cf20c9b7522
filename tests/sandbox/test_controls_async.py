"""Honest programs that wait, recurse and use threads."""

from __future__ import annotations

from typing import Any

CASES = {
    "coroutine": (
        """
            import asyncio
            async def f(x):
                await asyncio.sleep(0)
                return x + 1
        """,
        """
            import asyncio
            self.assertEqual(asyncio.run(f(1)), 2)
            self.assertTrue(asyncio.iscoroutinefunction(f))
        """,
        ("x + 1", "x"),
    ),
    "coroutines-together": (
        """
            import asyncio
            async def f(x):
                await asyncio.sleep(0.001)
                if x < 0:
                    raise ValueError(x)
                return x * 2
        """,
        """
            import asyncio
            async def main():
                return await asyncio.gather(f(1), f(2), f(-1), return_exceptions=True)
            one, two, error = asyncio.run(main())
            self.assertEqual((one, two, error.args), (2, 4, (-1,)))
        """,
        ("x * 2", "x"),
    ),
    "coroutine-in-an-async-case": (
        """
            import asyncio
            async def f(x):
                await asyncio.sleep(0)
                if not x:
                    raise ValueError('none')
                return [x]
        """,
        """
            import unittest
            class T(unittest.IsolatedAsyncioTestCase):
                async def asyncSetUp(self):
                    self.value = await f(1)
                async def test_value(self):
                    self.assertEqual(self.value, [1])
                async def test_error(self):
                    with self.assertRaisesRegex(ValueError, "none"):
                        await f(0)
        """,
        ("if not x", "if x"),
    ),
    "asynchronous-generator": (
        "async def f(n):\n    for i in range(n):\n        yield i\n",
        """
            import asyncio
            async def main():
                return [i async for i in f(3)]
            self.assertEqual(asyncio.run(main()), [0, 1, 2])
        """,
        ("yield i", "yield -i"),
    ),
    "asynchronous-context": (
        """
            class Guard:
                log = []
                async def __aenter__(self):
                    return self.log
                async def __aexit__(self, *error):
                    self.log.append('shut')
        """,
        """
            import asyncio
            async def main():
                async with Guard() as log:
                    log.append('use')
                return log
            self.assertEqual(asyncio.run(main()), ['use', 'shut'])
        """,
        ("'shut'", "'open'"),
    ),
    "coroutine-that-runs-itself": (
        """
            import asyncio
            async def work(x):
                await asyncio.sleep(0)
                return x
            async def main():
                return await asyncio.gather(*(work(n) for n in range(3)))
            def f():
                return asyncio.run(main())
        """,
        "self.assertEqual(f(), [0, 1, 2])",
        ("range(3)", "range(2)"),
    ),
    "deep-recursion-in-a-method": (
        """
            class C:
                def down(self, n):
                    return 0 if n == 0 else 1 + self.down(n - 1)
        """,
        "self.assertEqual(C().down(900), 900)",
        ("1 + ", ""),
    ),
    "endless-recursion-that-is-awaited": (
        "def f(n):\n    return f(n + 1)\n",
        "with self.assertRaises(RecursionError):\n    f(0)",
        ("f(n + 1)", "n"),
    ),
    "threads-that-fill-a-list": (
        """
            import threading
            def f(xs):
                threads = [threading.Thread(target=xs.append, args=(n,)) for n in range(8)]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
        """,
        "xs = []\nf(xs)\nself.assertEqual(sorted(xs), list(range(8)))",
        ("range(8)", "range(7)"),
    ),
    "threads-of-the-test": (
        """
            import threading
            class Counter:
                def __init__(self):
                    self.n, self.lock = 0, threading.Lock()
                def add(self):
                    with self.lock:
                        self.n += 1
        """,
        """
            import threading
            counter = Counter()
            threads = [threading.Thread(target=lambda: [counter.add() for _ in range(20)]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(counter.n, 80)
        """,
        ("+= 1", "+= 2"),
    ),
    "callback-in-a-thread": (
        """
            import threading
            def f(call):
                thread = threading.Thread(target=call, args=(5,))
                thread.start()
                thread.join()
        """,
        "seen = []\nf(seen.append)\nself.assertEqual(seen, [5])",
        ("args=(5,)", "args=(6,)"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
