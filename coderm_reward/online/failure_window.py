"""When a training should stop: too many of its last rollouts got no reward for infrastructure reasons."""

from __future__ import annotations

import threading
from collections import Counter, deque
from fractions import Fraction

from coderm_reward.errors import TooManyFailuresError

__all__ = ["FailureWindow"]


class FailureWindow:
    """Counts failures among the last rollouts, and their causes; any thread may add.

    Args:
        share: of `size`, in (0, 1]: more failures than that among the last rollouts are too many. 1 never is.
        size: how many rollouts are looked back on.
    """

    def __init__(self, share: float, size: int) -> None:
        self.share = share
        self.size = size
        self._most = Fraction(str(share)) * size
        self._window: deque[str | None] = deque(maxlen=size)
        self._failed = 0
        self._causes: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def causes(self) -> dict[str, int]:
        """Cause -> how many rollouts it took the reward from, since the beginning, most frequent first."""
        with self._lock:
            return dict(self._causes.most_common())

    def add(self, cause: str | None) -> None:
        """Count one rollout; `cause` says what failed of ours, and is None for a reward of its own.

        Raises:
            TooManyFailuresError: too many of the last rollouts failed; at once, whether or not the window
                is full.
        """
        with self._lock:
            if len(self._window) == self.size and self._window[0] is not None:
                self._failed -= 1
            self._window.append(cause)
            if cause is None:
                return
            self._failed += 1
            self._causes[cause] += 1
            if self._failed <= self._most:
                return
            failures = Counter(failure for failure in self._window if failure is not None)
            message = self._message(failures, len(self._window))
        raise TooManyFailuresError(message)

    def _message(self, failures: Counter[str], seen: int) -> str:
        (cause, times) = failures.most_common(1)[0]
        often = "all" if times == failures.total() else f"{times} of them"
        return (
            f"{failures.total()} of the last {seen} rollouts got no reward for infrastructure reasons "
            f"({often}: {cause.rstrip('.')}), more than {self.share:.3g} of {self.size}; repair that and "
            "go on from the last checkpoint, or raise training.failure_share."
        )
