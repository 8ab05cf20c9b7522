"""Which places of a test method vote, told from its text; and what a recorder and the pool make of votes."""

from __future__ import annotations

import ast
import textwrap
import unittest
from typing import Any

import pytest

from coderm_sandbox import Outcome, Test
from coderm_sandbox.guest.channel import PlayerLostError
from coderm_sandbox.guest.judgedtest import TextReading, read_text
from coderm_sandbox.guest.recorder import Recorder
from coderm_sandbox.guest.sites import Site, soften, vote_counts
from coderm_sandbox.guest.votes import after_hard, after_soft, wants_soft
from coderm_sandbox.messages import result, uniform


def counts(body: str, head: str = "", before: str = "") -> dict[str, int]:
    """The number of sites of each method of class T, whose methods `body` is."""
    text = f"import unittest\n{before}\nclass T(unittest.TestCase):\n{textwrap.indent(head, ' ' * 4)}\n"
    text += textwrap.indent(textwrap.dedent(body), " " * 4)
    softened = soften(ast.parse(text))
    assert softened is not None
    return {key.partition(".")[2]: len(sites) for key, sites in softened.sites.items()}


def of_one(body: str) -> int:
    """The number of sites of one method with this body."""
    method = "def test(self):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 4)
    return counts(method).get("test", 0)


BODIES = {
    "bare": ("assert f(1) == 2\nassert f(2), 'why'", 2),
    "methods": ("self.assertEqual(f(1), 2)\nself.assertTrue(f(2))\nself.fail()", 3),
    "libraries": ("np.testing.assert_allclose(f(1), 2)\nassert_equal(f(1), 2)\nm.assert_called_once()", 3),
    "others": ("x = f(1)\nprint(x)\nself.setUp()\nx.sort()", 0),
    "a-value-is-no-statement": ("x = self.assertEqual(f(1), 2)\nreturn self.assertTrue(x)", 0),
    "raises": ("with self.assertRaises(ValueError) as e:\n    f(1)\n    assert False\nassert e", 2),
    "raises-and-a-file": ("with open('a'), self.assertRaises(OSError):\n    f(1)", 1),
    "sub-test": ("with self.subTest(1):\n    assert f(1)\n    assert f(2)", 2),
    "patched": ("with patch('a.b') as p:\n    f(1)\n    p.assert_called()\nassert p", 2),
    "suppressed": (
        "with suppress(ValueError):\n    f(1)\nwith suppress(AssertionError):\n    assert f(1)",
        1,
    ),
    "loops": ("for x in 1, 2:\n    assert f(x)\nelse:\n    assert f(3)\nwhile f(1):\n    assert f(2)", 3),
    "branches": ("if f(1):\n    assert f(2)\nelif f(3):\n    assert f(4)\nelse:\n    assert f(5)", 3),
    "match": ("match f(1):\n    case 1:\n        assert f(2)\n    case _:\n        assert f(3)", 2),
    "caught": ("try:\n    f(1)\n    self.fail('no')\nexcept ValueError:\n    pass\nassert f(2)", 2),
    "caught-without-assertion": ("try:\n    x = f(1)\nexcept ValueError:\n    x = 0\nassert x", 1),
    "finally": ("try:\n    assert f(1)\nfinally:\n    assert f(2)", 2),
    "inner-function": ("def inner():\n    assert f(1)\nassert list(map(inner, [1]))", 1),
    "inner-helper": ("def inner():\n    assert f(1)\ninner()", 1),
    "many": ("assert f(1)\n" * 300, 256),
}


@pytest.mark.parametrize("name", BODIES)
def test_places_that_vote(name: str) -> None:
    body, expected = BODIES[name]
    assert of_one(body) == expected


def test_an_awaited_assertion_is_one() -> None:
    assert counts("async def test(self):\n    assert await f(1)\n    await self.assertLater(f(2))\n") == {
        "test": 2
    }


def test_a_helper_that_asserts_is_one_vote_where_it_is_called() -> None:
    body = """
        def check(self, x):
            self.assertEqual(f(x), 1)
            assert x
        def prepare(self): ...
        def test_a(self):
            self.prepare()
            self.check(1)
            same(2)
        def test_b(self):
            self.test_a()
    """
    assert counts(body, before="def same(x):\n    assert f(x) == x") == {"test_a": 2, "test_b": 1}


def test_a_method_that_is_expected_to_fail_has_no_place() -> None:
    assert counts("@unittest.expectedFailure\ndef test(self):\n    assert f(1)\n") == {}
    text = "import unittest\n@unittest.expectedFailure\nclass T(unittest.TestCase):\n    def test(self):\n"
    softened = soften(ast.parse(text + "        assert f(1)\n"))
    assert softened is not None
    assert softened.sites == {}


def test_inherited_methods_and_the_last_definition_count() -> None:
    text = """
        class Base:
            def test_a(self):
                assert f(1)
                assert f(2)
            def test_b(self):
                assert f(1)
        class T(Base, unittest.TestCase):
            def test_b(self): ...
            def test_b(self):
                assert f(1)
                assert f(2)
                assert f(3)
    """
    softened = soften(ast.parse(textwrap.dedent(text)))
    assert softened is not None
    assert vote_counts(softened.sites, ["T.test_a", "T.test_b", "T.test_none"]) == [2, 3, 1]


def test_what_a_loop_may_come_by_again_is_marked() -> None:
    softened = soften(
        ast.parse("class T:\n    def test(self):\n        assert f(1)\n        for x in y: assert f(x)\n")
    )
    assert softened is not None
    assert softened.sites == {"T.test": (Site(0, False), Site(1, True))}


def test_a_text_that_gets_too_deep_has_no_place() -> None:
    depth = 20
    lines = ["class T:", " def test(self):"]
    lines += [" " * (2 + i) + "with x:" for i in range(depth)]
    text = "\n".join([*lines, " " * (2 + depth) + "assert f(1)"])
    compile(text, "<test>", "exec")
    assert soften(ast.parse(text)) is None
    reading = read_text(text, soft=True)
    assert reading is not None
    assert reading.sites == {}
    assert reading.code is not None


def test_a_reading_survives_the_way_to_another_process() -> None:
    reading = read_text(
        "class T:\n    def test(self):\n        assert f([1])\n        assert f(2)\n", soft=True
    )
    assert reading is not None
    # All but what depends on the solution, which the process that judges need not know.
    assert TextReading.unpacked(reading.packed()) == reading._replace(traceless=False)


def test_no_text_is_rewritten_unless_asked() -> None:
    text = "class T:\n    def test(self):\n        assert f(1)\n"
    hard, soft = read_text(text), read_text(text, soft=True)
    assert hard is not None
    assert soft is not None
    assert hard.code == compile(text, "<test>", "exec", dont_inherit=True)
    assert hard.sites == {}
    assert (hard.names, hard.calls, hard.traceless) == (soft.names, soft.calls, soft.traceless)


class Told:
    """A recorder of one method with three places, the last in a loop, and what it told."""

    def __init__(self, soft: bool) -> None:
        self.votes: list[tuple[str, int, str]] = []
        sites = {"T.a": (Site(4, False), Site(5, False), Site(6, True))}
        self.recorder = Recorder(
            sites,
            soft,
            lambda error, _, failure: "fail" if isinstance(error, failure) else "error",
            self.tell,
        )

    def tell(self, key: str, place: int, outcome: str) -> None:
        self.votes.append((key, place, outcome))

    def note(self, number: int, error: BaseException | None = None) -> bool:
        guard = self.recorder(number)
        guard.__enter__()
        return guard.__exit__(type(error), error, None)


@pytest.mark.parametrize("soft", [False, True])
def test_a_recorder_tells_what_happened_and_goes_on_if_it_is_soft(soft: bool) -> None:
    told = Told(soft)
    told.recorder.begin("T.a", AssertionError)
    assert not told.note(4)
    assert told.note(5, AssertionError()) is soft
    assert told.note(5, ValueError()) is soft  # the first failure stands
    told.note(5)
    assert told.votes == [("T.a", 0, "pass"), ("T.a", 1, "fail")]


def test_a_vote_in_a_loop_has_passed_at_the_end_of_its_method_only() -> None:
    for ending, expected in (("pass", [("T.a", 2, "pass")]), ("error", [])):
        told = Told(True)
        told.recorder.begin("T.a", AssertionError)
        told.note(6)
        told.note(6)
        assert told.votes == []
        told.recorder.end(ending)
        assert told.votes == expected


def test_a_failure_in_a_loop_is_told_once() -> None:
    told = Told(True)
    told.recorder.begin("T.a", AssertionError)
    for error in (None, AssertionError(), None, ValueError()):
        told.note(6, error)
    told.recorder.end("pass")
    assert told.votes == [("T.a", 2, "fail")]


def test_places_of_another_method_do_not_vote() -> None:
    told = Told(True)
    told.recorder.begin("T.b", AssertionError)
    assert not told.note(4, AssertionError())
    told.recorder.begin("T.a", AssertionError)
    told.recorder.end("pass")
    assert not told.note(4, AssertionError())
    assert told.votes == []


@pytest.mark.parametrize("error", [PlayerLostError(), unittest.SkipTest()])
def test_some_exceptions_end_a_method_also_softly(error: BaseException) -> None:
    told = Told(True)
    told.recorder.begin("T.a", AssertionError)
    assert not told.note(4, error)


def test_votes_after_a_hard_run() -> None:
    reached = ["pass", "fail", None]
    for whole in ("pass", "output", "tampered", "unknown"):
        assert after_hard(whole, reached) == [whole] * 3
    assert after_hard("fail", reached) == reached
    assert wants_soft("fail", reached)
    assert wants_soft("error", reached)
    assert not wants_soft("timeout", reached)
    assert not wants_soft("fail", ["pass", "fail"])
    assert not wants_soft("error", ["pass", None])  # it ended between two assertions


def test_votes_after_a_soft_run() -> None:
    hard = ["pass", "fail", None, None]
    assert after_soft("fail", hard, "pass", ["fail", "pass", "pass", None]) == [
        "pass",
        "fail",
        "pass",
        "fail",
    ]
    assert after_soft("fail", hard, "timeout", [None, None, "pass", None]) == [
        *("pass", "fail", "pass", "timeout")
    ]
    assert after_soft("fail", hard, "tampered", [None, None, "pass", None]) == [
        *("pass", "fail", "tampered", "tampered")
    ]


TEST = Test("", None, ("T.a", "T.b"), ("T.b",), (2, 3))
ANSWER: dict[str, Any] = {
    **{"outcomes": {"T.a": "fail"}, "fixture": "", "s": 0.0, "j": "apart", "d": "", "assumed": 0},
    **{"v": {"T.a": ["pass", None]}, "more": ["T.a"]},
}


def test_what_nobody_said_is_what_the_method_is_or_unknown() -> None:
    invalid = (Outcome.INVALID_TEST,) * 3
    assert result(TEST, ANSWER).votes == {"T.a": (Outcome.PASS, Outcome.FAIL), "T.b": invalid}
    lost = result(TEST, ANSWER, unreached=Outcome.UNKNOWN)
    assert lost.votes == {"T.a": (Outcome.PASS, Outcome.UNKNOWN), "T.b": invalid}
    assert lost.methods == result(TEST, ANSWER).methods
    assert uniform(TEST, Outcome.UNKNOWN, "").votes == {"T.a": (Outcome.UNKNOWN,) * 2, "T.b": invalid}


def test_votes_that_do_not_line_up_are_those_of_the_method() -> None:
    found = result(TEST, {**ANSWER, "v": {"T.a": ["pass"]}})
    assert found.votes["T.a"] == (Outcome.FAIL, Outcome.FAIL)


@pytest.mark.parametrize("votes", [(1,), (1, 0), (1, 1, 1)])
def test_a_test_has_a_positive_number_of_votes_for_each_method(votes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one positive number for each method"):
        Test("", None, ("T.a", "T.b"), votes=votes)
