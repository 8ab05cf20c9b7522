"""Ground truths of real problems against real rollouts whose truth is recorded: no verdict may differ."""

from __future__ import annotations

import ast
import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coderm_reward.data.extraction import extract_solution
from coderm_reward.execution import SandboxExecutor
from coderm_reward.execution.cache import MemoryCache
from coderm_reward.online.truth import TruthJudge
from coderm_reward.types import Problem, Solution, content_hash
from coderm_sandbox import Limits, SandboxPool


def read(data: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(data / "humaneval-codegen16b" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def forms(problem: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the problem's own test, and the same as assertions, pytest text and cases where it can be."""
    yield "check", problem["ground_truth_test"]
    name, source = problem["entry_point"], problem["ground_truth_test"]
    tree = ast.parse(source)
    check = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check")
    asserts = [n for n in check.body if not (isinstance(n, ast.Assert) and isinstance(n.test, ast.Constant))]
    if not all(isinstance(n, ast.Assert) for n in asserts) or len(tree.body) > 2:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "candidate":
            node.id = name
    texts = [ast.unparse(n) for n in asserts]
    yield "list", texts
    tests = "".join(f"def test_{i}():\n    {text}\n\n" for i, text in enumerate(texts))
    yield "pytest", f"from solution import {name}\n\n{tests}"
    try:
        calls = [ast.literal_eval(ast.Tuple(n.test.left.args, ast.Load())) for n in asserts]  # type: ignore[attr-defined]
        outputs = [ast.literal_eval(n.test.comparators[0]) for n in asserts]  # type: ignore[attr-defined]
        yield "cases", json.dumps({"inputs": calls, "outputs": outputs, "fn_name": name})
    except (AttributeError, TypeError, ValueError):
        return


def differences(
    data: Path, problems: int, rollouts: int, every_form: bool
) -> tuple[Counter[tuple[str, bool | None]], list[tuple[str, str, int, bool | None]]]:
    """Return how often each form gave each truth, and where it is not the recorded one.

    The dataset's right solution stands at -1.
    """
    solutions = {row["task_id"]: row["solutions"] for row in read(data, "solutions")}
    recorded = {row["task_id"]: row["passed"] for row in read(data, "truth")}
    counts: Counter[tuple[str, bool | None]] = Counter()
    different: list[tuple[str, str, int, bool | None]] = []

    async def judge_all() -> None:
        async with SandboxPool(limits=Limits(hang_limit=8)) as pool:
            judge = TruthJudge(SandboxExecutor(pool, MemoryCache()))
            for row in read(data, "problems")[:problems]:
                name, task, asked = row["entry_point"], row["task_id"], row["question"]
                problem = Problem(content_hash(asked), asked, name)
                texts = [asked + row["canonical_solution"], *solutions[task][:rollouts]]
                codes: list[Solution] = [
                    extract_solution(text, name, wants_function=True, context=asked) for text in texts
                ]
                wanted = [True, *map(bool, recorded[task][:rollouts])]
                for form, value in [*forms(row)][: None if every_form else 1]:
                    found = await judge.judge(problem, codes, value)
                    counts.update((form, truth) for truth in found)
                    different.extend(
                        (form, task, i - 1, pair[0])
                        for i, pair in enumerate(zip(found, wanted, strict=True))
                        if pair[0] is not pair[1]
                    )

    asyncio.run(judge_all())
    return counts, different


def test_every_form_agrees_with_the_recorded_truth(real_data: Path) -> None:
    counts, different = differences(real_data, problems=7, rollouts=6, every_form=True)
    assert [found for found in different if found[3] is not None] == []
    assert len(different) < 3  # a busy machine may give no evidence, but never another truth
    assert {form for form, _ in counts} == {"check", "list", "pytest", "cases"}
    assert all(counts[form, truth] > 4 for form, _ in counts for truth in (True, False))


@pytest.mark.slow
def test_all_rollouts_agree_with_the_recorded_truth(real_data: Path) -> None:
    counts, different = differences(real_data, problems=82, rollouts=100, every_form=False)
    assert [found for found in different if found[3] is not None] == []
    assert len(different) < 50  # of 8,282: a busy machine may give no evidence
    assert sum(counts.values()) == 82 * 101
