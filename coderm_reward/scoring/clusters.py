"""Clusters of rollouts that behave alike (DESIGN section 8). Pure.

A cluster is the set of eligible rollouts that pass exactly the same tests. It is taken over the vote
columns that every eligible rollout has evidence for, so an UNKNOWN cell can make clusters coarser but
never splits one. If no such column is left, nothing tells the rollouts apart: they are one cluster, and
the agreement factor is 1 for all rather than a penalty for a failure of the infrastructure.
Shares are of the n rollouts of the group, those without code and those that tampered included; only a
rollout about which nothing is known neither agrees nor disagrees.
"""

from __future__ import annotations

import math

import numpy as np

from coderm_reward.scoring.votes import Ballots, BoolArray, FloatArray, IntArray, VoteTable

__all__ = ["agreement", "cluster_ids", "cluster_shares", "cluster_sizes"]


def cluster_ids(table: VoteTable, eligible: BoolArray) -> IntArray:
    """Return [R] a number per cluster, in order of first appearance; -1 where not eligible."""
    ids = np.full(eligible.shape, -1, dtype=np.intp)
    members = np.flatnonzero(eligible)
    behaviour = np.packbits(table.passed[:, table.known[members].all(axis=0)], axis=1)
    seen: dict[bytes, int] = {}
    for rollout in members:
        ids[rollout] = seen.setdefault(behaviour[rollout].tobytes(), len(seen))
    return ids


def cluster_sizes(ids: IntArray, weight: FloatArray) -> list[float]:
    """Return the weight of each cluster, by its number.

    Rounded sums of 1/k over k copies, so clusters of equal size tie exactly, in any order.
    """
    clusters = int(ids.max(initial=-1)) + 1
    return [round(math.fsum(weight[ids == cluster]), 9) for cluster in range(clusters)]


def cluster_shares(ids: IntArray, weight: FloatArray, others: float = 0.0) -> FloatArray:
    """Return [R] the weight of each rollout's cluster over that of all clusters and of `others` besides.

    NaN where id is -1.
    """
    shares = np.full(weight.shape, np.nan)
    sizes = cluster_sizes(ids, weight)
    if sizes:
        inside = ids >= 0
        shares[inside] = (np.array(sizes) / (math.fsum(sizes) + others))[ids[inside]]
    return shares


def agreement(ballots: Ballots, table: VoteTable) -> FloatArray:
    """Return [R] the share of the group that behaves as each rollout does in `table`; NaN if not eligible."""
    others = float((~ballots.eligible & ~ballots.without_evidence).sum())
    return cluster_shares(cluster_ids(table, ballots.eligible), ballots.rollout_weight, others)
