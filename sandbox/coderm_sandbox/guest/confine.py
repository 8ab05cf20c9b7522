"""How a zygote walls itself in where there are no namespaces, before it does anything else.

In this order, each step checked, any failure fatal: leave root (for a uid that nobody else has, or at
least without its capabilities), no_new_privs, Landlock, seccomp, and a look whether it took. All of it
is inherited and cannot be undone. In the end:

  files      read and executed: what the plan names, and /proc; written: scratch alone
  network    no socket but connected pairs (seccomp); no TCP either (Landlock, ABI 4)
  signals    none to the outside: Landlock's scope (ABI 6), or the uid of its own
  processes  no tracing, no /proc/PID/{mem,environ,fd,maps} of others (Landlock, any ABI)
  files' attributes  nothing where the uid is shared (seccomp: Landlock leaves them to the owner)

What the zygote forks enters a second ruleset of its own, in which /proc is closed but for the process
itself, and the zygote is outside. Before ABI 6 a filter keeps signals from the zygote instead.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import landlock, processes, seccomp

__all__ = ["ConfinementError", "confine"]

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_CAPABILITY_VERSION_3 = 0x20080522
_DEVICES = ("null", "zero", "full", "random", "urandom")
_libc = ctypes.CDLL(None, use_errno=True)
_enter_inner: Callable[[], None] | None = None


class ConfinementError(Exception):
    """A wall of this level cannot be had here; the text says which, and what to do."""


def confine(plan: Mapping[str, Any], uid: int, scratch: Sequence[str]) -> None:
    """Wall this process in. `uid` is one of its own to leave root for; -1 keeps the one it has.

    The plan: "read", paths to read and execute; "abi", the newest Landlock ABI to use.

    Raises:
        ConfinementError: something promised cannot be had; nothing may run here then.
    """
    abi = _abi(int(plan["abi"]), uid)
    if not seccomp.supported():
        raise ConfinementError(f"there is no seccomp filter for {os.uname().machine}; use x86_64 or aarch64")
    try:
        _leave_root(uid, scratch)
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        read = [os.path.realpath(path) for path in plan["read"]]
        allowed = dict.fromkeys([*read, "/proc"], landlock.READ)
        allowed.update((f"/dev/{name}", landlock.READ_WRITE) for name in _DEVICES)
        allowed.update(dict.fromkeys(scratch, landlock.WRITE))
        landlock.Ruleset(abi, allowed).enter()
        _enter_filter(abi, own_uid=uid >= 0)
    except OSError as error:
        raise ConfinementError(f"{error.strerror or error}") from None
    _look(abi)
    # Coarser than the outer one, which still holds, and so quicker to enter.
    rights = landlock.READ | landlock.MOVE
    places = [f"/{path.split('/')[1]}" for path in (*read, *scratch, "/dev")]
    _arm(landlock.Ruleset(abi, dict.fromkeys([*places, "/proc/self"], rights), rights))


def _abi(newest: int, uid: int) -> int:
    try:
        abi = min(landlock.kernel_abi(), newest, landlock.NEWEST_ABI)
    except OSError as error:
        raise ConfinementError(
            f"this kernel offers no Landlock ({error.strerror}); Linux 5.13 or newer with `landlock` among "
            "its lsm= has it"
        ) from None
    if abi < (1 if uid >= 0 else landlock.SCOPES_ABI):
        raise ConfinementError(
            f"Landlock ABI {abi} cannot keep signals from other processes of this user; Linux 6.12 has "
            "ABI 6, or start it as root with an interpreter that every user can read"
        )
    return abi


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what} refused: {os.strerror(number)}")


def _leave_root(uid: int, scratch: Sequence[str]) -> None:
    if uid >= 0:
        for folder in scratch:
            os.chown(folder, uid, uid)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    _check(_libc.capset(header, ctypes.create_string_buffer(24)), "giving up capabilities")


def _enter_filter(abi: int, own_uid: bool) -> None:
    code = seccomp.build_filter(
        alone=True,
        same_user=not own_uid,
        truncate=abi >= landlock.TRUNCATE_ABI,
        spare=None if abi >= landlock.SCOPES_ABI else os.getpid(),
    )
    program = ctypes.create_string_buffer(code, len(code))
    description = struct.pack("@HP", len(code) // 8, ctypes.addressof(program))
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, description, 0, 0), "seccomp")


def _look(abi: int) -> None:
    """That the walls stand is seen, not believed."""
    for what, reach in (
        ("files", lambda: os.listdir("/")),
        ("signals", lambda: os.kill(os.getppid(), 0)),
        ("network", lambda: socket.socket(socket.AF_UNIX).close()),
    ):
        try:
            reach()
        except PermissionError:
            continue
        raise ConfinementError(f"it is there but does not hold ({what}); use a kernel on which it does")
    if abi >= landlock.SCOPES_ABI:
        processes.rule_everyone()


def _arm(ruleset: landlock.Ruleset) -> None:
    """Have every direct fork of this process enter the ruleset before it does anything."""
    global _enter_inner
    _enter_inner = ruleset.enter
    os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    global _enter_inner
    if _enter_inner is not None:
        enter, _enter_inner = _enter_inner, None  # what it forks in turn is inside already
        try:
            enter()
        except BaseException:  # noqa: BLE001  (a hook's exceptions would be printed and forgotten)
            os._exit(71)
