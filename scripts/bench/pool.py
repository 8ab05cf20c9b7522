"""Measure the sandbox pool on real pairs: python scripts/bench/pool.py [--json]

Workload: CodeT's public CodeGen-16B artefacts on HumanEval (CODERM_DATA, default ../shared/data): the
first problems with enough tests, 10 distinct real solutions each, up to 10 real test classes each, one
job per solution. First one worker with everything pinned to one core, then two workers on two cores.
Every (solution, test class) is one pair. A few solutions never end and
take their whole timeout, so the rate is given with and without that time.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import gzip
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from coderm_sandbox import Job, Limits, Outcome, SandboxPool, Test

DATA = "humaneval-codegen16b"


def read_rows(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    path = folder / f"{name}.jsonl.gz"
    if not path.exists():
        sys.exit(f"{path} is missing; point CODERM_DATA at the folder that holds {DATA}/.")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {row["task_id"]: row for row in rows}


def workload(problems: int, solutions: int, tests: int) -> list[tuple[list[str], list[str]]]:
    """(distinct solutions, distinct test classes) of each problem."""
    folder = Path(os.environ.get("CODERM_DATA", "../shared/data")) / DATA
    texts, suites = read_rows(folder, "solutions"), read_rows(folder, "unit_tests")
    chosen = []
    for task, row in texts.items():
        sources = list(dict.fromkeys(unit["unittest"] for unit in suites[task]["unit_tests"]))[:tests]
        if len(sources) >= min(5, tests):
            chosen.append((list(dict.fromkeys(row["solutions"]))[:solutions], sources))
    return chosen[:problems]


def resident(pid: int) -> int:
    """Bytes resident in the process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure(workers: int, cores: set[int], work: list[tuple[list[str], list[str]]]) -> dict[str, Any]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    began = time.perf_counter()
    async with SandboxPool(workers=workers, limits=Limits()) as pool:
        ready = time.perf_counter() - began
        rss = resident(pool.worker_pids()[0])
        jobs: list[Job] = []
        for solutions, sources in work:
            found = await pool.inspect([Test(source) for source in sources])
            tests = tuple(
                Test(source, methods=one.methods, skipped=one.skipped)
                for source, one in zip(sources, found, strict=True)
                if one.valid
            )
            jobs += [Job(solution, tests) for solution in solutions]
        seconds: list[float] = []
        hanging = 0.0
        outcomes: collections.Counter[Outcome] = collections.Counter()
        queue = iter(jobs)

        async def caller() -> None:
            nonlocal hanging
            for job in queue:
                start = time.perf_counter()
                results = await pool.run(job)
                seconds.append(time.perf_counter() - start)
                outcomes.update(result.outcome for result in results)
                hanging += sum(result.seconds for result in results if result.outcome is Outcome.TIMEOUT)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(workers)))
        total = time.perf_counter() - began
        os.sched_setaffinity(0, before)
        pairs = sum(len(job.tests) for job in jobs)
        seconds.sort()
        return {
            "workers": workers,
            "cores": len(cores),
            "jobs": len(jobs),
            "pairs": pairs,
            "pairs_per_second": round(pairs / total, 1),
            "pairs_per_second_without_hangs": round(pairs / (total - hanging / workers), 1),
            "seconds": round(total, 1),
            "hanging_seconds": round(hanging, 1),
            "job_p50_ms": round(1e3 * statistics.median(seconds), 1),
            "job_p95_ms": round(1e3 * seconds[int(0.95 * (len(seconds) - 1))], 1),
            "ready_seconds": round(ready, 3),
            "zygote_rss_mib": round(rss / 2**20, 1),
            "isolation": pool.description,
            "outcomes": {outcome.value: count for outcome, count in outcomes.most_common()},
        }


def _sentence(run: dict[str, Any]) -> str:
    return (
        f"{run['workers']} worker(s) on {run['cores']} core(s): {run['pairs']} pairs in {run['jobs']} jobs, "
        f"{run['pairs_per_second']} pairs/s ({run['pairs_per_second_without_hangs']} without the time that "
        f"hanging pairs take until their timeout), job p50 {run['job_p50_ms']} ms, p95 "
        f"{run['job_p95_ms']} ms, ready in {run['ready_seconds']} s, zygote {run['zygote_rss_mib']} MiB; "
        f"{run['outcomes']}"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--solutions", type=int, default=10, help="distinct solutions per problem")
    parser.add_argument("--tests", type=int, default=10, help="test classes per problem, at most")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    work = workload(options.problems, options.solutions, options.tests)
    usable = sorted(os.sched_getaffinity(0))
    runs = []
    print(
        f"kernel {platform.release()}, Python {platform.python_version()}, {len(usable)} usable cores,",
        end=" ",
    )
    print(f"load average {os.getloadavg()[0]:.2f} before the start")
    for count in (1, 2):
        run = await measure(count, set(usable[:count]), work)
        runs.append(run)
        print(_sentence(run))
    if options.json:
        print(json.dumps({"kernel": platform.release(), "python": platform.python_version(), "runs": runs}))


if __name__ == "__main__":
    asyncio.run(main())
