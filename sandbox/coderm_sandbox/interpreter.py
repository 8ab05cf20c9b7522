"""Which folders and links a Python interpreter needs to run inside a sandbox that shows nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from coderm_sandbox.errors import SandboxUnavailableError

__all__ = ["Interpreter", "describe_interpreter"]

_QUESTION = """
import json, site, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "prefixes": [sys.base_prefix, sys.base_exec_prefix, sys.prefix],
    "paths": [paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")] + site.getsitepackages(),
}))
"""
_SYSTEM_PREFIXES = ("/", "/usr", "/usr/local")


@dataclass(frozen=True)
class Interpreter:
    """An interpreter and what must be mounted, read-only and at the same place, for it to start."""

    executable: str
    version: tuple[int, int, int]
    folders: tuple[str, ...]
    files: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    """(link, target) of symlinks outside the folders on the way to the real executable."""


def _link_chain(executable: str) -> list[tuple[str, str]]:
    chain: list[tuple[str, str]] = []
    path = executable
    for _ in range(40):
        if not os.path.islink(path):
            return [*chain, (path, "")]
        target = os.readlink(path)
        chain.append((path, target))
        path = os.path.normpath(os.path.join(os.path.dirname(path), target))
    raise SandboxUnavailableError(f"{executable} is a loop of symbolic links; name another --sandbox-python.")


def describe_interpreter(executable: str) -> Interpreter:
    """Ask the interpreter where its parts are.

    Raises:
        SandboxUnavailableError: it is missing, does not run, or is older than Python 3.10.
    """
    executable = os.path.abspath(executable)
    try:
        answer = subprocess.run(
            [executable, "-s", "-B", "-c", _QUESTION], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        facts = json.loads(answer.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise SandboxUnavailableError(
            f"The sandbox interpreter {executable} does not run ({error}); "
            "name a working one with --sandbox-python."
        ) from None
    version = tuple(facts["version"])
    if version < (3, 10):
        raise SandboxUnavailableError(
            f"The sandbox interpreter {executable} is Python {'.'.join(map(str, version))}; "
            "3.10 or newer is needed."
        )
    wanted = [p for p in facts["prefixes"] if os.path.normpath(p) not in _SYSTEM_PREFIXES] + facts["paths"]
    for prefix in facts["prefixes"]:  # a system prefix is not shown whole, its libraries are
        wanted += [os.path.join(prefix, name) for name in ("lib", "lib64")]
    folders: list[str] = []
    for folder in sorted({os.path.normpath(p) for p in wanted if os.path.isdir(p)}):
        if not any(folder == kept or folder.startswith(kept + "/") for kept in folders):
            folders.append(folder)
    outside = [
        (path, target)
        for path, target in _link_chain(executable)
        if not any(path.startswith(folder + "/") for folder in folders)
    ]
    return Interpreter(
        executable=executable,
        version=(version[0], version[1], version[2]),
        folders=tuple(folders),
        files=tuple(path for path, target in outside if not target and Path(path).exists()),
        links=tuple((path, target) for path, target in outside if target),
    )
