"""From votes to one score per rollout (DESIGN section 8). Pure; scores lie in [0, 1].

Every aggregator returns NaN exactly for the rollouts that are not `Ballots.eligible`; whoever calls
one replaces NaN by the evidence rules (see `rewards.group_rewards`). What a cluster is, `clusters` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from coderm_reward.config import AggregatorName
from coderm_reward.scoring.bayes import (
    DEFAULT_MODEL,
    ClusterModel,
    calibrated,
    calibration_features,
    cluster_posterior,
)
from coderm_reward.scoring.clusters import agreement
from coderm_reward.scoring.votes import Ballots, FloatArray, VoteTable

__all__ = [
    "AGGREGATORS",
    "MAX_CONSENSUS_BONUS",
    "PROMOTION",
    "Aggregator",
    "Scores",
    "bayes",
    "bayes_parts",
    "combined",
    "dual_agreement",
    "majority",
    "majority_consensus",
]

MAX_CONSENSUS_BONUS = 1e-6
"""A tie-break must also be negligible as a reward, however few tests there are."""

PROMOTION = 2.0
"""How far `bayes` lets its posterior move a cluster: to 1 + PROMOTION times what it would have without."""


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
    return Scores(fraction + np.where(open_tie, eps * agreement(ballots, ballots.votes), 0.0))


def dual_agreement(ballots: Ballots) -> Scores:
    """CodeT's dual execution agreement, per rollout: pass fraction * sqrt(share of its cluster)."""
    return Scores(_fraction(ballots, ballots.votes) * np.sqrt(agreement(ballots, ballots.votes)))


def combined(ballots: Ballots) -> Scores:
    """(method fraction + class fraction)/2 * sqrt(share of its cluster), clusters at method level.

    Where assertions vote, they stand in for methods. A rollout with evidence at one level only gets the
    fraction of that level.
    """
    methods, classes = _both_fractions(ballots)
    return Scores((methods + classes) / 2.0 * np.sqrt(agreement(ballots, ballots.parts)))


def bayes(ballots: Ballots) -> Scores:
    """(method fraction + class fraction)/2, promoted by the posterior that the rollout's cluster is right.

    score = mean fraction * (1 + 2 * posterior)/3, so a cluster that surely is the right one keeps its
    fraction and all others get a third of theirs. Only a cluster with a large posterior is moved against the
    rest; where the model is unsure, the order is that of the fractions. `p_correct` is calibrated.
    """
    fraction, posterior, features = bayes_parts(ballots)
    return Scores(fraction * (1.0 + PROMOTION * posterior) / (1.0 + PROMOTION), calibrated(features))


def bayes_parts(
    ballots: Ballots, model: ClusterModel = DEFAULT_MODEL
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """([R] mean of both fractions, [R] posterior of the cluster, [R, F] features of `p_correct`)."""
    methods, classes = _both_fractions(ballots)
    posterior = cluster_posterior(ballots, model)
    fraction = (methods + classes) / 2.0
    passing = math.fsum(fraction[ballots.eligible]) / max(int(ballots.eligible.sum()), 1)
    share = agreement(ballots, ballots.parts)
    return fraction, posterior, calibration_features(posterior, methods, classes, share, passing)


AGGREGATORS: Mapping[AggregatorName, Aggregator] = {
    "majority": majority,
    "majority_consensus": majority_consensus,
    "dual_agreement": dual_agreement,
    "combined": combined,
    "bayes": bayes,
}


def _fraction(ballots: Ballots, table: VoteTable) -> FloatArray:
    return np.where(ballots.eligible, table.fraction(), np.nan)


def _both_fractions(ballots: Ballots) -> tuple[FloatArray, FloatArray]:
    """[R] fractions of methods and of classes passed, each standing in where the other has no evidence."""
    methods = _fraction(ballots, ballots.parts)
    classes = _fraction(ballots, ballots.classes)
    return (
        np.where(np.isnan(methods), classes, methods),
        np.where(np.isnan(classes), methods, classes),
    )
