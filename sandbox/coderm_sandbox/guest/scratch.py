"""The writable places of a worker, emptied between runs so that no run reads what another left."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Sequence

__all__ = ["Scratch"]

_SECONDS = 10.0
"""Longer than any tree takes that fits into scratch; a living process may refill it for ever."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Scratch:
    """Holds its folders open, so that what candidate code does to their paths cannot lead elsewhere."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.home = folders[0]
        self._open = [(path, os.open(path, _FOLDER)) for path in folders]
        self._modes = {fd: stat.S_IMODE(os.fstat(fd).st_mode) for _, fd in self._open}
        # An interpreter that is installed below a scratch folder is mounted there, read-only.
        self._mounts = {fd: _mounts(fd) for _, fd in self._open}

    def is_empty(self) -> bool:
        return not any(set(os.listdir(fd)) - self._mounts[fd] for _, fd in self._open)

    def wipe(self) -> bool:
        """Empty the folders; False if something could not be removed (the worker is then dirty)."""
        try:
            for path, fd in self._open:
                now = os.fstat(fd)
                if stat.S_IMODE(now.st_mode) != self._modes[fd]:
                    os.fchmod(fd, self._modes[fd])
                _empty(fd, self._mounts[fd])
                if not os.path.samestat(os.stat(path, follow_symlinks=False), now):
                    return False
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Empty the folders and remove those that are not mounts; this object is of no use afterwards."""
        self.wipe()
        for path, fd in self._open:
            os.close(fd)
            with contextlib.suppress(OSError):  # a mount goes with its namespace
                os.rmdir(path)


def _mounts(folder: int) -> frozenset[str]:
    """Names in a folder that are on another file system than the folder itself."""
    device = os.fstat(folder).st_dev
    names = os.listdir(folder)
    return frozenset(
        name for name in names if os.stat(name, dir_fd=folder, follow_symlinks=False).st_dev != device
    )


def _empty(folder: int, mounts: frozenset[str]) -> None:
    deadline = time.monotonic() + _SECONDS
    while names := set(os.listdir(folder)) - mounts:
        for name in names:
            _remove(folder, name)
        if time.monotonic() > deadline:
            raise TimeoutError("scratch fills up faster than it is emptied")


def _remove(top: int, name: str) -> None:
    """Unlink a file, or take one level off a tree: its subfolders move up to `top`.

    A tree can be deeper than paths, recursion or open descriptors allow, and without permissions.
    """
    if _unlinked(top, name):
        return
    _unlock(top, name)
    inner = os.open(name, _FOLDER, dir_fd=top)
    try:
        for child in os.listdir(inner):
            if not _unlinked(inner, child):
                _unlock(inner, child)  # moving a folder writes its ".."
                os.rename(child, os.urandom(12).hex(), src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _unlock(folder: int, name: str) -> None:
    """Give a folder its owner's permissions back; a worker that shares its uid may change no mode."""
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, stat.S_IRWXU, dir_fd=folder)


def _unlinked(folder: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return False
    return True
