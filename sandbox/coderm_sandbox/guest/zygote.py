"""What a worker's two zygotes have in common: they leave root, close what is not theirs, and warm up.

A zygote is an interpreter that is started once, forks judges (judgezygote.py) or players
(playerzygote.py), and never runs their texts itself. Each of the two has a sandbox of its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys

from . import processes, wire
from .scratch import Scratch

__all__ = ["main"]

_GARBAGE = 10_000
"""Objects made before Python looks for cycles among them; parsing alone makes hundreds."""


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
    scratch = Scratch(folders)
    try:
        _serve(socket.socket(fileno=control_fd), scratch)
    finally:
        scratch.remove()


def _serve(control: socket.socket, scratch: Scratch) -> None:
    """Learn which of the two zygotes this one is, warm up, say so, and be it."""
    request = wire.recv_frame(control)
    if request is None:
        return
    # Neither of the two imports what only the other one needs: every module makes every fork dearer.
    role = importlib.import_module(f"{__package__}.{request['role']}zygote")
    for name in [*role.PRELOAD, *request["modules"]]:
        with contextlib.suppress(ImportError):  # what needs numpy will say so itself
            importlib.import_module(name)
    zygote = role.warm(control, scratch)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 10, 10)
    hello = {"ready": True, "python": sys.version.split()[0], "rss": processes.own_rss()}
    wire.send_frame(control, hello)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    zygote.serve()
