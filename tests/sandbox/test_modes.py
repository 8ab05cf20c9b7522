"""Which tests need the solution in their own process, decided from their text alone.

Everything here is parsed and never executed.
"""

from __future__ import annotations

import ast

import pytest

from coderm_sandbox.guest import modes


def reason(body: str) -> str:
    """The reason for a test method of this body; lines before `---` stand above the class."""
    head, _, body = body.rpartition("---\n")
    lines = "".join(f"        {line}\n" for line in body.strip("\n").split("\n"))
    text = f"import unittest\n{head}class T(unittest.TestCase):\n    def test_a(self):\n{lines}"
    return modes.inline_reason(ast.parse(text))


def programs(table: str) -> dict[str, str]:
    return dict(part.split("\n", 1) for part in table.split("\n## ")[1:])


APART = programs(r"""
## equal
self.assertEqual(f([1, 2]), [3])
assert f(1) == 2
## imports-of-the-solution
from solution import f
import your_module, my_module as m
---
self.assertEqual(f(1), m.g(2) + your_module.h())
## star-of-the-solution
from your_solution import *
---
self.assertEqual(f(1), 2)
## solution-in-sys-modules
import sys, importlib
---
self.assertIs(sys.modules["solution"].f, importlib.import_module("solution").f)
## global-of-the-solution-set
import solution
---
solution.LIMIT = 3
self.assertEqual(solution.f(), 3)
## attribute-of-an-instance-set
s = Stack()
s.limit = 3
s[0] = 1
del s[0]
self.assertEqual(s.limit, 3)
## methods-named-like-those-of-a-list
self.stack = Stack()
self.stack.append(1)
s = Stack()
s.pop()
Stack.pop(s)
self.assertEqual(add(1, 2), 3)
## own-containers
ROWS = []
---
self.items = []
self.items.append(f(1))
found = f(2)
found.append(3)
found[0] = 1
self.seen = {}
self.seen["a"] = 1
ROWS.append(1)
## own-containers-in-own-objects
class Bag:
    def __init__(self): self.items = []
---
b = Bag()
b.items.append(1)
f(b)
## exceptions
with self.assertRaises(CustomError) as caught:
    f(1)
try:
    f(2)
except (ValueError, Missing):
    pass
## isinstance
self.assertIsInstance(Stack(), Stack)
self.assertTrue(issubclass(Sub, Base) and isinstance(f(1), Base))
## callbacks
seen = []
f(lambda x: seen.append(x))
class Visitor:
    def visit(self, x): seen.append(x)
g(Visitor())
## own-subclasses-of-std-classes
import collections, enum
from abc import ABC
class A(ABC): ...
class B(A, Exception): ...
class C(enum.Enum): X = 1
class D(collections.OrderedDict): ...
class E(collections.namedtuple("E", "x")): ...
---
f(B, C.X, D(), E(1))
## patched-print
from unittest.mock import patch as p
---
with p('builtins.print') as shown, p("sys.stdout"), p("sys.stdin"), p("builtins.input", return_value="1"):
    f()
shown.assert_called_once_with("x")
## patched-by-decorators
import io, unittest.mock as um, sys
class U(unittest.TestCase):
    @um.patch('sys.stdout', new_callable=io.StringIO)
    @um.patch.object(sys, 'argv', ['x'])
    def test_b(self, argv, out): f()
---
f()
## patched-argv
import sys
from unittest import mock
---
with mock.patch('sys.argv', ['a', '1']), mock.patch.object(sys, 'stdin'):
    f()
sys.argv[1:] = ["2"]
sys.argv = ["a"]
## patched-class-of-the-test
from unittest.mock import patch
class Helper: ...
---
with patch.object(Helper, "size", 3, create=True), patch.object(self, "x", create=True):
    f(Helper())
## own-name-patch
def patch(x): return x
---
self.assertEqual(patch("random.randint"), f())
## own-name-random
class random:
    def seed(self): ...
---
random().seed()
random.seed(3)
## parameter-named-like-a-module
import os
def check(os): os.environ["A"] = 1
---
check(f())
## stdout-set
import io, sys
---
sys.stdout = io.StringIO()
f()
sys.stdout = sys.__stdout__
## stdin-set
import io, sys, builtins
---
sys.stdin = io.StringIO("1")
builtins.input = lambda: "3"
setattr(builtins, "print", f)
## redirected-stdout
import contextlib, io
---
with contextlib.redirect_stdout(io.StringIO()) as out:
    f()
## warnings
import warnings
---
with self.assertWarns(DeprecationWarning):
    f()
with warnings.catch_warnings(record=True):
    warnings.simplefilter("always")
    f()
## copies
import copy
---
a = Node(1)
self.assertEqual(copy.copy(a), copy.deepcopy(a))
## async
class U(unittest.IsolatedAsyncioTestCase):
    async def test_b(self): self.assertEqual(await f(1), 2)
---
import asyncio
asyncio.run(f(1))
## random-of-its-own
import random
---
r = random.Random(3)
self.assertEqual(f([r.random()]), random.randint(1, 2))
## sys-path
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.append("..")
---
self.assertEqual(f(os.sep), os.getenv("HOME", "") + os.environ.get("X", ""))
## unused-modules
import inspect, pickle, subprocess, threading, tempfile, gc
from random import seed
---
f()
## time-and-numbers
import time, timeit, math
import numpy as np
---
time.sleep(0)
self.assertLess(timeit.timeit(lambda: f(), number=1), 9)
np.testing.assert_allclose(f(np.array([1.0])), math.pi)
## unittest-class-set
unittest.TestCase.maxDiff = None
f()
## mocks-as-arguments
from unittest.mock import MagicMock, Mock
---
m = MagicMock()
m.items.append(1)
f(m, Mock(side_effect=ValueError))
## names-and-docs
self.assertEqual((f.__name__, f.__doc__, Stack().__class__.__name__), ("f", "x", "Stack"))
## main-guard
import os
---
f()
if __name__ == "__main__":
    pass
## json-and-decimal
import json
from decimal import Decimal
from datetime import date
---
self.assertEqual(json.loads(f(Decimal("1"), date(2020, 1, 1))), {})
""")

INLINE = programs(r"""
## patches random.randint
from unittest.mock import patch
---
with patch("random.randint", return_value=3): f()
## patches time.sleep
from unittest import mock as m
---
with m.patch("time.sleep"): f()
## patches solution.helper
import unittest.mock
class U(unittest.TestCase):
    @unittest.mock.patch("solution.helper")
    def test_b(self, helper): f()
---
f()
## patches builtins.open
from unittest.mock import mock_open, patch as p
---
with p("builtins.open", mock_open(read_data="x")): f()
## patches random.choice
import random, mock
---
with mock.patch.object(random, "choice"): f()
## patches Stack.push
from unittest.mock import patch
from solution import Stack
---
with patch.object(Stack, "push"): f()
## patches an object it was given
from unittest.mock import patch
---
with patch.object(f(), "push"): f()
## patches os.environ
import os
from unittest.mock import patch
---
with patch.dict(os.environ, {"A": "1"}): f()
## patches os.environ | by name
from unittest.mock import patch
---
with patch.dict("os.environ", {"A": "1"}): f()
## patches more than one name
from unittest.mock import patch
---
with patch.multiple("solution", a=1, b=2): f()
## patches a computed name
from unittest.mock import patch
---
with patch(f"{__name__}.print"): f()
## uses patch in an unusual way
from unittest.mock import patch
---
p = patch
p("random.randint").start()
## patches sys.stderr
from unittest.mock import patch
---
with patch("sys.stderr"): f()
## seeds random numbers
import random
---
random.seed(0)
self.assertEqual(f(), 1)
## seeds random numbers | by an imported name
from random import seed as s
---
s(0)
## seeds random numbers | of the solution
import solution
---
solution.random.seed(0)
## seeds random numbers | of numpy
import numpy as np
---
np.random.seed(0)
## sets random.random
import random
---
random.random = lambda: 1
## sets time.time
import time
---
setattr(time, "time", lambda: 1)
## sets random.random | in the solution
import solution
---
solution.random.random = lambda: 1
## changes os.environ
import os
---
os.environ["A"] = "1"
## changes os.environ | by a method
from os import environ
---
environ.update(A="1")
## changes limits
import sys
---
sys.setrecursionlimit(100)
## changes sys.modules
import sys
---
sys.modules["random"] = f
## changes sys.modules | by a method
import sys
---
sys.modules.pop("solution")
## uses os.chdir
import os
---
os.chdir("/tmp")
## uses os.path.exists
import os.path
---
self.assertTrue(os.path.exists(f()))
## inherits from Shape of the solution
class Square(Shape): ...
---
f(Square())
## inherits from Base of the solution
from solution import Base
---
class Sub(Base): ...
f(Sub())
## inherits from Base of the solution | by its module
import solution
---
class Sub(solution.Base): ...
f(Sub())
## inherits from Stack of the solution
from typing import Generic
class Sub(Generic, Stack[int]): ...
---
f(Sub())
## inherits from a class of the solution
Sub = type("Sub", (Base,), {})
f(Sub())
## opens files
with open("out.txt", "w") as out: out.write("x")
f("out.txt")
## opens files | by io
import io
---
io.open("out.txt")
## shares files
import tempfile
---
with tempfile.NamedTemporaryFile() as t: f(t.name)
## shares files | by pathlib
from pathlib import Path
---
Path("a").write_text("x")
## introspects code
import inspect
---
self.assertEqual(len(inspect.signature(f).parameters), 2)
## reads __code__
self.assertEqual(f.__code__.co_argcount, 2)
## reads __globals__
f.__globals__["x"] = 1
## reads __closure__
self.assertIsNone(f.__closure__)
## reads __defaults__
self.assertIsNone(f.__defaults__)
## reads __dict__
self.assertEqual(Stack().__dict__, {})
## reads vars()
self.assertEqual(vars(Stack()), {})
## reads globals()
self.assertIn("f", globals())
## introspects code | by typing
import typing
---
self.assertEqual(typing.get_type_hints(f), {})
## introspects dataclasses
from dataclasses import asdict
---
self.assertEqual(asdict(Point(1)), {})
## pickles results
import pickle
---
self.assertEqual(pickle.loads(pickle.dumps(f())), f())
## runs threads or processes
import multiprocessing as mp
---
with mp.Pool(2) as pool: pool.map(f, [1])
## runs threads or processes | by concurrent.futures
from concurrent.futures import ProcessPoolExecutor
---
ProcessPoolExecutor().submit(f)
## runs threads or processes | by subprocess
import subprocess
---
subprocess.run(["ls"])
## runs threads or processes | by threading
import threading
---
threading.Thread(target=f).start()
## looks at memory
import gc
---
gc.collect()
## looks at memory | by weakref
from weakref import ref
---
self.assertIsNone(ref(f())())
## looks at memory | by sys
import sys
---
self.assertEqual(sys.getrefcount(f), 2)
## traces calls
import sys
---
sys.settrace(f)
## changes the process
import signal
---
signal.alarm(1)
## asks for exact types
import types
---
self.assertIsInstance(f(), types.GeneratorType)
## sets the decimal context
import decimal
---
decimal.getcontext().prec = 3
## captures log records
with self.assertLogs("x"): f()
## captures stderr
from contextlib import redirect_stderr
---
with redirect_stderr(None): f()
## turns warnings into errors
import warnings
---
warnings.simplefilter("error")
## reloads the solution
import importlib, solution
---
importlib.reload(solution)
## changes CACHE in place
CACHE["a"] = 1
f()
## changes memo in place
memo.clear()
f()
## changes memo in place | by an imported name
from solution import memo
---
memo.clear()
f()
## changes Stack.all in place
Stack.all.append(1)
f()
## changes s.items in place
s = Stack()
s.items.append(1)
## changes self.s.items in place
self.s = Stack()
self.s.items[0] = 1
## copies the solution's interface
from unittest.mock import Mock
---
f(Mock(spec=Stack))
## uses pandas
import pandas as pd
---
f(pd.DataFrame())
## needs objects of one process
import uuid
---
self.assertIsInstance(f(), uuid.UUID)
## shares sockets
import socket
---
f(socket.socket())
""")


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in APART.items()])
def test_judged_apart(text: str) -> None:
    assert reason(text) == ""


@pytest.mark.parametrize(
    ("expected", "text"), [pytest.param(name, text, id=name) for name, text in INLINE.items()]
)
def test_judged_inline_and_why(expected: str, text: str) -> None:
    assert reason(text) == expected.split(" | ")[0]


def test_a_reason_is_short() -> None:
    found = reason(f"from unittest.mock import patch\n---\nwith patch('{'a' * 100}.b'): f()")
    assert found == "patches " + "a" * 52


def test_the_first_of_several_reasons_is_given() -> None:
    assert reason("import gc, random\n---\nrandom.seed(1)\ngc.collect()\n") == "seeds random numbers"


def test_the_body_of_the_main_guard_does_not_count() -> None:
    text = "import os\nif __name__ == '__main__':\n    os.environ['A'] = '1'\nelse:\n    pass\n"
    assert modes.inline_reason(ast.parse(text)) == ""


def test_what_cannot_be_read_is_judged_inline() -> None:
    deep: ast.expr = ast.Constant(1)
    for _ in range(20_000):
        deep = ast.UnaryOp(ast.USub(), deep)
    tree = ast.Module(body=[ast.Expr(deep)], type_ignores=[])
    assert modes.inline_reason(tree) == "is nested too deeply to be read"
