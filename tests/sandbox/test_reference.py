"""The reference semantics as a property: a verdict is that of a fresh process for this pair alone.

Solutions are put together from blocks with and without hidden state, tests from calls of them. What a
call answers in a fresh process is known beforehand, so the verdicts of one job, of a fresh worker for
every pair, and of this model have to agree.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Each defines a function of its name, which counts its calls: 1, 2, 3, ... in one process.
COUNTING = {
    "global_number": "n_a = 0\ndef global_number():\n    global n_a\n    n_a += 1\n    return n_a\n",
    "global_list": "seen_b = []\ndef global_list():\n    seen_b.append(0)\n    return len(seen_b)\n",
    "default": "def default(seen=[]):\n    seen.append(0)\n    return len(seen)\n",
    "closure": (
        "def make_c(n):\n    def call():\n        nonlocal n\n        n += 1\n        return n\n"
        "    return call\nclosure = make_c(0)\n"
    ),
    "attribute": "class D:\n    n = 0\ndef attribute():\n    D.n += 1\n    return D.n\n",
    "instance": (
        "class E:\n    def __init__(self):\n        self.n = 0\n    def call(self):\n        self.n += 1\n"
        "        return self.n\ninstance = E().call\n"
    ),
    "on_itself": "def on_itself():\n    on_itself.n += 1\n    return on_itself.n\non_itself.n = 0\n",
    "cached": (
        "import functools\n@functools.lru_cache(None)\ndef cache_f(n):\n    return n\n"
        "def cached():\n    cache_f(cache_f.cache_info().misses)\n    return cache_f.cache_info().misses\n"
    ),
    "generated": (
        "def make_g():\n    n = 0\n    while True:\n        n += 1\n        yield n\nrunning_g = make_g()\n"
        "def generated():\n    return next(running_g)\n"
    ),
    "iterated": "import itertools\nsteps = itertools.count(1)\ndef iterated():\n    return next(steps)\n",
    "in_a_file": (
        "def in_a_file():\n    with open('calls', 'a+') as file:\n        file.write('x')\n"
        "        return file.tell()\n"
    ),
    "in_the_environment": (
        "import os\ndef in_the_environment():\n    os.environ['N'] = str(int(os.environ.get('N', 0)) + 1)\n"
        "    return int(os.environ['N'])\n"
    ),
    "in_a_library": (
        "import math\ndef in_a_library():\n    math.n = getattr(math, 'n', 0) + 1\n    return math.n\n"
    ),
}
# The same answer every time.
STATELESS = {
    "constant": ("def constant():\n    return 7\n", 7),
    "computed": (
        "TABLE = tuple(range(5))\ndef computed():\n    found = []\n    for n in TABLE:\n"
        "        found.append(n)\n    return sum(found)\n",
        10,
    ),
    "recursive": (
        "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "def recursive():\n    return fib(9)\n",
        34,
    ),
    "own_state": (
        "class Stack(list):\n    def total(self):\n        self.append(1)\n        return len(self)\n"
        "def own_state():\n    return Stack().total()\n",
        1,
    ),
}
SEED = 11
RANDOM = {
    "drawn": f"import random\nrandom.seed({SEED})\ndef drawn():\n    return random.randint(0, 9)\n",
    "drawn_apart": (
        f"import random\nown_h = random.Random({SEED})\ndef drawn_apart():\n    return own_h.randint(0, 9)\n"
    ),
}
SOURCES = {**COUNTING, **{name: source for name, (source, _) in STATELESS.items()}, **RANDOM}


def answers(name: str) -> list[int]:
    """What the first calls of a block answer in a fresh process."""
    if name in STATELESS:
        return [STATELESS[name][1]] * 99
    if name in RANDOM:
        numbers = random.Random(SEED)
        return [numbers.randint(0, 9) for _ in range(99)]
    return list(range(1, 100))


@dataclass(frozen=True)
class Case:
    """One test class: the blocks that setUp calls, and per method (block, what is added to its answer)."""

    set_up: tuple[str, ...]
    methods: tuple[tuple[tuple[str, int], ...], ...]

    def text_and_verdicts(self) -> tuple[str, list[str]]:
        """The text, with what a fresh process would answer, and the verdicts of its methods."""
        fresh = {name: iter(answers(name)) for name in SOURCES}
        lines = ["import unittest", "class T(unittest.TestCase):", "    def setUp(self):", "        pass"]
        lines += [f"        {name}()" for name in self.set_up]
        verdicts = []
        for number, calls in enumerate(self.methods):
            for name in self.set_up:
                next(fresh[name])
            lines.append(f"    def test_{number}(self):")
            verdict = "pass"
            for name, more in calls:
                # After a failed assertion nothing more is called, and what is expected does not matter.
                wanted = next(fresh[name]) + more if verdict == "pass" else 0
                lines.append(f"        self.assertEqual({name}(), {wanted})")
                verdict = "fail" if more else verdict
            verdicts.append(verdict)
        return "\n".join(lines) + "\n", verdicts


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, list[Case]]:
    """A solution and two or three test classes."""
    names = draw(st.lists(st.sampled_from(sorted(SOURCES)), min_size=1, max_size=4, unique=True))
    call = st.tuples(st.sampled_from(names), st.sampled_from([0, 0, 0, 0, 1]))
    method = st.lists(call, min_size=1, max_size=4).map(tuple)
    case = st.builds(
        Case,
        st.lists(st.sampled_from(names), max_size=1).map(tuple),
        st.lists(method, min_size=1, max_size=3).map(tuple),
    )
    return "".join(SOURCES[name] for name in names), draw(st.lists(case, min_size=2, max_size=3))


@settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(program=programs())
def test_one_job_is_a_fresh_worker_for_every_pair(
    sandbox: Any, make_sandbox: Callable[..., Any], program: tuple[str, list[Case]]
) -> None:
    solution, cases = program
    texts, verdicts = zip(*(case.text_and_verdicts() for case in cases), strict=True)
    together = sandbox.run(solution, *texts, texts[0])
    assert [list(result.methods.values()) for result in together] == [*verdicts, verdicts[0]]
    for text, result in zip(texts, together, strict=False):
        fresh = make_sandbox()
        try:
            (alone,) = fresh.run(solution, text)
        finally:
            fresh.close()
        assert (alone.outcome, alone.methods) == (result.outcome, result.methods)


def test_every_block_agrees_with_its_model(sandbox: Any) -> None:
    """Each block alone, twice in one job: the property above may not draw all of them."""
    for name, source in SOURCES.items():
        case = Case((), (((name, 0),) * 4, ((name, 0), (name, 1))))
        text, verdicts = case.text_and_verdicts()
        results = sandbox.run(source, text, text)
        assert [list(result.methods.values()) for result in results] == [verdicts] * 2, name


def test_all_blocks_together(sandbox: Any) -> None:
    """Blocks in one solution do not disturb each other, in whatever order they are called."""
    orders = itertools.islice(itertools.permutations(SOURCES), 0, 10**7, 2_500_001)
    cases = [Case((), (tuple((name, 0) for name in order),) * 2) for order in orders]
    texts = [case.text_and_verdicts()[0] for case in cases]
    results = sandbox.run("".join(SOURCES.values()), *texts)
    assert [result.outcome.value for result in results] == ["pass"] * len(cases)
