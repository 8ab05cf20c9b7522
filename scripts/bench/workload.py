"""Choose the pairs that sandbox.py measures, from CodeT's CodeGen-16B artefacts on HumanEval.

    python scripts/bench/workload.py [--out scripts/bench/workload.json]    (minutes; only to choose anew)

Most generated test classes are wrong, and so fail every solution: of ten whole classes and ten solutions
as they come, one pair in eight passes. To have 30 to 60 % pass, whole classes and whole solutions are
chosen, never changed. Of every problem with at least 10 distinct test classes (compared as syntax trees),
the first 40 distinct solutions that parse run against all classes, in our own pool. Solutions that run out
of a quarter of the benchmark's limit on any class are left out, then:

  - the 10 classes that most solutions pass (the earlier of two alike),
  - the 7 solutions that pass most of these (the earlier of two alike) and the first 3 of the others,
  - the 20 problems with most passing pairs (the earlier of two alike).

workload.json holds the choice as indices, with a hash of the texts. The pass share in the benchmark's
table is measured anew by the reference, which also says whether any chosen pair hangs.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import collections
import gzip
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coderm_sandbox import Job, Limits, Outcome, SandboxPool, Test

__all__ = [
    "DataError",
    "Problem",
    "best",
    "choose",
    "data_folder",
    "digest",
    "distinct",
    "load",
    "main",
    "questions",
    "raw_texts",
]

ROOT = Path(__file__).resolve().parents[2]
CHOICE = Path(__file__).with_name("workload.json")
DATA = "humaneval-codegen16b"
PROBLEMS, SOLUTIONS, TESTS, PASSING = 20, 10, 10, 7
SCANNED = 40
QUICK_SECONDS = 0.25


class DataError(Exception):
    """The data are missing or are not those that the workload was chosen from."""


@dataclass(frozen=True)
class Problem:
    """Texts of one problem; every solution meets every test."""

    name: str
    solutions: tuple[str, ...]
    tests: tuple[str, ...]


def data_folder() -> Path:
    """Where the data set lies: in CODERM_DATA, by default ../shared/data beside the repository."""
    root = Path(os.environ.get("CODERM_DATA") or ROOT.parent / "shared" / "data")
    return (root if root.is_absolute() else ROOT / root) / DATA


def _rows(name: str) -> dict[str, dict[str, Any]]:
    path = data_folder() / f"{name}.jsonl.gz"
    if not path.exists():
        raise DataError(f"{path} is missing; point CODERM_DATA at the folder that holds {DATA}/.")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {row["task_id"]: row for row in rows}


def raw_texts() -> dict[str, tuple[list[str], list[str]]]:
    """(solutions, test classes) of every problem, as they come."""
    suites = _rows("unit_tests")
    return {
        task: (row["solutions"], [unit["unittest"] for unit in suites[task]["unit_tests"]])
        for task, row in _rows("solutions").items()
    }


def questions() -> dict[str, str]:
    """The text of every problem."""
    return {task: row["question"] for task, row in _rows("problems").items()}


def _shape(text: str) -> str | None:
    """The syntax tree without docstrings, as text; None if the text does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] if isinstance(first.value.value, str) else node.body
    return ast.dump(tree)


def distinct(texts: Iterable[str]) -> list[int]:
    """Indices of the texts that parse, one of each syntax tree: formatting, comments, docstrings apart."""
    seen: dict[str, int] = {}
    for index, text in enumerate(texts):
        shape = _shape(text)
        if shape is not None:
            seen.setdefault(shape, index)
    return list(seen.values())


def best(passes: dict[int, set[int]], tests: Iterable[int]) -> tuple[list[int], list[int]]:
    """The solutions and tests to take, in file order, given which tests each solution passes."""
    often = collections.Counter(test for passed in passes.values() for test in passed)
    chosen = set(sorted(tests, key=lambda t: (-often[t], t))[:TESTS])
    ranked = sorted(passes, key=lambda s: (-len(passes[s] & chosen), s))[:PASSING]
    others = [s for s in sorted(passes) if s not in ranked][: SOLUTIONS - PASSING]
    return sorted(ranked + others), sorted(chosen)


def _pick(texts: dict[str, tuple[list[str], list[str]]], row: dict[str, Any]) -> Problem:
    solutions, tests = texts[row["task_id"]]
    return Problem(
        row["task_id"],
        tuple(solutions[i] for i in row["solutions"]),
        tuple(tests[i] for i in row["tests"]),
    )


def digest(problems: Iterable[Problem]) -> str:
    """A hash of all texts, in order."""
    text = json.dumps([[p.name, p.solutions, p.tests] for p in problems])
    return hashlib.sha256(text.encode()).hexdigest()


def load(problems: int = PROBLEMS, solutions: int = SOLUTIONS, tests: int = TESTS) -> list[Problem]:
    """The chosen pairs, or the first so many of each kind.

    Raises:
        DataError: the data are missing or others.
        ValueError: a number is out of range.
    """
    sizes = {"problems": (problems, PROBLEMS), "solutions": (solutions, SOLUTIONS), "tests": (tests, TESTS)}
    for name, (asked, most) in sizes.items():
        if not 1 <= asked <= most:
            raise ValueError(f"--{name} must be between 1 and {most}, not {asked}.")
    choice = json.loads(CHOICE.read_text("utf-8"))
    texts = raw_texts()
    try:
        found = [_pick(texts, row) for row in choice["problems"]]
    except (KeyError, IndexError):
        found = []
    if digest(found) != choice["sha256"]:
        raise DataError(
            f"{data_folder()} holds other texts than those the workload was chosen from; "
            "get the same data set, or choose anew with scripts/bench/workload.py."
        )
    return [Problem(p.name, p.solutions[:solutions], p.tests[:tests]) for p in found[:problems]]


async def _matrix(
    pool: SandboxPool, solutions: dict[int, str], tests: dict[int, str]
) -> tuple[dict[int, set[int]], list[int]]:
    """Which tests each solution passes, without the solutions that hang, and which tests are valid."""
    found = await pool.inspect([Test(text) for text in tests.values()])
    valid = {
        index: Test(text, methods=one.methods, skipped=one.skipped)
        for (index, text), one in zip(tests.items(), found, strict=True)
        if one.valid
    }
    jobs = [pool.run(Job(text, tuple(valid.values()))) for text in solutions.values()]
    passes = {}
    for solution, results in zip(solutions, await asyncio.gather(*jobs), strict=True):
        if not {Outcome.TIMEOUT, Outcome.UNKNOWN} & {result.outcome for result in results}:
            passed = zip(valid, results, strict=True)
            passes[solution] = {test for test, result in passed if result.outcome is Outcome.PASS}
    return passes, list(valid)


async def choose() -> dict[str, Any]:
    """Choose anew, as the module's docstring says. Runs some forty thousand pairs."""
    texts = raw_texts()
    counts: dict[str, int] = {}
    rows: dict[str, dict[str, Any]] = {}
    async with SandboxPool(limits=Limits(timeout=QUICK_SECONDS, hang_limit=2)) as pool:
        for task, (solutions, tests) in texts.items():
            classes = {i: tests[i] for i in distinct(tests)}
            if len(classes) < TESTS:
                continue
            scanned = {i: solutions[i] for i in distinct(solutions)[:SCANNED]}
            passes, valid = await _matrix(pool, scanned, classes)
            if len(passes) < SOLUTIONS or len(valid) < TESTS:
                continue
            kept, picked = best(passes, valid)
            counts[task] = sum(len(passes[s] & set(picked)) for s in kept)
            rows[task] = {"task_id": task, "solutions": kept, "tests": picked}
            print(f"{task}: {counts[task]} of {SOLUTIONS * TESTS} chosen pairs pass", file=sys.stderr)
    names = sorted(counts, key=lambda task: -counts[task])[:PROBLEMS]
    chosen = [row for task, row in rows.items() if task in names]
    return {"sha256": digest(_pick(texts, row) for row in chosen), "problems": chosen}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=CHOICE, help="where to write the choice")
    options = parser.parse_args()
    try:
        choice = asyncio.run(choose())
    except DataError as error:
        sys.exit(str(error))
    rows = ",\n".join(json.dumps(row) for row in choice["problems"])
    options.out.write_text(f'{{"sha256": "{choice["sha256"]}", "problems": [\n{rows}\n]}}\n', "utf-8")
    print(f"{len(choice['problems'])} problems written to {options.out}")


if __name__ == "__main__":
    main()
