"""Score the real test sets on 8,200 rollouts and evaluate every aggregator: the README's table.

    python scripts/bench/real_data.py [--data DATA] [--sets weak,calibrated] [--json] [options of score]

Runs the same commands that a user would: scripts/humaneval_codegen16b.py, `coderm-reward score`,
`coderm-reward evaluate`. Prints one table per set and how long scoring took; with --json the last line
is one JSON object. Other options (such as --timeout 0.25) go to `coderm-reward score`. DATA is the
folder of the two data sets (default: CODERM_DATA, else ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "out" / "humaneval"
CODERM = str(Path(sys.executable).with_name("coderm-reward"))
TESTS = {
    "weak": "unit_tests.jsonl",
    "assertions": "assertion_tests.jsonl",
    "calibrated": "calibrated_tests.jsonl",
}


def run(*command: object) -> str:
    """Run a command, let it speak on stderr, and return what it printed."""
    return subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def measure(name: str, workers: int | None, options: list[str]) -> dict[str, Any]:
    """Score one set and return its figures and tables."""
    scored = OUT / f"{name}.parquet"
    began = time.perf_counter()
    command = [
        CODERM,
        "score",
        OUT / "solutions.jsonl",
        "--tests",
        OUT / TESTS[name],
        "--out",
        scored,
        "--overwrite",
    ]
    table = run(*command, *(["--workers", workers] if workers else []), *options)
    seconds = time.perf_counter() - began
    evaluated = run(CODERM, "evaluate", scored, "--truth", OUT / "truth.jsonl", "--json").splitlines()
    classes = run(
        CODERM, "evaluate", scored, "--truth", OUT / "truth.jsonl", "--vote-unit", "class", "--json"
    )
    print(f"\n## {name}: {seconds:.0f} s\n\n{table}")
    print("\n".join(evaluated[:-1]))
    print("\n".join(classes.splitlines()[:-1]))
    unit = json.loads(evaluated[-1])["vote_unit"]  # --vote-unit assertion is an option of score
    return {
        "score_s": round(seconds, 1),
        unit: json.loads(evaluated[-1]),
        "class": json.loads(classes.splitlines()[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the two data sets")
    parser.add_argument("--sets", default="weak,calibrated", help="which sets, separated by commas")
    parser.add_argument("--workers", type=int, help="sandbox workers (default: one per core)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments, options = parser.parse_known_args()
    converter = ROOT / "scripts" / "humaneval_codegen16b.py"
    run(sys.executable, converter, *([arguments.data] if arguments.data else []), "--out", OUT)
    hardware = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Linux {platform.release()}"
    print(f"{hardware}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}")
    figures = {name: measure(name, arguments.workers, options) for name in arguments.sets.split(",")}
    if arguments.json:
        print(json.dumps({"hardware": hardware, **figures}))


if __name__ == "__main__":
    main()
