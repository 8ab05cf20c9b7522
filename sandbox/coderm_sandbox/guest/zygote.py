"""The zygote: one warm interpreter per worker that forks children for solutions and never runs their code.

Requests come one at a time over the control socket:
  {"op": "run", "solution", "tests": [{"s": source, "c": class or null, "m": [methods]}], "limits"}
  {"op": "inspect", "tests", "limits"}
Answers: one {"i": index, ...} per test, in order, then {"end": true, "clean": bool}; {"alive": true}
now and then where nothing else is sent for long.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import types
from typing import Any

from . import processes, wire
from .child import DESCRIPTORS, child_main
from .jobrun import Child, JobRun
from .scratch import Scratch
from .watch import SupervisorGoneError, Watch

__all__ = ["main"]

PRELOAD = [
    *("unittest.mock", "abc", "array", "bisect", "cmath", "collections", "contextlib", "copy", "csv"),
    *("dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "inspect"),
    *("io", "itertools", "json", "math", "numbers", "operator", "queue", "random", "re", "statistics"),
    *("string", "struct", "tempfile", "textwrap", "threading", "time", "traceback", "typing", "uuid"),
]
_COMPILED_TESTS = 1024
_COMPILED_CHARACTERS = 1 << 16
"""Longer tests are compiled in the process that runs them, at its cost."""


def _compile(source: str) -> types.CodeType | None:
    try:
        return compile(source, "<test>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


class Zygote:
    """Serves requests until the control socket closes."""

    def __init__(self, control: socket.socket, scratch: Scratch) -> None:
        self._control = control
        self._scratch = scratch
        self._cache: dict[str, types.CodeType | None] = {}
        self._base_rss = 0
        self._mappings = processes.shared_mappings("self")

    def serve(self) -> None:
        while True:
            request = wire.recv_frame(self._control)
            if request is None:
                return
            try:
                clean = self._job(request)
                wire.send_frame(self._control, {"end": True, "clean": clean})
            except (SupervisorGoneError, ConnectionError):
                return
            if not clean:
                return

    def _compiled(self, test: dict[str, Any]) -> types.CodeType | None:
        """The code of a test; None leaves compiling to the child, or there is nothing left to run."""
        source = test["s"]
        if len(source) > _COMPILED_CHARACTERS:
            return None
        if source not in self._cache:
            while len(self._cache) >= _COMPILED_TESTS:
                del self._cache[next(iter(self._cache))]
            self._cache[source] = _compile(source)
        if self._cache[source] is None:
            test["m"] = []  # it is no test
        return self._cache[source]

    def _spawn(self, request: dict[str, Any], codes: list[types.CodeType | None]) -> Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                solution = request["solution"] if request["op"] == "run" else None
                limits, home = request["limits"], self._scratch.home
                child_main(theirs, solution, request["tests"], codes.__getitem__, limits, home)
            finally:
                os._exit(70)
        theirs.close()
        return Child(pid, ours, Watch(ours, self._control, request["limits"], self._base_rss))

    def _job(self, request: dict[str, Any]) -> bool:
        """Run all tests of one request; True if nothing of it can have been left behind."""
        self._base_rss = processes.own_rss()
        run = JobRun(request, lambda message: wire.send_frame(self._control, message))
        codes: list[types.CodeType | None] = [None] * len(request["tests"])
        if request["op"] == "run":
            codes = [self._compiled(test) for test in request["tests"]]
        clean = True
        while clean and not run.finished():
            child = self._spawn(request, codes)
            try:
                run.drive(child, self)
            finally:
                child.sock.close()
                clean = processes.kill_all() and self._scratch.wipe()
        return clean

    def forkable(self, pid: int) -> bool:
        """Whether all that the loaded solution holds is memory of its own, which a fork copies."""
        shares = processes.shares_with_forks(pid, DESCRIPTORS, self._mappings)
        return not shares and self._scratch.is_empty()

    def tidy(self, pid: int) -> bool:
        """Between two tests: no stray process, nothing in scratch. False asks for a new child."""
        return processes.kill_strays(pid) and self._scratch.wipe()


def _become(uid: int) -> None:
    """Leave root for a uid that owns nothing on this host (only where bubblewrap started us as root)."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def main(arguments: list[str]) -> None:
    """Entry point: CONTROL_FD UID_OR_-1 SCRATCH..., all given by the supervisor."""
    control_fd, uid, folders = int(arguments[0]), int(arguments[1]), arguments[2:]
    os.closerange(3, control_fd)
    os.closerange(control_fd + 1, 1024)
    if uid >= 0:
        _become(uid)
    processes.set_dumpable(False)
    if os.getpid() == 1:
        processes.die_with_parent()  # the namespace dies with us; without one, serve() must clean up
    processes.adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", "/sandbox")]
    for name in PRELOAD:
        importlib.import_module(name)
    control = socket.socket(fileno=control_fd)
    scratch = Scratch(folders)
    zygote = Zygote(control, scratch)
    gc.collect()
    gc.freeze()
    hello = {"ready": True, "python": sys.version.split()[0], "rss": processes.own_rss()}
    wire.send_frame(control, hello)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    try:
        zygote.serve()
    finally:
        scratch.remove()
