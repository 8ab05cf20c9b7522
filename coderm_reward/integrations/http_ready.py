"""Whether the HTTP service can give rewards: is the sandbox up, does the model's server answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from coderm_reward.errors import CodermError

__all__ = ["Readiness"]

_log = logging.getLogger("coderm_reward.http")


class Readiness:
    """Asks its checks, and not more often than every so many seconds, whoever asks it.

    Args:
        checks: what is checked, as in "the sandbox" -> something that raises CodermError where that cannot
            be used.
        patience: seconds for one check.
        kept: seconds for which an answer is given again.
    """

    def __init__(
        self,
        checks: Mapping[str, Callable[[], Awaitable[object]]],
        *,
        patience: float = 10.0,
        kept: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = dict(checks)
        self._patience = patience
        self._kept = kept
        self._now = now
        self._lock = asyncio.Lock()
        self._known_until = float("-inf")
        self._trouble = ""

    async def trouble(self) -> str:
        """Return what cannot be used as a sentence without details, which go to the log; "" if nothing."""
        async with self._lock:
            if self._now() >= self._known_until:
                found = await asyncio.gather(*(self._check(name) for name in self._checks))
                broken = [name for name in found if name]
                self._trouble = f"Not usable: {', '.join(broken)}; the log says why." if broken else ""
                self._known_until = self._now() + self._kept
            return self._trouble

    async def _check(self, name: str) -> str:
        try:
            await asyncio.wait_for(self._checks[name](), self._patience)
        except CodermError as error:
            _log.warning("not ready: %s", error)
            return name
        except asyncio.TimeoutError:
            _log.warning("not ready: %s did not answer within %g s", name, self._patience)
            return name
        return ""
