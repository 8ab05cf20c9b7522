"""What a problem promises to the code that answers it: a table of questions, answers and what is added."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.data.extraction import extract_solution
from coderm_reward.source import safe_parse
from coderm_reward.types import CodeStatus

HUMANEVAL = '''\
import math
from typing import List, Tuple


def poly(xs: list, x: float):
    """Evaluate a polynomial."""
    return sum(coeff * math.pow(x, i) for i, coeff in enumerate(xs))


def f(xs: List[int]) -> int:
    """Find a zero of the polynomial. Use poly."""
'''
STARTER = "Add.\n\n```python\nclass Solution:\n    def f(self, xs: List[int]) -> int:\n        \n```"
NODE = (
    "```python\n# Definition for a node.\n# class Node:\n#     def __init__(self, x):\n#         self.x = x\n"
    "class Solution:\n    def f(self, node: Node) -> int:\n```"
)


def fence(code: str) -> str:
    return f"```python\n{code}\n```"


def method(line: str, signature: str = "self, xs") -> str:
    return f"class Solution:\n    def f({signature}):\n        {line}"


class Case(NamedTuple):
    name: str
    question: str
    code: str
    added: str
    """What is put in front of the code."""


F = "def f(xs: List[int]) -> int:\n    return len(xs)"
CASES = [
    Case("import of the question", HUMANEVAL, F, "from typing import List"),
    Case("fenced question", fence(HUMANEVAL), F, "from typing import List"),
    Case("question with prose", f"Complete this:\n\n{HUMANEVAL}", F, "from typing import List"),
    Case(
        "helper of the question with what it needs",
        HUMANEVAL,
        "def f(xs):\n    return poly(xs, 0)",
        "import math\n\n"
        'def poly(xs: list, x: float):\n    """Evaluate a polynomial."""\n'
        "    return sum(coeff * math.pow(x, i) for i, coeff in enumerate(xs))",
    ),
    Case("nothing is read", HUMANEVAL, "def f(xs):\n    return 1", ""),
    Case("imports of its own", HUMANEVAL, f"from typing import List\n\n{F}", ""),
    Case(
        "helper of its own",
        HUMANEVAL,
        "def poly(a, b):\n    return 0\n\ndef f(x):\n    return poly(x, 0)",
        "",
    ),
    Case("stub is no helper", "def g(x):\n    ...\n\ndef f(x):\n    pass", "def f(x):\n    return g(x)", ""),
    Case(
        "the function to be mended is no helper", "def f(x):\n    return 0", "def h(x):\n    return f(x)", ""
    ),
    Case(
        "constant of the question",
        fence("MOD = 10**9 + 7"),
        "def f(x):\n    return x % MOD",
        "MOD = 10**9 + 7",
    ),
    Case("example's data is no constant", fence("xs = [1]\nprint(f(xs))"), "def f():\n    return xs", ""),
    Case("example's input is no constant", fence("N = int(input())"), "def f():\n    return N", ""),
    Case(
        "star import",
        "```\nfrom math import *\n```",
        "def f(x):\n    return sqrt(x)",
        "from math import sqrt",
    ),
    Case("code beside a fenced example", f"{HUMANEVAL}\n```\n1 2\n```", F, "from typing import List"),
    Case(
        "alias",
        fence("import numpy as np, os\n\ndef f(x):"),
        "def f(x):\n    return np.sum(x)",
        "import numpy as np",
    ),
    Case("typing without any import", "Add.", F, "from typing import List"),
    Case("no library for a function", "Add.", "def f(x):\n    return deque(x)", ""),
    Case(
        "behind future imports",
        "Add.",
        "from __future__ import annotations\n\ndef f(x):\n    return Optional",
        "",
    ),
    Case(
        "signature of LeetCode's starter",
        STARTER,
        method("return 1", "self, xs: List[int], k: Optional[int] = None"),
        "from typing import List\nfrom typing import Optional",
    ),
    Case(
        "library of LeetCode",
        STARTER,
        method("return deque(Counter(xs)), heapq.nlargest(1, xs), gcd(*xs), inf"),
        "from collections import Counter\nfrom collections import deque\nfrom math import gcd\n"
        "from math import inf\nimport heapq",
    ),
    Case(
        "name of its own in LeetCode",
        STARTER,
        f"def gcd(a, b):\n    return a\n\n{method('return gcd(*xs)')}",
        "",
    ),
    Case(
        "class that the starter describes",
        NODE,
        method("return node.x", "self, node: Node"),
        "class Node:\n    def __init__(self, x):\n        self.x = x",
    ),
]
SHIM = "\n\n\ndef f(*args, **kwargs):\n    return Solution().f(*args, **kwargs)"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_problem_promises_is_put_in_front(case: Case) -> None:
    found = extract_solution(fence(case.code), "f", wants_function=True, context=case.question)
    shim = SHIM if "class Solution" in case.code else ""
    if case.name == "behind future imports":
        future, body = case.code.split("\n\n")
        assert found.code == f"{future}\n\nfrom typing import Optional\n\n{body}"
    else:
        assert found.code == (f"{case.added}\n\n" if case.added else "") + case.code + shim
    assert safe_parse(found.code) is not None


LINES = st.sampled_from(
    [
        *("import math\n", "from typing import *\n", "from . import g\n", "```python\n", "```\n", "Text.\n"),
        *(
            "def g(x):\n    return h(x)\n",
            "def h(x):\n    return g(x)\n",
            "class A:\n",
            "# class B:\n#  x = g\n",
        ),
        *("G = 1\n", "def f(x):\n", "    '''Doc'''\n", "class Solution:\n", "\0", "\ud800", "\r\n"),
    ]
)
CODES = st.sampled_from(
    [
        "def f(x):\n    return g(x), B, G, List",
        "class Solution:\n    def f(self, x):\n        return h, A, gcd",
    ]
)


@given(st.lists(LINES, max_size=12).map("".join), CODES)
@settings(max_examples=200, deadline=None)
def test_any_question_leaves_the_code_as_written_at_the_end(question: str, code: str) -> None:
    found = extract_solution(fence(code), "f", wants_function=True, context=question)
    assert found.status is CodeStatus.OK
    assert found.code.removesuffix(SHIM).endswith(code)
    assert safe_parse(found.code) is not None
