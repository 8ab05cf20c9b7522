"""How far a group's scores would repeat with other tests: Cronbach's alpha over test classes.

A group where all rollouts are equally wrong still gets a spread of scores from noisy tests; a low
alpha says so (DESIGN section 8).
"""

from __future__ import annotations

import math

import numpy as np

from coderm_reward.scoring.votes import Ballots, FloatArray

__all__ = ["class_scores", "cronbach_alpha", "group_reliability", "kelley"]


def class_scores(ballots: Ballots) -> FloatArray:
    """Return [R, classes] the score of each rollout on each valid class, in [0, 1].

    Unit `class`: 0 or 1; else the fraction of the class's valid methods, or assertions, that passed.
    NaN where a vote of the cell is UNKNOWN, and in the rows of rollouts that are not eligible.
    """
    if ballots.unit == "class":
        scores = np.where(ballots.classes.known, ballots.classes.passed, np.nan)
    else:
        member = np.eye(ballots.classes.weight.size)[ballots.part_class]
        known = ballots.parts.known.astype(np.float64) @ member
        passed = ballots.parts.passed.astype(np.float64) @ member
        scores = np.where(known == member.sum(axis=0), passed / member.sum(axis=0), np.nan)
    return np.where(ballots.eligible[:, None], scores, np.nan)


def cronbach_alpha(scores: FloatArray) -> float:
    """Return Cronbach's alpha of [R, T] scores of R rollouts on T items, clipped to [0, 1].

    alpha = k/(k-1) * (1 - sum of the items' variances / variance of the rollouts' sums). Rows without
    any evidence (all NaN) go first, then every column that still has a NaN. 0.0 where alpha is undefined:
    fewer than two rollouts or items left, or no spread between the rollouts.
    """
    scores = scores[~np.isnan(scores).all(axis=1)]
    scores = scores[:, ~np.isnan(scores).any(axis=0)]
    rollouts, items = scores.shape
    if rollouts < 2 or items < 2:
        return 0.0
    between = float(scores.sum(axis=1).var())
    if between <= 1e-12:
        return 0.0
    alpha = items / (items - 1) * (1.0 - float(scores.var(axis=0).sum()) / between)
    return float(min(max(alpha, 0.0), 1.0))


def group_reliability(ballots: Ballots) -> float:
    """Return alpha of one group's scores at the configured unit.

    Copies of a class are one item here even where they keep their vote: repeating a test adds no
    evidence, but its perfect agreement with itself would raise alpha.
    """
    return cronbach_alpha(class_scores(ballots))


def kelley(scores: FloatArray, reliability: float) -> FloatArray:
    """Return [R] scores shrunk towards their mean: mean + reliability * (score - mean); NaN stays NaN.

    Kelley's formula: the best linear guess of what a rollout would score on endlessly many tests like these.
    At reliability 0 all are the mean and GRPO sees no difference; at 1 nothing changes. An advantage that is
    divided by the group's standard deviation does not notice anything between: there only 0 matters.
    """
    known = ~np.isnan(scores)
    if not known.any() or reliability >= 1.0:
        return scores
    mean = math.fsum(scores[known]) / int(known.sum())
    if reliability <= 0.0:
        return np.where(known, mean, np.nan)
    return mean + reliability * (scores - mean)
