"""The command line: `coderm-reward score | generate | evaluate | ablate | probe | report | serve | ...`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point: every expected failure is one sentence on stderr and its own exit code."""
    from coderm_reward.cli.app import app
    from coderm_reward.cli.console import note
    from coderm_reward.errors import CodermError

    try:
        app()
    except CodermError as error:
        note(f"error: {error}")
        sys.exit(error.exit_code)
