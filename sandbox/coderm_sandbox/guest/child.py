"""The process that loads one solution and forks once per test on the zygote's word.

Untrusted from the moment the solution is loaded: the zygote believes none of its messages beyond
what they say about this solution.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import resource
import signal
import socket
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from . import guard, inspection, processes, runner
from .output import CountingSink, redirect

__all__ = ["DESCRIPTORS", "FRAMES_FOR_RUNNER", "child_main"]

FRAMES_FOR_RUNNER = 60
"""Stack frames that we and unittest use before a test method runs."""
DESCRIPTORS = 4
"""Open files of a child before its solution is loaded: the standard three and its channel."""
_STACK = 64 << 20
_OPEN_FILES = 256
_LARGEST = 1 << 60
_DEEPEST = (1 << 31) - 1


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    _, highest = resource.getrlimit(kind)
    highest = _LARGEST if highest == resource.RLIM_INFINITY else highest
    resource.setrlimit(kind, (min(soft, highest), min(soft if hard is None else hard, highest)))


def _apply_limits(limits: dict[str, Any]) -> None:
    with open("/proc/self/statm", "rb") as file:
        own = int(file.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, own + (limits["memory_mb"] << 20))
    _limit(resource.RLIMIT_FSIZE, limits["file_mb"] << 20)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_STACK, _STACK)
    for kind in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_NICE,
        resource.RLIMIT_RTPRIO,
        resource.RLIMIT_MSGQUEUE,
    ):
        _limit(kind, 0)  # an unlimited host hands its own on
    if limits["count_processes"]:
        _limit(resource.RLIMIT_NPROC, limits["processes"] + 2)  # the zygote and the child count too


def _load(source: str) -> types.ModuleType:
    module = types.ModuleType("solution")
    for name in runner.SOLUTION_MODULES:
        sys.modules[name] = module
    code = compile(source, "<solution>", "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return module


def _load_reporting(source: str, sink: CountingSink, report: runner.Report) -> types.ModuleType | None:
    """Load the solution; on failure report its outcome for all tests and return None."""
    outcome = detail = ""
    module = None
    try:
        module = _load(source)
    except MemoryError as error:
        outcome, detail = "memory", runner.describe(error)
    except BaseException as error:  # noqa: BLE001  (SystemExit and KeyboardInterrupt of a solution too)
        outcome, detail = "error", runner.describe(error)
    if sink.exceeded:
        outcome, detail = "output", "printed more than the output limit"
    elif not (guard.unittest_intact() and guard.builtins_intact()):
        outcome, detail = "tampered", "the solution changed unittest or the builtins"
    if outcome:
        report({"k": "load", "o": outcome, "d": detail})
        return None
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    waiting = any(signal.getitimer(timer)[0] for timer in timers)  # no fork inherits them
    report({"k": "load", "o": "ok", "d": "", "alone": waiting})
    return module


def _enter(sock: socket.socket, limits: dict[str, Any], home: str) -> None:
    """Make this fork of the zygote fit for a solution: nothing of the zygote's is open, limits hold."""
    processes.die_with_parent()
    # The zygote must be able to look at us; that it is hidden itself is what counts.
    processes.set_dumpable(True)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv[:] = ["solution.py"]
    channel = sock.fileno()
    os.closerange(3, channel)
    os.closerange(channel + 1, 1024)
    os.chdir(home)
    _apply_limits(limits)


def child_main(
    sock: socket.socket,
    solution: str | None,
    tests: Sequence[dict[str, Any]],
    compiled: Callable[[int], types.CodeType | None],
    limits: dict[str, Any],
    home: str,
) -> None:
    """Serve one solution (None: inspect the tests themselves) until the zygote kills this process."""
    _enter(sock, limits, home)
    dumps, send, fork, wait, leave = json.dumps, sock.send, os.fork, os.waitpid, os._exit

    def report(message: dict[str, Any]) -> None:
        send(dumps(message).encode("ascii"))

    sink = redirect(limits["output_mb"] << 20)
    if any("numpy" in text for text in [solution or "", *(test["s"] for test in tests)]):
        # Not in the zygote, where it would make every fork dearer; here, where its time is ours.
        with contextlib.suppress(ImportError, MemoryError, OSError):
            import numpy  # noqa: F401  # type: ignore[import-not-found, unused-ignore]
    report({"k": "ready"})
    unseeded = random.getstate()
    module = None if solution is None else _load_reporting(solution, sink, report)
    if solution is not None and module is None:
        return
    state = random.getstate()
    seeded = None if state == unseeded else state
    # A handler of the solution must not run between tests, where what it changes would last.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        command = json.loads(sock.recv(1 << 16))
        index, word = command["i"], command["word"]
        pid = fork() if command["fork"] else 0
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if command["fork"]:
                processes.die_with_parent()
                if seeded is not None:
                    random.setstate(seeded)  # what seeded the generator at import; forks seed it anew
            else:
                report({"k": "run", "pid": os.getpid(), "w": word})
            _run(tests[index], compiled(index), command, module, limits, sink, report)
            leave(0)
        report({"k": "run", "pid": pid, "w": word})
        _, status = wait(pid, 0)
        report({"k": "end", "status": status, "w": word})


def _run(
    test: dict[str, Any],
    code: types.CodeType | None,
    command: dict[str, Any],
    module: types.ModuleType | None,
    limits: dict[str, Any],
    sink: CountingSink,
    report: runner.Report,
) -> None:
    """Run, or inspect, one test in this very process."""
    word = command["word"]

    def tell(message: dict[str, Any]) -> None:
        report({**message, "w": word})

    keys: list[str] = test["m"][command["start"] :]
    seconds = math.ceil(limits["timeout"] * max(1, len(keys))) + 2
    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if module is None:
        tell({"k": "inspected", **inspection.inspect_test(test["s"], test["c"])})
        return
    if code is None:
        code = compile(test["s"], "<test>", "exec", dont_inherit=True)
    sys.setrecursionlimit(min(sys.getrecursionlimit() + FRAMES_FOR_RUNNER, _DEEPEST))
    runner.run_methods(code, test["c"], keys, module, sink, tell)
