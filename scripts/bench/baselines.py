"""Executors to compare with, written for that alone: python baselines.py process|exec|text|fresh

Started by scripts/bench/sandbox.py inside bubblewrap; by itself it refuses, because it runs model output
with no protection of its own. Reads {"limit", "memory_mb", "problems": [{"solutions", "tests"}]} from stdin
and prints {"verdicts", "pair_seconds", "job_seconds", "seconds"}, the first two flat: by problem, then
solution, then test. A verdict is pass, fail or timeout.

  process  the paper's design: a multiprocessing.Process (fork) for every pair, setitimer in the child, exec
           of the full text (solution, then test), TextTestRunner. The verdict comes back through a shared
           Value, which is cheaper than a Queue.
  exec     no isolation at all: one process, each solution exec'ed once, each test compiled once before the
           clock starts; the same TextTestRunner as process.
  text     no isolation either, and nothing kept: exec of the full text for every pair, in one process.
  fresh    the reference: a new interpreter for every pair, two seconds of processor time each.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import types
import unittest
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["FRESH_PROGRAM", "main"]

GRACE_SECONDS = 1.0
FRESH_CPU_SECONDS = 2
FRESH_WALL_SECONDS = 20.0
FRESH_PROGRAM = """
import json, os, resource, sys, unittest
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2]) + 1))
with open(sys.argv[1]) as file:
    solution, test = json.load(file)
answer = int(sys.argv[3])
sys.argv = ["solution.py"]
names = {"__name__": "solution"}
exec(compile(solution, "<solution>", "exec"), names)
names["__name__"] = "test_solution"
exec(compile(test, "<test>", "exec"), names)
load = unittest.defaultTestLoader.loadTestsFromTestCase
cases = [v for v in names.values() if isinstance(v, type) and issubclass(v, unittest.TestCase)]
result = unittest.TestResult()
unittest.TestSuite(load(case) for case in cases).run(result)
ran = result.testsRun - len(result.skipped)
os.write(answer, b"pass" if ran > 0 and result.wasSuccessful() else b"fail")
os._exit(0)
"""


class OutOfTimeError(Exception):
    """The timer of this pair went off."""


def load(solution: str, namespace: dict[str, Any]) -> bool:
    exec(compile(solution, "<solution>", "exec"), namespace)
    return True


def suite(namespace: dict[str, Any]) -> unittest.TestSuite:
    """All TestCase classes of a namespace."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    found = [v for v in namespace.values() if isinstance(v, type) and issubclass(v, unittest.TestCase)]
    return unittest.TestSuite(load(case) for case in found)


def succeed(cases: unittest.TestSuite) -> bool:
    """Whether something ran and all of it succeeded."""
    result = unittest.TextTestRunner(stream=io.StringIO()).run(cases)
    return result.testsRun > len(result.skipped) and result.wasSuccessful()


def ring(number: int, frame: types.FrameType | None) -> None:
    raise OutOfTimeError


def _in_child(text: str, limit: float, answer: ctypes.c_int) -> None:
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    namespace: dict[str, Any] = {"__name__": "solution"}
    with contextlib.suppress(BaseException):  # whatever the text raises: no verdict is no pass
        exec(text, namespace)
        answer.value = int(succeed(suite(namespace)))
    signal.setitimer(signal.ITIMER_REAL, 0)


class ProcessPerPair:
    """A forked process for every pair."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.context = multiprocessing.get_context("fork")
        self.answer: Any = self.context.Value(ctypes.c_int, 0, lock=False)

    def job(self, solution: str, tests: list[str]) -> Iterator[str]:
        for test in tests:
            self.answer.value = 0
            began = time.perf_counter()
            arguments = (f"{solution}\n{test}", self.limit, self.answer)
            child = self.context.Process(target=_in_child, args=arguments)
            child.start()
            child.join(self.limit + GRACE_SECONDS)
            if child.exitcode is None:
                child.kill()
                child.join()
            child.close()
            late = "timeout" if time.perf_counter() - began >= self.limit else "fail"
            yield "pass" if self.answer.value else late


class ExecInProcess:
    """No process, no isolation: what a pair costs by itself."""

    def __init__(self, limit: float, tests: list[str]) -> None:
        self.limit = limit
        self.compiled = {test: compile(test, "<test>", "exec") for test in tests}
        signal.signal(signal.SIGALRM, ring)

    def timed(self, action: Callable[[], bool]) -> str:
        began, good = time.perf_counter(), False
        try:
            signal.setitimer(signal.ITIMER_REAL, self.limit)
            good = action()
        except BaseException:  # noqa: BLE001  (model output can raise anything)
            good = False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return "pass" if good else "timeout" if time.perf_counter() - began >= self.limit else "fail"

    def job(self, solution: str, tests: list[str]) -> Iterator[str]:
        namespace: dict[str, Any] = {"__name__": "solution"}
        loaded = self.timed(lambda: load(solution, namespace))
        for test in tests:
            if loaded != "pass":
                yield loaded
                continue

            def one(code: types.CodeType = self.compiled[test]) -> bool:
                names = dict(namespace)
                exec(code, names)
                return succeed(suite(names))

            yield self.timed(one)


class FullTextInProcess(ExecInProcess):
    """The same, but solution and test are compiled and exec'ed for every pair."""

    def job(self, solution: str, tests: list[str]) -> Iterator[str]:
        for test in tests:

            def one(text: str = f"{solution}\n{test}") -> bool:
                names: dict[str, Any] = {"__name__": "solution"}
                return load(text, names) and succeed(suite(names))

            yield self.timed(one)


class FreshInterpreter:
    """A new interpreter for every pair; `spent` holds the processor seconds of each."""

    def __init__(self) -> None:
        self.spent: list[float] = []

    def job(self, solution: str, tests: list[str]) -> Iterator[str]:
        for test in tests:
            with open("/tmp/pair.json", "w", encoding="utf-8") as file:
                json.dump([solution, test], file)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            yield self.pair()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def pair(self) -> str:
        reading, writing = os.pipe()
        arguments = ["/tmp/pair.json", str(FRESH_CPU_SECONDS), str(writing)]
        command = [sys.executable, "-s", "-B", "-c", FRESH_PROGRAM, *arguments]
        with os.fdopen(reading, "rb") as answer:
            child = subprocess.Popen(command, pass_fds=[writing])
            os.close(writing)
            try:
                child.wait(FRESH_WALL_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                return "timeout"
            if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
                return "timeout"
            return "pass" if child.returncode == 0 and answer.read() == b"pass" else "fail"


def contained() -> bool:
    """Whether we are in a sandbox: a read-only root and no network but our own loopback."""
    names = {name for _, name in socket.if_nameindex()}
    return bool(os.statvfs("/").f_flag & os.ST_RDONLY) and names <= {"lo"}


def measure(executor: ProcessPerPair | ExecInProcess | FreshInterpreter, task: Any) -> dict[str, Any]:
    """Run all pairs, one after the other."""
    answer: dict[str, Any] = {"verdicts": [], "pair_seconds": [], "job_seconds": []}
    began = time.perf_counter()
    for problem in task["problems"]:
        for solution in problem["solutions"]:
            start = last = time.perf_counter()
            for verdict in executor.job(solution, problem["tests"]):
                now = time.perf_counter()
                answer["verdicts"].append(verdict)
                answer["pair_seconds"].append(now - last)
                last = now
            answer["job_seconds"].append(last - start)
    answer["seconds"] = time.perf_counter() - began
    return answer


def main() -> None:
    if sys.argv[1:] not in (["process"], ["exec"], ["text"], ["fresh"]):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    if not contained():
        sys.exit("This runs model output unprotected; use scripts/bench/sandbox.py, which walls it in.")
    kind, task = sys.argv[1], json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):  # nothing for a solution to read, nowhere to print
            os.dup2(nothing, number)
        resource.setrlimit(resource.RLIMIT_AS, (task["memory_mb"] << 20,) * 2)
        if kind == "process":
            answer = measure(ProcessPerPair(task["limit"]), task)
        elif kind == "fresh":
            fresh = FreshInterpreter()
            answer = {**measure(fresh, task), "cpu_seconds": fresh.spent}
        else:
            tests = [test for problem in task["problems"] for test in problem["tests"]]
            executor = ExecInProcess if kind == "exec" else FullTextInProcess
            answer = measure(executor(task["limit"], tests), task)
        json.dump(answer, out)


if __name__ == "__main__":
    main()
