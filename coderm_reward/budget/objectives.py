"""What one more test is worth: the gain that allocators compare between prompts.

An objective gives the gains of the first, second, third ... test of a prompt. They never rise, so taking
the largest first is optimal. Prompts come as floats or, for many at once, as arrays [P]: mean m and spread
s of the pass rate (see budget.beta) and the number of rollouts that tests could tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from coderm_reward.budget.beta import FloatArray
from coderm_reward.config import ObjectiveName

__all__ = ["OBJECTIVES", "Objective", "advantage", "best_of_n", "disagreement", "vote_information"]

T = TypeVar("T", float, FloatArray)


class Objective(Protocol):
    """A function from what is known of prompts to the gains of their tests."""

    def __call__(self, mean: T, spread: T, rollouts: T) -> Iterator[T]:
        """Yield the gain of test 1, 2, 3 ... without end; none is above the one before or below zero."""
        ...


def best_of_n(mean: T, spread: T, rollouts: T) -> Iterator[T]:
    """The paper's: q(b) = 1 - (1 - p)^b, the chance that one of b tries succeeds, expected over p.

    Test b + 1 gains E[p (1 - p)^b]. For p ~ Beta(a, c), E[(1 - p)^b] = prod over i < b of (c + i) / (a + c
    + i); in mean and spread the ratio of one gain to the one before is ((1 - m)(1 - s) + b s) / (1 + b s).
    At s = 0 that is the paper's m (1 - m)^b; at s = 1 a second test adds nothing, as the first one tells
    all. The number of rollouts has no part in it.
    """
    gain, failing, tests = mean, (1.0 - mean) * (1.0 - spread), 0
    while True:
        yield gain
        gain = gain * ((failing + tests * spread) / (1.0 + tests * spread))
        tests += 1


def advantage(mean: T, spread: T, rollouts: T) -> Iterator[T]:
    """For GRPO: how much the next test is expected to lower the variance of the group's advantages.

    The reward of rollout i after b tests is r_i(b) = d t_i + noise, where t_i is 1 for a right rollout and
    0 for a wrong one, d = 1 - FAR - FRR is how far apart one test keeps the two, and the noise has variance
    v / b. GRPO divides by the group's standard deviation, so an advantage has variance 1 in all. In a group
    whose share of right rollouts is x, the signal has d^2 x (1 - x) of the rewards' variance and the noise
    v / b. So given the truth, the variance of an advantage is the share of the noise,

        N(b) = (v / b) / (d^2 x (1 - x) + v / b) = 1 / (1 + b k)    with k = x (1 - x) d^2 / v

    (1 - N is the reliability of the rewards, by Spearman and Brown), and test b + 1 lowers it by

        N(b) - N(b + 1) = k / ((1 + b k) (1 + (b + 1) k)).

    A group that agrees has x = 0 or 1, so k = 0: its advantages are all noise however many tests it gets,
    and the gain is exactly zero.

    Now for what we do not know. A group of R disagrees with probability D = 1 - E[p^R] - E[(1 - p)^R], and
    E[x (1 - x)] = V = (1 - 1/R) m (1 - m) (1 - s). Taking x (1 - x) at its mean among the groups that
    disagree, V / D, the gain is D k / ((1 + b k) (1 + (b + 1) k)) with k = (V / D) d^2 / v; all gains add up
    to D. (A test sums over every composition of the group instead: with up to 16 rollouts the value of b
    tests changes by less than 0.03.) d^2 / v is that of one test class of CodeRM-8B's quality.
    """
    signal = _INFORMATION * (1.0 - 1.0 / rollouts) * mean * (1.0 - mean) * (1.0 - spread)
    k = signal / (disagreement(mean, spread, rollouts) + _TINY)
    tests = 0
    while True:
        yield signal / ((1.0 + tests * k) * (1.0 + (tests + 1) * k))
        tests += 1


def disagreement(mean: T, spread: T, rollouts: T) -> T:
    """Return D, the chance that some of R rollouts are right and some are wrong; about zero for R = 1.

    E[(1 - p)^R] is the product over i < R of ((1 - m)(1 - s) + i s) / (1 - s + i s), E[p^R] the same with m.
    """
    all_wrong, all_right = 1.0 - mean, mean
    most = rollouts if isinstance(rollouts, float) else rollouts.max(initial=1.0)
    for i in range(1, int(most)):
        scale = 1.0 - spread + i * spread
        counted = i < rollouts
        all_wrong = all_wrong * (((1.0 - mean) * (1.0 - spread) + i * spread) / scale) ** counted
        all_right = all_right * ((mean * (1.0 - spread) + i * spread) / scale) ** counted
    return 1.0 - all_wrong - all_right


def vote_information(far: float, frr: float) -> float:
    """Return d^2 / v of a test that accepts wrong rollouts at rate `far` and rejects right ones at rate
    `frr`."""
    noise = (far * (1.0 - far) + frr * (1.0 - frr)) / 2.0
    return (1.0 - far - frr) ** 2 / noise


_TINY = 1e-15
"""Keeps a share of nothing defined, and is below the rounding of `disagreement`."""
_INFORMATION = vote_information(far=0.098, frr=0.388)
OBJECTIVES: dict[ObjectiveName, Objective] = {"best_of_n": best_of_n, "advantage": advantage}
