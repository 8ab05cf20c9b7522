#!/usr/bin/env python3
"""Turn the CodeT CodeGen-16B x HumanEval files into inputs of `coderm-reward score` and `evaluate`.

    python scripts/humaneval_codegen16b.py [DATA] [--out out/humaneval]

DATA is the folder that holds `humaneval-codegen16b/` and `humaneval-coderm-calibrated/` (default: the
environment variable CODERM_DATA, else ../shared/data beside this repository). Written to the out folder:

    solutions.jsonl         {task_id, prompt, entry_point, solutions[100]}   the rollouts, as plain code
    truth.jsonl             {task_id, passed[100]}                           in the order of the solutions
    unit_tests.jsonl        {task_id, unit_tests: [{unittest}]}              CodeGen-16B's own tests (weak)
    assertion_tests.jsonl   the same, one method per assertion: each has a vote of its own
    calibrated_tests.jsonl  {task_id, responses[]}                           tests of CodeRM-8B's quality
    prompts.jsonl           {task_id, prompt, pass_rate, n}                  what a probe learns from
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a gzipped JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines and say how many."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    print(f"{path}: {len(lines)} rows")


def one_method_each(asserts: Sequence[str]) -> str:
    """A test class in which every assertion is a method, so that one that fails does not hide the next."""
    methods = "\n".join(f"    def test_{i:02d}(self):\n        {line}\n" for i, line in enumerate(asserts))
    return f"import unittest\n\n\nclass TestAssertions(unittest.TestCase):\n{methods}"


def convert(data: Path, out: Path) -> None:
    """Write the files listed above."""
    codegen = data / "humaneval-codegen16b"
    problems = {row["task_id"]: row for row in read(codegen / "problems.jsonl.gz")}
    out.mkdir(parents=True, exist_ok=True)
    write(
        out / "solutions.jsonl",
        (
            {
                "task_id": row["task_id"],
                "prompt": problems[row["task_id"]]["question"],
                "entry_point": problems[row["task_id"]]["entry_point"],
                "solutions": row["solutions"],
            }
            for row in read(codegen / "solutions.jsonl.gz")
        ),
    )
    write(
        out / "truth.jsonl",
        ({"task_id": row["task_id"], "passed": row["passed"]} for row in read(codegen / "truth.jsonl.gz")),
    )
    write(
        out / "unit_tests.jsonl",
        (
            {
                "task_id": row["task_id"],
                "unit_tests": [{"unittest": test["unittest"]} for test in row["unit_tests"]],
            }
            for row in read(codegen / "unit_tests.jsonl.gz")
        ),
    )
    write(
        out / "assertion_tests.jsonl",
        (
            {
                "task_id": row["task_id"],
                "unit_tests": [{"unittest": one_method_each(test["asserts"])} for test in row["unit_tests"]],
            }
            for row in read(codegen / "unit_tests.jsonl.gz")
        ),
    )
    write(
        out / "calibrated_tests.jsonl",
        (
            {"task_id": row["task_id"], "responses": row["responses"]}
            for row in read(data / "humaneval-coderm-calibrated" / "unit_tests.jsonl.gz")
        ),
    )
    write(
        out / "prompts.jsonl",
        (
            {
                "task_id": row["task_id"],
                "prompt": problems[row["task_id"]]["question"],
                "pass_rate": sum(row["passed"]) / len(row["passed"]),
                "n": len(row["passed"]),
            }
            for row in read(codegen / "truth.jsonl.gz")
        ),
    )


def main() -> int:
    """Run the command line; 2 means that an input is missing or the output cannot be written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("CODERM_DATA") or REPOSITORY.parent / "shared" / "data")
    parser.add_argument("data", type=Path, nargs="?", default=default, help="folder of the two data sets")
    parser.add_argument("--out", type=Path, default=Path("out/humaneval"), help="folder to write to")
    options = parser.parse_args()
    try:
        convert(options.data, options.out)
    except FileNotFoundError as error:
        print(f"There is no {error.filename}; give the data folder or set CODERM_DATA.", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; check the folders given.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
