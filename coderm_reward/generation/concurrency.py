"""How many requests a server gets at once, and when it counts as dead: rules alone, no clock and no I/O.

Times are seconds on any one monotonic clock, given by the caller.
"""

from __future__ import annotations

import re
import statistics
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

__all__ = ["AdaptiveLimit", "ServerHealth", "retry_after_seconds"]

FIRST_LIMIT = 64
FEWEST_SAMPLES = 8
HOLD_ROUNDS = 8
ROUNDS_TO_DEAD = 5
DROPS_TO_DEAD = 32
TIMEOUTS_TO_DEAD = 5
FIRST_PAUSE = 0.5


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or a date; None if it does not."""
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - now).total_seconds())


class AdaptiveLimit:
    """Requests in flight: grows while latency holds, halves when the server refuses (429, 503).

    A round is the first answers to requests that were sent under the present limit while it was used up. Its
    latency is the median of seconds per token, as texts differ in length. The limit doubles per round until
    the first refusal, then grows by an eighth. Latency holds while at least a fifth of the growth came back
    as throughput; where it did not, two rounds in a row, the limit goes back and stays for HOLD_ROUNDS
    rounds. Refusals of requests that were all sent before the last cut are one refusal.

    Args:
        maximum: never more than this.
        first: where it begins.
    """

    def __init__(self, maximum: int, first: int = FIRST_LIMIT) -> None:
        self._maximum = maximum
        self._limit = min(first, maximum)
        self._blocked_until = float("-inf")
        self._since = float("-inf")
        self._cut_at = float("-inf")
        self._paces: list[float] = []
        self._before: tuple[int, float] | None = None
        self._hold = 0
        self._doubted = False
        self._doubling = True

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._limit

    @property
    def blocked_until(self) -> float:
        """Nothing is to be sent before this time."""
        return self._blocked_until

    def block(self, until: float) -> None:
        """Let nothing be sent before this time."""
        self._blocked_until = max(self._blocked_until, until)

    def succeeded(self, now: float, *, sent: float, tokens: int, in_flight: int) -> None:
        """Learn from an answer; `in_flight` counts it too."""
        settled = self._limit >= self._maximum and self._before is None
        if settled or sent < self._since or in_flight < self._limit:
            return
        self._paces.append((now - sent) / max(1, tokens))
        if len(self._paces) >= max(FEWEST_SAMPLES, self._limit // 4):
            self._end_round(statistics.median(self._paces), now)

    def refused(self, now: float, *, sent: float, in_flight: int, wait: float) -> None:
        """Learn from a 429 or 503 that asks to wait so many seconds; `in_flight` counts it too."""
        self.block(now + wait)
        if sent < self._cut_at:
            return
        self._cut_at = now
        self._doubling = False
        self._change(max(1, min(self._limit, in_flight) // 2), now)
        self._before = None
        self._hold = 0
        self._doubted = False

    def _end_round(self, pace: float, now: float) -> None:
        if self._before is not None:
            limit, former = self._before
            if pace > former * (1 + 0.8 * (self._limit / limit - 1)):
                if self._doubted:
                    self._doubling = False
                    self._hold = HOLD_ROUNDS
                    self._before = None
                self._doubted = not self._doubted
                self._change(self._limit if self._doubted else limit, now)
                return
        self._doubted = False
        self._before = None
        if self._hold or self._limit >= self._maximum:
            self._hold = max(0, self._hold - 1)
            self._change(self._limit, now)
            return
        self._before = (self._limit, pace)
        grown = self._limit * 2 if self._doubling else self._limit + max(1, self._limit // 8)
        self._change(min(grown, self._maximum), now)

    def _change(self, limit: int, now: float) -> None:
        self._limit = limit
        self._since = now
        self._paces.clear()


class ServerHealth:
    """Whether it makes sense to send anything at all.

    Dead is a server that has answered nothing since a first failure and
    (a) could not be connected to in ROUNDS_TO_DEAD rounds, a round being all attempts that were sent before
        the last one was counted, or broke DROPS_TO_DEAD connections in as many rounds, or
    (b) let TIMEOUTS_TO_DEAD requests run into their deadline, or
    (c) refused everything for `patience` seconds.
    Once it is dead, one request per `cooldown` tries again, and any answer brings it back.

    Args:
        name: how the server is called in sentences: its URL.
        patience: seconds, the deadline of a request.
    """

    def __init__(self, name: str, *, patience: float, cooldown: float) -> None:
        self._name = name
        self._patience = patience
        self._cooldown = cooldown
        self._try_at = 0.0
        self._answered_at = float("-inf")
        self._forget()

    def _forget(self) -> None:
        self._dead = ""
        self._rounds = 0
        self._drops = 0
        self._failed_at = float("-inf")
        self._counted_at = float("-inf")
        self._timeouts = 0
        self._refused_at: float | None = None

    @property
    def dead(self) -> bool:
        """Whether requests are turned away."""
        return bool(self._dead)

    def answered(self, now: float) -> None:
        """Any answer but a refusal: it lives."""
        self._answered_at = now
        self._forget()

    def unreachable(self, now: float, *, sent: float, connected: bool, why: str) -> float:
        """A connection could not be made or, if `connected`, broke; returns for how long to send nothing."""
        self._drops += connected
        if sent < self._counted_at:
            return 0.0
        self._rounds += 1
        self._counted_at = now
        self._failed_at = now if self._rounds == 1 else self._failed_at
        if connected and self._drops < DROPS_TO_DEAD:
            return 0.0  # one bad request can do that much
        if self._rounds >= ROUNDS_TO_DEAD or self._dead:
            self._die(now, f"cannot be reached ({why}, for {now - self._failed_at:.1f} s)")
        return 0.0 if self._rounds == 1 else FIRST_PAUSE * 2.0 ** (min(self._rounds, ROUNDS_TO_DEAD) - 2)

    def timed_out(self, now: float, *, sent: float) -> None:
        """A request ran into its deadline; it tells nothing where others were answered meanwhile."""
        if self._answered_at > sent:
            return
        self._timeouts += 1
        if self._timeouts >= TIMEOUTS_TO_DEAD or self._dead:
            self._die(now, f"takes requests but has answered none within {self._patience:g} s")

    def refused(self, now: float) -> None:
        """A 429 or 503: it is alive, but of no use so far."""
        if self._refused_at is None:
            self._forget()
            self._refused_at = now
        elif now - self._refused_at >= self._patience:
            self._die(now, f"has refused everything for {now - self._refused_at:.0f} s (429 or 503)")

    def _die(self, now: float, how: str) -> None:
        self._dead = f"The server at {self._name} {how}; make sure that it runs and can take requests."
        self._try_at = now + self._cooldown

    def turn_away(self, now: float) -> str:
        """Return why a request is not to be sent, in one sentence; empty if it is.

        Whoever is let through to a dead server is its trial: the next trial waits for another cooldown.
        """
        if self._dead and now >= self._try_at:
            self._try_at = now + self._cooldown
            return ""
        return self._dead
