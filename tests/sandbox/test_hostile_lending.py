"""Solutions that use what a test lends them, callbacks and objects, to reach what lies behind it.

They speak to the judge in its own protocol: what the stand-ins would never ask for.
"""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from coderm_sandbox import Outcome

# In the player: the peer that serves the call, found through the frames of our own code.
ASK = """
import sys
def peer():
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value).__name__ == "Peer":
                return value
        frame = frame.f_back
def number(p):
    node = peer().proxies.node(p)
    return node
"""
BODY = """
secret = "the" + "-expected"
class P:
    hidden = secret
    def __init__(self):
        self.open = 1
def callback(value):
    return value == secret
got = f(ARGUMENT)
self.assertEqual(got, secret)
"""
REACHES = {
    "format-of-a-text": ("P()", "return peer().ask('method', '{0.hidden}', 'format', '', p)"),
    "format-of-globals": (
        "callback",
        "return peer().ask('method', '{0.__globals__}', 'format', '', p)[-13:]",
    ),
    "get-of-a-text": ("P()", "return peer().ask('get', '{0.hidden}', 'format')(p)"),
    "globals-of-a-callback": ("callback", "return peer().ask('get', p, '__globals__')['secret']"),
    "code-of-a-callback": ("callback", "return peer().ask('get', p, '__code__').co_consts[1]"),
    "special-of-a-type": ("P()", "return peer().ask('special', str, '__call__', p)"),
    "call-of-a-type": ("P()", "return peer().ask('call', type, '', p).hidden"),
    "test-case": ("self", "return peer().ask('get', p, 'secret')"),
    "class-of-the-test-case": ("type(self)", "return peer().ask('get', p, 'EXPECTED')"),
    "partial": (
        "__import__('functools').partial(callback, secret)",
        "return peer().ask('get', p, 'args')[0]",
    ),
    "module": ("__import__('sys')", "return peer().ask('get', p, 'modules')['test_solution'].secret"),
    "generator": ("(s for s in [secret])", "return peer().ask('get', p, 'gi_frame').f_locals['s']"),
}


@pytest.mark.parametrize("name", REACHES)
def test_nothing_behind_what_is_lent(sandbox: Any, name: str) -> None:
    argument, attack = REACHES[name]
    solution = ASK + f"def f(p):\n    {attack}\n"
    body = BODY.replace("ARGUMENT", argument)
    if "EXPECTED" in attack:
        body = "type(self).EXPECTED = 'the' + '-expected'\n" + body
    result = sandbox.check(solution, textwrap.dedent(body))
    assert result.outcome is not Outcome.PASS, result.detail
    assert result.judge != "inline", "the attack is on the judge apart"


def test_the_way_is_open_for_an_honest_answer(sandbox: Any) -> None:
    """The same words, used as the stand-ins use them, work: the attacks fail for what they ask for."""
    solution = ASK + "def f(p):\n    return peer().ask('get', p, 'open')\n"
    body = "class P:\n    def __init__(self):\n        self.open = 1\nself.assertEqual(f(P()), 1)"
    assert sandbox.outcome(solution, body) is Outcome.PASS
