"""Measure what it costs to reach the sandbox through Ray: a RayPool of one node beside a local pool.

    python scripts/bench/ray_pool.py [--json]                    (with the extra `ray`; about two minutes)
    python scripts/bench/ray_pool.py --problems 3 --repeat 1     (a quick look)

Needs the data set humaneval-codegen16b in CODERM_DATA (default ../shared/data beside the repository). The
jobs are those of sandbox.py: one real solution and ten real, whole test classes each. Both pools have the
same settings and as many workers on the same cores, are warm, and run all jobs in turn, --repeat times, with
four callers for each worker. Every verdict must be the same; if not, the exit code is 1.

Processor time is that of this process and all below it, Ray's own and the sandbox's among them. It is the
figure to trust on a machine that does other work too: cpu_overhead is what Ray adds to it, as a share.
overhead is how much longer the jobs take through Ray, as a share of what they take without, the median of the
rounds' ratios; in brackets the lowest and the highest. A lone job is one while nothing else runs: its median
says what a round trip adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from comparison import say
from executors import BenchError, prepare
from figures import ratios, spread, table
from machine import hardware
from soak import descendants
from workload import DataError, load

from coderm_reward.config import SandboxConfig
from coderm_reward.execution.pools import make_pool
from coderm_reward.integrations.ray_pool import RayPool
from coderm_sandbox import Job, SandboxError, TestResult

__all__ = ["main"]

CALLERS_PER_WORKER = 4
LONE_JOBS = 50
LABELS = {"local": "pool of this process", "ray": "pool of a Ray node"}


class Runner(Protocol):
    async def run(self, job: Job) -> list[TestResult]: ...


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", type=int, default=20, help="at most 20")
    parser.add_argument("--solutions", type=int, default=10, help="solutions per problem, at most 10")
    parser.add_argument("--tests", type=int, default=10, help="test classes per problem, at most 10")
    parser.add_argument("--workers", type=int, default=2, help="workers of each pool")
    parser.add_argument("--repeat", type=int, default=5, help="rounds; medians are reported")
    parser.add_argument("--timeout", type=float, default=1.0, help="limit of a test method, in seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    chosen = parser.parse_args()
    if chosen.repeat < 1 or chosen.workers < 1 or not chosen.timeout > 0:
        parser.error("--repeat and --workers must be 1 or more, --timeout above 0")
    return chosen


async def all_jobs(pool: Runner, jobs: Sequence[Job], callers: int) -> tuple[float, float, list[list[str]]]:
    """(seconds, processor seconds, outcomes) of all jobs, with so many in flight or waiting."""
    outcomes: list[list[str]] = [[] for _ in jobs]
    queue = iter(range(len(jobs)))

    async def caller() -> None:
        for number in queue:
            outcomes[number] = [result.outcome.value for result in await pool.run(jobs[number])]

    cpu, began = cpu_seconds(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return time.perf_counter() - began, cpu_seconds() - cpu, outcomes


def cpu_seconds() -> float:
    """Processor time so far of this process and all below it, those that were reaped included."""
    total = 0
    for pid in (os.getpid(), *descendants(os.getpid())):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


async def lone(pool: Runner, jobs: Sequence[Job]) -> float:
    """The median seconds of a job that is alone."""
    taken = []
    for job in jobs:
        began = time.perf_counter()
        await pool.run(job)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure, print, and return what --json prints."""
    problems = load(chosen.problems, chosen.solutions, chosen.tests)
    config = SandboxConfig(workers=chosen.workers, timeout=chosen.timeout, hang_limit=0)
    machine, date = hardware(), time.strftime("%Y-%m-%d")
    print(f"{machine}, Python {platform.python_version()}, {date}, load average {os.getloadavg()[0]:.1f}")
    async with make_pool(config) as local, RayPool(config) as ray:
        pools: dict[str, Runner] = {"local": local, "ray": ray}
        tests = await prepare(local, problems)
        jobs = [Job(text, own) for p, own in zip(problems, tests, strict=True) for text in p.solutions]
        callers = CALLERS_PER_WORKER * chosen.workers
        seconds: dict[str, list[float]] = {name: [] for name in pools}
        cpu: dict[str, list[float]] = {name: [] for name in pools}
        wrong = 0
        for number in range(chosen.repeat + 1):
            found = {name: await all_jobs(pool, jobs, callers) for name, pool in pools.items()}
            wrong += sum(a != b for a, b in zip(found["local"][2], found["ray"][2], strict=True))
            for name, (taken, spent, _) in found.items():
                if number:  # the first round starts what solutions with numpy need
                    seconds[name].append(taken)
                    cpu[name].append(spent)
                say(f"round {number} of {chosen.repeat}: {LABELS[name]}: {len(jobs) / taken:.1f} jobs/s")
        alone = {name: await lone(pool, jobs[:LONE_JOBS]) for name, pool in pools.items()}
        size, moved = ray.size, ray.stats.moved
    if size != chosen.workers or moved:
        raise BenchError(f"The Ray node had {size} workers and {moved} jobs moved; nothing to compare.")
    pairs = sum(len(job.tests) for job in jobs)
    overhead = [ratio - 1 for ratio in ratios(seconds["ray"], seconds["local"])]
    cpu_overhead = [ratio - 1 for ratio in ratios(cpu["ray"], cpu["local"])]
    per_job = {name: [1e3 * spent / len(jobs) for spent in cpu[name]] for name in pools}
    added = [1e3 * (r - s) / len(jobs) for r, s in zip(seconds["ray"], seconds["local"], strict=True)]
    rows = [
        [
            LABELS[name],
            spread([pairs / s for s in seconds[name]]),
            spread(per_job[name], 2),
            f"{1e3 * alone[name]:.2f}",
        ]
        for name in pools
    ]
    print(f"\n{len(jobs)} jobs, {pairs} pairs, {chosen.workers} workers\n")
    print(table(("executor", "pairs/s", "processor ms per job", "lone job p50 ms"), rows))
    print(
        f"\noverhead: {spread([100 * share for share in overhead])} %, {spread(added, 2)} ms of wall per job"
    )
    print(f"processor time: {spread([100 * share for share in cpu_overhead])} % more")
    return {
        "jobs": len(jobs),
        "pairs": pairs,
        "workers": chosen.workers,
        "pairs_per_s": {name: round(pairs / statistics.median(taken), 1) for name, taken in seconds.items()},
        "overhead": round(statistics.median(overhead), 3),
        "overhead_ms_per_job": round(statistics.median(added), 3),
        "cpu_overhead": round(statistics.median(cpu_overhead), 3),
        "cpu_ms_per_job": {name: round(statistics.median(spent), 3) for name, spent in per_job.items()},
        "lone_job_ms": {name: round(1e3 * taken, 3) for name, taken in alone.items()},
        "jobs_with_other_verdicts": wrong,
        "hardware": machine,
        "python": platform.python_version(),
        "date": date,
        "repeat": chosen.repeat,
    }


def main() -> None:
    chosen = options()
    try:
        import ray
    except ModuleNotFoundError:
        sys.exit("Ray is missing; install the extra: pip install 'coderm-reward[ray]'.")
    settings: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100_000_000}
    ray.init("local", num_cpus=chosen.workers, logging_level=logging.ERROR, **settings)
    try:
        result = asyncio.run(measure(chosen))
    except (BenchError, DataError, SandboxError, ValueError) as error:
        sys.exit(str(error))
    finally:
        ray.shutdown()
    if chosen.json:
        print(json.dumps(result))
    if result["jobs_with_other_verdicts"]:
        sys.exit("The Ray node gave other verdicts than the pool of this process.")


if __name__ == "__main__":
    main()
