"""One table from how a run ended to what that says of the program."""

from __future__ import annotations

import os
import signal
from typing import Any

__all__ = ["CPU_TEXT", "DETAIL_OF_END", "OUR_FAILURE", "OUTCOME_OF_END", "exit_text"]

OUTCOME_OF_END = {
    "timeout": "timeout",
    "starved": "unknown",
    "memory": "memory",
    "processes": "error",
    "malformed": "tampered",
    "lost": "error",
    "gone": "unknown",
}
"""From WatchEnd.kind to an outcome."""
DETAIL_OF_END = {
    "timeout": "timed out",
    "starved": "the machine gave it no processor time",
    "lost": "its process ended without a verdict",
    "gone": "the judge's process ended",
}
OUR_FAILURE = 70
"""Exit code of a process of ours that failed by itself."""
CPU_TEXT = "used up its processor time"


def exit_text(status: Any) -> str:
    """Say in words how a process ended before its verdict, from its wait status."""
    if type(status) is not int or not 0 <= status < 1 << 16:
        return "ended without a verdict"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return CPU_TEXT if number == signal.SIGXCPU else f"died of signal {number} before its verdict"
    return f"exited with code {os.WEXITSTATUS(status)} before its verdict"
