"""Honest programs with much to say: large arguments and answers, much output, and numpy's arrays."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Limits, Outcome


@pytest.fixture(scope="module")
def roomy(make_sandbox: Callable[..., Any]) -> Any:
    """A pool with time and memory to spare: what is tested here is size, not speed."""
    return make_sandbox(limits=Limits(timeout=10.0, memory_mb=1024))


# name -> (solution, what the test does, (what is replaced in the solution, by what))
CASES = {
    "numbers-both-ways": (
        "def f(xs):\n    return [x + 1 for x in xs]\n",
        "self.assertEqual(f(list(range(200_000))), list(range(1, 200_001)))",
        ("x + 1", "x + (x != 199_999)"),
    ),
    "numbers-in-place": (
        "def f(xs):\n    xs.reverse()\n",
        """
            xs = list(range(200_000))
            f(xs)
            self.assertEqual(xs[:2] + xs[-1:], [199_999, 199_998, 0])
            self.assertEqual(len(xs), 200_000)
        """,
        ("xs.reverse()", "return xs[::-1]"),
    ),
    "long-text": (
        "def f(text):\n    return text.upper()\n",
        "self.assertEqual(f('aé' * 2_500_000), 'AÉ' * 2_500_000)",
        ("text.upper()", "text.upper()[:-1]"),
    ),
    "long-bytes": (
        "def f(data):\n    return data[::-1]\n",
        "self.assertEqual(f(bytes(range(256)) * 20_000), bytes(range(255, -1, -1)) * 20_000)",
        ("data[::-1]", "data"),
    ),
    "wide-dict": (
        "def f(n):\n    return {str(i): [i, {'i': (i,)}] for i in range(n)}\n",
        "got = f(20_000)\nself.assertEqual(len(got), 20_000)\n"
        "self.assertEqual(got['19999'], [19999, {'i': (19999,)}])",
        ("(i,)", "[i]"),
    ),
    "big-grid": (
        "def f(grid):\n    return [list(row) for row in zip(*grid)]\n",
        "grid = [[r * 300 + c for c in range(300)] for r in range(300)]\n"
        "self.assertEqual(f(grid)[299][0], 299)\nself.assertEqual(f(f(grid)), grid)",
        ("list(row)", "row"),
    ),
    "deep-list": (
        "def f(n):\n    top = []\n    for _ in range(n):\n        top = [top]\n    return top\n",
        "found, depth = f(200), 0\nwhile found:\n    found, depth = found[0], depth + 1\n"
        "self.assertEqual(depth, 200)",
        ("range(n)", "range(n + 1)"),
    ),
    "big-number": (
        "import math\ndef f(n):\n    return math.factorial(n)\n",
        "import math\nself.assertEqual(f(5000), math.factorial(5000))",
        ("factorial(n)", "factorial(n) + 1"),
    ),
    "many-instances": (
        "class P:\n    def __init__(self, x):\n        self.x = x\n"
        "def f(n):\n    return [P(x) for x in range(n)]\n",
        "self.assertEqual(sum(p.x for p in f(2000)), 1999000)",
        ("P(x) for", "P(1) for"),
    ),
    "many-calls": (
        "def f(x):\n    return x ^ 5\n",
        "for n in range(5000):\n    self.assertEqual(f(n), n ^ 5)",
        ("x ^ 5", "x ^ 5 if x != 4999 else 0"),
    ),
    "many-callbacks": (
        "def f(call, n):\n    return sum(call(i) for i in range(n))\n",
        "self.assertEqual(f(lambda i: i * 2, 3000), 8997000)",
        ("range(n)", "range(n - 1)"),
    ),
    "long-generator": (
        "def f(n):\n    yield from range(n)\n",
        "self.assertEqual(sum(f(20_000)), 199990000)",
        ("range(n)", "range(1, n + 1)"),
    ),
    "much-output": (
        "def f(n):\n    for i in range(n):\n        print('line', i)\n    return n\n",
        """
            import contextlib, io
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(f(20_000), 20_000)
            self.assertEqual(out.getvalue().count("\\n"), 20_000)
            self.assertTrue(out.getvalue().endswith("line 19999\\n"))
        """,
        ("'line', i)", "'line', i + 1)"),
    ),
    "output-in-one-piece": (
        "def f(n):\n    print('a' * n)\n",
        """
            import contextlib, io
            with contextlib.redirect_stdout(io.StringIO()) as out:
                f(3_000_000)
            self.assertEqual(len(out.getvalue()), 3_000_001)
        """,
        ("'a' * n", "'a' * n, end=''"),
    ),
    "long-error": (
        "def f(n):\n    raise ValueError('a' * n + 'z')\n",
        "with self.assertRaisesRegex(ValueError, 'az$') as caught:\n    f(1_000_000)\n"
        "self.assertEqual(len(str(caught.exception)), 1_000_001)",
        ("+ 'z'", "+ 'b'"),
    ),
}

ARRAYS = {
    "array-and-array": (
        "import numpy as np\ndef f(a, b):\n    return a @ b\n",
        """
            got = f(np.arange(6.0).reshape(2, 3), np.ones((3, 1)))
            np.testing.assert_allclose(got, [[3.0], [12.0]])
            self.assertEqual((got.shape, got.dtype), ((2, 1), np.float64))
            self.assertIsInstance(got, np.ndarray)
        """,
        ("a @ b", "a @ b + 1"),
    ),
    "array-in-place": (
        "import numpy as np\ndef f(a):\n    a[1:] *= 2\n",
        "a = np.array([1, 2, 3])\nf(a)\nnp.testing.assert_array_equal(a, [1, 4, 6])",
        ("a[1:] *= 2", "a = a * 2"),
    ),
    "array-from-a-list": (
        "import numpy as np\ndef f(xs):\n    return np.array(xs, dtype=np.int32)\n",
        "self.assertEqual(f([1, 2]).tolist(), [1, 2])\nself.assertEqual(f([1]).dtype, np.int32)\n"
        "self.assertTrue((f([3, 4]) == np.array([3, 4])).all())",
        ("np.int32", "np.int64"),
    ),
    "list-from-an-array": (
        "import numpy as np\ndef f(a):\n    return sorted(a.tolist()), a.mean()\n",
        "xs, mean = f(np.array([3, 1]))\nself.assertEqual(xs, [1, 3])\nself.assertAlmostEqual(mean, 2.0)",
        ("a.mean()", "a.max()"),
    ),
    "numbers-of-numpy": (
        "import numpy as np\n"
        "def f(xs):\n    return np.float64(sum(xs)), np.int64(len(xs)), np.bool_(len(xs))\n",
        "total, n, some = f([1, 2])\nself.assertEqual((total, n), (3.0, 2))\nself.assertTrue(some)\n"
        "self.assertEqual(total / n, 1.5)\nself.assertIsInstance(total, np.floating)",
        ("sum(xs)", "sum(xs) + 1"),
    ),
    "arrays-inside": (
        "import numpy as np\ndef f(n):\n    return {'eye': np.eye(n), 'mask': [np.arange(n) > 0]}\n",
        "got = f(2)\nself.assertTrue(np.array_equal(got['eye'], [[1, 0], [0, 1]]))\n"
        "self.assertEqual(got['mask'][0].tolist(), [False, True])",
        ("> 0", "> 1"),
    ),
    "not-a-number-in-an-array": (
        "import numpy as np\ndef f():\n    return np.array([np.nan, np.inf, -0.0])\n",
        "np.testing.assert_array_equal(f(), [np.nan, np.inf, 0.0])\nself.assertTrue(np.isnan(f()[0]))",
        ("np.nan", "0"),
    ),
    "large-array": (
        "import numpy as np\ndef f(a):\n    return a[::-1]\n",
        "a = np.arange(500_000)\nnp.testing.assert_array_equal(f(a), a[::-1])",
        ("a[::-1]", "a"),
    ),
    "fixed-seed": (
        "import numpy as np\ndef f(seed):\n    return np.random.default_rng(seed).integers(0, 100, 5)\n",
        "np.testing.assert_array_equal(f(1), np.random.default_rng(1).integers(0, 100, 5))",
        ("default_rng(seed)", "default_rng(seed + 1)"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_passes(roomy: Any, name: str) -> None:
    solution, body, _ = CASES[name]
    result = roomy.check(solution, body)
    assert result.outcome is Outcome.PASS, result.detail


@pytest.mark.parametrize("name", CASES)
def test_wrong_variant_does_not_pass(roomy: Any, name: str) -> None:
    solution, body, (right, wrong) = CASES[name]
    assert right in solution
    assert roomy.outcome(solution.replace(right, wrong), body) is not Outcome.PASS


@pytest.fixture(scope="module")
def arrays(roomy: Any) -> Any:
    """The same pool, where its interpreter has numpy."""
    if roomy.outcome("import numpy\ndef f(x):\n    return x\n", "self.assertEqual(f(1), 1)") != "pass":
        pytest.skip("the sandbox interpreter has no numpy")
    return roomy


@pytest.mark.parametrize("name", ARRAYS)
def test_array_passes(arrays: Any, method: Callable[..., str], name: str) -> None:
    solution, body, _ = ARRAYS[name]
    (result,) = arrays.run(solution, "import numpy as np\n" + method(textwrap.dedent(body)))
    assert result.outcome is Outcome.PASS, result.detail


@pytest.mark.parametrize("name", ARRAYS)
def test_wrong_array_does_not_pass(arrays: Any, method: Callable[..., str], name: str) -> None:
    solution, body, (right, wrong) = ARRAYS[name]
    assert right in solution
    (result,) = arrays.run(solution.replace(right, wrong), "import numpy as np\n" + method(body))
    assert result.outcome is not Outcome.PASS
