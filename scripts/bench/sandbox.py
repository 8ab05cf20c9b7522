"""Measure the sandbox against other executors on real pairs, everything pinned to one core.

    python scripts/bench/sandbox.py [--json]                     (all of it: a quarter of an hour)
    python scripts/bench/sandbox.py --problems 3 --repeat 1      (a quick look)

Needs the data set humaneval-codegen16b in CODERM_DATA (default ../shared/data beside the repository). A pair
is one real solution and one real, whole test class: 20 problems x 10 x 10, all distinct; workload.py tells
how they were chosen. Measured in turn, --repeat times:

  pool, 1 worker            ours: isolation bubblewrap, one job per solution, three jobs in flight
  process per pair          the paper's design: multiprocessing.Process, setitimer, TextTestRunner
  raw exec                  one process, no isolation, each solution once, compiled tests cached
  raw exec of the full text one process, no isolation, nothing cached: solution and test for every pair
  pool, 2 workers, 2 cores  ours

baselines.py holds the others. They run model output, so they are started inside bubblewrap too, each once
per round and outside the clock; so are our pool's start, with the zygotes for solutions that import numpy
where there are any, and the inspection of its tests, all reported.
Every verdict (pass or not) is compared with that of a fresh interpreter for the pair, which is computed
once and remembered in out/bench/reference.json. If the pool disagrees, the exit code is 1.

Then the same with --loops percent of the pairs endless: loops.py puts `while True` into real solutions, for
the inputs of one test class each. No executor on one core beats the serial ceiling: pairs / (endless pairs
x limit + the other pairs at our own rate without loops). No pair is skipped.

A ratio is the median of the rounds' ratios; in brackets the lowest and the highest. The pool's pair latency
is what its worker reports, a job's runs from when a worker was free for it. A worker's memory is what all
its zygotes hold resident.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from comparison import compared, rates, report, rounds, say, summary
from executors import BenchError, Reference
from figures import ceiling, ratios, spread
from loops import choose_loops, loops_wanted, with_loops
from machine import hardware
from workload import ROOT, DataError, Problem, load

from coderm_sandbox import SandboxError

__all__ = ["main"]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", type=int, default=20, help="at most 20")
    parser.add_argument("--solutions", type=int, default=10, help="solutions per problem, at most 10")
    parser.add_argument("--tests", type=int, default=10, help="test classes per problem, at most 10")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are reported")
    parser.add_argument("--timeout", type=float, default=1.0, help="limit of every executor, in seconds")
    parser.add_argument("--loops", type=float, default=1.0, help="percent of pairs endless, 0 to leave out")
    parser.add_argument("--no-cache", action="store_true", help="compute the reference's verdicts anew")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    chosen = parser.parse_args()
    if chosen.repeat < 1 or not chosen.timeout > 0 or not 0 <= chosen.loops <= 100:
        parser.error("--repeat must be 1 or more, --timeout above 0, --loops between 0 and 100")
    return chosen


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure, print, and return what --json prints."""
    machine, cores = hardware(), sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    problems = load(chosen.problems, chosen.solutions, chosen.tests)
    reference = Reference(ROOT / "out" / "bench" / "reference.json", chosen.no_cache)
    say("verdicts of the reference (a fresh interpreter for each pair it does not remember) ...")
    facts = [pair for problem in problems for pair in reference.pairs(problem)]
    truth = [verdict for verdict, _ in facts]
    if "timeout" in truth or max(seconds for _, seconds in facts) > chosen.timeout / 2:
        raise BenchError(
            "A pair of the workload takes more than half the limit; use a longer --timeout, "
            "or choose anew with scripts/bench/workload.py."
        )
    share = truth.count("pass") / len(truth)
    date, python = time.strftime("%Y-%m-%d"), platform.python_version()
    print(f"{machine}, Python {python}, {date}, load average {os.getloadavg()[0]:.1f} before the start")
    print(
        f"{len(truth)} pairs of {len(problems)} problems, {share:.0%} pass by the reference; chosen among "
        "the problems with 10 distinct test classes or more so that 30 to 60 % of all pass (workload.py)"
    )
    runs = rounds(problems, cores, chosen.timeout, chosen.repeat)
    wrong = compared(runs, truth, problems)
    report("Without endless loops", runs, wrong)
    result = {"pairs": len(truth), "pass_share": round(share, 3), **summary(runs, wrong)}
    facts_of_pool = [run.facts for run in runs["pool"]]
    for key in ("rss_mb", "rss_without_numpy_mb", "ready_s", "numpy_ready_s", "prepare_s"):
        result[key] = round(statistics.median(one[key] for one in facts_of_pool), 3)
    result |= {key: facts_of_pool[-1][key] for key in ("judge", "isolation")}
    result["workers_replaced"] = sum(one["workers_replaced"] for one in facts_of_pool)
    print(
        f"pool: ready in {spread([one['ready_s'] for one in facts_of_pool], 3)} s, "
        f"for numpy in {result['numpy_ready_s']:.3f} s, "
        f"{result['rss_without_numpy_mb']:.1f} MiB resident per worker, {result['rss_mb']:.1f} with the "
        f"zygotes for numpy, tests inspected in {result['prepare_s']:.2f} s, "
        f"judge {result['judge']}, {result['isolation']}"
    )
    if chosen.loops:
        result["loops"] = with_endless(chosen, problems, cores, reference, rates(runs)["pool"])
    return result | {
        "hardware": machine,
        "python": python,
        "date": date,
        "repeat": chosen.repeat,
    }


def with_endless(
    chosen: argparse.Namespace,
    problems: Sequence[Problem],
    cores: Sequence[int],
    reference: Reference,
    ours: Sequence[float],
) -> dict[str, Any]:
    """The second run: some pairs endless."""
    say("choosing the endless pairs, each confirmed by the reference ...")
    pairs = sum(len(p.solutions) * len(p.tests) for p in problems)
    loops = choose_loops(problems, loops_wanted(pairs, chosen.loops), reference.verdicts)
    endless = [with_loops(p, own) for p, own in zip(problems, loops, strict=True)]
    count = sum(map(len, loops))
    truth = [verdict for problem in endless for verdict in reference.verdicts(problem)]
    runs = rounds(endless, cores, chosen.timeout, chosen.repeat)
    wrong = compared(runs, truth, endless)
    report(f"With {count} of {pairs} pairs endless, limit {chosen.timeout} s", runs, wrong)
    result = summary(runs, wrong)
    most = [ceiling(pairs, count, chosen.timeout, rate) for rate in ours]
    found = ratios(rates(runs)["pool"], most)
    print(f"serial ceiling: {spread(most)} pairs/s; pool / ceiling: {spread(found, 3)}")
    return result | {
        "endless_pairs": count,
        "limit_s": chosen.timeout,
        "ceiling_pairs_per_s": round(statistics.median(most), 1),
        "ratio_vs_ceiling": round(statistics.median(found), 3),
    }


def main() -> None:
    chosen = options()
    try:
        result = measure(chosen)
    except (BenchError, DataError, SandboxError, ValueError) as error:
        sys.exit(str(error))
    if chosen.json:
        print(json.dumps(result))
    both = [result, result.get("loops", {"disagreements": {}})]
    if any(one["disagreements"].get(key) for one in both for key in ("pool", "pool_x2")):
        sys.exit("The pool disagrees with the reference; see the disagreements above.")


if __name__ == "__main__":
    main()
