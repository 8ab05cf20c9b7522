"""The writable places of a worker, emptied between runs so that no run reads what another left."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence

__all__ = ["wipe"]


def wipe(folders: Sequence[str]) -> bool:
    """Empty the folders; False if something could not be removed (the worker is then dirty)."""
    return all([_empty(folder) for folder in folders])  # noqa: C419  (every folder is tried)


def _empty(folder: str) -> bool:
    with os.scandir(folder) as entries:
        names = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for path, is_dir in names:
        try:
            if is_dir:
                _open_up(path)
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError:
            return False
    return True


def _open_up(folder: str) -> None:
    """Make a tree removable that was left without permissions."""
    os.chmod(folder, stat.S_IRWXU)
    for path, folders, _ in os.walk(folder):
        for name in folders:
            if not os.path.islink(os.path.join(path, name)):
                os.chmod(os.path.join(path, name), stat.S_IRWXU)
