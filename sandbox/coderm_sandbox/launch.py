"""One way to start a worker: its command line, its scratch folders, and what the level is to be called."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from coderm_sandbox.guest.scratch import Scratch

__all__ = ["ENVIRONMENT", "GUEST", "SCRATCH", "Launch", "boot"]

GUEST = Path(__file__).resolve().parent / "guest"
SCRATCH = ("/tmp", "/dev/shm")
"""The writable folders of a worker that has a mount namespace."""
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TZ": "UTC",
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
}
_next_uid = itertools.count()


def boot(module: str) -> str:
    """Python text that imports the guest package from argv[1] and calls a module's main(argv[2:])."""
    return (
        "import importlib.util as u, sys; p = sys.argv[1]; "
        "s = u.spec_from_file_location('coderm_guest', p + '/__init__.py', submodule_search_locations=[p]); "
        "m = u.module_from_spec(s); sys.modules['coderm_guest'] = m; s.loader.exec_module(m); "
        f"from coderm_guest.{module} import main; main(sys.argv[2:])"
    )


@dataclass(frozen=True)
class Launch:
    """One way to start a worker; `describe` is what doctor and the logs call it.

    The zygote is the only child of the process that is started; when either ends, so does all else.
    """

    level: str
    describe: str
    arguments: tuple[str, ...]
    """Without the trailing arguments of the guest (control descriptor, uid, scratch folders)."""
    as_root: bool = False
    needs_filter: bool = False
    counts_processes: bool = True
    """Whether the kernel's process limit counts this worker's processes alone (else we count them)."""
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))
    kept: bool = False
    """Whether the process that is started is guest/keeper.py, which ends all below it on SIGTERM."""
    instead_of: str = ""
    """Why a stronger level was passed over before anything was started."""

    def command(self, control: int, seccomp_fd: int | None, scratch: tuple[str, ...]) -> list[str]:
        """The full command line for one worker."""
        line = [str(seccomp_fd) if argument == "<SECCOMP>" else argument for argument in self.arguments]
        uid = _fresh_uid() if self.as_root else -1
        return [*line, str(control), str(uid), *scratch]

    def make_scratch(self) -> tuple[str, ...]:
        """Folders the worker may write to, as it sees them; remove_scratch takes them away again."""
        if self.level == "bubblewrap":
            return SCRATCH
        return (tempfile.mkdtemp(prefix="coderm-sandbox-"),)

    def remove_scratch(self, folders: tuple[str, ...]) -> None:
        """Remove what make_scratch made on the host (a tmpfs goes with its worker)."""
        if self.level != "bubblewrap":
            with contextlib.suppress(OSError):  # the worker has removed it itself where it could
                Scratch(folders).remove()


def _fresh_uid() -> int:
    """A uid that no host account and no other worker has, so that process limits are counted apart."""
    return 2_000_000_000 + (os.getpid() % 100_000) * 1_000 + next(_next_uid) % 1_000
