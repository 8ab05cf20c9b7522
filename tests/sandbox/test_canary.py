"""Inline judging: the copies of a test that must fail and must pass, what they say, and what they catch."""

from __future__ import annotations

import ast
import sys
import textwrap
from typing import Any

import pytest

from coderm_sandbox.guest import canary, runner
from coderm_sandbox.guest.canary import GENUINE, MUST_FAIL, MUST_PASS
from coderm_sandbox.guest.channel import WireError

_HEAD = "import random, unittest\nfrom unittest.mock import patch\n"
_BODIES: dict[str, tuple[str, dict[str, str]]] = {
    "plain": (
        """
        class T(unittest.TestCase):
            def test_a(self):
                self.assertEqual(f(1), 2)
            def test_b(self):
                self.assertEqual(f(1), 9)
        """,
        {"T.test_a": "pass", "T.test_b": "fail"},
    ),
    "async": (
        """
        class T(unittest.IsolatedAsyncioTestCase):
            async def test_a(self):
                self.assertEqual(f(1), 2)
        """,
        {"T.test_a": "pass"},
    ),
    "sub-tests": (
        """
        class T(unittest.TestCase):
            def test_a(self):
                for x in range(3):
                    with self.subTest(x=x):
                        self.assertEqual(f(x), x + 1)
            def test_b(self):
                for x in range(3):
                    with self.subTest(x=x):
                        self.assertNotEqual(f(x), 2)
        """,
        {"T.test_a": "pass", "T.test_b": "fail"},
    ),
    "early-return": (
        """
        class T(unittest.TestCase):
            def test_a(self):
                if f(1) == 2:
                    return
                self.fail("no")
            def test_b(self):
                for x in range(3):
                    try:
                        return self.assertEqual(f(x), x + 1)
                    finally:
                        f(x)
        """,
        {"T.test_a": "pass", "T.test_b": "pass"},
    ),
    "patched": (
        """
        class T(unittest.TestCase):
            @patch("random.randint", return_value=3)
            def test_a(self, randint):
                self.assertEqual(f(2), 3)
            @patch("random.randint", return_value=3)
            @patch("random.random")
            def test_b(this, random, randint):
                this.assertEqual(f(2), 9)
        """,
        {"T.test_a": "pass", "T.test_b": "fail"},
    ),
    "inherited": (
        """
        class Base:
            def test_a(self):
                self.assertEqual(f(1), 2)
        class T(Base, unittest.TestCase):
            def test_b(self):
                self.assertEqual(f(1), 3)
        """,
        {"T.test_a": "pass", "T.test_b": "fail"},
    ),
    "set-up": (
        """
        class T(unittest.TestCase):
            def setUp(self):
                self.x = f(1)
            def test_a(self):
                self.assertEqual(self.x, 2)
        """,
        {"T.test_a": "pass"},
    ),
    "docstring-and-nested": (
        '''
        class T(unittest.TestCase):
            """A class."""
            def test_a(self):
                """A method."""
                def test_inner():
                    return f(1)
                class test_Local:
                    def test_x(self):
                        return 3
                self.assertEqual(test_inner(), 2)
        ''',
        {"T.test_a": "pass"},
    ),
    "raises": (
        """
        class T(unittest.TestCase):
            def test_a(self):
                with self.assertRaises(TypeError):
                    f("x")
            def test_b(self):
                raise ValueError
        """,
        {"T.test_a": "pass", "T.test_b": "error"},
    ),
    "statements-after-a-loop": (
        """
        class T(unittest.TestCase):
            def test_a(self):
                while True:
                    if f(1):
                        break
                else:
                    pass
                self.assertTrue(f(1))
        """,
        {"T.test_a": "pass"},
    ),
}
TESTS = {name: (_HEAD + textwrap.dedent(body), expected) for name, (body, expected) in _BODIES.items()}


def run(source: str, keys: list[str]) -> dict[str, str]:
    """What each method says, with a right solution; the texts are ours."""
    found: list[dict[str, Any]] = []
    around = runner.Surroundings(lambda: False, lambda error, traceback: False, lambda: True, lambda: False)
    before = sys.modules.get(runner.TEST_MODULE)
    try:
        code = compile(source, "<test>", "exec", dont_inherit=True)
        runner.run_methods(code, None, keys, {"f": lambda x: x + 1}, around, found.append)
    finally:
        sys.modules.pop(runner.TEST_MODULE, None)
        if before is not None:
            sys.modules[runner.TEST_MODULE] = before
    return {one["n"]: one["o"] for one in found if one["k"] == "m"}


@pytest.mark.parametrize("name", TESTS)
def test_copies_of_a_test(name: str) -> None:
    """The test itself is not changed by what is added; one copy fails everywhere, one passes everywhere."""
    source, expected = TESTS[name]
    keys = list(expected)
    assert run(source, keys) == expected
    assert run(canary.text(source, GENUINE), keys) == expected
    assert "pass" not in run(canary.text(source, MUST_FAIL), keys).values()
    assert set(run(canary.text(source, MUST_PASS), keys).values()) == {"pass"}
    assert canary.marked(source) == {key.partition(".")[2] for key in keys}


def test_a_set_up_that_raises() -> None:
    """It is an error in every copy, and no forgery."""
    source = _HEAD + textwrap.dedent("""
        class T(unittest.TestCase):
            def setUp(self):
                raise ValueError
            def test_a(self):
                self.assertEqual(f(1), 2)
        """)
    found = {
        variant: [(outcome, "") for outcome in run(canary.text(source, variant), ["T.test_a"]).values()]
        for variant in canary.VARIANTS
    }
    assert found == {variant: [("error", "")] for variant in canary.VARIANTS}
    assert canary.forged(["T.test_a"], found, canary.marked(source)) is None


@pytest.mark.parametrize("variant", canary.VARIANTS)
@pytest.mark.parametrize("name", TESTS)
def test_copies_have_the_same_methods(name: str, variant: str) -> None:
    source = TESTS[name][0]

    def methods(text: str) -> list[tuple[str, str, str]]:
        return [
            (node.name, item.name, ast.dump(item.args))
            for node in ast.parse(text).body
            if isinstance(node, ast.ClassDef)
            for item in node.body
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    assert methods(canary.text(source, variant)) == methods(source)


def test_copies_look_alike() -> None:
    """Nothing but one number tells the copy that must fail from the test itself."""
    source = TESTS["plain"][0]

    class Numberless(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            return ast.Constant(0) if type(node.value) is int else node

    def dump(variant: str) -> str:
        return ast.dump(Numberless().visit(ast.parse(canary.text(source, variant))))

    assert dump(GENUINE) == dump(MUST_FAIL)
    assert canary.text(source, GENUINE) != canary.text(source, GENUINE), "the numbers are drawn anew"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("@unittest.expectedFailure\n    def test_a(self): self.fail()", id="expected-failure"),
        pytest.param("def test_a(*parts): ...", id="no-name-for-self"),
        pytest.param("test_a = lambda self: None", id="no-def"),
        pytest.param("def tests(self, x): ...\n    def Test_a(self): ...", id="other-names"),
    ],
)
def test_methods_that_are_left_as_they_are(line: str) -> None:
    source = f"import unittest\nclass T(unittest.TestCase):\n    {line}\n"
    assert "test_a" not in canary.marked(source)


P, F, E = ("pass", ""), ("fail", "x"), ("error", "x")


@pytest.mark.parametrize(
    ("genuine", "must_fail", "must_pass", "caught"),
    [
        ([P], [F], [P], False),
        ([P], [E], [P], False),
        ([P], [P], [P], True),
        ([P], [F], [F], True),
        ([P], [F], [E], True),
        ([P], [F], [], True),
        ([F], [P], [P], False),
        ([F], [F], [F], False),
        ([E], [E], [E], False),
        ([P, F], [F, F], [P, P], False),
        ([F, P], [F, P], [P, P], True),
        ([], [], [], False),
    ],
)
def test_what_the_copies_say(genuine: Any, must_fail: Any, must_pass: Any, caught: bool) -> None:
    keys = [f"T.test_{n}" for n in range(2)]
    found = {GENUINE: genuine, MUST_FAIL: must_fail, MUST_PASS: must_pass}
    said = canary.forged(keys, found, {"test_0", "test_1"})
    assert (said is not None) is caught
    assert said is None or said[0] == "tampered"
    assert canary.forged(keys, found, set()) is None, "methods that the copies do not differ in say nothing"


@pytest.mark.parametrize(
    "message",
    [
        ["m", "T.test_b", "pass", ""],
        ["m", "T.test_a", "tampered", ""],
        ["m", "T.test_a", "timeout", ""],
        ["m", "T.test_a", None, ""],
        ["m", "T.test_a", "pass", 1],
        ["m", ["T.test_a"], "pass", ""],
    ],
)
def test_verdicts_out_of_turn(message: list[Any]) -> None:
    with pytest.raises(WireError):
        canary.outcome(message, ["T.test_a"])
    with pytest.raises(WireError):
        canary.outcome(["m", "T.test_a", "pass", ""], [])


@pytest.mark.parametrize("found", [1, "error", [], ["error"], ["pass", ""], ["error", 1], {"error": ""}])
def test_malformed_fixture(found: Any) -> None:
    with pytest.raises(WireError):
        canary.fixture(["done", found])
    assert canary.fixture(["done", None]) is None
    assert canary.fixture(["done", ["memory", "x"]]) == ("memory", "x")


SEED = "import random\nrandom.seed(0)\n"
"""At the head of a text: what follows is judged inline."""


@pytest.mark.parametrize("name", TESTS)
def test_honest_tests_judged_inline(sandbox: Any, name: str) -> None:
    text, expected = TESTS[name]
    (result,) = sandbox.run("def f(x):\n    return x + 1\n", SEED + text)
    assert result.judge == "inline"
    assert {key: outcome.value for key, outcome in result.methods.items()} == expected, result.detail
