"""The process that loads one solution and forks once per test on the zygote's word.

Untrusted from the moment the solution is loaded: the zygote believes none of its messages beyond
what they say about this solution.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import socket
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from . import guard, inspection, runner
from .output import CountingSink, redirect

__all__ = ["FRAMES_FOR_RUNNER", "child_main"]

FRAMES_FOR_RUNNER = 60
"""Stack frames that we and unittest use before a test method runs."""
_STACK = 64 << 20
_OPEN_FILES = 256


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _apply_limits(limits: dict[str, Any]) -> None:
    with open("/proc/self/statm", "rb") as file:
        own = int(file.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, own + _STACK + (limits["memory_mb"] << 20))
    _limit(resource.RLIMIT_FSIZE, limits["file_mb"] << 20)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_STACK, _STACK)
    _limit(resource.RLIMIT_CORE, 0)
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
    report({"k": "load", "o": "ok", "d": ""})
    return module


def child_main(
    sock: socket.socket,
    solution: str | None,
    tests: Sequence[dict[str, Any]],
    compiled: Callable[[int], types.CodeType | None],
    limits: dict[str, Any],
    scratch: str,
) -> None:
    """Serve one solution (None: inspect the tests themselves) until the zygote kills this process."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    channel = sock.fileno()
    os.closerange(3, channel)
    os.closerange(channel + 1, 1024)
    os.chdir(scratch)
    _apply_limits(limits)
    dumps, send, fork, wait, leave = json.dumps, sock.send, os.fork, os.waitpid, os._exit

    def report(message: dict[str, Any]) -> None:
        send(dumps(message).encode("ascii"))

    sink = redirect(limits["output_mb"] << 20)
    if any("numpy" in text for text in [solution or "", *(test["s"] for test in tests)]):
        try:
            import numpy  # noqa: F401  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            report({"k": "note", "d": "numpy is not installed in the sandbox interpreter"})
    report({"k": "ready"})
    module = None if solution is None else _load_reporting(solution, sink, report)
    if solution is not None and module is None:
        return
    while True:
        command = json.loads(sock.recv(1 << 16))
        index, start = command["i"], command["start"]
        test = tests[index]
        pid = fork()
        if pid == 0:
            keys: list[str] = test["m"][start:]
            seconds = math.ceil(limits["timeout"] * max(1, len(keys))) + 2
            _limit(resource.RLIMIT_CPU, seconds)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if module is None:
                report({"k": "inspected", **inspection.inspect_test(test["s"], test["c"])})
            else:
                code = compiled(index)
                assert code is not None
                sys.setrecursionlimit(sys.getrecursionlimit() + FRAMES_FOR_RUNNER)
                runner.run_methods(code, test["c"], keys, module, sink, report)
            leave(0)
        report({"k": "run", "pid": pid})
        _, status = wait(pid, 0)
        report({"k": "end", "status": status})
