"""Run many synthetic pairs through one pool and show whether memory, descriptors and processes stay flat.

    python scripts/bench/soak.py [--pairs 20000] [--workers N] [--json]

As in training, every group brings texts never seen before: 10 solutions and 10 test classes, 100 pairs.
Most solutions are right; others are wrong, raise, keep state at module level, leave threads, processes and
files behind, end the process, run out of time or of memory, recurse for ever, or do not parse. After each
group nothing is in flight, and one sample is taken: what the supervisor and the workers hold resident, their
open descriptors, and how many processes descend from the supervisor. Every verdict is known in advance and
checked.

Flat means: the median of the last third of the samples exceeds that of the middle third by no more than
0.5 MiB (memory) or not at all (counts). Workers keep some tests compiled; below 20,000 pairs the memory
may still be growing for that. The growth per million pairs is a least-squares line through the last half.
The exit code is 1 if anything grows or any verdict is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from executors import resident
from figures import flat, slope, table

from coderm_sandbox import Job, Limits, Outcome, SandboxError, SandboxPool, Test, usable_cores

__all__ = ["descendants", "expected", "main", "solution", "test_class"]

GROUP = 10
LIMITS = Limits(timeout=0.5, memory_mb=256)
SLACK_MB = 0.5
MIB = 2**20
_SHOWN = ("start", "end", "max", "per_million_pairs")

_RIGHT = (
    "def f(x):\n    return x * {n} + 1\n",
    "def g(x):\n    return x * {n}\n\ndef f(x):\n    return g(x) + 1\n",
    "class Line:\n    def __init__(self, slope):\n        self.slope = slope\n\n"
    "    def at(self, x):\n        return x * self.slope + 1\n\ndef f(x):\n    return Line({n}).at(x)\n",
    "def f(x):\n    return 1 if x == 0 else f(x - 1) + {n}\n",
    "import itertools\n\ndef f(x):\n    return sum(itertools.repeat({n}, x)) + 1\n",
    "calls = []\n\ndef f(x):\n    calls.append(x)\n    return x * {n} + len(calls)\n",
    "import threading, time\n\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    "kept = open('/tmp/{n}', 'w')\n\ndef f(x):\n    print('x' * 1000)\n    return x * {n} + 1\n",
)
_ON_THREE = (
    "        while True:\n            pass\n",
    "        import os\n        os._exit(0)\n",
    "        import os, time\n        if os.fork() == 0:\n            time.sleep(60)\n        return 0\n",
    "        return len(bytearray(1 << 30))\n",
    "        return f(x)\n",
    "        raise ValueError(x)\n",
)


def solution(group: int, number: int) -> str:
    """The text of one solution; seven of ten are right in various ways."""
    n = group + 2
    if number < len(_RIGHT):
        return _RIGHT[number].format(n=n)
    if number == len(_RIGHT):
        return f"def f(x):\n    return x * {n} + x % 2\n"
    if number == len(_RIGHT) + 1:
        return f"def f(x):\n    if x == 3:\n{_ON_THREE[group % len(_ON_THREE)]}    return x * {n} + 1\n"
    return f"def f(x:\n    return {n}\n"


def test_class(group: int, number: int) -> str:
    """The text of one test class."""
    return (
        f"import unittest\n\nclass Test{group}x{number}(unittest.TestCase):\n    def test_value(self):\n"
        f"        self.assertEqual(f({number}), {number * (group + 2) + 1})\n"
    )


def expected(number: int, test: int) -> bool:
    """Whether the solution passes the test."""
    if number < len(_RIGHT):
        return True
    if number == len(_RIGHT):
        return test % 2 == 1
    return number == len(_RIGHT) + 1 and test != 3


def descendants(pid: int) -> list[int]:
    """Pids of all processes that descend from this one, those that wait to be reaped included."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found[1:]


def _descriptors(pids: list[int]) -> float | None:
    try:
        return float(sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids))
    except PermissionError:
        return None  # another user's process


def sample(pool: SandboxPool) -> dict[str, float | None]:
    """What is held at this moment."""
    workers = pool.worker_pids()
    return {
        "supervisor MiB": resident([os.getpid()]) / MIB,
        "workers MiB": resident(workers) / MIB,
        "supervisor descriptors": _descriptors([os.getpid()]),
        "worker descriptors": _descriptors(workers),
        "processes": float(len(descendants(os.getpid()))),
    }


async def _group(pool: SandboxPool, group: int) -> int:
    """Run one group; returns how many verdicts are wrong."""
    sources = [test_class(group, number) for number in range(GROUP)]
    found = await pool.inspect([Test(source) for source in sources])
    tests = tuple(Test(source, methods=one.methods) for source, one in zip(sources, found, strict=True))
    jobs = [pool.run(Job(solution(group, number), tests)) for number in range(GROUP)]
    results = await asyncio.gather(*jobs)
    return sum(
        result.outcome is Outcome.UNKNOWN or (result.outcome is Outcome.PASS) != expected(number, test)
        for number, row in enumerate(results)
        for test, result in enumerate(row)
    )


async def soak(pairs: int, workers: int) -> dict[str, Any]:
    """Run at least so many pairs and return the samples' start, end, maximum, growth and flatness."""
    samples: list[dict[str, float | None]] = []
    wrong = 0
    began = time.perf_counter()
    async with SandboxPool(workers=workers, limits=LIMITS) as pool:
        groups = -(-pairs // GROUP**2)
        for group in range(groups):
            wrong += await _group(pool, group)
            samples.append(sample(pool))
            if (group + 1) % max(1, groups // 10) == 0:
                print(f"{(group + 1) * GROUP**2} pairs", file=sys.stderr, flush=True)
        stats = pool.stats
    seconds = time.perf_counter() - began
    measures = {}
    for name in samples[0]:
        values = [one[name] for one in samples]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            late = range(len(known) // 2, len(known))
            growth = slope([x * GROUP**2 / 1e6 for x in late], [known[x] for x in late])
            measures[name] = {
                "start": round(known[0], 2),
                "end": round(known[-1], 2),
                "max": round(max(known), 2),
                "per_million_pairs": round(growth, 2),
                "flat": flat(known, SLACK_MB if name.endswith("MiB") else 0.0),
            }
    return {
        "pairs": groups * GROUP**2,
        "workers": workers,
        "seconds": round(seconds, 1),
        "pairs_per_s": round(groups * GROUP**2 / seconds, 1),
        "wrong_verdicts": wrong,
        "workers_replaced": stats.workers_replaced,
        "retried": stats.retried,
        "unknown": stats.unknown,
        "measures": measures,
        "flat": all(one["flat"] for one in measures.values()),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=20_000, help="rounded up to whole groups of 100")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="default: one per usable core")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    if options.pairs < 1 or options.workers < 1:
        parser.error("--pairs and --workers must be 1 or more")
    try:
        result = asyncio.run(soak(options.pairs, options.workers))
    except SandboxError as error:
        sys.exit(str(error))
    header = ("held after each group", "start", "end", "max", "growth per million pairs", "flat")
    rows = [
        [name, *(str(one[key]) for key in _SHOWN), "yes" if one["flat"] else "NO"]
        for name, one in result["measures"].items()
    ]
    print(table(header, rows))
    print(
        f"{result['pairs']} pairs, {result['workers']} workers, {result['pairs_per_s']} pairs/s; "
        f"wrong verdicts: {result['wrong_verdicts']}, unknown: {result['unknown']}, "
        f"retried: {result['retried']}, workers replaced: {result['workers_replaced']}"
    )
    if options.json:
        print(json.dumps(result))
    if result["wrong_verdicts"] or not result["flat"]:
        sys.exit("The soak found wrong verdicts or something that grows; see the table.")


if __name__ == "__main__":
    main()
