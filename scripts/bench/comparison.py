"""Executors side by side: measured in turn, compared with the reference, printed as a table."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

from executors import Run, run_baseline, run_pool
from figures import disagreements, percentile, ratios, spread, table
from workload import Problem

__all__ = ["compared", "rates", "report", "rounds", "say", "summary"]

KEYS = {
    "pool": "pool",
    "process": "process_per_pair",
    "exec": "raw",
    "text": "raw_full_text",
    "pool x2": "pool_x2",
}
LABELS = {
    "pool": "pool, 1 worker",
    "process": "process per pair",
    "exec": "raw exec",
    "text": "raw exec of the full text",
    "pool x2": "pool, 2 workers, 2 cores",
}
HEADER = ("executor", "pairs/s", "pair p50 ms", "pair p95 ms", "job p50 ms", "job p95 ms", "disagreements")
SHOWN = 10


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rounds(
    problems: Sequence[Problem], cores: Sequence[int], limit: float, repeat: int
) -> dict[str, list[Run]]:
    """Every executor, in turn, so many times."""
    executors: dict[str, Callable[[], Run]] = {
        "pool": lambda: run_pool(problems, 1, {cores[0]}, limit),
        "process": lambda: run_baseline("process", problems, limit),
        "exec": lambda: run_baseline("exec", problems, limit),
        "text": lambda: run_baseline("text", problems, limit),
    }
    if len(cores) > 1:
        executors["pool x2"] = lambda: run_pool(problems, 2, set(cores[:2]), limit)
    runs: dict[str, list[Run]] = {name: [] for name in executors}
    for number in range(repeat):
        for name, execute in executors.items():
            runs[name].append(execute())
            say(f"round {number + 1} of {repeat}: {LABELS[name]}: {runs[name][-1].rate:.1f} pairs/s")
    return runs


def compared(
    runs: dict[str, list[Run]], reference: Sequence[str], problems: Sequence[Problem]
) -> dict[str, list[str]]:
    """The pairs on which each executor disagreed with the reference in any round, in words."""
    names = [
        f"{p.name} solution {s} test {t}"
        for p in problems
        for s in range(len(p.solutions))
        for t in range(len(p.tests))
    ]
    found: dict[str, list[str]] = {}
    for name, own in runs.items():
        said = {i: run.verdicts[i] for run in own for i in disagreements(run.verdicts, reference)}
        found[name] = [
            f"{names[i]}: {LABELS[name]} says {said[i]}, the reference {reference[i]}" for i in sorted(said)
        ]
    return found


def report(title: str, runs: dict[str, list[Run]], wrong: dict[str, list[str]]) -> None:
    """Print one table."""
    rows = []
    for name, own in runs.items():
        pair, job = [
            [1e3 * s for run in own for s in getattr(run, f"{kind}_seconds")] for kind in ("pair", "job")
        ]
        latency = [f"{percentile(values, p):.2f}" for values in (pair, job) for p in (50, 95)]
        rows.append([LABELS[name], spread([run.rate for run in own]), *latency, str(len(wrong[name]))])
    print(f"\n{title}\n\n{table(HEADER, rows)}\n")
    for name, words in wrong.items():
        for line in words[:SHOWN]:
            print(f"disagreement: {line}")
        if len(words) > SHOWN:
            print(f"disagreement: {len(words) - SHOWN} more of {name}")


def rates(runs: dict[str, list[Run]]) -> dict[str, list[float]]:
    return {name: [run.rate for run in own] for name, own in runs.items()}


def summary(runs: dict[str, list[Run]], wrong: dict[str, list[str]]) -> dict[str, Any]:
    """The figures of one table for --json; prints the ratios."""
    rate = rates(runs)
    result: dict[str, Any] = {
        "pairs_per_s": {KEYS[name]: round(statistics.median(values), 1) for name, values in rate.items()},
        "disagreements": {KEYS[name]: len(words) for name, words in wrong.items()},
        "disagreement_examples": [line for words in wrong.values() for line in words[:SHOWN]],
    }
    for name in ("process", "exec", "text"):
        found = ratios(rate["pool"], rate[name])
        result[f"ratio_vs_{KEYS[name]}"] = round(statistics.median(found), 3)
        print(f"pool / {LABELS[name]}: {spread(found, 2)}")
    if "pool x2" in rate:
        found = ratios(rate["pool x2"], rate["pool"])
        result["scaling_2_workers"] = round(statistics.median(found), 3)
        print(f"two workers / one: {spread(found, 2)}")
    return result
