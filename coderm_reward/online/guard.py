"""Between a training loop and its scorer: whatever fails becomes the neutral reward, until too much fails."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from coderm_reward.config import RewardConfig
from coderm_reward.online.answers import no_reward
from coderm_reward.online.failure_window import FailureWindow
from coderm_reward.types import RewardOutput

__all__ = ["RewardGuard"]

_log = logging.getLogger("coderm_reward")
_NO_EVIDENCE = "the tests of its prompt could not be had or run; the log of the group actors says why"


class RewardGuard:
    """Keeps the failures of ours out of a training, and counts them.

    Args:
        config: what the neutral reward is, and how many failures are too many.
    """

    def __init__(self, config: RewardConfig) -> None:
        self._failed = no_reward(config.scoring)
        self._window = FailureWindow(config.training.failure_share, config.training.failure_window)
        self._told: Counter[str] = Counter()

    async def reward(self, scoring: Callable[[], Awaitable[RewardOutput]]) -> RewardOutput:
        """Return what `scoring` returns, or the neutral reward with `infra_error` where it raises.

        Raises:
            TooManyFailuresError: of the last rollouts too many had no reward for our own failures.
        """
        try:
            output = await scoring()
            cause = _NO_EVIDENCE if output.infra_error else None
        except Exception as error:  # noqa: BLE001  (a reward must never end the training)
            output = self._failed
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            self._tell(cause)
        self._window.add(cause)
        return output

    def _tell(self, cause: str) -> None:
        """One line for the 1st, 10th, 100th, ... failure of each cause."""
        self._told[cause] += 1
        times = self._told[cause]
        if str(times).strip("0") == "1":
            _log.error("%d rollouts got the neutral reward with infra_error (%s)", times, cause)
