"""How good scores and tests are, given which rollouts are truly correct. Pure, per group.

Two questions: does the score pick and rank right (best-of-N, within-group AUC), and is a test, or the
ensemble of them, a good classifier of solutions (accuracy, F1, false acceptance, false rejection:
the quality measures of Ma et al., arXiv 2501.01054, appendix D).
Shapes: R rollouts, V votes; `truth` is bool [R], True where the rollout is correct.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from coderm_reward.scoring.votes import BoolArray, FloatArray, VoteTable

__all__ = [
    "ClassifierMetrics",
    "Confusion",
    "best_of_n",
    "ensemble_quality",
    "expected_any_correct",
    "expected_best_of_n",
    "vote_quality",
    "within_group_auc",
]


@dataclass(frozen=True)
class ClassifierMetrics:
    """Quality of accept/reject decisions on solutions, each in [0, 1]; None where undefined."""

    acc: float | None
    """Share of decisions that are right."""
    f1: float | None
    """Harmonic mean of precision and recall of accepting correct solutions."""
    far: float | None
    """False acceptance rate: share of wrong solutions accepted."""
    frr: float | None
    """False rejection rate: share of correct solutions rejected."""


@dataclass(frozen=True)
class Confusion:
    """Counts of decisions; adding them over groups and then taking `metrics` is the micro average."""

    accepted_correct: float = 0.0
    accepted_wrong: float = 0.0
    rejected_correct: float = 0.0
    rejected_wrong: float = 0.0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.accepted_correct + other.accepted_correct,
            self.accepted_wrong + other.accepted_wrong,
            self.rejected_correct + other.rejected_correct,
            self.rejected_wrong + other.rejected_wrong,
        )

    @property
    def decisions(self) -> float:
        """Number of decisions counted."""
        return self.accepted_correct + self.accepted_wrong + self.rejected_correct + self.rejected_wrong

    def metrics(self) -> ClassifierMetrics:
        """Return the four rates; those without a denominator are None."""
        errors = self.accepted_wrong + self.rejected_correct
        return ClassifierMetrics(
            acc=_ratio(self.accepted_correct + self.rejected_wrong, self.decisions),
            f1=_ratio(2.0 * self.accepted_correct, 2.0 * self.accepted_correct + errors),
            far=_ratio(self.accepted_wrong, self.accepted_wrong + self.rejected_wrong),
            frr=_ratio(self.rejected_correct, self.rejected_correct + self.accepted_correct),
        )


def best_of_n(scores: FloatArray, truth: BoolArray) -> float:
    """Return the chance that the pick is correct: the mean truth among the rollouts of highest score."""
    return float(truth[scores == scores.max()].mean())


def expected_best_of_n(scores: FloatArray, truth: BoolArray, n: int) -> float:
    """Return `best_of_n` of a random subset of n of the R rollouts, in closed form.

    Scores stay those of the whole group. The best score of the subset is a level with k rollouts and L
    below it with probability [C(L+k, n) - C(L, n)] / C(R, n); by symmetry the picked one is then
    any of the k with equal chance, so the level contributes its mean truth.

    Raises:
        ValueError: n is not in 1..R.
    """
    subsets = _subsets(scores.size, n)
    expected = 0.0
    below = 0
    for level in np.unique(scores):
        tied = truth[scores == level]
        chance = (math.comb(below + tied.size, n) - math.comb(below, n)) / subsets
        expected += chance * float(tied.mean())
        below += tied.size
    return expected


def expected_any_correct(truth: BoolArray, n: int) -> float:
    """Return the chance that a random subset of n rollouts has a correct one: what an oracle reaches.

    Raises:
        ValueError: n is not in 1..R.
    """
    return 1.0 - math.comb(int((~truth).sum()), n) / _subsets(truth.size, n)


def within_group_auc(scores: FloatArray, truth: BoolArray) -> float | None:
    """Return the share of (correct, wrong) pairs that the score orders right, ties counting half.

    None if all rollouts are correct, or all wrong.
    """
    correct, wrong = scores[truth], scores[~truth]
    if correct.size == 0 or wrong.size == 0:
        return None
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, correct, side="left").sum()
    not_above = np.searchsorted(ordered, correct, side="right").sum()
    return float(0.5 * (below + not_above) / (correct.size * wrong.size))


def vote_quality(votes: VoteTable, truth: BoolArray) -> Confusion:
    """Count the decisions of every single vote on every rollout that it has evidence on.

    A pass accepts, every other verdict rejects. On `Ballots.classes` this is the quality of single
    test classes (the paper's), on `Ballots.methods` that of single methods. Votes count by weight.
    """
    rejected = votes.known & ~votes.passed
    return Confusion(
        accepted_correct=float(votes.total(votes.passed)[truth].sum()),
        accepted_wrong=float(votes.total(votes.passed)[~truth].sum()),
        rejected_correct=float(votes.total(rejected)[truth].sum()),
        rejected_wrong=float(votes.total(rejected)[~truth].sum()),
    )


def ensemble_quality(accept: BoolArray, truth: BoolArray) -> Confusion:
    """Count one decision per rollout: `accept` [R] is whether all its tests together accept it."""
    return Confusion(
        accepted_correct=float((accept & truth).sum()),
        accepted_wrong=float((accept & ~truth).sum()),
        rejected_correct=float((~accept & truth).sum()),
        rejected_wrong=float((~accept & ~truth).sum()),
    )


def _subsets(rollouts: int, n: int) -> int:
    if not 1 <= n <= rollouts:
        raise ValueError(f"Cannot draw {n} of {rollouts} rollouts.")
    return math.comb(rollouts, n)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0.0 else None
