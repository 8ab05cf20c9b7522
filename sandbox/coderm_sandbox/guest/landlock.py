"""Landlock through its three system calls (Linux 5.13 and later), from the standard library alone.

A ruleset names the rights that it takes away, and the paths beneath which some are given back; a
process that enters it can never leave, nor can what it forks or executes. What a kernel does not know
is left out: file rights and network grow with the ABI, and scopes begin with ABI 6. Rights of an ABI
above NEWEST_ABI are unknown here and stay as they were.

What Landlock never denies, at any ABI: looking up that a path exists, its owner, size and times; and
changing owner, mode, times or attributes of a file, which is left to its owner (see seccomp).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterator, Mapping

__all__ = [
    "MOVE",
    "NEWEST_ABI",
    "READ",
    "READ_WRITE",
    "SCOPES_ABI",
    "TRUNCATE_ABI",
    "WRITE",
    "Ruleset",
    "enter_signal_scope",
    "kernel_abi",
]

NEWEST_ABI = 7
SCOPES_ABI = 6
"""From here on signals and abstract unix sockets are kept within a domain."""
TRUNCATE_ABI = 3
_NETWORK_ABI = 4
_AUDIT_ABI = 7

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_ABI = (1 << 13) - 1
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_TCP = 0b11  # bind, connect
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1

READ = _EXECUTE | _READ_FILE | _READ_DIR
MOVE = _REFER
"""Renaming and linking across folders: every ruleset takes it away that does not give it back (ABI 2)."""
READ_WRITE = _READ_FILE | _WRITE_FILE
WRITE = (_FIRST_ABI | _REFER | _TRUNCATE) & ~(_MAKE_CHAR | _MAKE_BLOCK)
"""All that can be done to files, reading included, but making devices."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION, _PATH_BENEATH, _NO_AUDIT = 1, 1, 1
_PR_SET_NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None, use_errno=True)


def kernel_abi() -> int:
    """The Landlock ABI of the running kernel. Raises OSError where there is none or it is off."""
    return _call("landlock_create_ruleset", _CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)


def _call(name: str, number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def _file_rights(abi: int) -> int:
    since = {2: _REFER, TRUNCATE_ABI: _TRUNCATE, 5: _IOCTL_DEV}
    return _FIRST_ABI | sum(right for first, right in since.items() if abi >= first)


class Ruleset:
    """What to allow, prepared once, to be entered by this process or by each of its forks.

    Args:
        abi: the rights to deal in; at most kernel_abi().
        paths: rights that are given back, by path; a path that does not exist is left out.
        rights: the rights on files that are taken away; None means all that the ABI knows.
        sockets: take away TCP and foreign abstract sockets, as far as the ABI knows them.

    Signals to the outside leave with it from ABI 6 on.
    """

    def __init__(
        self, abi: int, paths: Mapping[str, int], rights: int | None = None, sockets: bool = True
    ) -> None:
        self._abi = abi
        self._rights = _file_rights(abi) if rights is None else rights & _file_rights(abi)
        fields = [self._rights]
        fields += [_TCP if sockets else 0] if abi >= _NETWORK_ABI else []
        fields += [_SIGNALS | (_ABSTRACT_SOCKETS if sockets else 0)] if abi >= SCOPES_ABI else []
        self._attributes = ctypes.create_string_buffer(struct.pack(f"={len(fields)}Q", *fields))
        self._size = ctypes.c_size_t(8 * len(fields))
        self._paths = [(path.encode(), allowed & self._rights) for path, allowed in paths.items()]

    @contextlib.contextmanager
    def _made(self) -> Iterator[int]:
        ruleset = _call("landlock_create_ruleset", _CREATE_RULESET, self._attributes, self._size, 0)
        try:
            for path, rights in self._paths:
                try:
                    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                try:
                    if rights & ~_OF_FILES and not stat.S_ISDIR(os.fstat(place).st_mode):
                        rights &= _OF_FILES
                    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))
                    _call("landlock_add_rule", _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
                finally:
                    os.close(place)
            yield ruleset
        finally:
            os.close(ruleset)

    def enter(self) -> None:
        """Confine this thread and all that it starts, for good; needs no_new_privs. Raises OSError."""
        with self._made() as ruleset:
            quiet = _NO_AUDIT if self._abi >= _AUDIT_ABI else 0
            _call("landlock_restrict_self", _RESTRICT_SELF, ruleset, quiet)


def enter_signal_scope(newest: int = NEWEST_ABI) -> bool:
    """Let signals of this process reach its descendants only; False where the kernel cannot do that."""
    try:
        abi = min(kernel_abi(), newest)
        if abi < SCOPES_ABI:
            return False
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        Ruleset(abi, {"/": MOVE}, rights=MOVE, sockets=False).enter()
    except OSError:
        return False
    return True
