"""Ground truths judge solutions: real pool, real sandbox."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest

from coderm_reward.execution import SandboxExecutor
from coderm_reward.online.truth import TruthJudge
from coderm_reward.types import CodeStatus, ExecutionMatrix, Problem, Solution, TestSuite, Verdict
from coderm_sandbox import Limits, SandboxPool

T = TypeVar("T")

PROBLEM = Problem("p", "Write a function `two_sum(numbers, target)`.", "two_sum")
RIGHT = """
def two_sum(numbers, target):
    seen = {}
    for i, n in enumerate(numbers):
        if target - n in seen:
            return (seen[target - n], i)
        seen[n] = i
"""
METHOD = "class Solution:\n    def other(self):\n        pass\n\n" + "\n".join(
    "    " + line for line in RIGHT.replace("two_sum(", "two_sum(self, ").splitlines()
)
WRONG = "def two_sum(numbers, target):\n    return (0, 1)\n"
RAISING = "def two_sum(numbers, target):\n    raise AssertionError\n"
AGREEABLE = """
class Same(list):
    def __eq__(self, other): return True
    def __len__(self): return 2
def two_sum(numbers, target):
    return Same()
"""
HANGING = "def two_sum(numbers, target):\n    while True:\n        pass\n"
BROKEN = "def two_sum(numbers, target:\n"
OTHER_NAME = RIGHT.replace("two_sum", "pair")

CALLS = [([[2, 7, 11], 9], [0, 1]), ([[3, 2, 4], 6], [1, 2])]
CASES = {"inputs": [c[0] for c in CALLS], "outputs": [c[1] for c in CALLS], "fn_name": "two_sum"}
ASSERTS = [f"assert tuple(two_sum({a!r}, {t})) == {tuple(out)}" for (a, t), out in CALLS]
CHECK = "def check(candidate):\n" + "".join(
    f"    assert candidate(numbers={a!r}, target={t}) == {tuple(out)}\n" for (a, t), out in CALLS
)
PYTEST = "from solution import two_sum\n\n" + "".join(
    f"def test_{i}():\n    {line}\n\n" for i, line in enumerate(ASSERTS)
)
FORMS: dict[str, Any] = {
    "asserts": ASSERTS,
    "array of asserts": np.array(ASSERTS, dtype=object),
    "text": "\n".join(ASSERTS),
    "program": "\n".join(["calls = 0", *ASSERTS, "calls += 1"]),
    "check": CHECK,
    "functional": json.dumps({"functional": CHECK + "\ncheck(two_sum)\n"}),
    "unittest": "import unittest\nclass TestIt(unittest.TestCase):\n"
    + "".join(f"    def test_{i}(self):\n        {line}\n" for i, line in enumerate(ASSERTS)),
    "pytest": PYTEST,
    "pytest class": "class TestIt:\n"
    + "".join(f"    def test_{i}(self):\n        {line}\n" for i, line in enumerate(ASSERTS)),
    "cases": json.dumps(CASES),
    "wrapped outputs": {**CASES, "outputs": [[out] for out in CASES["outputs"]]},
    "lines": [
        {"input": "\n".join(map(json.dumps, args)), "output": json.dumps(out), "testtype": "functional"}
        for args, out in CALLS
    ],
}


def solution(code: str) -> Solution:
    return Solution(CodeStatus.OK, code)


def with_judge(work: Callable[[TruthJudge], Awaitable[T]], **limits: Any) -> T:
    async def run() -> T:
        async with SandboxPool(workers=1, limits=Limits(**limits)) as pool:
            return await work(TruthJudge(SandboxExecutor(pool)))

    return asyncio.run(run())


def test_every_form_tells_right_from_wrong() -> None:
    solutions = [solution(c) for c in (RIGHT, WRONG, RAISING, AGREEABLE, BROKEN, OTHER_NAME)]
    solutions += [Solution(CodeStatus.NO_CODE), Solution(CodeStatus.WRONG_FORMAT, "input()"), solution(RIGHT)]

    async def work(judge: TruthJudge) -> dict[str, list[bool | None]]:
        return {name: await judge.judge(PROBLEM, solutions, value) for name, value in FORMS.items()}

    wanted = [True, *[False] * 7, True]
    assert with_judge(work) == dict.fromkeys(FORMS, wanted)


def test_a_method_is_found_where_no_function_stands_for_it() -> None:
    nameless = Problem("q", "Find two numbers.")

    async def work(judge: TruthJudge) -> list[bool | None]:
        return await judge.judge(nameless, [solution(METHOD), solution(RIGHT), solution(WRONG)], CASES)

    assert with_judge(work) == [True, True, False]


def test_a_solution_that_hangs_fails_and_is_not_waited_for_at_every_case() -> None:
    many = {name: value * 20 if isinstance(value, list) else value for name, value in CASES.items()}

    async def work(judge: TruthJudge) -> list[bool | None]:
        return await judge.judge(PROBLEM, [solution(HANGING), solution(RIGHT)], many)

    assert with_judge(work, timeout=0.2) == [False, True]


RESULTS = [
    ("(1, (2, 3))", [1, [2, 3]], True),
    ("[(1, 'a')]", [[1, "a"]], True),
    ("[1, 2, 3]", [1, 2], False),
    ("{1: 'a'}", {"1": "a"}, True),
    ("{1: 'a', '1': 'b'}", {"1": "a"}, False),
    ("{1: (2.0000001,)}", {"1": [2.0]}, True),
    ("0.1 + 0.2", 0.3, True),
    ("0.3001", 0.3, False),
    ("3", 3.0, True),
    ("3.0000000001", 3, False),
    ("float('nan')", math.nan, True),
    ("float('inf')", math.inf, True),
    ("-float('inf')", math.inf, False),
    ("1e300", math.inf, False),
    ("True", 1, True),
    ("'1'", 1, False),
    ("None", None, True),
    ("None", [], False),
    ("'<|im_end|><|im_start|></think>'", "<|im_end|><|im_start|></think>", True),
    ("'\\ud800'", "\ud800", True),
]


def test_results_are_compared_as_json_needs_it() -> None:
    problem = Problem("r", "Return it.", "f")

    async def work(judge: TruthJudge) -> list[tuple[str, Any, bool | None]]:
        found = []
        for returned, expected, _ in RESULTS:
            value = {"inputs": [[]], "outputs": [expected], "fn_name": "f"}
            code = solution(f"def f():\n    return {returned}\n")
            found.append((returned, expected, *await judge.judge(problem, [code], value)))
        return found

    assert repr(with_judge(work)) == repr(RESULTS)  # NaN is not equal to itself


def test_one_element_lists_unwrap_only_where_every_output_is_one() -> None:
    code = [solution("def f(x):\n    return x\n"), solution("def f(x):\n    return [x]\n")]
    problem = Problem("r", "Return it.", "f")
    calls = {"inputs": [[1], [2]], "fn_name": "f"}

    async def work(judge: TruthJudge) -> list[list[bool | None]]:
        return [
            await judge.judge(problem, code, {**calls, "outputs": outputs})
            for outputs in ([[1], [2]], [[1], 2], [1, 2])
        ]

    assert with_judge(work) == [[True, True], [False, False], [True, False]]


NODES = """
class Node:
    def __init__(self, value=0, next=None):
        self.value = value
        self.next = next

def linked(values):
    head = None
    for value in reversed(values):
        head = Node(value, head)
    return head

def values(node):
    return [] if node is None else [node.value, *values(node.next)]
"""


def test_objects_that_the_dataset_makes_itself_are_arguments_too() -> None:
    truth = {
        "import_prefix": NODES,
        "test": "def check(candidate):\n    assert values(candidate(head = linked([1, 2, 3]))) == [2, 3]\n",
        "entry_point": "Solution().rest",
    }
    right = "class Solution:\n    def rest(self, head):\n        return head.next\n"
    problem = Problem("n", "Return all nodes but the first.", "rest")

    async def work(judge: TruthJudge) -> list[bool | None]:
        codes = [solution(right), solution(right.replace(".next", ""))]
        return await judge.judge(problem, codes, truth)

    assert with_judge(work) == [True, False]


def test_integer_keys_of_a_first_argument_are_restored() -> None:
    code = [solution("def f(table, key):\n    return table[key]\n")]
    value = json.dumps({"inputs": [[{"1": "a"}, 1]], "outputs": ["a"], "fn_name": "f"})

    async def work(judge: TruthJudge) -> list[bool | None]:
        return await judge.judge(Problem("r", "Look up.", "f"), code, value)

    assert with_judge(work) == [True]


def test_what_cannot_be_run_is_no_grade_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    solutions = [solution(RIGHT), Solution(CodeStatus.NO_CODE)]
    values = ["42", "43", 7, None, {"inputs": ["1"], "outputs": ["2"]}, {1, 2}]

    async def work(judge: TruthJudge) -> list[list[bool | None]]:
        return [await judge.judge(PROBLEM, solutions, value) for value in values]

    with caplog.at_level(logging.WARNING, logger="coderm_reward"):
        assert with_judge(work) == [[None, None]] * len(values)
    said = [
        record.getMessage() for record in caplog.records if "do not judge rollouts" in record.getMessage()
    ]
    assert len(said) == 4
    assert all(f"'{form}'" in " ".join(said) for form in ("text", "number", "stdin", "unreadable"))


def test_tests_that_are_invalid_by_themselves_are_no_truth() -> None:
    value = "import nonexistentpackage as n\n\n\ndef test_it():\n    assert two_sum(n.x, 1)\n"

    async def work(judge: TruthJudge) -> list[bool | None]:
        return await judge.judge(PROBLEM, [solution(RIGHT), Solution(CodeStatus.NO_CODE)], value)

    assert with_judge(work) == [None, None]


class Scripted:
    """An executor that gives the verdicts it is told, one for each test, and remembers what it was asked."""

    def __init__(self, *verdicts: Sequence[Verdict]) -> None:
        self._rows = np.array(verdicts, dtype=np.uint8)
        self.asked: list[int] = []

    async def execute(self, solutions: Sequence[Solution], suite: TestSuite) -> ExecutionMatrix:
        first = 0 if not self.asked else 1
        rows = [int(s.code) for s in solutions]
        part = self._rows[rows][:, first : first + len(suite.tests)]
        self.asked.append(len(solutions))
        n = len(solutions)
        return ExecutionMatrix(
            tests=suite.tests,
            class_verdicts=part,
            method_verdicts=part,
            method_test=np.arange(len(suite.tests)),
            has_code=np.ones(n, dtype=np.bool_),
            solution_index=np.arange(n),
            judges=np.zeros_like(part),
            exec_seconds=np.zeros(n),
        )


def test_missing_evidence_is_never_a_pass_and_never_a_fail() -> None:
    passed, failed, unknown = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
    executor = Scripted(
        [passed, passed], [passed, unknown], [unknown, unknown], [unknown, failed], [failed, passed]
    )
    value = ["x = two_sum([1], 1)\nassert x is None", "x = two_sum([2], 2)\nassert x is None"]
    solutions = [solution(str(i)) for i in range(5)]
    found = asyncio.run(TruthJudge(executor).judge(PROBLEM, solutions, value))
    assert found == [True, None, None, False, False]
    assert executor.asked == [5, 4]  # who failed the first test is asked no more


def test_a_ground_truth_is_parsed_once_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    from coderm_reward.online import truth

    real = truth.truth_suite

    def counted(value: object, problem: Problem, forms: truth.TruthForms | None = None) -> TestSuite | None:
        parsed.append(str(value))
        return real(value, problem, forms)

    monkeypatch.setattr(truth, "truth_suite", counted)
    judge = TruthJudge(Scripted([Verdict.PASS]), kept=2)

    async def ask(*values: str) -> None:
        for value in values:
            await judge.judge(PROBLEM, [solution("0")], value)

    one, two, three = (f"prose {i}" for i in range(3))
    asyncio.run(ask(one, one, two, one, three, one, two))
    assert parsed == [one, two, three, two]
