"""Run the pairs of a workload: in our pool, in the baselines, and in the reference with its cache."""

from __future__ import annotations

import asyncio
import collections
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import baselines
from workload import Problem

from coderm_sandbox import Job, Limits, Outcome, SandboxPool, Test
from coderm_sandbox.interpreter import describe_interpreter
from coderm_sandbox.isolation import bwrap_paths

__all__ = ["BenchError", "Reference", "Run", "resident", "run_baseline", "run_pool"]

MEMORY_MB = 1024
START_SECONDS = 120.0
_BASELINES = Path(baselines.__file__).resolve()
_ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0", "TZ": "UTC"}
_SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
_VERDICTS = {Outcome.PASS: "pass", Outcome.TIMEOUT: "timeout", Outcome.UNKNOWN: "unknown"}


class BenchError(Exception):
    """Nothing can be measured; the text says why and what to do."""


@dataclass
class Run:
    """One executor, once over all pairs: verdicts (pass, fail, timeout, unknown) and seconds, in order."""

    verdicts: list[str]
    pair_seconds: list[float]
    job_seconds: list[float]
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Pairs per second."""
        return len(self.verdicts) / self.seconds


def resident(pids: Sequence[int]) -> int:
    """Bytes resident in these processes; one that has just ended counts nothing."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total * os.sysconf("SC_PAGE_SIZE")


async def prepare(pool: SandboxPool, problems: Sequence[Problem]) -> list[tuple[Test, ...]]:
    """The inspected tests of each problem. Raises BenchError if one is not a test."""

    async def inspected(problem: Problem) -> tuple[Test, ...]:
        found = await pool.inspect([Test(text) for text in problem.tests])
        for number, one in enumerate(found):
            if not one.valid:
                raise BenchError(f"{problem.name}, test {number} is not valid: {one.reason}; choose anew.")
        ready = zip(problem.tests, found, strict=True)
        return tuple(Test(text, methods=one.methods, skipped=one.skipped) for text, one in ready)

    return await asyncio.gather(*(inspected(problem) for problem in problems))


async def _warm(pool: SandboxPool, workers: int) -> float:
    """Have every worker for numpy started too, as one would be by the first such solution; seconds."""
    began = time.perf_counter()
    text = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        f()\n"
    (found,) = await pool.inspect([Test(text)])
    job = Job("import numpy\ndef f():\n    pass\n", (Test(text, methods=found.methods),))
    await asyncio.gather(*(pool.run(job) for _ in range(workers)))
    return time.perf_counter() - began


async def _run_pool(problems: Sequence[Problem], workers: int, limit: float) -> Run:
    began = time.perf_counter()
    limits = Limits(timeout=limit, memory_mb=MEMORY_MB, hang_limit=0)
    async with SandboxPool(workers=workers, limits=limits, isolation="bubblewrap") as pool:
        ready = time.perf_counter() - began
        tests = await prepare(pool, problems)
        prepared = time.perf_counter() - began - ready
        without_numpy = resident(pool.worker_pids())
        numpy = any("numpy" in solution for problem in problems for solution in problem.solutions)
        numpy_ready = await _warm(pool, workers) if numpy else 0.0
        jobs = [Job(text, own) for p, own in zip(problems, tests, strict=True) for text in p.solutions]
        rss = resident(pool.worker_pids())
        results: list[Any] = [None] * len(jobs)
        submitted, ended = [0.0] * len(jobs), []
        queue = iter(range(len(jobs)))

        async def caller() -> None:
            for number in queue:
                submitted[number] = time.perf_counter()
                results[number] = await pool.run(jobs[number])
                ended.append(time.perf_counter())

        began = time.perf_counter()
        # A few more in flight than workers, so that a free worker never waits for us.
        await asyncio.gather(*(caller() for _ in range(workers + 2)))
        seconds = time.perf_counter() - began
        rss = max(rss, resident(pool.worker_pids()))
        flat = [result for job in results for result in job]
        starts = [max(s, ended[n - workers] if n >= workers else began) for n, s in enumerate(submitted)]
        return Run(
            verdicts=[_VERDICTS.get(result.outcome, "fail") for result in flat],
            pair_seconds=[result.seconds for result in flat],
            job_seconds=[end - start for start, end in zip(starts, ended, strict=True)],
            seconds=seconds,
            facts={
                "rss_mb": rss / workers / 2**20,
                "rss_without_numpy_mb": without_numpy / workers / 2**20,
                "ready_s": ready,
                "numpy_ready_s": numpy_ready,
                "prepare_s": prepared,
                "judge": dict(collections.Counter(result.judge for result in flat)),
                "isolation": pool.description,
                "workers_replaced": pool.stats.workers_replaced,
                "retried": pool.stats.retried,
            },
        )


def run_pool(problems: Sequence[Problem], workers: int, cores: set[int], limit: float) -> Run:
    """Our pool, on these cores together with us. Its start is not in `seconds`.

    Nor is that of its zygotes for numpy, nor the inspection of the tests.

    A pair's seconds are those that the worker reports. A job's are from when a worker was free for it.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        return asyncio.run(_run_pool(problems, workers, limit))
    finally:
        os.sched_setaffinity(0, before)


@functools.cache
def _wall() -> tuple[str, ...]:
    """A bwrap command line without network, capabilities and host files, with a tmpfs for scratch.

    Raises:
        BenchError: no bwrap of this host can start it.
    """
    python = describe_interpreter(sys.executable)
    mounts = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for path in _SYSTEM:
        mounts += ["--ro-bind-try", path, path]
    for path in (*python.folders, *python.files):
        if not path.startswith(("/usr/lib/", "/lib/")):
            mounts += ["--ro-bind", path, path]
    for link, target in python.links:
        mounts += ["--symlink", target, link]
    mounts += ["--ro-bind", str(_BASELINES), "/bench/baselines.py", "--remount-ro", "/", "--chdir", "/tmp"]
    alone = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    alone += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    reasons = []
    for bwrap in bwrap_paths():
        for user in (["--unshare-user", "--uid", "1000", "--gid", "1000"], []):
            command = [bwrap, *alone, *user, *mounts, "--", sys.executable, "-s", "-B"]
            tried = subprocess.run([*command, "-c", ""], capture_output=True, text=True, check=False)
            if tried.returncode == 0:
                return tuple(command)
            reasons.append(tried.stderr.strip() or str(tried.returncode))
    raise BenchError(
        f"The baselines need bwrap, which does not start here ({'; '.join(reasons) or 'there is none'}); "
        "`coderm-reward doctor` says what to do."
    )


def run_baseline(kind: str, problems: Sequence[Problem], limit: float) -> Run:
    """One of the executors of baselines.py, in bubblewrap, on our core. Starting it is not in `seconds`.

    Raises:
        BenchError: it cannot be started, died, or took longer than every pair running into its limit.
    """
    texts = [{"solutions": p.solutions, "tests": p.tests} for p in problems]
    task = json.dumps({"limit": limit, "memory_mb": MEMORY_MB, "problems": texts})
    pairs = sum(len(p.solutions) * len(p.tests) for p in problems)
    slowest = max(limit + baselines.GRACE_SECONDS, baselines.FRESH_WALL_SECONDS)
    try:
        done = subprocess.run(
            [*_wall(), "/bench/baselines.py", kind],
            input=task,
            capture_output=True,
            text=True,
            env={**_ENVIRONMENT, "HOME": "/tmp"},
            timeout=START_SECONDS + pairs * slowest,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        raise BenchError(
            f"The baseline {kind} gave no answer: {error}; run it with fewer --problems."
        ) from None
    timings = (answer["verdicts"], answer["pair_seconds"], answer["job_seconds"], answer["seconds"])
    return Run(*timings, facts={"cpu_seconds": answer.get("cpu_seconds", [])})


class Reference:
    """Verdicts of a fresh interpreter per pair, remembered in a file by what they depend on.

    Args:
        path: the cache, a JSON file.
        fresh: whether to forget what the file holds.
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path = path
        self.computed = 0
        self._known: dict[str, tuple[str, float]] = {}
        if not fresh and path.exists():
            self._known = json.loads(path.read_text("utf-8"))

    def _key(self, solution: str, test: str) -> str:
        settings = (baselines.FRESH_PROGRAM, baselines.FRESH_CPU_SECONDS, MEMORY_MB)
        text = json.dumps([platform.python_version(), *settings, solution, test])
        return hashlib.sha256(text.encode()).hexdigest()

    def pairs(self, problem: Problem) -> list[tuple[str, float]]:
        """(verdict, processor seconds) of each pair of a problem, solution by solution."""
        keys = [[self._key(text, test) for test in problem.tests] for text in problem.solutions]
        missing = [i for i, row in enumerate(keys) if any(key not in self._known for key in row)]
        if missing:
            part = Problem(problem.name, tuple(problem.solutions[i] for i in missing), problem.tests)
            run = run_baseline("fresh", [part], 0.0)
            flat = [key for i in missing for key in keys[i]]
            seconds = run.facts["cpu_seconds"]
            self._known.update(zip(flat, zip(run.verdicts, seconds, strict=True), strict=True))
            self.computed += len(flat)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self.path.with_suffix(".part")
            unfinished.write_text(json.dumps(self._known), "utf-8")
            unfinished.replace(self.path)
        return [self._known[key] for row in keys for key in row]

    def verdicts(self, problem: Problem) -> list[str]:
        """pass, fail or timeout of each pair of a problem, solution by solution."""
        return [verdict for verdict, _ in self.pairs(problem)]
