"""What every probe begins with.

A probe is Python text with a function `probe` that tries to get out and returns what it reached; "" means
nothing. Probes run inside the sandbox only, as a solution and as part of a test.
"""

from __future__ import annotations

__all__ = ["TOOLS"]

TOOLS = """
import contextlib, ctypes, errno, os, signal, socket, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
COLUMN = 0 if os.uname().machine == "x86_64" else 1
def succeeded(action, *arguments, **options):
    try:
        action(*arguments, **options)
    except (OSError, AttributeError):
        return False
    return True
def called(numbers, *arguments):
    if numbers[COLUMN] < 0:
        return False
    return libc.syscall(ctypes.c_long(numbers[COLUMN]), *map(ctypes.c_long, arguments)) != -1
def refused(numbers, *arguments):
    return not called(numbers, *arguments) and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS, errno.ENOTTY)
def which(attempts):
    return ", ".join(name for name, done in attempts if done())
"""
