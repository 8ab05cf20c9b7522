"""From votes to one score per rollout (DESIGN section 8). Pure; scores lie in [0, 1].

Every aggregator returns NaN exactly for the rollouts that are not `Ballots.eligible`; whoever calls
one replaces NaN by the evidence rules (see `rewards.group_rewards`).

A cluster is the set of eligible rollouts that pass exactly the same tests. It is taken over the vote
columns that every eligible rollout has evidence for, so an UNKNOWN cell can make clusters coarser but
never splits one. If no such column is left, nothing tells the rollouts apart: they are one cluster, and
the agreement factor is 1 for all rather than a penalty for a failure of the infrastructure.
Shares are of the n rollouts of the group, those without code and those that tampered included; only a
rollout about which nothing is known neither agrees nor disagrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from coderm_reward.config import AggregatorName
from coderm_reward.scoring.votes import Ballots, BoolArray, FloatArray, IntArray, VoteTable

__all__ = [
    "AGGREGATORS",
    "MAX_CONSENSUS_BONUS",
    "Aggregator",
    "Scores",
    "cluster_ids",
    "cluster_shares",
    "combined",
    "dual_agreement",
    "majority",
    "majority_consensus",
]

MAX_CONSENSUS_BONUS = 1e-6
"""A tie-break must also be negligible as a reward, however few tests there are."""


@dataclass(frozen=True, eq=False)
class Scores:
    """[R] aggregated scores in [0, 1], NaN where not eligible, and calibrated probabilities if any."""

    score: FloatArray
    p_correct: FloatArray | None = None


Aggregator = Callable[[Ballots], Scores]


def majority(ballots: Ballots) -> Scores:
    """Weighted fraction of the votes with evidence that passed: the paper's majority vote."""
    return Scores(_fraction(ballots, ballots.votes))


def majority_consensus(ballots: Ballots) -> Scores:
    """Pass fraction; among equal fractions the larger cluster wins (the paper's tie-break).

    Two different fractions a/b > c/d have whole numbers b, d <= W, the votes planned, so they differ by
    (ad - bc)/(bd) >= 1/W^2. The bonus `eps * share` with share <= 1 and eps <= 1/(2 W^2) stays below
    that, and f + eps <= 1 - 1/W + eps < 1, so it can neither reverse an order nor leave [0, 1].
    Rollouts at 0 or at 1 pass the same tests anyhow and get no bonus, so both ends stay exact.
    """
    fraction = _fraction(ballots, ballots.votes)
    eps = min(MAX_CONSENSUS_BONUS, 0.5 / max(ballots.votes.planned, 1.0) ** 2)
    open_tie = (fraction > 0.0) & (fraction < 1.0)
    return Scores(fraction + np.where(open_tie, eps * _agreement(ballots, ballots.votes), 0.0))


def dual_agreement(ballots: Ballots) -> Scores:
    """CodeT's dual execution agreement, per rollout: pass fraction * sqrt(share of its cluster)."""
    return Scores(_fraction(ballots, ballots.votes) * np.sqrt(_agreement(ballots, ballots.votes)))


def combined(ballots: Ballots) -> Scores:
    """(method fraction + class fraction)/2 * sqrt(share of its cluster), clusters at method level.

    A rollout with evidence at one level only gets the fraction of that level.
    """
    methods = _fraction(ballots, ballots.methods)
    classes = _fraction(ballots, ballots.classes)
    methods, classes = (
        np.where(np.isnan(methods), classes, methods),
        np.where(np.isnan(classes), methods, classes),
    )
    return Scores((methods + classes) / 2.0 * np.sqrt(_agreement(ballots, ballots.methods)))


AGGREGATORS: Mapping[AggregatorName, Aggregator] = {
    "majority": majority,
    "majority_consensus": majority_consensus,
    "dual_agreement": dual_agreement,
    "combined": combined,
}


def cluster_ids(table: VoteTable, eligible: BoolArray) -> IntArray:
    """Return [R] a number per cluster, in order of first appearance; -1 where not eligible."""
    ids = np.full(eligible.shape, -1, dtype=np.intp)
    common = table.known[eligible].all(axis=0)
    seen: dict[bytes, int] = {}
    for rollout in np.flatnonzero(eligible):
        key = table.passed[rollout, common].tobytes()
        ids[rollout] = seen.setdefault(key, len(seen))
    return ids


def cluster_shares(ids: IntArray, weight: FloatArray, others: float = 0.0) -> FloatArray:
    """Return [R] the weight of each rollout's cluster over that of all clusters and of `others` besides.

    NaN where id is -1.

    Sizes are rounded sums of 1/k over k copies, so clusters of equal size tie exactly, in any order.
    """
    shares = np.full(weight.shape, np.nan)
    members = [np.flatnonzero(ids == cluster) for cluster in range(int(ids.max(initial=-1)) + 1)]
    sizes = [round(math.fsum(weight[member]), 9) for member in members]
    total = math.fsum(sizes) + others
    for member, size in zip(members, sizes, strict=True):
        shares[member] = size / total
    return shares


def _fraction(ballots: Ballots, table: VoteTable) -> FloatArray:
    return np.where(ballots.eligible, table.fraction(), np.nan)


def _agreement(ballots: Ballots, table: VoteTable) -> FloatArray:
    others = float((~ballots.eligible & ~ballots.without_evidence).sum())
    return cluster_shares(cluster_ids(table, ballots.eligible), ballots.rollout_weight, others)
