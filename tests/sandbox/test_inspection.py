"""What a test text is, said without any solution."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Job, Limits, Outcome, Test

CLASS = (
    "import unittest\nclass T(unittest.TestCase):\n    def test_b(self): f(1)\n    def test_a(self): f(2)\n"
)


def test_methods_in_the_order_of_unittest(sandbox: Any) -> None:
    (found,) = sandbox.inspect(CLASS)
    assert found.valid
    assert found.methods == ("T.test_a", "T.test_b")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "class T(unittest.TestCase):\n    def test_a(self): ...\n", id="unittest-from-the-solution"
        ),
        pytest.param("from solution import f\n" + CLASS, id="from-solution"),
        pytest.param("from solution import *\n" + CLASS, id="star"),
        pytest.param("import your_module\n" + CLASS, id="your-module"),
        pytest.param(CLASS + "X = f(1)\n", id="calls-the-solution"),
        pytest.param("Y = f\n" + CLASS, id="passes-the-solution-on"),
        pytest.param(CLASS + "if f.size > 3:\n    pass\n", id="reads-the-solution"),
        pytest.param("class Sub(Solution):\n    pass\n" + CLASS, id="inherits-from-the-solution"),
        pytest.param(
            "try:\n    import torch_of_the_future\nexcept ImportError:\n    pass\n" + CLASS,
            id="guarded-import",
        ),
        pytest.param("def g(n: List[int]) -> Optional[Node]: ...\n" + CLASS, id="annotations"),
    ],
)
def test_valid(sandbox: Any, text: str) -> None:
    (found,) = sandbox.inspect(text)
    assert found.valid, found.reason
    assert set(found.methods) <= {"T.test_a", "T.test_b"}
    assert found.methods


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "has no test method", id="empty"),
        pytest.param(
            "import unittest\nclass T(unittest.TestCase):\n    def check(self): ...\n",
            "has no test",
            id="none",
        ),
        pytest.param("class T(\n", "does not compile", id="syntax"),
        pytest.param("x = '\0'\n", "does not compile", id="null-byte"),
        pytest.param("x = '\ud800'\n", "does not compile", id="surrogate"),
        pytest.param(
            "import no_such_module_anywhere\n" + CLASS, "imports no_such_module_anywhere", id="import"
        ),
        pytest.param("from no_such.module import f\n" + CLASS, "imports no_such.module", id="from-import"),
        pytest.param(
            CLASS.replace("f(1)", "import no_such_module"), "imports no_such_module", id="import-in-method"
        ),
        pytest.param("raise ValueError('on its own')\n" + CLASS, "ValueError: on its own", id="raises"),
        pytest.param("import sys\nsys.exit(3)\n" + CLASS, "SystemExit: 3", id="exits"),
        pytest.param("import os\nos._exit(0)\n" + CLASS, "exited with code 0", id="ends-its-process"),
        pytest.param("import os\nos.kill(os.getpid(), 9)\n" + CLASS, "died of signal 9", id="kills-itself"),
        pytest.param("while True: pass\n" + CLASS, "hangs on its own", id="hangs"),
        pytest.param("x = bytearray(10 ** 9)\n" + CLASS, "MemoryError", id="memory"),
        pytest.param(
            "import unittest\nunittest.TestCase.assertEqual = print\n" + CLASS,
            "changes unittest",
            id="patches",
        ),
        pytest.param(
            "import builtins\nbuiltins.len = print\n" + CLASS,
            "changes unittest or the builtins",
            id="builtins",
        ),
        pytest.param(
            CLASS.replace("class T", "@unittest.skip('x')\nclass T"),
            "skips all its test methods",
            id="all-skipped",
        ),
        pytest.param("(" * 10000, "does not compile", id="parentheses"),
        pytest.param("x = " + "-" * 100000 + "1\n" + CLASS, "does not compile", id="minus"),
    ],
)
def test_invalid(sandbox: Any, text: str, reason: str) -> None:
    (found,) = sandbox.inspect(text)
    assert not found.valid
    assert reason in found.reason
    assert found.methods == ()


def test_skipped_methods_are_named(sandbox: Any) -> None:
    (found,) = sandbox.inspect(CLASS.replace("    def test_a", "    @unittest.skip('x')\n    def test_a"))
    assert (found.methods, found.skipped) == (("T.test_a", "T.test_b"), ("T.test_a",))


def test_one_class_of_several(sandbox: Any) -> None:
    text = CLASS + CLASS.replace("class T", "class U")
    (found,) = sandbox.do(sandbox.pool.inspect([Test(text, class_name="U")]))
    assert found.methods == ("U.test_a", "U.test_b")


def test_a_bad_text_does_not_spoil_its_neighbours(sandbox: Any) -> None:
    found = sandbox.inspect(CLASS, "import os\nos._exit(1)\n", "while True: pass", CLASS, "x = (", CLASS)
    assert [one.valid for one in found] == [True, False, False, True, False, True]


def test_many_texts_keep_their_order(sandbox: Any, method: Callable[..., str]) -> None:
    found = sandbox.inspect(*[method(*["f()"] * n) for n in range(1, 40)])
    assert [len(one.methods) for one in found] == list(range(1, 40))


def test_inspection_leaves_nothing_for_the_next(sandbox: Any) -> None:
    writer = "open('/tmp/marker', 'w').write('x')\nimport sys\nsys.modules['solution_marker'] = sys\n" + CLASS
    reader = (
        "import os, sys\nif os.path.exists('/tmp/marker') or 'solution_marker' in sys.modules:\n    1 / 0\n"
    )
    found = sandbox.inspect(writer, reader + CLASS)
    assert [one.valid for one in found] == [True, True]


def test_a_text_that_is_no_test_says_nothing_about_a_solution(sandbox: Any) -> None:
    job = Job(
        "def f(x): ...\n", (Test("class (", methods=("T.test_a",)), Test("x" * (20 << 20), methods=("T.a",)))
    )
    assert [r.outcome for r in sandbox.do(sandbox.pool.run(job))] == [Outcome.INVALID_TEST] * 2


def test_a_test_that_names_no_method_of_its_class_is_an_error(sandbox: Any) -> None:
    (result,) = sandbox.do(sandbox.pool.run(Job("", (Test(CLASS, methods=("T.test_z",)),))))
    assert result.outcome is Outcome.ERROR


def test_methods_named_twice_run_once(sandbox: Any) -> None:
    names = ("T.test_a", "T.test_b", "T.test_a")
    solution = "def f(x):\n    while x == 2: pass\n"
    (result,) = sandbox.do(sandbox.pool.run(Job(solution, (Test(CLASS, methods=names),))))
    assert result.methods == {"T.test_a": Outcome.TIMEOUT, "T.test_b": Outcome.PASS}


def test_a_text_that_took_too_long_once_is_inspected_again(make_sandbox: Callable[..., Any]) -> None:
    """It may have been the machine: this one is busy until a moment that its second inspection meets."""
    sandbox = make_sandbox(limits=Limits(timeout=0.5))
    until = time.time() + 0.8
    (found,) = sandbox.inspect(f"import time\nwhile time.time() < {until}: pass\n{CLASS}")
    assert found.valid
    assert time.time() >= until
