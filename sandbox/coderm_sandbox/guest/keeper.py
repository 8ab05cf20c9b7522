"""The process above a zygote that has no pid namespace: whatever ends, it ends the rest.

A namespace takes all its processes with it. Without one, a zygote that is killed would leave what its
solutions started, and its scratch folder. So it is forked by this process, which runs nothing else:
when the zygote ends, every orphan comes here, is killed, and the folder is removed; when the
supervisor ends, the zygote is killed first. Should the keeper itself be killed, the supervisor closes
the zygote's control socket, and the zygote cleans up.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

from . import landlock, processes
from .confine import ConfinementError, confine
from .scratch import Scratch

__all__ = ["main"]

_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: list[str]) -> None:
    """Entry point: PLAN CONTROL_FD UID_OR_-1 SCRATCH...; the plan is confine()'s as JSON, or null."""
    text, control, uid, *folders = arguments
    plan: dict[str, Any] | None = json.loads(text)
    processes.adopt_orphans()
    _rule(landlock.NEWEST_ABI if plan is None else int(plan["abi"]))
    waited_for = {signal.SIGCHLD, *_ENDS}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    processes.die_with_parent(signal.SIGTERM)
    zygote = os.fork()
    if zygote == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waited_for)
        _be_zygote(plan, control, int(uid), folders)
    _let_go()
    scratch = Scratch(folders)
    while not _ended(zygote):
        if signal.sigwait(waited_for) != signal.SIGCHLD:
            os.kill(zygote, signal.SIGKILL)
    processes.kill_all()
    scratch.remove()


def _be_zygote(plan: dict[str, Any] | None, control: str, uid: int, folders: list[str]) -> NoReturn:
    os.setsid()  # no group in common with the keeper
    try:
        if plan is None:
            _rule(landlock.NEWEST_ABI)  # over what it forks, not over us
        else:
            confine(plan, uid, folders)
        from .zygote import main as serve

        serve([control, "-1", *folders])
    except ConfinementError as error:
        sys.stderr.write(f"{error}; --isolation none runs without any, for code that you trust\n")
    except Exception:  # noqa: BLE001  (it must not go on as a second keeper)
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(0)


def _rule(newest: int) -> None:
    """Where the kernel allows it, so that kill_all is one step for those that fork without end."""
    if landlock.enter_signal_scope(newest):
        try:
            os.kill(os.getppid() or 1, 0)
        except PermissionError:  # seen, not believed: signals to the outside are refused
            processes.rule_everyone()


def _let_go() -> None:
    """Close what belongs to the zygote alone: its sockets must end with it."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the listing's own descriptor is among them
                os.close(int(name))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _ended(zygote: int) -> bool:
    """Reap what has ended; whether the zygote was among it."""
    while True:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid in (0, zygote):
            return pid == zygote
