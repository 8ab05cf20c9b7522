"""Texts that are inspected without being run: what is said of them is what running them says."""

from __future__ import annotations

import ast
import random

import pytest
from conftest import Sandbox

from coderm_sandbox import SandboxPool, Test
from coderm_sandbox.guest.plaintests import plain_methods

RUN = "\n0 + 0\n"
"""Does nothing, and is more than defining: a text that ends with it is run."""

PLAIN = '''"""Tests of add."""
import math
import unittest
from solution import add

CASES = [(1, 2, 3), (-1, 1, 0)]

def pairs(limit=3):
    return CASES[:limit]

class TestAdd(unittest.TestCase):
    """Of small numbers."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.one = 1

    def setUp(self):
        self.two = 2

    def test_small(self):
        self.assertEqual(add(self.one, self.two), 3)

    async def test_async(self):
        pass

    def test_cases(self):
        for a, b, c in pairs():
            self.assertEqual(add(a, b), c)

    def helper(self):
        pass

class TestMore(unittest.TestCase):
    def test_floats(self):
        self.assertTrue(math.isclose(add(0.1, 0.2), 0.3))

if __name__ == "__main__":
    unittest.main()
'''
BASE = "import unittest\nclass TestIt(unittest.TestCase):\n    def test_it(self):\n        pass\n"


def methods(text: str, class_name: str | None = None) -> list[str] | None:
    return plain_methods(ast.parse(text), class_name)


def test_a_plain_text_is_read() -> None:
    found = ["TestAdd.test_async", "TestAdd.test_cases", "TestAdd.test_small", "TestMore.test_floats"]
    assert methods(PLAIN) == found
    assert methods(PLAIN, "TestMore") == found[3:]
    assert methods(PLAIN, "Absent") == []
    assert methods("import unittest\n") == []


@pytest.mark.parametrize(
    "text",
    [
        BASE + RUN,
        BASE + "print(1)\n",
        BASE + "x = []\nx.append(1)\n",
        BASE + "TestIt.test_more = lambda self: None\n",
        BASE + "del TestIt\n",
        BASE + "TestIt = 5\n",
        BASE + "class TestIt(unittest.TestCase):\n    pass\n",
        BASE + "class Other(TestIt):\n    pass\n",
        BASE + "class Other(unittest.TestCase, TestIt):\n    pass\n",
        BASE + "class Other(unittest.IsolatedAsyncioTestCase):\n    pass\n",
        BASE + "class Other(unittest.TestCase, metaclass=type):\n    pass\n",
        BASE + "@unittest.skip('no')\nclass Other(unittest.TestCase):\n    pass\n",
        BASE + "    @unittest.skip('no')\n    def test_more(self):\n        pass\n",
        BASE + "    @staticmethod\n    def test_more():\n        pass\n",
        BASE + "    test_it = None\n",
        BASE + "    __unittest_skip__ = True\n",
        BASE + "    def __init_subclass__(cls):\n        pass\n",
        BASE + "    def test_more(self, x: str = print()):\n        pass\n",
        BASE + "    def test_more(self, x=print()):\n        pass\n",
        BASE + "    def test_more(self) -> print():\n        pass\n",
        BASE + "    for i in range(3):\n        pass\n",
        BASE + "    x: int = 3\n",
        BASE + "    x = {[]: 1}\n",
        BASE + "    x = 'a' * 10 ** 9\n",
        BASE + "    x = -'a'\n",
        BASE + "    x, y = 1, 2\n",
        BASE + "    class Inner:\n        pass\n",
        BASE + "if __name__ != '__main__':\n    del TestIt\n",
        BASE + "if __name__ == '__main__':\n    pass\nelse:\n    del TestIt\n",
        "def classmethod(f):\n    return None\n" + BASE,
        BASE + "    def staticmethod(f):\n        return None\n",
        BASE.replace("import unittest", "from solution import unittest"),
        BASE.replace("import unittest", "import math as unittest"),
        BASE.replace("import unittest", "import unittest\nunittest = None"),
        BASE.replace("import unittest\n", "") + "import unittest\n",
        BASE.replace("unittest.TestCase", "TestCase"),
        BASE.replace("unittest.TestCase", "unittest.TestCase()"),
        BASE + "import no_such_module\n",
        BASE + "import test_solution\n",
        BASE + "from test_solution import TestOther\n",
        BASE + "        import no_such_module\n",
        BASE + "from math import no_such_name\n",
        BASE + "from math import *\n",
        BASE + "from . import something\n",
        BASE + "from solution import __all__\n",
        BASE + "__name__ = '__main__'\n",
        BASE + "import math\nmath.pi = 4\n",
        BASE + "while True:\n    pass\n",
    ],
)
def test_whatever_could_do_more_is_not_plain(text: str) -> None:
    assert methods(text) is None


USUAL_BODY = [
    "    def test_one(self):\n        assert f(1) == 1",
    "    def test_two(self, x=3):\n        self.assertEqual(g(x), [1])",
    "    async def test_three(self):\n        pass",
    "    def testless(self):\n        import math",
    "    def helper(self, *args, **kwargs):\n        pass",
    "    @classmethod\n    def setUpClass(cls):\n        pass",
    "    maxDiff = None",
    "    '''A docstring.'''",
    "    pass",
]
ODD_BODY = [
    "    @unittest.skip('no')\n    def test_four(self):\n        pass",
    "    test_five = None",
    "    test_one = 3",
]
USUAL = [
    "import unittest as ut",
    "from unittest import TestCase",
    "from solution import *",
    "from solution import h",
    "import random, math",
    "LIMIT = -3",
    "CASES = [(1, 'a'), {'k': [2]}]",
    "def helper(x=()):\n    return x",
    "def f(x=1):\n    return x",
    "if __name__ == '__main__':\n    unittest.main()",
]
ODD = [
    "from solution import f, g as unittest",
    "from math import pi, no_such_name",
    "BROKEN = {[]: 1}",
    "def helper(x=CASES):\n    return x",
    "LIMIT = 4",
]
NAMES = ["TestA", "TestB", "TestC", "Other"]


def a_text(draw: random.Random) -> str:
    """A module of usual lines and a few odd ones, some in an order in which they cannot be loaded."""

    def some(usual: list[str], odd: list[str], most: int) -> list[str]:
        return [draw.choice(odd if draw.random() < 0.05 else usual) for _ in range(draw.randrange(1, most))]

    lines = ["import unittest", *dict.fromkeys(some(USUAL, ODD, 5))]
    for name in draw.sample(NAMES, k=draw.randrange(1, 3)):
        base = draw.choice(["unittest.TestCase"] * 6 + ["TestCase", "ut.TestCase", "object", "TestA"])
        lines.append(f"class {name}({base}):\n" + "\n".join(some(USUAL_BODY, ODD_BODY, 5)))
    if draw.random() < 0.1:
        draw.shuffle(lines)
    return "\n".join(lines) + "\n"


def test_reading_says_what_running_says(sandbox: Sandbox) -> None:
    draw = random.Random(7)
    texts = list(dict.fromkeys(a_text(draw) for _ in range(400)))
    plain = [text for text in texts if methods(text) is not None]
    assert len(texts) // 4 < len(plain) < len(texts)
    read, run = sandbox.inspect(*plain), sandbox.inspect(*(text + RUN for text in plain))
    assert read == run
    assert {one.valid for one in read} == {True, False}


async def inspected(pool: SandboxPool, *tests: Test) -> list[list[str]]:
    return [list(one.methods) for one in await pool.inspect(tests)]


def test_a_class_is_inspected_by_itself(sandbox: Sandbox) -> None:
    both = [Test(text, "TestMore") for text in (PLAIN, PLAIN + RUN)]
    assert sandbox.do(inspected(sandbox.pool, *both)) == [["TestMore.test_floats"]] * 2


def test_a_text_that_cannot_be_read_is_invalid_alone(sandbox: Sandbox) -> None:
    deep = "import unittest\nx = " + "-" * 50_000 + "1\n"
    found = sandbox.inspect(BASE, deep, BASE)
    assert [one.valid for one in found] == [True, False, True]
