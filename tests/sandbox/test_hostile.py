"""Solutions that end the run, skip it or answer more than once instead of solving the task.

Every solution here answers wrongly or not at all. No such run is a pass: not with an exit code of
0, not without a verdict, not with everything skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coderm_sandbox import Outcome

BODY = "self.assertEqual(f(1), 2)"
OTHER = "self.assertEqual(f(2), 3)"


@pytest.fixture(autouse=True)
def _honest_afterwards(sandbox: Any, method: Callable[..., str]) -> Iterator[None]:
    """Whatever was done before, the next job in this pool gets its right verdicts."""
    yield
    results = sandbox.run("def f(x):\n    return x + 1\n", method(BODY), method("self.assertEqual(f(1), 3)"))
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


# Raised at import, and raised in the call.
ENDINGS = {
    "system-exit": "raise SystemExit(0)",
    "own-system-exit": "raise type('Done', (SystemExit,), {})()",
    "keyboard-interrupt": "raise KeyboardInterrupt",
    "generator-exit": "raise GeneratorExit",
    "stop-iteration": "raise StopIteration",
    "skip-test": "import unittest; raise unittest.SkipTest('not today')",
    "own-skip-test": "import unittest; raise type('Later', (unittest.SkipTest,), {})()",
    "should-stop": "import unittest.case; raise unittest.case._ShouldStop",
    "cancelled": "import asyncio; raise asyncio.CancelledError",
    "base-exception": "raise type('Quit', (BaseException,), {})()",
    "exec": "import os, sys; os.execv(sys.executable, [sys.executable, '-c', ''])",
    "exec-of-itself": "import os; os.execve('/proc/self/exe', ['python', '-c', 'pass'], {})",
    "abort": "import os; os.abort()",
    "kills-its-group": "import os; os.killpg(0, 9)",
    "interrupts-itself": "import signal; signal.raise_signal(signal.SIGINT)",
    "interrupts-main": "import _thread; _thread.interrupt_main()",
    "parent-leaves": "import os\n    if os.fork(): os._exit(0)",
    "child-leaves-first": "import os\n    if os.fork() == 0: os._exit(0)",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_ending_at_import(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = f"if True:\n    {ENDINGS[name]}\ndef f(x):\n    return 5\n"
    results = sandbox.run(solution, method(BODY), method(OTHER))
    assert Outcome.PASS not in {result.outcome for result in results}


@pytest.mark.parametrize("name", ENDINGS)
def test_ending_in_the_call(sandbox: Any, method: Callable[..., str], name: str) -> None:
    results = sandbox.run(f"def f(x):\n    {ENDINGS[name]}\n    return 5\n", method(BODY), method(OTHER))
    assert Outcome.PASS not in {result.outcome for result in results}


# What the judge does with an answer may ask the solution again; that is one more moment to leave.
LATE = {
    "eq-skips": ("__eq__", "raise unittest.SkipTest", BODY),
    "eq-exits": ("__eq__", "os._exit(0)", BODY),
    "ne-exits": ("__ne__", "os._exit(0)", "self.assertFalse(f(1) != 2)"),
    "repr-skips": ("__repr__", "raise unittest.SkipTest", BODY),
    "repr-exits": ("__repr__", "os._exit(0)", BODY),
    "len-exits": ("__len__", "raise SystemExit(0)", "self.assertEqual(len(f(1)), 2)"),
    "bool-exits": ("__bool__", "os._exit(0)", "self.assertFalse(f(1))"),
    "iter-exits": ("__iter__", "raise SystemExit(0)", "self.assertEqual(list(f(1)), [2])"),
    "hash-exits": ("__hash__", "os._exit(0)", "self.assertEqual({f(1)}, {2})"),
    "getattr-skips": ("__getattr__", "raise unittest.SkipTest", "self.assertEqual(f(1).value, 2)"),
    "del-exits": ("__del__", "os._exit(0)", "f(1)\nself.assertEqual(f(1), 2)"),
}


@pytest.mark.parametrize("name", LATE)
def test_ending_in_a_special_method(sandbox: Any, name: str) -> None:
    special, action, body = LATE[name]
    solution = (
        "import os, unittest\n"
        f"class Answer:\n    def {special}(self, *other):\n        {action}\n"
        "def f(x):\n    return Answer()\n"
    )
    assert sandbox.outcome(solution, body) is not Outcome.PASS


def test_generator_that_ends_the_run(sandbox: Any) -> None:
    solution = "import os\ndef f(x):\n    yield 1\n    os._exit(0)\n"
    assert sandbox.outcome(solution, "self.assertEqual(list(f(1)), [1, 2])") is not Outcome.PASS


def test_stop_iteration_that_ends_the_loop_over_the_checks(sandbox: Any) -> None:
    body = "for got, wanted in zip(map(f, [1, 2]), [2, 3]):\n    self.assertEqual(got, wanted)"
    assert sandbox.outcome("def f(x):\n    raise StopIteration\n", body) is not Outcome.PASS


def test_alarm_that_rings_after_the_call(sandbox: Any) -> None:
    solution = """
        import os, signal
        signal.signal(signal.SIGALRM, lambda *a: os._exit(0))
        def f(x):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            return 5
    """
    body = "got = f(1)\nimport time\ntime.sleep(0.05)\nself.assertEqual(got, 2)"
    assert sandbox.outcome(solution, body) is not Outcome.PASS


ANSWERS_TWICE = {
    "a-child-for-every-number": """
        import os
        def f(x):
            for guess in (0, 1, 2):
                child = os.fork()
                if child == 0:
                    return guess
                os.waitpid(child, 0)
            return 5
    """,
    "a-child-answers-after-its-parent": """
        import os
        def sleeping(pid):
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "S"
        def f(x):
            parent = os.getpid()
            if os.fork() == 0:
                while not sleeping(parent):  # it waits for the next call: it has answered this one
                    pass
                return 2
            return 5
    """,
    "parent-and-child-take-turns": """
        import os
        calls = 0
        def f(x):
            global calls
            calls += 1
            if calls == 1:
                os.fork()
            return 5
    """,
}


@pytest.mark.parametrize("name", ANSWERS_TWICE)
def test_answering_twice(sandbox: Any, method: Callable[..., str], name: str) -> None:
    results = sandbox.run(ANSWERS_TWICE[name], method(BODY, OTHER), method(BODY))
    assert [result.outcome for result in results if result.outcome is Outcome.PASS] == []


CLASSES = {
    "skipped-by-a-decorator-that-asks": """
        import unittest
        class T(unittest.TestCase):
            @unittest.skipIf(f(1) == 5, "not supported")
            def test_a(self):
                self.assertEqual(f(1), 2)
    """,
    "class-skipped-by-a-decorator-that-asks": """
        import unittest
        @unittest.skipUnless(f(1) == 2, "not supported")
        class T(unittest.TestCase):
            def test_a(self):
                self.assertEqual(f(1), 2)
    """,
    "skipped-in-setUpClass": """
        import unittest
        class T(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                skip()
            def test_a(self):
                self.assertEqual(f(1), 2)
    """,
    "skipped-in-setUpModule": """
        import unittest
        def setUpModule():
            skip()
        class T(unittest.TestCase):
            def test_a(self):
                self.assertEqual(f(1), 2)
    """,
    "skipped-in-a-subtest": """
        import unittest
        class T(unittest.TestCase):
            def test_a(self):
                with self.subTest():
                    skip()
                    self.assertEqual(f(1), 2)
    """,
    "setUpClass-fails": """
        import unittest
        class T(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.value = fail()
            def test_a(self):
                pass
    """,
    "name-is-missing": """
        import unittest
        class T(unittest.TestCase):
            def test_a(self):
                try:
                    g(1)
                except NameError:
                    self.skipTest("no such function")
    """,
    "import-of-a-missing-name": """
        import unittest
        try:
            from solution import g
        except ImportError:
            raise unittest.SkipTest("no such function")
        class T(unittest.TestCase):
            def test_a(self):
                self.assertEqual(g(1), 2)
    """,
    "methods-that-vanish": """
        import unittest
        class T(unittest.TestCase):
            def test_a(self):
                self.assertEqual(f(1), 2)
            if f(1) == 5:
                del test_a
    """,
}
LEAVES = """
    import unittest
    def f(x):
        return 5
    def skip():
        raise unittest.SkipTest("not today")
    def fail():
        raise ValueError("no")
"""


@pytest.mark.parametrize("name", CLASSES)
def test_class_of_which_nothing_was_checked(sandbox: Any, name: str) -> None:
    (result,) = sandbox.run(LEAVES, CLASSES[name])
    assert result.outcome is not Outcome.PASS


# Names of the solution are visible in the test's module, where unittest looks for these.
HOOKS = {
    "setUpModule": "def setUpModule():\n    raise unittest.SkipTest('not today')\n",
    "load_tests": "def load_tests(*a):\n    return unittest.TestSuite()\n",
    "unittest": "class unittest:\n    TestCase = object\n",
    "case-class": "class T(unittest.TestCase):\n    def test_0(self):\n        pass\n",
    "test-module": (
        "__name__ = 'test_solution'\nclass A(unittest.TestCase):\n    def test_0(self):\n        pass\n"
    ),
}


@pytest.mark.parametrize("name", HOOKS)
def test_name_that_the_test_runner_looks_for(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = f"import unittest\n{HOOKS[name]}def f(x):\n    return 5\n"
    results = sandbox.run(solution, method(BODY), method(OTHER))
    assert Outcome.PASS not in {result.outcome for result in results}
