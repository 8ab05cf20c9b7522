"""What the HTTP service counts, for Prometheus. Labels are few and never a caller's text."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from coderm_reward.online.sample import GroupOutcome, GroupSink
from coderm_reward.types import RewardOutput, Verdict

__all__ = ["ServiceMetrics"]

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_REWARDS = tuple(i / 10 for i in range(11))
_VERDICT_OF_LETTER = {verdict.letter: verdict.label for verdict in Verdict}


class ServiceMetrics:
    """Counters of one service (GroupSink): requests and answers by hand, groups as they are scored.

    Args:
        further: hears of every group as well.
    """

    def __init__(self, further: GroupSink | None = None) -> None:
        self._further = further
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "coderm_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "coderm_request_seconds",
            "Seconds from a request to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "coderm_rollouts_in_flight", "Rollouts being scored or waiting for siblings.", registry=registry
        )
        self._rollouts = Counter("coderm_rollouts", "Rollouts answered.", registry=registry)
        self._abandoned = Counter(
            "coderm_rollouts_abandoned", "Rollouts whose client went away first.", registry=registry
        )
        self._rewards = Histogram("coderm_reward", "Rewards answered.", buckets=_REWARDS, registry=registry)
        self._neutral = Counter("coderm_neutral_rewards", "Rewards without evidence.", registry=registry)
        self._infra = Counter(
            "coderm_infra_errors", "Rollouts without evidence for our own failures.", registry=registry
        )
        self._groups = Counter("coderm_groups", "Groups scored.", registry=registry)
        self._verdicts = Counter(
            "coderm_verdicts",
            "Verdicts of test methods on rollouts with code.",
            ["verdict"],
            registry=registry,
        )
        self._generating = Histogram(
            "coderm_generation_seconds",
            "Seconds in which a group's tests were had.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._executing = Histogram(
            "coderm_execution_seconds",
            "Seconds in which a group's tests ran.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._waiting = Histogram(
            "coderm_waiting_seconds",
            "Seconds for which a rollout waited for its siblings.",
            buckets=_SECONDS,
            registry=registry,
        )
        for verdict in Verdict:
            self._verdicts.labels(verdict.label)

    def add(self, outcome: GroupOutcome) -> None:
        """Count a scored group."""
        record = outcome.record
        self._groups.inc()
        letters = Tally("".join(rollout.methods for rollout in record.rollouts if rollout.solution >= 0))
        for letter, count in letters.items():
            self._verdicts.labels(_VERDICT_OF_LETTER[letter]).inc(count)
        self._generating.observe(record.gen_seconds)
        self._executing.observe(record.stats.seconds)
        for seconds in outcome.waited:
            self._waiting.observe(seconds)
        if self._further is not None:
            self._further.add(outcome)

    def began(self, rollouts: int) -> None:
        """So many rollouts are being worked on from now on."""
        self._in_flight.inc(rollouts)

    def ended(self, rollouts: int) -> None:
        """So many of them are no longer."""
        self._in_flight.dec(rollouts)

    def abandoned(self, rollouts: int) -> None:
        """The client of so many rollouts went away."""
        self._abandoned.inc(rollouts)

    def rewarded(self, rewards: Sequence[RewardOutput]) -> None:
        """Count rewards that are given out."""
        for reward in rewards:
            self._rollouts.inc()
            self._rewards.observe(reward.score)
            self._neutral.inc(reward.neutral)
            self._infra.inc(reward.infra_error)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is one of ours, or "other"."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def page(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        page: bytes = generate_latest(self._registry)
        return page
