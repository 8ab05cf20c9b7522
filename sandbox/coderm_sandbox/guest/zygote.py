"""The zygote: one warm interpreter per worker that forks children for solutions and never runs their code.

Requests come one at a time over the control socket:
  {"op": "run", "solution", "tests": [{"s": source, "c": class or null, "m": [methods]}], "limits"}
  {"op": "inspect", "tests", "limits"}
Answers: one {"i": index, ...} per test, in order, then {"end": true, "clean": bool}.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import signal
import socket
import sys
import types
from typing import Any

from . import processes, scratch, wire
from .child import child_main
from .jobrun import Child, JobRun
from .watch import SupervisorGoneError, Watch

__all__ = ["main"]

PRELOAD = [
    *("unittest.mock", "abc", "array", "bisect", "cmath", "collections", "contextlib", "copy", "csv"),
    *("dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "inspect"),
    *("io", "itertools", "json", "math", "numbers", "operator", "queue", "random", "re", "statistics"),
    *("string", "struct", "tempfile", "textwrap", "threading", "time", "traceback", "typing", "uuid"),
]
_COMPILED_TESTS = 1024


def _compile(source: str) -> types.CodeType | None:
    try:
        return compile(source, "<test>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


class Zygote:
    """Serves requests until the control socket closes."""

    def __init__(self, control: socket.socket, folders: list[str]) -> None:
        self._control = control
        self._folders = folders
        self._cache: dict[str, types.CodeType | None] = {}
        self._base_rss = _own_rss()

    def serve(self) -> None:
        while True:
            request = wire.recv_frame(self._control)
            if request is None:
                return
            try:
                clean = self._job(request)
            except SupervisorGoneError:
                return
            clean = processes.kill_all() and scratch.wipe(self._folders) and clean
            wire.send_frame(self._control, {"end": True, "clean": clean})
            if not clean:
                return

    def _compiled(self, source: str) -> types.CodeType | None:
        if source not in self._cache:
            while len(self._cache) >= _COMPILED_TESTS:
                del self._cache[next(iter(self._cache))]
            self._cache[source] = _compile(source)
        return self._cache[source]

    def _spawn(self, request: dict[str, Any], codes: list[types.CodeType | None]) -> Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                solution = request["solution"] if request["op"] == "run" else None
                child_main(
                    theirs, solution, request["tests"], codes.__getitem__, request["limits"], self._folders[0]
                )
            finally:
                os._exit(70)
        theirs.close()
        return Child(pid, ours, Watch(ours, self._control, request["limits"], self._base_rss))

    def _job(self, request: dict[str, Any]) -> bool:
        """Run all tests of one request; True if nothing of it can have been left behind."""
        run = JobRun(request, lambda message: wire.send_frame(self._control, message))
        codes = [self._compiled(test["s"]) if request["op"] == "run" else None for test in request["tests"]]
        clean = True
        while not run.finished and clean:
            child = self._spawn(request, codes)
            try:
                run.drive(child, lambda pid=child.pid: self._tidy(pid))  # type: ignore[misc]
            finally:
                child.sock.close()
                clean = processes.kill_all() and scratch.wipe(self._folders)
        return clean

    def _tidy(self, child: int) -> bool:
        """Between two tests: no stray process, nothing in scratch. False asks for a new child."""
        return processes.kill_strays(child) and scratch.wipe(self._folders)


def _own_rss() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


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
    if os.getpid() == 1:
        processes.die_with_parent()  # the namespace dies with us; without one, serve() must clean up
    processes.adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for name in PRELOAD:
        importlib.import_module(name)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", "/sandbox")]
    control = socket.socket(fileno=control_fd)
    zygote = Zygote(control, folders)
    gc.collect()
    gc.freeze()
    wire.send_frame(control, {"ready": True, "python": sys.version.split()[0], "rss": _own_rss()})
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    zygote.serve()
