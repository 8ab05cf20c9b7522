"""What a review of the separated judge tried: raw frames, and programs that end where nobody expects it.

None of it passes, and none of it is `unknown`: that would be a neutral reward for whoever asks for it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Outcome

# In the player: what serves the call, found through the frames of our own code.
FRAMES = """
import sys
def player():
    frame = sys._getframe()
    while frame:
        found = frame.f_locals.get("self")
        if type(found).__name__ == "Player":
            return found
        frame = frame.f_back
def send(message):
    player()._channel.send(message)
"""
EQUAL = "self.assertEqual(f(3), 1234)"
# (solution, body of a test method), or (solution, None, text of a test)
ATTACKS: dict[str, tuple[Any, ...]] = {
    "j-eq-via-functions": (
        FRAMES
        + """
def f(x):
    send(["r",["H",901,902,["E","E",[],[],["__eq__"],False,None]],[],[],None])
    p=player()
    while True:
        m=p._channel.receive()
        if m[0]!="q": p._channel.send(["died",0]); continue
        if m[1]=="method": p._channel.send(["r",True,[],[],None])
        else: p._channel.send(["r",None,[],[],None])
""",
        EQUAL,
    ),
    "e-long-name-plain": (
        """
def f(x):
    raise type("E"*100000,(Exception,),{})()
""",
        EQUAL,
    ),
    "e2-long-name-at-import": (
        """
raise type("E"*100000,(Exception,),{})()
""",
        EQUAL,
    ),
    "f-str-exits": (
        """
class E(Exception):
    def __str__(self): raise SystemExit
def f(x): raise E()
""",
        EQUAL,
    ),
    "d-died-overflow": (
        FRAMES
        + """
send(["died",1<<40])
""",
        EQUAL,
    ),
    "c-died-long": (
        FRAMES
        + """
send(["died","x"*100000])
""",
        EQUAL,
    ),
    "c-died-long-in-call": (
        FRAMES
        + """
def f(x):
    send(["died","x"*100000])
""",
        EQUAL,
    ),
    "names-raise-plain": (
        """
class E:
    @property
    def __class__(self): raise RuntimeError
e=E()
def f(x): return 1
""",
        EQUAL,
    ),
    "bind-deep-global": (
        """
f=[]
for _ in range(1000): f=[f]
""",
        EQUAL,
    ),
    "load-replay-keyerror": (
        FRAMES
        + """
send(["loaded","ok","",[[["w",{}]],False],False])
""",
        EQUAL,
    ),
    "load-replay-output": (
        FRAMES
        + """
send(["loaded","ok","",[[["o","x"*(20<<20)]],False],False])
""",
        EQUAL,
    ),
    "load-q-recursionerror": (
        FRAMES
        + """
s=0
for _ in range(900): s=[s]
send(["loaded","ok","",[[["w",["UserWarning",s]]],False],False])
""",
        EQUAL,
    ),
    "h-setupclass-exit": (
        """
def f(x): raise SystemExit
""",
        None,
        """
import unittest
class T(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.v=f(1)
    def test_0(self): self.assertEqual(self.v,5)
""",
    ),
    "g-module-generatorexit": (
        """
def f(x): raise GeneratorExit
""",
        None,
        """
import unittest
class T(unittest.TestCase):
    v=f(1)
    def test_0(self): self.assertEqual(self.v,5)
""",
    ),
    "two-classes-setupclass-of-first-fails": (
        """
def f(x): raise ValueError
""",
        None,
        """
import unittest
class A(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.v=f(1)
    def test_0(self): self.assertEqual(self.v,5)
class B(unittest.TestCase):
    def test_0(self): self.assertEqual(1,1)
""",
    ),
    "stopiteration-by-method": (
        """
class S:
    def solve(self,x): raise StopIteration
""",
        """
for got, want in zip(map(S().solve,[1,2]),[3,4]):
    self.assertEqual(got,want)
""",
    ),
    "l-partial-repr": (
        FRAMES
        + """
def f(p):
    r=player()._peer.ask("special",p,"__repr__")
    import re
    return re.search("the-[a-z]*",r).group()
""",
        """
import functools
secret='the'+'-expected'
got=f(functools.partial(max,secret))
self.assertEqual(got,secret)
""",
    ),
    "f-str-exits-two-methods": (
        """
class E(Exception):
    def __str__(self): raise SystemExit
def f(x): raise E()
""",
        None,
        """
import unittest
class T(unittest.TestCase):
    def test_0(self):
        self.assertEqual(f(3), 1234)
    def test_1(self):
        self.assertEqual(f(3), 1234)
""",
    ),
    "j-list-subclass-eq": (
        FRAMES
        + """
def f(x):
    send(["r",["PM",901,902,["E","E",[["ty","list"]],[],["__eq__"],False,None],"list",801,[]],[],[],None])
    p=player()
    while True:
        m=p._channel.receive()
        if m[0]!="q": p._channel.send(["died",0]); continue
        if m[1]=="method": p._channel.send(["r",True,[],[],None])
        else: p._channel.send(["r",None,[],[],None])
""",
        """
self.assertEqual(f(3), [1,2,3])
""",
    ),
    "k-stale-handle-id": (
        FRAMES
        + """
def f(x):
    p=player()
    # a handle 901 of class with __eq__, then its number given to something else
    send(["q","print",["",["H",901,902,["E","E",[],["__eq__"],[],False,None]],["G",-902]],[],[],1,None])
    p._channel.receive()
    send(["r",["H",905,902,None],[],[],None])
    while True:
        m=p._channel.receive()
        if m[0]!="q": p._channel.send(["died",0]); continue
        if m[1]=="special": p._channel.send(["r",True,[],[],None])
        else: p._channel.send(["r",None,[],[],None])
""",
        """
got=f(3)
class Q: pass
xs=[Q() for _ in range(2000)]
self.assertTrue(any(got==q for q in xs))
""",
    ),
    "names-builtins-dict": (
        FRAMES
        + """
p=player()
old=p._peer.wants["names"]
def names(a):
    d=old(a); d["__builtins__"]={"print": print}; return d
p._peer.wants["names"]=names
def f(x): return 1
""",
        "vars()\n" + EQUAL,
    ),
    "names-malformed-update": (
        FRAMES
        + """
p=player()
def names(a):
    send(["r",["d",801,[]],[[801,[["l",803,[]],1]]],[],None])
    while 1: p._channel.receive()
p._peer.wants["names"]=names
def f(x): return 1
""",
        EQUAL,
    ),
    "names-extra": (
        FRAMES
        + """
p=player()
def names(a):
    send(["r",["d",801,[]],[],[],5])
    while 1: p._channel.receive()
p._peer.wants["names"]=names
def f(x): return 1
""",
        EQUAL,
    ),
    "inline-done-short": (
        FRAMES
        + """
def f(x):
    send(["done"])
    while 1: pass
""",
        "import gc\ngc.collect()\n" + EQUAL,
    ),
    "inline-m-long": (
        FRAMES
        + """
def f(x): raise type("E"*100000,(Exception,),{})()
""",
        "import gc\ngc.collect()\n" + EQUAL,
    ),
    "stopiteration-property": (
        """
class S:
    @property
    def v(self): raise StopIteration
""",
        """
import operator
for got, want in zip(map(operator.attrgetter('v'),[S(),S()]),[3,4]):
    self.assertEqual(got,want)
""",
    ),
    "slow-str-big-text-in-describe": (
        """
class E(Exception):
    def __str__(self): raise GeneratorExit
def f(x): raise E()
""",
        None,
        """
import unittest
class T(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.v=f(1)
    def test_0(self): self.assertEqual(self.v,5)
""",
    ),
    "stateless-baseexception-in-setupclass-then-other": (
        """
class E(BaseException): pass
def f(x): raise E()
""",
        None,
        """
import unittest
class T(unittest.TestCase):
    def setUp(self): self.v=f(1)
    def test_0(self): self.assertEqual(self.v,5)
""",
    ),
    "k-stale-handle-id-object": (
        FRAMES
        + """
def f(x):
    p=player()
    send(["q","print",["",["H",905,902,["E","E",[],["__eq__"],[],False,None]],["H",901,902,None],["G",-902]],[],[],1,None])
    p._channel.receive()
    send(["r",["H",905,902,None],[],[],None])
    while True:
        m=p._channel.receive()
        if m[0]!="q": p._channel.send(["died",0]); continue
        if m[1]=="special": p._channel.send(["r",True,[],[],None])
        else: p._channel.send(["r",None,[],[],None])
""",
        """
got=f(3)
xs=[object() for _ in range(3000)]
self.assertTrue(any(got==q for q in xs))
""",
    ),
    "test-name-leak-by-qualname": (
        """
def f(p): return type(p).__qualname__
""",
        """
class P: 'doc'
self.assertEqual(f(P()),'T.test_0.'+'<locals>.P')
""",
    ),
    "load-custom-baseexception": (
        FRAMES
        + """
p=player()
send(["q","print",["file",["H",901,902,["E","E",[],[],["write"],False,None]]],[],[],1,None])
m=p._channel.receive()
send(["x",["XH",911,912,["B","B",[["ty","BaseException"]],[],[],False,None],[],None],[],[],None])
def f(x): return 1
""",
        EQUAL,
    ),
    "load-attributeerror-in-updates": (
        FRAMES
        + """
send(["q","print",["",["B",801,""]],[[801,5]],[],1,None])
def f(x): return 1
""",
        EQUAL,
    ),
    "dunder-getattribute-isinstance": (
        FRAMES
        + """
def f(x):
    send(["r",["H",901,902,["E","E",[],[],["__class__","__del__"],False,None]],[],[],None])
    p=player()
    while True:
        m=p._channel.receive()
        if m[0]!="q": p._channel.send(["died",0]); continue
        p._channel.send(["r",None,[],[],None])
""",
        """
got=f(3)
print(got.__class__)
""",
    ),
    "died-none-in-fork-wait": (
        FRAMES
        + """
def f(x):
    s=[]
    for _ in range(950): s=[s]
    send(["died",s])
""",
        EQUAL,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_pass_and_no_unknown(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution, body, *text = ATTACKS[name]
    before = sandbox.pool.worker_pids()
    (result,) = sandbox.run(solution, text[0] if body is None else method(body))
    assert result.outcome not in (Outcome.PASS, Outcome.UNKNOWN), result.detail
    assert Outcome.UNKNOWN not in result.methods.values()
    assert sandbox.pool.worker_pids() == before, "the worker survives it"
    assert sandbox.outcome("def f(x):\n    return x + 1\n", "self.assertEqual(f(1), 2)") is Outcome.PASS


def test_what_one_solution_makes_the_judge_hold_is_not_the_next_ones(sandbox: Any) -> None:
    hoards = FRAMES + 'send(["q", "print", ["", ["L", 801, [1.5] * 2_000_000]], [], [], 1, None])\n'
    for _ in range(3):
        assert sandbox.outcome(hoards, EQUAL) is not Outcome.PASS
    honest = "import time\ndef f(x):\n    time.sleep(0.1)\n    return 1234\n"
    assert sandbox.outcome(honest, EQUAL) is Outcome.PASS


def test_a_test_does_not_tell_where_it_stands(sandbox: Any) -> None:
    solution = "def f(p):\n    return type(p).__qualname__ + str(type(p).__doc__)\n"
    body = "class P:\n    'of the test'\nself.assertEqual(f(P()), 'PNone')"
    assert sandbox.outcome(solution, textwrap.dedent(body)) is Outcome.PASS
