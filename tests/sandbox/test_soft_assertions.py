"""Soft assertions: each assertion of a method votes, the method goes on, and no verdict is another one."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_sandbox import Job, Limits, Outcome, Test, TestResult, messages

LETTERS = {"pass": "P", "fail": "F", "error": "E", "timeout": "T", "memory": "M", "output": "O"}
LETTERS |= {"tampered": "X", "invalid_test": "I", "unknown": "U"}
PLUS = "def f(x):\n    return x + 1\n"
STATEFUL = "seen = []\n"
"""Before a solution: it is run in a process for each test."""


async def judge(sandbox: Any, solution: str, *texts: str) -> tuple[list[TestResult], list[TestResult]]:
    """What a solution gets for each text without and with votes."""
    sources = [textwrap.dedent(text) for text in texts]
    found = await sandbox.pool.inspect([Test(source) for source in sources], votes=True)
    assert all(one.valid for one in found), [one.reason for one in found]
    hard = tuple(Test(s, None, i.methods, i.skipped) for s, i in zip(sources, found, strict=True))
    soft = tuple(Test(s, None, i.methods, i.skipped, i.votes) for s, i in zip(sources, found, strict=True))
    solution = textwrap.dedent(solution)
    return await sandbox.pool.run(Job(solution, hard)), await sandbox.pool.run(Job(solution, soft))


def spelled(result: TestResult) -> dict[str, str]:
    return {
        key.partition(".")[2]: "".join(LETTERS[vote.value] for vote in votes)
        for key, votes in result.votes.items()
    }


def check_rules(hard: TestResult, soft: TestResult) -> None:
    """What holds for every test: the verdicts are the same, and a method that passed has passed its votes."""
    assert (soft.outcome, soft.methods) == (hard.outcome, hard.methods)
    assert hard.votes == {}
    assert soft.votes.keys() == soft.methods.keys()
    for key, outcome in soft.methods.items():
        if outcome is Outcome.PASS:
            assert set(soft.votes[key]) == {Outcome.PASS}


@pytest.fixture
def votes(sandbox: Any, method: Callable[..., str]) -> Callable[..., str]:
    """The letters of the votes of one method with this body; both ways of running give the same."""

    def run(solution: str, body: str) -> str:
        text = body if "TestCase" in body else method(body)
        found = []
        for before in ("", STATEFUL):
            (hard,), (soft,) = sandbox.do(judge(sandbox, before + textwrap.dedent(solution), text))
            check_rules(hard, soft)
            found.append(next(iter(spelled(soft).values())))
        assert found[0] == found[1]
        return found[0]

    return run


RULES = {
    "goes-on-after-a-failure": (PLUS, "assert f(1) == 3\nself.assertEqual(f(2), 3)\nassert f(3) == 5", "FPF"),
    "all-pass": (PLUS, "assert f(1) == 2\nself.assertEqual(f(2), 3)", "PP"),
    "an-error-of-the-solution-is-that-vote's": (PLUS, "assert f(None)\nself.assertEqual(f(1), 2)", "EP"),
    "an-error-between-assertions-is-the-rest": (
        *(PLUS, "assert f(1) == 3\nassert f(1) == 2\nx = f(None)\nassert f(1) == 2\nassert x"),
        "FPEE",
    ),
    "an-error-before-them-all-is-all": (PLUS, "x = f(None)\nassert f(1) == 2\nassert f(1) == 2", "EE"),
    "a-loop-is-one-vote": (PLUS, "for i in range(3):\n    assert f(i) != 2\nassert f(1) == 2", "FP"),
    "a-loop-goes-on": (PLUS, "for i in range(3):\n    assert f(i) != 2\n    assert f(i) != 3", "FF"),
    "sub-tests-are-one-vote": (
        PLUS,
        "for i in range(3):\n    with self.subTest(i):\n        assert f(i) != 3\n        assert f(i)",
        "FP",
    ),
    "an-error-in-a-loop-is-not-passed": (PLUS, "for i in 1, None:\n    x = f(i)\n    assert x == 2", "E"),
    "a-block-that-awaits-an-error-is-one-vote": (
        PLUS,
        "with self.assertRaises(TypeError):\n    f(1)\nwith self.assertRaises(TypeError):\n    f(None)",
        "FP",
    ),
    "a-try-with-handlers-is-one-vote": (
        *(PLUS, "try:\n    f(1)\n    self.fail()\nexcept TypeError:\n    pass\nassert f(1) == 2"),
        "FP",
    ),
    "a-caught-failure-is-none": (PLUS, "try:\n    assert f(1) == 9\nexcept AssertionError:\n    pass", "P"),
    "a-place-not-reached-is-what-its-method-is": (
        *(PLUS, "assert f(1) == 3\nif f(1) == 9:\n    assert f(1)\nelse:\n    assert f(2) == 3"),
        "FFP",
    ),
    "a-place-not-reached-of-a-passed-method": (PLUS, "if f(1) == 9:\n    assert f(1) == 5", "P"),
    "a-helper-is-one-vote": (
        PLUS,
        """
        import unittest
        class T(unittest.TestCase):
            def check(self, x, y):
                self.assertEqual(f(x), y)
            def test(self):
                self.check(1, 3)
                self.check(2, 3)
        """,
        "FP",
    ),
    "no-assertion-is-one-vote": (PLUS, "x = f(None)", "E"),
    "an-expected-failure-is-one-vote": (
        PLUS,
        """
        import unittest
        class T(unittest.TestCase):
            @unittest.expectedFailure
            def test(self):
                assert f(1) == 3
                assert f(1) == 4
        """,
        "P",
    ),
    "set-up-is-all": (
        PLUS,
        """
        import unittest
        class T(unittest.TestCase):
            def setUp(self):
                self.x = f(None)
            def test(self):
                assert f(1) == 2
                assert f(1) == 2
        """,
        "EE",
    ),
    "set-up-of-the-class-is-all": (
        PLUS,
        """
        import unittest
        class T(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.x = f(None)
            def test(self):
                assert f(1) == 2
                assert f(1) == 2
        """,
        "EE",
    ),
    "a-skip-is-an-error": (PLUS, "assert f(1) == 2\nself.skipTest('no')\nassert f(1) == 2", "PE"),
    "async": (
        "async def f(x):\n    return x + 1\n",
        """
        import unittest
        class T(unittest.IsolatedAsyncioTestCase):
            async def test(self):
                assert await f(1) == 3
                self.assertEqual(await f(1), 2)
                assert await f(None) == 3
                assert await f(2) == 3
        """,
        "FPEP",
    ),
    "out-of-memory": (
        *("def f(x):\n    return 'a' * (10 ** 12 if x else 1)\n", "assert f(1) == 1\nassert f(0) == 'a'"),
        "MP",
    ),
    "an-end-of-the-process-is-the-rest": (
        "import os\ndef f(x):\n    return os._exit(0) if x else 1\n",
        "assert f(0) == 2\nassert f(0) == 1\nassert f(1) == 1\nassert f(0) == 1",
        "FPEE",
    ),
    "a-solution-that-cannot-be-loaded": ("1 / 0", "assert f(1)\nassert f(2)", "EE"),
    "a-method-that-floods": (
        *(
            "def f(x):\n    print('a' * (1 << 20) * x)\n    return x\n",
            "assert f(1) == 1\nassert f(20) == 20",
        ),
        "OO",
    ),
    "a-vote-that-floods": (
        "def f(x):\n    print('a' * (1 << 20) * x)\n    return x\n",
        "assert f(1) == 2\nassert f(20) == 20",
        "FO",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rules(votes: Callable[..., str], name: str) -> None:
    solution, body, expected = RULES[name]
    assert votes(solution, body) == expected


HANGS = "def f(x):\n    while x == 9:\n        pass\n    return x + 1\n"


@pytest.mark.parametrize(
    ("body", "method_letter", "expected"),
    [
        ("assert f(1) == 2\nassert f(9) == 2\nassert f(1) == 2", "T", "PTT"),
        ("assert f(1) == 3\nassert f(1) == 2\nassert f(9) == 2\nassert f(1) == 2", "F", "FPTT"),
        ("for x in 1, 9:\n    assert f(x) == 2\nassert f(1) == 2", "T", "TT"),
    ],
)
def test_a_vote_that_hangs_ends_the_method_and_only_in_a_hard_run_its_verdict(
    sandbox: Any, method: Callable[..., str], body: str, method_letter: str, expected: str
) -> None:
    text = method(body, "self.assertEqual(f(1), 3)\nself.assertEqual(f(1), 2)")
    (hard,), (soft,) = sandbox.do(judge(sandbox, HANGS, text))
    check_rules(hard, soft)
    assert LETTERS[soft.methods["T.test_0"].value] == method_letter
    assert spelled(soft) == {"test_0": expected, "test_1": "FP"}


def test_many_slow_votes_do_not_move_the_deadline(sandbox: Any, method: Callable[..., str]) -> None:
    """Their method has one deadline, however often it is heard of."""
    body = "import time\n" + "time.sleep(0.02)\nassert f(1) == 2\n" * 100
    (hard,), (soft,) = sandbox.do(judge(sandbox, PLUS, method(body)))
    check_rules(hard, soft)
    assert soft.outcome is Outcome.TIMEOUT
    (letters,) = spelled(soft).values()
    assert letters.startswith("P")
    assert letters.endswith("T")
    assert "TP" not in letters


def test_a_solution_that_always_hangs_after_a_failure_is_given_up(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.1, hang_limit=2))
    texts = [method(f"assert f({n}) == 0\nassert f(9) == {n}\nassert f(1) == 2") for n in (1, 2, 3, 4)]
    hard, soft = sandbox.do(judge(sandbox, HANGS, *texts))
    assert [one.outcome for one in soft] == [one.outcome for one in hard] == [Outcome.FAIL] * 4
    assert [spelled(one)["test_0"] for one in soft] == ["FTT"] * 4
    assert [one.assumed for one in soft] == [0, 0, 1, 1]


@pytest.mark.parametrize("before", ["", STATEFUL])
def test_going_on_leaves_no_trace_in_later_methods(
    sandbox: Any, method: Callable[..., str], before: str
) -> None:
    """What a failed method would still have done does not decide the next one's verdict."""
    solution = f"{before}n = 0\ndef f():\n    global n\n    n += 1\n    return n\n"
    (hard,), (soft,) = sandbox.do(
        judge(sandbox, solution, method("assert f() == 9\nassert f() == 2", "assert f() == 2"))
    )
    check_rules(hard, soft)
    assert spelled(soft) == {"test_0": "FP", "test_1": "P"}


def test_a_class_of_the_text_that_counts_is_no_trace_either(sandbox: Any) -> None:
    text = """
        import unittest
        class T(unittest.TestCase):
            n = 0
            def test_a(self):
                assert f(1) == 9
                T.n += 1
                assert f(1) == 2
            def test_b(self):
                assert T.n == f(-1)
    """
    (hard,), (soft,) = sandbox.do(judge(sandbox, PLUS, text))
    check_rules(hard, soft)
    assert spelled(soft) == {"test_a": "FP", "test_b": "P"}


@pytest.mark.parametrize(
    ("deaths", "expected", "retried"), [(1, "FPF", True), (2, "FUU", True), (0, "FPF", False)]
)
def test_a_worker_that_dies_in_a_soft_run_grades_nobody(
    make_sandbox: Callable[..., Any],
    method: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    deaths: int,
    expected: str,
    retried: bool,
) -> None:
    """It is killed as soon as the hard verdict is known; that stands, and the votes have a second chance."""
    sandbox = make_sandbox(limits=Limits(timeout=5.0))
    solution = "import time\ndef f(x):\n    time.sleep(x)\n    return x\n"
    genuine, left = messages.result, [deaths]

    def spy(test: Test, answer: dict[str, Any], unreached: Outcome | None = None) -> TestResult:
        if answer.get("more") and unreached is None and left[0]:
            left[0] -= 1
            os.kill(sandbox.pool.worker_pids()[0], signal.SIGKILL)
        return genuine(test, answer, unreached)

    monkeypatch.setattr(messages, "result", spy)
    text = method("assert f(0) == 1\nassert f(0.5) == 0.5\nassert f(0) == 1")

    async def run() -> TestResult:
        (found,) = await sandbox.pool.inspect([Test(text)], votes=True)
        (one,) = await sandbox.pool.run(Job(solution, (Test(text, None, found.methods, (), found.votes),)))
        return one

    result = sandbox.do(run())
    assert left == [0]
    assert (result.outcome, result.retried) == (Outcome.FAIL, retried)
    assert spelled(result) == {"test_0": expected}


BODY = "assert f(1) == 2\nself.assertEqual(f(2), 3)\nself.assertIn(f(3), [4])\nassert f(4) > 4\n"
HOSTILE = {
    "equals-everything": (
        "class A:\n    def __eq__(self, other): return True\n    def __gt__(self, other): return True\n"
        "    __hash__ = None\ndef f(x):\n    return A()\n"
    ),
    "ends-iterations": "def f(x):\n    raise StopIteration\n",
    "raises-what-a-failure-is": "def f(x):\n    raise AssertionError\n",
    "ends": "def f(x):\n    raise SystemExit\n",
    "interrupts": "def f(x):\n    raise KeyboardInterrupt\n",
    "closes": "def f(x):\n    raise GeneratorExit\n",
    "skips": "import unittest\ndef f(x):\n    raise unittest.SkipTest\n",
    "cancels": "import asyncio\ndef f(x):\n    raise asyncio.CancelledError\n",
    "has-a-recorder": (
        "class Vote:\n    def __enter__(self): return self\n    def __exit__(self, *a): return True\n"
        "def __vote__(n): return Vote()\ndef f(x): return 0\n"
    ),
    "looks-for-the-recorder": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        vote = frame.f_globals.get('__vote__')\n"
        "        if vote:\n            vote.note = lambda *a: True\n"
        "        frame = frame.f_back\n    return 0\n"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_solutions_gain_no_vote(votes: Callable[..., str], name: str) -> None:
    assert "P" not in votes(HOSTILE[name], BODY)


BREAKS = """
    import sys
    def f(x):
        if x == 9:
            sys.stdin._peer.channel.send(["nonsense"])
        return x + 1
"""


def test_breaking_the_protocol_is_all_votes_of_the_test(sandbox: Any, method: Callable[..., str]) -> None:
    text = method("assert f(1) == 2", "assert f(1) == 2\nassert f(9) == 2")
    (hard,), (soft,) = sandbox.do(judge(sandbox, BREAKS, text))
    check_rules(hard, soft)
    assert spelled(soft) == {"test_0": "X", "test_1": "XX"}


def test_breaking_it_after_a_failure_is_seen_in_the_votes(sandbox: Any, method: Callable[..., str]) -> None:
    text = method("assert f(1) == 3\nassert f(1) == 2\nassert f(9) == 2")
    (hard,), (soft,) = sandbox.do(judge(sandbox, BREAKS, text))
    check_rules(hard, soft)
    assert soft.outcome is Outcome.FAIL
    assert spelled(soft) == {"test_0": "FXX"}


def test_a_word_of_the_players_in_a_soft_run_labels_the_verdict(
    sandbox: Any, method: Callable[..., str]
) -> None:
    solution = "class A:\n    def __eq__(self, other): return True\ndef f(): return A()\n"
    (_,), (soft,) = sandbox.do(judge(sandbox, solution, method("assert f() == 1\nassert f() == f()")))
    assert spelled(soft) == {"test_0": "FP"}
    assert soft.judge == "handle"


def test_a_test_judged_inline_has_one_vote_for_each_method(sandbox: Any, method: Callable[..., str]) -> None:
    seeded = "import random\nrandom.seed(0)\n"
    text = method(
        seeded + "assert f(1) == 2\nassert f(2) == 3", seeded + "assert f(1) == 3\nassert f(2) == 3"
    )
    (hard,), (soft,) = sandbox.do(judge(sandbox, PLUS, text))
    check_rules(hard, soft)
    assert soft.judge == "inline"
    assert spelled(soft) == {"test_0": "P", "test_1": "F"}


def test_a_long_test_has_one_vote_for_each_method(sandbox: Any, method: Callable[..., str]) -> None:
    text = method("assert f(1) == 3\nassert f(1) == 2") + f"# {'a' * (1 << 16)}\n"
    (hard,), (soft,) = sandbox.do(judge(sandbox, PLUS, text))
    check_rules(hard, soft)
    assert spelled(soft) == {"test_0": "F"}


def test_skipped_methods_have_invalid_votes(sandbox: Any) -> None:
    text = """
        import unittest
        class T(unittest.TestCase):
            @unittest.skip("later")
            def test_a(self):
                assert f(1) == 2
                assert f(1) == 2
            def test_b(self):
                assert f(1) == 2
    """
    (hard,), (soft,) = sandbox.do(judge(sandbox, PLUS, text))
    assert spelled(soft) == {"test_a": "II", "test_b": "P"}
    assert soft.outcome is hard.outcome is Outcome.PASS


@pytest.fixture(scope="module")
def audited(make_sandbox: Callable[..., Any]) -> Iterator[Any]:
    """A pool that runs every shared verdict again in processes of its own, votes included."""
    sandbox = make_sandbox(audit_share=1.0)
    yield sandbox
    assert sandbox.pool.stats.audited > 0
    assert sandbox.pool.stats.audit_disagreements == 0


SOLUTIONS = {
    "harmless": "def f(x):\n    return [1, 3, 3, None, 5][x]\n",
    "stateless": "import os\ndef f(x):\n    return [1, os.sep, 3, None, 5][x]\n",
    "raises": "def f(x):\n    if x % 2:\n        raise ValueError(x)\n    return x\n",
    "counts": "n = 0\ndef f(x):\n    global n\n    n += 1\n    return x + n\n",
    "handles": "class A:\n    def __init__(self, x): self.x = x\ndef f(x): return A(x) if x == 2 else x\n",
    "changes": "def f(x, seen=[]):\n    seen.append(x)\n    return len(seen)\n",
    "missing": "def g(x):\n    return x\n",
}
NUMBERS = st.integers(0, 4)
SIMPLE = st.one_of(
    st.builds("assert f({}) == {}".format, NUMBERS, NUMBERS),
    st.builds("self.assertEqual(f({}), {})".format, NUMBERS, NUMBERS),
    st.builds("self.check({}, {})".format, NUMBERS, NUMBERS),
    st.builds("x = f({})".format, NUMBERS),
    st.builds("T.n += f({})".format, NUMBERS),
    st.builds("assert T.n < f({})".format, NUMBERS),
    st.just("return"),
)


def _block(head: str, inner: list[str], tail: str = "") -> str:
    return f"{head}\n" + textwrap.indent("\n".join(inner), "    ") + tail


INNER = st.lists(SIMPLE, min_size=1, max_size=3)
STATEMENT = st.one_of(
    SIMPLE,
    st.builds(_block, st.just("for y in 0, 1, 2:"), INNER),
    st.builds(_block, st.just("with self.subTest():"), INNER),
    st.builds(_block, st.builds("if f({}) == {}:".format, NUMBERS, NUMBERS), INNER),
    st.builds(_block, st.just("with self.assertRaises(ValueError):"), INNER),
    st.builds(_block, st.just("try:"), INNER, st.just("\nexcept Exception:\n    assert f(0) == 0")),
    st.builds(_block, st.just("try:"), INNER, st.just("\nfinally:\n    assert f(0) == 0")),
)
METHODS = st.lists(st.lists(STATEMENT, min_size=1, max_size=4), min_size=1, max_size=3)


def text_of(methods: list[list[str]]) -> str:
    lines = ["import unittest", "class T(unittest.TestCase):", "    n = 0", "    def check(self, x, y):"]
    lines.append("        self.assertEqual(f(x), y)")
    for number, statements in enumerate(methods):
        lines += [f"    def test_{number}(self):", textwrap.indent("\n".join(statements), " " * 8)]
    return "\n".join(lines) + "\n"


MORE = pytest.mark.parametrize("examples", [4, pytest.param(20, marks=pytest.mark.slow)])


@MORE
def test_no_verdict_depends_on_the_mode(audited: Any, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.lists(METHODS.map(text_of), min_size=6, max_size=6, unique=True))
    def same(texts: list[str]) -> None:
        for solution in SOLUTIONS.values():
            hard, soft = audited.do(judge(audited, solution, *texts))
            for one, other in zip(hard, soft, strict=True):
                check_rules(one, other)

    same()


@MORE
def test_votes_of_a_plain_method_are_those_of_its_assertions_alone(audited: Any, examples: int) -> None:
    """Each assertion says the same in a test of its own, if nothing is kept between them."""

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
    def same(pairs: list[tuple[int, int]]) -> None:
        lines = [f"assert f({x}) == {y}" for x, y in pairs]
        alone = list(dict.fromkeys(lines))
        for name in ("harmless", "stateless", "raises", "handles", "missing"):
            whole, *single = [text_of([lines]), *(text_of([[line]]) for line in alone)]
            _, soft = audited.do(judge(audited, SOLUTIONS[name], whole, *single))
            said = dict(zip(alone, (spelled(one)["test_0"] for one in soft[1:]), strict=True))
            assert spelled(soft[0])["test_0"] == "".join(said[line] for line in lines)

    same()
