"""What an interpreter can import: what a test may ask for (see generation.screening)."""

from __future__ import annotations

import json
import subprocess
import sys

__all__ = ["importable_modules"]

_QUESTION = (
    "import json, pkgutil, sys;"
    "print(json.dumps([*sys.stdlib_module_names, *(m.name for m in pkgutil.iter_modules())]))"
)


def importable_modules(python: str | None = None) -> frozenset[str] | None:
    """Return the top-level modules of an interpreter (None: of this one), as the sandbox starts it.

    None if it cannot be asked; the sandbox, which needs it as well, says why.
    """
    try:
        answer = subprocess.run(
            [python or sys.executable, "-I", "-c", _QUESTION],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        return frozenset(json.loads(answer.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
