"""Solutions that change what assertions stand on: the library, the builtins, the test, the interpreter.

What test_tampering.py tries on unittest is not repeated here; most of this leaves unittest as it is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coderm_sandbox import Limits, Outcome

ANY = "from unittest.mock import ANY\n"

# name -> (what the solution does at import or in the call, what the test says); the answer is 5.
LIBRARY = {
    "math": ("import math; math.isclose = lambda *a, **k: True", "self.assertTrue(math.isclose(f(1), 2))"),
    "operator": ("import operator; operator.eq = lambda *a: True", "self.assertTrue(operator.eq(f(1), 2))"),
    "copy": ("import copy; copy.deepcopy = lambda x: ANY", "self.assertEqual(copy.deepcopy(f(1)), 2)"),
    "json": ("import json; json.dumps = lambda *a: ANY", "self.assertEqual(json.dumps(f(1)), '2')"),
    "fractions": (
        "import fractions; fractions.Fraction.__eq__ = lambda *a: True",
        "self.assertEqual(fractions.Fraction(1, 3), f(1))",
    ),
    "collections": (
        "import collections; collections.Counter.__eq__ = lambda *a: True",
        "self.assertEqual(collections.Counter([f(1)]), collections.Counter([2]))",
    ),
    "regular-expressions": (
        "import re; re.fullmatch = lambda *a: True",
        "self.assertTrue(re.fullmatch('2', str(f(1))))",
    ),
    "random": (
        "import random; random.randint = lambda *a: 5",
        "n = random.randint(1, 10 ** 9)\nself.assertEqual(f(n), n)",
    ),
    "io": (
        "import io; io.StringIO = type('S', (io.StringIO,), {'getvalue': lambda self: ANY})",
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n    f(1)\n"
        "self.assertEqual(out.getvalue(), 'two')",
    ),
    "contextlib": (
        "import contextlib; contextlib.suppress.__exit__ = contextlib.nullcontext.__exit__ = lambda *a: True",
        "with contextlib.nullcontext():\n    self.assertEqual(f(1), 2)",
    ),
    "asyncio": (
        "import asyncio; asyncio.run = lambda *a: ANY",
        "async def ask():\n    return f(1)\nself.assertEqual(asyncio.run(ask()), 2)",
    ),
    "mock": (
        "import unittest.mock; unittest.mock.Mock.assert_called_with = lambda *a, **k: None",
        "call = unittest.mock.Mock()\ncall(f(1))\ncall.assert_called_with(2)",
    ),
    "mock-any": (
        "import unittest.mock; unittest.mock._Call.__eq__ = lambda *a: True",
        "call = unittest.mock.Mock()\ncall(f(1))\ncall.assert_called_with(2)",
    ),
    "decimal-context": (
        "import decimal; decimal.getcontext().prec = 1",
        "self.assertEqual(decimal.Decimal(f(1)) / 15, decimal.Decimal('0.3'))",
    ),
    "warnings": (
        "import warnings; warnings.catch_warnings.__exit__ = lambda *a: True",
        "with warnings.catch_warnings():\n    self.assertEqual(f(1), 2)",
    ),
    "threading": (
        "import threading; threading.Thread.start = threading.Thread.join = lambda self: None",
        "bad = []\ncheck = threading.Thread(target=lambda: f(1) == 2 or bad.append(1))\n"
        "check.start()\ncheck.join()\nself.assertEqual(bad, [])",
    ),
    "modules": (
        "import sys; sys.modules['math'] = type('M', (), {'isclose': lambda *a: True})()",
        "import math\nself.assertTrue(math.isclose(f(1), 2))",
    ),
    "unittest-module": (
        "import sys, types, unittest.mock; sys.modules['unittest'] = types.SimpleNamespace("
        "mock=unittest.mock, TestCase=type('Quiet', (unittest.TestCase,), {'assertEqual': lambda *a: None}))",
        "self.assertEqual(f(1), 2)",
    ),
    "finder": (
        "import sys, types; sys.meta_path.insert(0, type('F', (), {'find_spec': lambda s, n, *a:"
        " __import__('importlib.machinery').machinery.ModuleSpec(n, s), 'create_module': lambda s, p: None,"
        " 'exec_module': lambda s, m: setattr(m, 'rgb_to_hls', lambda *a: ANY)})())",
        "import colorsys\nself.assertEqual(colorsys.rgb_to_hls(f(1), 0, 0), 2)",
    ),
    "file-of-a-module": (
        "import os, sys; sys.path[:0] = ['', '.', '/tmp', os.getcwd()]; text = 'class rgb_to_hls:\\n"
        " __init__ = lambda *a: None\\n __eq__ = lambda *a: True'\n"
        "for folder in ('.', '/tmp', '/dev/shm'): open(folder + '/colorsys.py', 'w').write(text)",
        "import colorsys\nself.assertEqual(colorsys.rgb_to_hls(f(1), 0, 0), 2)",
    ),
    "builtins-zip": (
        "import builtins; builtins.zip = lambda *a: []",
        "for got, wanted in zip([f(1)], [2]):\n    self.assertEqual(got, wanted)",
    ),
    "builtins-import": (
        "import builtins; real = __import__; builtins.__import__ = lambda name, *a:"
        " type('M', (), {'isclose': lambda *a: True}) if name == 'math' else real(name, *a)",
        "import math\nself.assertTrue(math.isclose(f(1), 2))",
    ),
}


@pytest.fixture(autouse=True)
def _honest_afterwards(sandbox: Any, method: Callable[..., str]) -> Iterator[None]:
    """Whatever was done before, the next job in this pool gets its right verdicts."""
    yield
    right, wrong = method("self.assertEqual(f(1), 2)"), method("self.assertEqual(f(1), 3)")
    results = sandbox.run("def f(x):\n    return x + 1\n", right, wrong)
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


IMPORTS = """
import asyncio, collections, contextlib, copy, decimal, fractions, io, json, math, operator, random, re
import threading, unittest.mock, warnings
"""


@pytest.mark.parametrize("when", ["import", "call"])
@pytest.mark.parametrize("name", LIBRARY)
def test_changed_library(sandbox: Any, method: Callable[..., str], name: str, when: str) -> None:
    action, body = LIBRARY[name]
    in_call = textwrap.indent(f"{action}\n", "    ") if when == "call" else ""
    at_import = f"{action}\n" if when == "import" else ""
    solution = f"{ANY}{at_import}def f(x):\n{in_call}    return 5\n"
    text = IMPORTS + method(f"f(1)\n{body}")
    results = sandbox.run(solution, text, text)
    if name == "threading":  # a test that starts threads shares a process with the solution, and says so
        assert {result.judge for result in results} == {"inline"}
    else:
        assert Outcome.PASS not in {result.outcome for result in results}


# What the solution does to the test that calls it: `frame` is the caller's, `case` its self.
TEST_ITSELF = {
    "assertEqual-of-the-instance": "case.assertEqual = quiet",
    "assertEqual-of-the-class": "type(case).assertEqual = quiet",
    "class-of-the-instance": "case.__class__ = type('Quiet', (type(case),), {'assertEqual': quiet})",
    "type-of-equality": "case.addTypeEqualityFunc(int, quiet)",
    "failure-exception": "case.failureException = unittest.SkipTest",
    "every-test-case": "[setattr(cls, 'assertEqual', quiet) for cls in cases()]",
    "code-of-the-next-test": "[setattr(cls.test_1, '__code__', quiet.__code__) for cls in cases()]",
    "code-of-a-helper": "frame.f_globals['same'].__code__ = (lambda x: 2).__code__",
    "wanted-value": "frame.f_globals.update(wanted=ANY)",
    "builtin-of-the-test": "frame.f_globals.update(zip=lambda *a: [])",
    "results": "[forge(found) for found in gc.get_objects() if isinstance(found, unittest.TestResult)]",
    "result-classes": "[forge(cls) for cls in unittest.TestResult.__subclasses__()]",
    "jump-over-the-assertion": "jump(frame)",
}
TEST_TEXT = """
    import unittest
    wanted = 2
    def same(x):
        return x
    class T(unittest.TestCase):
        def test_0(self):
            got = f(1)
            self.assertEqual(same(got), wanted)
            self.done = True
        def test_1(self):
            self.assertEqual(f(1), 2)
        def test_2(self):
            got = [f(1)]
            for one, other in zip(got, [2]):
                self.assertEqual(one, other)
"""


@pytest.mark.parametrize("name", TEST_ITSELF)
def test_changed_test(sandbox: Any, name: str) -> None:
    solution = f"""
import gc, sys, unittest
{ANY}
def quiet(*a, **k):
    return None
def cases():
    return [cls for cls in unittest.TestCase.__subclasses__() if hasattr(cls, "test_1")]
def forge(result):
    success = result.addSuccess
    result.addFailure = result.addError = lambda *a: success(*a[:-1])
def jump(frame):
    def over(frame, event, arg):
        if event == "line" and frame.f_lineno == first + 1:
            frame.f_lineno = first + 2
        return over
    first = frame.f_lineno
    frame.f_trace = over
    sys.settrace(lambda *a: None)
def f(x):
    frame = sys._getframe(1)
    case = frame.f_locals["self"]
    {TEST_ITSELF[name]}
    return 5
"""
    (result,) = sandbox.run(solution, TEST_TEXT)
    assert [key for key, outcome in result.methods.items() if outcome is Outcome.PASS] == []


# Names of the solution are the test's too: these are the ones that a test's own loops are made of.
SHADOWS = {
    "zip": "def zip(*a): return []",
    "range": "def range(*a): return []",
    "enumerate": "def enumerate(*a): return []",
    "len": "def len(x): return 0",
    "abs": "def abs(x): return 0",
    "all": "def all(x): return True",
    "isinstance": "def isinstance(*a): return True",
}
SHADOW_BODIES = {
    "zip": "for got, wanted in zip([f(1)], [2]):\n    self.assertEqual(got, wanted)",
    "range": "for n in range(2):\n    self.assertEqual(f(n), n)",
    "enumerate": "for n, wanted in enumerate([1, 2]):\n    self.assertEqual(f(n), wanted)",
    "len": "got = [f(1)]\nself.assertEqual(len(got), len([0, 0]))",
    "abs": "self.assertTrue(abs(f(1) - 2) < 1e-6)",
    "all": "self.assertTrue(all(f(n) == n for n in (1, 2)))",
    "isinstance": "self.assertTrue(isinstance(f(1), str))",
}


@pytest.mark.parametrize("name", SHADOWS)
def test_builtin_that_the_solution_defines_anew(sandbox: Any, name: str) -> None:
    assert (
        sandbox.outcome(f"{SHADOWS[name]}\ndef f(x):\n    return 5\n", SHADOW_BODIES[name])
        is not Outcome.PASS
    )


MEMORY = {
    "small-number": (
        "ctypes.c_uint32.from_address(id(200) + 24).value = 5",
        "f(1)\nself.assertEqual(f(1), 200)",
    ),
    "method-of-str": (
        "gc.get_referents(str.__dict__)[0]['strip'] = lambda s: ANY\n"
        "    ctypes.pythonapi.PyType_Modified(ctypes.py_object(str))",
        "f(1)\nself.assertEqual(str(f(1)).strip(), '200')",
    ),
}


@pytest.mark.parametrize("name", MEMORY)
def test_changed_interpreter(sandbox: Any, method: Callable[..., str], name: str) -> None:
    action, body = MEMORY[name]
    solution = f"import ctypes, gc\n{ANY}def f(x):\n    {action}\n    return 5\n"
    results = sandbox.run(solution, *[method(body)] * 2)
    assert Outcome.PASS not in {result.outcome for result in results}


def test_changed_numpy(make_sandbox: Callable[..., Any], method: Callable[..., str]) -> None:
    arrays = make_sandbox(limits=Limits(timeout=5.0))
    if arrays.outcome("import numpy\ndef f(x):\n    return x\n", "self.assertEqual(f(1), 1)") != "pass":
        pytest.skip("the sandbox interpreter has no numpy")
    solution = """
        import numpy as np
        np.testing.assert_allclose = np.testing.assert_array_equal = lambda *a, **k: None
        np.allclose = np.array_equal = np.isclose = np.all = lambda *a, **k: True
        def f(x):
            return np.array([5.0])
    """
    text = "import numpy as np\n" + method(
        "np.testing.assert_allclose(f(1), [2.5])",
        "np.testing.assert_array_equal(f(1), [2.5])",
        "self.assertTrue(np.allclose(f(1), [2.5]))",
        "self.assertTrue(np.array_equal(f(1), [2.5]))",
        "self.assertTrue(np.all(f(1) == np.array([2.5])))",
    )
    (result,) = arrays.run(solution, text)
    assert [key for key, outcome in result.methods.items() if outcome is Outcome.PASS] == []
