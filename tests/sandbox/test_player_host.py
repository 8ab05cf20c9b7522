"""One process for many harmless solutions: none of them can tell, and none lives beside what is not."""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coderm_sandbox import Job, Limits, Outcome
from coderm_sandbox.guest.harmless import harmless_code
from coderm_sandbox.guest.player import forget_cached


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def processes(sandbox: Any) -> set[int]:
    return {pid for worker in sandbox.pool.worker_pids() for pid in [worker, *descendants(worker)]}


HARMLESS = "def f(x):\n    return x + 1\n"
PASSES = "self.assertEqual(f(1), 2)"


@pytest.fixture
def alone(make_sandbox: Callable[..., Any]) -> Any:
    """A pool that repeats nothing: the audit would start processes of its own."""
    return make_sandbox(audit_share=0.0)


def test_harmless_solutions_share_a_process(alone: Any) -> None:
    alone.expect(HARMLESS, PASSES)
    before = processes(alone)
    for n in range(5):
        alone.expect(f"def f(x):\n    return x + {n}\n", f"self.assertEqual(f(1), {1 + n})")
    assert processes(alone) == before


def test_no_such_process_lives_beside_another_solution(alone: Any) -> None:
    alone.expect(HARMLESS, PASSES)
    looks = """
        import os
        def f():
            seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
            return seen, [1, os.getpid(), os.getppid()]
    """
    alone.expect(looks, "seen, known = f()\nself.assertLessEqual(set(seen), set(known))")


def test_a_hostile_solution_leaves_the_next_ones_alone(alone: Any) -> None:
    hostile = """
        import builtins, sys, unittest
        builtins.len = lambda x: 7
        sys.modules["math"].floor = lambda x: 7
        unittest.TestCase.assertEqual = lambda *a: None
        def f(x):
            return 2
    """
    for _ in range(3):
        alone.expect(
            "import math\ndef f(x):\n    return math.floor(x) + len([1])", "self.assertEqual(f(1.5), 2)"
        )
        assert alone.check(hostile, PASSES).outcome is not Outcome.UNKNOWN


ENDS = {
    "hangs": ("def f(x):\n    while True:\n        pass", Outcome.TIMEOUT),
    "hangs while it is loaded": ("while True:\n    pass\ndef f(x):\n    return 2", Outcome.TIMEOUT),
    "hangs and swallows": (
        "def f(x):\n    while True:\n        try:\n            while True:\n                pass\n"
        "        except:\n            pass",
        Outcome.TIMEOUT,
    ),
    "takes memory": ("def f(x):\n    return len([0] * 10 ** 10)", Outcome.MEMORY),
    "keeps memory": ("kept = list(range(3 * 10 ** 6))\ndef f(x):\n    return 2", Outcome.PASS),
    "recurses": ("def f(x):\n    return f(x)", Outcome.ERROR),
    "raises while it is loaded": ("raise ValueError\ndef f(x):\n    return 2", Outcome.ERROR),
    "does not parse": ("def f(x:\n", Outcome.ERROR),
    "holds a null byte": ("x = '\0'", Outcome.ERROR),
    "prints too much": ("def f(x):\n    print('x' * (17 << 20))\n    return 2", Outcome.OUTPUT),
    "leaves a generator open": (
        "def g():\n    yield 1\n    print('late')\nkept = g()\nnext(kept)\n" + HARMLESS,
        None,
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_after_any_end_the_next_solution_is_on_its_own(sandbox: Any, name: str) -> None:
    solution, outcome = ENDS[name]
    for _ in range(2):
        found = sandbox.check(solution, PASSES)
        assert outcome is None or found.outcome is outcome, found.detail
        sandbox.expect(HARMLESS, PASSES)
        wrong = sandbox.check("def g(x):\n    return 2", PASSES)
        assert wrong.outcome is Outcome.ERROR, "the name of an earlier solution is still there"


def test_a_process_that_ends_by_itself_costs_no_worker(alone: Any) -> None:
    floods = """
        def f(x):
            print('q' * ((16 << 20) - 50))
            try:
                print('q' * 100)
            except OSError:
                pass
            return 2
    """
    for _ in range(2):
        assert alone.check(floods, "x = 1\nself.assertEqual(f(x), 2)").outcome is Outcome.ERROR
        alone.expect(HARMLESS, PASSES)
    assert alone.pool.stats.workers_replaced == 0


def test_what_typing_keeps_is_not_there_for_the_next_one(alone: Any) -> None:
    alone.expect("from typing import List\nprint(List[-0.0])\ndef f(x):\n    return 1", "f(1)")
    looks = "from typing import List\nassert '-' not in repr(List[0.0])\ndef f(x):\n    return 2"
    assert harmless_code(looks) is not None
    alone.expect(looks, PASSES)


def test_what_re_keeps_is_forgotten() -> None:
    re.compile("a pattern of nobody's")
    forget_cached()
    with pytest.raises(TypeError):
        re.compile("a pattern of nobody's", 0.0)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "first",
    [
        "K = bytes(200 << 20)\ndef f(x):\n    return 2",
        "def f(x):\n    k = [bytes(150 << 20)]\n    k.append(k)\n    return 2",
    ],
)
def test_memory_that_is_reserved_is_not_the_next_ones(alone: Any, first: str) -> None:
    alone.expect(first, "x = 1\nself.assertEqual(f(x), 2)")
    alone.expect("def f(x):\n    return len(bytes(200 << 20)) // (100 << 20)", PASSES)


def test_names_and_classes_do_not_outlive_their_solution(sandbox: Any) -> None:
    first = "class A:\n    def size(self):\n        return 1\nN = 5\ndef f():\n    return A()\n"
    second = "class A:\n    def size(self):\n        return 2\ndef f():\n    return A()\n"
    for solution, size in [(first, 1), (second, 2)] * 3:
        sandbox.expect(solution, f"self.assertEqual(f().size(), {size})\nself.assertIsInstance(f(), A)")
    assert sandbox.check(second, "import solution\nself.assertEqual(solution.N, 5)").outcome is Outcome.ERROR


def test_a_patched_print_does_not_outlive_its_test(sandbox: Any) -> None:
    prints = "def f(x):\n    print(x)\n"
    sandbox.expect(
        prints,
        "from unittest.mock import patch\nwith patch('builtins.print') as p:\n    f(1)\np.assert_called()",
    )
    sandbox.expect(
        "def g(x):\n    print(x)\n",
        "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as out:\n    g(2)\n"
        "self.assertEqual(out.getvalue(), '2\\n')",
    )


BLOCKS = [
    "def f(x):\n    return x",
    "def f(x):\n    return x * 2",
    "def f(x):\n    return [x, [x]]",
    "def f(x):\n    raise KeyError(x)",
    "def f(x):\n    print(x)\n    return x",
    "def f(x):\n    yield x",
    "def f(x, seen=[]):\n    seen.append(x)\n    return len(seen)",
    "n = 0\ndef f(x):\n    global n\n    n += 1\n    return n",
    "class A:\n    def __init__(self, x):\n        self.x = x\n    def __eq__(self, o):\n        return 1\n"
    "def f(x):\n    return A(x)",
    "import math\nmath.pi = 3\ndef f(x):\n    return 6 * math.pi",
    "import math\ndef f(x):\n    return round(2 * math.pi)",
    "import random\nrandom.seed(3)\ndef f(x):\n    return random.random()",
    "def f(x):\n    return f",
    "def f(x):\n    return (lambda y: y + x)(1)",
]
TESTS = [
    "self.assertEqual(f(1), 1)\nself.assertEqual(f(1), 1)",
    "self.assertEqual(f(2), 2)",
    "x = [1]\nself.assertIs(f(x), x)",
    "with self.assertRaises(KeyError):\n    f(3)",
    "self.assertEqual(list(f(4)), [4])",
    "self.assertEqual(f(6), 6)\nself.assertEqual(f(6), f(6))",
]


def test_whatever_order_solutions_come_in_each_is_judged_as_if_alone(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    shared = make_sandbox(limits=Limits(timeout=2.0, memory_mb=256), audit_share=1.0)
    tests = shared.do(shared.prepare([method(body) for body in TESTS]))

    def outcomes(sandbox: Any, solution: str) -> list[Outcome]:
        return [result.outcome for result in sandbox.do(sandbox.pool.run(Job(solution, tests)))]

    wanted = {}
    for block in BLOCKS:
        fresh = make_sandbox(limits=Limits(timeout=2.0, memory_mb=256))
        wanted[block] = outcomes(fresh, block)
        fresh.close()
    order = BLOCKS * 2
    random.Random(5).shuffle(order)
    for block in order:
        assert outcomes(shared, block) == wanted[block], textwrap.indent(block, "  ")
    assert shared.pool.stats.audit_disagreements == 0
    assert any(harmless_code(block) for block in BLOCKS)
    assert not all(harmless_code(block) for block in BLOCKS)
