"""Runs a command as on a poorer host: `python forbid.py WHAT,... COMMAND...`

WHAT: namespaces (no clone, unshare or mount of any), landlock (not in this kernel), root (an ordinary user).
A filter that the command and all it starts inherit answers as such a kernel or container does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_CLONE_NEW = 0x7E020080
_NUMBERS = {
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "pivot_root": (155, 41),
    "clone": (56, 220), "clone3": (435, 435), "landlock_create_ruleset": (444, 444),
}  # fmt: skip
_LOAD, _JEQ, _JSET, _RET, _ALLOW, _ERRNO = 0x20, 0x15, 0x45, 0x06, 0x7FFF0000, 0x00050000


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)


def _deny(name: str, number: int) -> bytes:
    column = 0 if os.uname().machine == "x86_64" else 1
    call = _NUMBERS[name][column]
    if name == "clone":  # only with a flag for a namespace
        body = _step(_LOAD, 16) + _step(_JSET, _CLONE_NEW, 0, 1) + _step(_RET, _ERRNO | number)
        return _step(_JEQ, call, 0, 4) + body + _step(_LOAD, 0)
    return _step(_JEQ, call, 0, 1) + _step(_RET, _ERRNO | number)


def forbid(*what: str) -> None:
    """Put this process on such a host, for good."""
    program = _step(_LOAD, 0)
    if "namespaces" in what:
        for name in ("unshare", "setns", "mount", "pivot_root", "clone"):
            program += _deny(name, errno.EPERM)
        program += _deny("clone3", errno.ENOSYS)
    if "landlock" in what:
        program += _deny("landlock_create_ruleset", errno.ENOSYS)
    program += _step(_RET, _ALLOW)
    if "root" in what and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))
    description = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    for option in ((38, 1, 0, 0, 0), (22, 2, description, 0, 0)):
        if libc.prctl(*option) != 0:
            raise OSError(ctypes.get_errno(), "the filter was refused")


if __name__ == "__main__":
    forbid(*sys.argv[1].split(","))
    os.execvp(sys.argv[2], sys.argv[2:])
