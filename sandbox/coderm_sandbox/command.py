"""What the commands of `python -m coderm_sandbox` share: how they end early."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

__all__ = ["BAD_INPUT", "NO_SANDBOX", "CommandError", "until_signalled"]

BAD_INPUT, NO_SANDBOX = 2, 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CommandError(Exception):
    """Ends a command with one sentence and an exit code."""

    def __init__(self, text: str, code: int = BAD_INPUT) -> None:
        super().__init__(text)
        self.code = code


async def until_signalled(work: Coroutine[Any, Any, None]) -> int:
    """Await the work; a signal cancels it, which kills every worker, and becomes the exit code."""
    task = asyncio.ensure_future(work)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    return 0
