"""Solutions that speak the player's protocol themselves: what it lets them ask of the judge.

Every solution finds the peer of its own process. A guess of what the test expects is not a solution.
"""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from coderm_sandbox import Outcome

# What the test lends: a callback, an instance, a bound method and a class of its own.
TEXT = """
import unittest
SECRET = 12345
class Own:
    def __init__(self):
        self.shown = 1
    def method(self):
        return 1
class T(unittest.TestCase):
    def test_a(self):
        expected = SECRET
        self.assertEqual(f(lambda: expected and 1, Own(), Own().method, Own), expected)
"""
PEER = """
import sys
def f(callback, instance, bound, cls):
    peer = sys.stdin._peer
"""

READS = {
    "format-of-a-callback": 'return int(peer.ask("get", "{0.__globals__[SECRET]}", "format")(callback))',
    "format-of-an-instance": (
        'text = peer.ask("get", "{0.__init__.__globals__[SECRET]}", "format")(instance)\nreturn int(text)'
    ),
    "format-by-method": 'return int(peer.ask("method", "{0.__globals__[SECRET]}", "format", "", callback))',
    "format-map": (
        'return int(peer.ask("method", "{a.__globals__[SECRET]}", "format_map", "", {"a": callback}))'
    ),
    "closure": 'return peer.ask("get", callback, "__closure__")[0].cell_contents',
    "globals": 'return peer.ask("get", callback, "__globals__")["SECRET"]',
    "self-of-a-method": 'return peer.ask("get", bound, "__self__").__class__.method.__globals__["SECRET"]',
    "function-of-a-class": 'return peer.ask("get", cls, "method").__globals__["SECRET"]',
    "dict-of-a-class": 'return peer.ask("get", cls, "__dict__")["method"].__globals__["SECRET"]',
    "special": 'return int(peer.ask("special", "{0.__globals__[SECRET]}", "__format__", callback))',
    "getattr-by-name": 'return peer.ask("call", getattr, "", callback, "__globals__")["SECRET"]',
    "evaluates": 'return peer.ask("call", eval, "", "SECRET")',
    "imports": 'return peer.ask("call", __import__, "", "test_solution").SECRET',
    "attribute-getter": (
        'import operator\nreturn peer.ask("call", operator.attrgetter("__globals__"), "", callback)["SECRET"]'
    ),
    "frames": 'return peer.ask("call", sys._getframe, "", 0).f_back.f_locals["expected"]',
}


def check(sandbox: Any, action: str) -> Any:
    (result,) = sandbox.run(PEER + textwrap.indent(action, "    ") + "\n", TEXT)
    return result


def test_honest_use_of_what_is_lent(sandbox: Any) -> None:
    """The test text does work: what it calls for can be given."""
    result = check(sandbox, "callback(), instance.shown, bound(), cls().method()\nreturn 12345")
    assert (result.judge, result.outcome) == ("apart", Outcome.PASS), result.detail


@pytest.mark.parametrize("name", READS)
def test_reading_the_test(sandbox: Any, name: str) -> None:
    result = check(sandbox, READS[name])
    assert result.judge == "apart"
    assert result.outcome is not Outcome.PASS


@pytest.mark.parametrize(
    "message",
    [
        '["r"]',
        '["r", 1, 2, 3, 4]',
        '["r", 5, [], [], [1, 2, 3]]',
        '["r", 5, [[0, 1]], [], None]',
        '["r", 5, [], [None], None]',
        '["r", ["B", 1, ""], [[1, 5]], [], None]',
        '["r", ["d", 1, []], [[1, [1]]], [], None]',
        '["r", ["d", 1, [["l", 3, []], 1]], [], [], None]',
        '["r", ["h", 10 ** 9], [], [], None]',
        '["r", ["ty", "eval"], [], [], None]',
        '["r", ["g", "os", "system"], [], [], None]',
        '["x", 1, [], [], None]',
        '["x", ["X", "Exit", [], None, 0], [], [], None]',
        '["q", "nothing", [], [], [], 1, None]',
        '["q", 1, [], [], [], 1, None]',
        '["m", "T.test_a", "pass", ""]',
        '["done", None]',
        '["died", 0]',
        '["forked"]',
        '["loaded", "ok", "", None, False]',
        "[[]]",
        "{}",
    ],
)
def test_messages_that_are_none(sandbox: Any, message: str) -> None:
    """Sent in place of an answer, in a test that would take any answer but an exception."""
    solution = f"import os, sys\ndef f():\n    sys.stdin._peer.channel.send({message})\n    os._exit(0)\n"
    result = sandbox.check(solution, "f()\nself.assertTrue(True)")
    assert result.outcome in (Outcome.TAMPERED, Outcome.ERROR), result.detail
    assert sandbox.outcome("def f():\n    return 2\n", "self.assertEqual(f(), 2)") is Outcome.PASS
