"""What each kind of solution gets from an ordinary test: the verdict table, at both isolation levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Outcome

ADD = "def f(x):\n    return x + 1\n"
CALLS = "self.assertEqual(f(1), 2)"


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        pytest.param(ADD, "pass", id="right"),
        pytest.param("def f(x):\n    return x\n", "fail", id="wrong"),
        pytest.param("def f(x):\n    return 1 / 0\n", "error", id="raises"),
        pytest.param("raise ValueError('x')\n", "error", id="raises-at-import"),
        pytest.param("def f(x)\n    return 2\n", "error", id="syntax-error"),
        pytest.param("", "error", id="empty"),
        pytest.param("def g(x):\n    return x + 1\n", "error", id="wrong-name"),
        pytest.param("import sys\nsys.exit(0)\n" + ADD, "error", id="exit-at-import"),
        pytest.param("import sys\ndef f(x):\n    sys.exit(0)\n", "error", id="exit-in-call"),
        pytest.param("import os\nos._exit(0)\n" + ADD, "error", id="hard-exit-at-import"),
        pytest.param("import os\ndef f(x):\n    os._exit(0)\n", "error", id="hard-exit-in-call"),
        pytest.param(
            "import atexit, os\natexit.register(os._exit, 0)\ndef f(x):\n    return 3\n",
            "fail",
            id="hard-exit-atexit",
        ),
        pytest.param("def f(x):\n    raise KeyboardInterrupt\n", "error", id="keyboard-interrupt"),
        pytest.param("def f(x):\n    raise GeneratorExit\n", "error", id="generator-exit"),
        pytest.param("def f(x):\n    assert x > 5\n", "error", id="own-assertion"),
        pytest.param(
            "import os, signal\ndef f(x):\n    os.kill(os.getpid(), 9)\n", "error", id="kills-itself"
        ),
        pytest.param("while True: pass\n", "timeout", id="loops-at-import"),
        pytest.param("def f(x):\n    while True: pass\n", "timeout", id="loops"),
        pytest.param("import time\ndef f(x):\n    time.sleep(60)\n", "timeout", id="sleeps"),
        pytest.param("def f(x):\n    [0] * (10 ** 9)\n    return 2\n", "memory", id="large-list"),
        pytest.param("y = bytearray(10 ** 9)\n" + ADD, "memory", id="large-at-import"),
        pytest.param("def f(x):\n    return f(x)\n", "error", id="endless-recursion"),
        pytest.param("def f(x):\n    while True: print('x' * 100000)\n", "output", id="prints-for-ever"),
        pytest.param(
            "def f(x):\n    for _ in range(9000): print('x' * 100)\n    return x + 1\n",
            "pass",
            id="prints-much",
        ),
        pytest.param("def f(x):\n    import ctypes\n    ctypes.string_at(0)\n", "error", id="segfault"),
        pytest.param("def f(x):\n    return 2 ** (10 ** 5) % 5 + 1\n", "pass", id="huge-int"),
        pytest.param("def f(x):\n    return len(str(10 ** 10000))\n", "error", id="int-too-long-for-str"),
    ],
)
def test_outcome_of_a_solution(either: Any, solution: str, expected: str) -> None:
    assert either.outcome(solution, CALLS).value == expected


def test_processes_share_the_memory_limit(sandbox: Any) -> None:
    solution = """
        import os, time
        def f(x):
            for _ in range(4):
                if os.fork() == 0:
                    block = bytearray(100 << 20)
                    time.sleep(60)
            time.sleep(60)
    """
    assert sandbox.outcome(solution, CALLS) is Outcome.MEMORY


def test_memory_that_forks_share_counts_once(sandbox: Any) -> None:
    solution = """
        data = bytearray(b"x") * (150 << 20)
        import time
        def f(x):
            time.sleep(0.3)
            return x + 1
    """
    assert sandbox.outcome(solution, CALLS) is Outcome.PASS


def test_recursion_as_deep_as_in_a_fresh_interpreter(either: Any) -> None:
    solution = "def f(x):\n    return 1 if x == 0 else 1 + f(x - 1)\n"
    assert either.outcome(solution, "self.assertEqual(f(900), 901)") is Outcome.PASS


def test_recursion_limit_raised_by_the_solution(either: Any) -> None:
    solution = """
        import sys
        sys.setrecursionlimit(20000)
        def f(x):
            return 1 if x == 0 else 1 + f(x - 1)
    """
    assert either.outcome(solution, "self.assertEqual(f(15000), 15001)") is Outcome.PASS


def test_highest_recursion_limit(either: Any) -> None:
    assert either.outcome("import sys\nsys.setrecursionlimit(2 ** 31 - 1)\n" + ADD, CALLS) is Outcome.PASS


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("globals()[1] = 2", id="name-that-is-no-text"),
        pytest.param(
            "class L:\n    __class__ = property(lambda self: type)\nlie = L()", id="object-that-lies"
        ),
        pytest.param("def __getattr__(name): raise AttributeError(name)", id="module-getattr"),
    ],
)
def test_odd_names_in_a_solution(either: Any, line: str) -> None:
    assert either.outcome(f"{line}\n{ADD}", CALLS) is Outcome.PASS


def test_threads_of_a_solution(either: Any) -> None:
    solution = """
        from concurrent.futures import ThreadPoolExecutor
        def f(x):
            with ThreadPoolExecutor(4) as pool:
                return sum(pool.map(lambda n: n, range(x + 1))) + 1
    """
    assert either.outcome(solution, CALLS) is Outcome.PASS


def test_thread_started_at_import(either: Any) -> None:
    solution = """
        import queue, threading
        asked, told = queue.Queue(), queue.Queue()
        def work():
            while True:
                told.put(asked.get() + 1)
        threading.Thread(target=work, daemon=True).start()
        def f(x):
            asked.put(x)
            return told.get()
    """
    results = either.run(solution, *[TEXT_WITH_ONE_CALL] * 3)
    assert [r.outcome for r in results] == [Outcome.PASS] * 3


TEXT_WITH_ONE_CALL = f"import unittest\nclass T(unittest.TestCase):\n    def test_0(self):\n        {CALLS}\n"


def test_processes_of_a_solution(either: Any) -> None:
    solution = """
        import multiprocessing
        def double(x):
            return 2 * x
        def f(x):
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return pool.map(double, [x])[0]
    """
    assert either.outcome(solution, CALLS) is Outcome.PASS


def test_interpreter_as_a_subprocess(either: Any) -> None:
    solution = """
        import subprocess, sys
        def f(x):
            return int(subprocess.check_output([sys.executable, "-c", "print(2)"]))
    """
    assert either.outcome(solution, CALLS) is Outcome.PASS


@pytest.mark.parametrize(
    ("solution", "body"),
    [
        pytest.param(
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n",
            "self.assertEqual(P(1), P(1))",
            id="dataclass",
        ),
        pytest.param(
            "from enum import Enum\nclass C(Enum):\n    RED = 1\n", "self.assertIs(C(1), C.RED)", id="enum"
        ),
        pytest.param(
            "from collections import namedtuple\nP = namedtuple('P', 'x y')\n",
            "self.assertEqual(P(1, 2), (1, 2))",
            id="namedtuple",
        ),
        pytest.param(
            "def f(xs):\n    xs.sort()\n", "xs = [2, 1]\nf(xs)\nself.assertEqual(xs, [1, 2])", id="in-place"
        ),
        pytest.param(
            "def größe(ö):\n    return ö + 'é'\n", "self.assertEqual(größe('ä'), 'äé')", id="unicode"
        ),
        pytest.param(
            "def f():\n    yield from (1, 2)\n", "self.assertEqual(list(f()), [1, 2])", id="generator"
        ),
        pytest.param("def f(x):\n    raise KeyError(x)\n", "self.assertRaises(KeyError, f, 1)", id="raises"),
        pytest.param(
            "import pickle\nclass P: pass\n", "import pickle\npickle.loads(pickle.dumps(P()))", id="pickle"
        ),
        pytest.param(
            "def f():\n    print('hi')\n",
            """
            import contextlib, io
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                f()
            self.assertEqual(out.getvalue(), "hi\\n")
            """,
            id="redirect-stdout",
        ),
        pytest.param(
            "def f():\n    print('hi')\n",
            """
            from unittest.mock import patch
            with patch("builtins.print") as printed:
                f()
            printed.assert_called_once_with("hi")
            """,
            id="patched-print",
        ),
        pytest.param(
            "def f():\n    return input('?')\n",
            """
            from unittest.mock import patch
            with patch("builtins.input", return_value="yes"):
                self.assertEqual(f(), "yes")
            """,
            id="patched-input",
        ),
        pytest.param("def f():\n    return input()\n", "self.assertRaises(EOFError, f)", id="no-stdin"),
        pytest.param(
            "import os, tempfile\ndef f():\n    with tempfile.NamedTemporaryFile('w+') as t:\n"
            "        t.write('a')\n        t.flush()\n        return os.path.getsize(t.name)\n",
            "self.assertEqual(f(), 1)",
            id="temporary-file",
        ),
        pytest.param(
            "import sys\ndef f():\n    return len(sys.argv)\n", "self.assertEqual(f(), 1)", id="argv"
        ),
        pytest.param("def f():\n    return {1, 'a'}\n", "self.assertSetEqual(f(), {1, 'a'})", id="set"),
    ],
)
def test_ordinary_programs_pass(either: Any, solution: str, body: str) -> None:
    result = either.check(solution, body)
    assert result.outcome is Outcome.PASS, result.detail


@pytest.mark.parametrize("name", ["solution", "your_module", "your_solution", "my_module"])
def test_solution_can_be_imported(sandbox: Any, name: str) -> None:
    body = f"from {name} import f as imported\nself.assertIs(imported, f)"
    assert sandbox.outcome(ADD, body) is Outcome.PASS


def test_import_at_the_top_of_a_test(sandbox: Any) -> None:
    text = """
        import unittest
        import your_module as m
        class T(unittest.TestCase):
            def test_a(self):
                self.assertEqual(m.f(1), 2)
    """
    (result,) = sandbox.run(ADD, text)
    assert result.outcome is Outcome.PASS


def test_each_method_has_its_own_outcome(either: Any, method: Callable[..., str]) -> None:
    solution = "def f(x):\n    return x / (x - 3)\n"
    text = method(
        "self.assertEqual(f(4), 4)", "self.assertEqual(f(5), 5)", "f(3)", "self.assertEqual(f(6), 2)"
    )
    (result,) = either.run(solution, text)
    assert {k: v.value for k, v in result.methods.items()} == {
        "T.test_0": "pass",
        "T.test_1": "fail",
        "T.test_2": "error",
        "T.test_3": "pass",
    }


def test_methods_after_one_that_hangs_still_run(either: Any, method: Callable[..., str]) -> None:
    solution = "def f(x):\n    while x == 1: pass\n    return x\n"
    text = method("self.assertEqual(f(0), 0)", "self.assertEqual(f(1), 1)", "self.assertEqual(f(2), 2)")
    (result,) = either.run(solution, text)
    assert [outcome.value for outcome in result.methods.values()] == ["pass", "timeout", "pass"]
    assert result.outcome is Outcome.TIMEOUT


def test_methods_after_one_that_ends_the_process_still_run(sandbox: Any, method: Callable[..., str]) -> None:
    solution = "import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x\n"
    text = method("self.assertEqual(f(0), 0)", "self.assertEqual(f(1), 1)", "self.assertEqual(f(2), 2)")
    (result,) = sandbox.run(solution, text)
    assert [outcome.value for outcome in result.methods.values()] == ["pass", "error", "pass"]


def test_results_come_in_the_order_of_the_tests(sandbox: Any, method: Callable[..., str]) -> None:
    bodies = ["self.assertEqual(f(1), 2)", "self.assertEqual(f(1), 3)", "f()"]
    results = sandbox.run(ADD, *[method(body) for body in bodies])
    assert [result.outcome.value for result in results] == ["pass", "fail", "error"]


def test_first_failure_is_told_in_words(sandbox: Any) -> None:
    assert sandbox.check("def f(x):\n    return 7\n", CALLS).detail == "T.test_0: AssertionError: 7 != 2"


def test_numpy_of_the_interpreter(sandbox: Any) -> None:
    if sandbox.outcome("import numpy\n" + ADD, CALLS) is Outcome.ERROR:
        pytest.skip("the sandbox interpreter has no numpy")
    solution = "import numpy as np\ndef f(x):\n    return int(np.arange(x + 1).sum()) + 1\n"
    assert sandbox.outcome(solution, CALLS) is Outcome.PASS


FIXTURES = """
    import unittest
    class T(unittest.TestCase):
        {fixture}
        def test_a(self):
            self.assertEqual(f(1), 2)
        def test_b(self):
            self.assertEqual(f(1), 3)
"""


@pytest.mark.parametrize(
    ("fixture", "methods", "whole"),
    [
        pytest.param("def setUp(self): f(1)", ["pass", "fail"], "fail", id="setUp"),
        pytest.param("def setUp(self): f()", ["error", "error"], "error", id="setUp-raises"),
        pytest.param("def tearDown(self): f()", ["error", "fail"], "error", id="tearDown-raises"),
        pytest.param(
            "@classmethod\n        def setUpClass(cls): f()", ["error", "error"], "error", id="setUpClass"
        ),
        pytest.param(
            "@classmethod\n        def tearDownClass(cls): f()", ["pass", "fail"], "error", id="tearDownClass"
        ),
        pytest.param("def setUp(self): self.addCleanup(f)", ["error", "fail"], "error", id="cleanup-raises"),
        pytest.param(
            "@classmethod\n        def setUpClass(cls):\n            while f(1): pass",
            ["timeout", "timeout"],
            "timeout",
            id="setUpClass-hangs",
        ),
        pytest.param(
            "@classmethod\n        def tearDownClass(cls):\n            while f(1): pass",
            ["pass", "fail"],
            "timeout",
            id="tearDownClass-hangs",
        ),
        pytest.param(
            "def setUp(self): self.skipTest('x') if f(1) else 0", ["error", "error"], "error", id="skips-late"
        ),
    ],
)
def test_fixtures(either: Any, fixture: str, methods: list[str], whole: str) -> None:
    (result,) = either.run(ADD, FIXTURES.format(fixture=fixture))
    assert [outcome.value for outcome in result.methods.values()] == methods
    assert result.outcome.value == whole


def test_subtest_that_fails_fails_its_method(either: Any) -> None:
    body = "for n in (1, 2):\n    with self.subTest(n=n):\n        self.assertEqual(f(n), 2)"
    assert either.outcome(ADD, body) is Outcome.FAIL


def test_subtests_that_all_pass(either: Any) -> None:
    body = "for n in (1, 2):\n    with self.subTest(n=n):\n        self.assertEqual(f(n), n + 1)"
    assert either.outcome(ADD, body) is Outcome.PASS


ASYNC = """
    import unittest
    class T(unittest.IsolatedAsyncioTestCase):
        async def test_a(self):
            self.assertEqual(await f(1), {expected})
"""


@pytest.mark.parametrize(("expected", "outcome"), [(2, "pass"), (3, "fail")])
def test_async_cases(either: Any, expected: int, outcome: str) -> None:
    (result,) = either.run("async def f(x):\n    return x + 1\n", ASYNC.format(expected=expected))
    assert result.outcome.value == outcome


@pytest.mark.parametrize(("wanted", "outcome"), [(2, "fail"), (3, "pass")])
def test_expected_failure(either: Any, wanted: int, outcome: str) -> None:
    text = f"""
        import unittest
        class T(unittest.TestCase):
            @unittest.expectedFailure
            def test_a(self):
                self.assertEqual(f(1), {wanted})
    """
    (result,) = either.run(ADD, text)
    assert result.outcome.value == outcome


def test_skipped_method_has_no_say(either: Any) -> None:
    text = """
        import unittest
        class T(unittest.TestCase):
            @unittest.skip("later")
            def test_a(self): ...
            def test_b(self):
                self.assertEqual(f(1), 2)
    """
    (result,) = either.run(ADD, text)
    assert {k: v.value for k, v in result.methods.items()} == {"T.test_a": "invalid_test", "T.test_b": "pass"}
    assert result.outcome is Outcome.PASS


def test_two_classes_of_one_text(either: Any) -> None:
    text = """
        import unittest
        class A(unittest.TestCase):
            def test_x(self):
                self.assertEqual(f(1), 2)
        class B(unittest.TestCase):
            def test_x(self):
                self.assertEqual(f(1), 3)
    """
    (result,) = either.run(ADD, text)
    assert {k: v.value for k, v in result.methods.items()} == {"A.test_x": "pass", "B.test_x": "fail"}


def test_inherited_methods_run_in_both_classes(sandbox: Any) -> None:
    text = """
        import unittest
        class A(unittest.TestCase):
            wanted = 2
            def test_x(self):
                self.assertEqual(f(1), self.wanted)
        class B(A):
            wanted = 3
        Again = A
    """
    (result,) = sandbox.run(ADD, text)
    assert {k: v.value for k, v in result.methods.items()} == {"A.test_x": "pass", "B.test_x": "fail"}


def test_method_whose_name_holds_a_dot(sandbox: Any) -> None:
    text = """
        import unittest
        class A(unittest.TestCase): ...
        for n in (1, 2):
            setattr(A, f"test_{n}.5", lambda self, n=n: self.assertEqual(f(n), 2))
    """
    (result,) = sandbox.run(ADD, text)
    assert {k: v.value for k, v in result.methods.items()} == {"A.test_1.5": "pass", "A.test_2.5": "fail"}


def test_names_the_solution_imports_are_the_tests_too(sandbox: Any) -> None:
    solution = "import math\nfrom typing import List\ndef f(x: List[int]):\n    return math.floor(x[0])\n"
    assert (
        sandbox.outcome(solution, "n: List[int] = [2.5]\nself.assertEqual(f(n), math.floor(2.5))")
        is Outcome.PASS
    )


def test_main_block_of_a_solution_does_not_run(sandbox: Any) -> None:
    assert sandbox.outcome(ADD + "if __name__ == '__main__':\n    raise SystemExit\n", CALLS) is Outcome.PASS
