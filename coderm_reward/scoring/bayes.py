"""Which behaviour is the right one: a Bayesian posterior over clusters, for tests that may be wrong. Pure.

In the spirit of B4 (Chen et al., arXiv 2409.08692): right solutions behave alike, so at most one cluster
is right, and if cluster k is, then the tests that it passes are the right tests and all others are wrong.
The posterior weighs how well each such story explains the whole matrix:

- prior: a rollout drawn at random is right, so clusters count by their size;
- tests: the methods of a class are right with a rate of their own, Beta(2, 1) (half the classes of
  CodeRM-8B are wholly right, some are mostly wrong: the rate belongs to the class);
- wrong solutions: each other cluster passes right tests at a rate of its own, Beta(1, 1), and wrong tests
  at one that is nearly zero, Beta(1, 32): two wrong programs seldom agree with the same wrong value.

What differs from B4: rates belong to each cluster and class and not to the group (bugs recur and mistakes
come in bunches), copies of a wrong behaviour count by the root of their number, and the evidence is tempered,
as votes of one group are far from independent. Assumed and not always true: a right solution passes every
right test and no wrong one, and the group holds a right solution at all; so the posterior only promotes
(see `aggregators.bayes`), and probabilities are calibrated afterwards.

The constants were chosen on tests in two regimes of quality by scripts/bench/fit_bayes.py, on problems that
no published figure is of.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from coderm_reward.scoring.clusters import cluster_sizes
from coderm_reward.scoring.votes import Ballots, FloatArray, IntArray

__all__ = ["DEFAULT_MODEL", "ClusterModel", "calibrated", "calibration_features", "cluster_posterior"]


class ClusterModel(msgspec.Struct, frozen=True):
    """The constants of the posterior; every Beta is (weight of passing or right, weight of the opposite)."""

    wrong_on_right: tuple[float, float] = (1.0, 1.0)
    """A wrong cluster on the right tests."""
    wrong_on_wrong: tuple[float, float] = (1.0, 32.0)
    """A wrong cluster on the wrong tests."""
    right_methods: tuple[float, float] = (2.0, 1.0)
    """The methods of one class being right."""
    copies: float = 0.5
    """A wrong cluster of n rollouts is n ** copies independent witnesses."""
    cell_temper: float = 0.03
    """Power on the evidence of wrong clusters: how much of a vote is news, given all the others."""
    class_temper: float = 0.2
    """Power on the evidence of classes being right."""


DEFAULT_MODEL = ClusterModel()


def cluster_posterior(ballots: Ballots, model: ClusterModel = DEFAULT_MODEL) -> FloatArray:
    """Return [R] the posterior that each rollout's cluster is the right one; NaN where not eligible.

    The clusters' posteriors add up to 1. Votes are of methods, each distinct test once, as copies of a test
    are no further evidence. Columns that every eligible rollout has evidence for and that tell some apart
    count; if there are none, all are one cluster with posterior 1.
    """
    eligible = ballots.eligible
    table = ballots.parts
    posterior = np.full(eligible.shape, np.nan)
    if not eligible.any():
        return posterior
    passed, known = table.passed[eligible], table.known[eligible]
    columns = known.all(axis=0) & passed.any(axis=0) & ~passed.all(axis=0)
    passed = passed[:, columns]
    ids, first = _sorted_clusters(passed)
    behaviour = passed[first].astype(np.float64)
    all_ids = np.full(eligible.shape, -1, dtype=np.intp)
    all_ids[eligible] = ids
    sizes = np.array(cluster_sizes(all_ids, ballots.rollout_weight))
    log_odds = np.log(sizes / sizes.sum()) + _evidence(behaviour, ballots.part_class[columns], sizes, model)
    weight = np.exp(log_odds - log_odds.max())
    posterior[eligible] = (weight / weight.sum())[ids]
    return posterior


def calibration_features(
    posterior: FloatArray, methods: FloatArray, classes: FloatArray, share: FloatArray, passing: float
) -> FloatArray:
    """Return [R, 6] what the calibrated probability depends on, the first column being 1.

    Args:
        posterior, share: [R] of the rollout's cluster: its posterior, its share of the group.
        methods, classes: [R] fraction of the methods and of the classes passed.
        passing: mean fraction passed over the group: how good its policy is at this prompt.
    """
    return np.stack(
        [
            np.ones_like(posterior),
            np.log(np.maximum(posterior, 1e-4)),
            methods,
            classes,
            np.log(np.maximum(share, 1e-4)),
            np.full_like(posterior, passing),
        ],
        axis=1,
    )


CALIBRATION = np.array([-1.173, 0.326, 3.432, 0.579, 1.102, 1.574])
"""Logistic weights of `calibration_features`, by scripts/bench/fit_bayes.py."""


def calibrated(features: FloatArray) -> FloatArray:
    """Return [R] the probability that each rollout is right; NaN stays NaN."""
    chance: FloatArray = 1.0 / (1.0 + np.exp(-(features @ CALIBRATION)))
    return chance


def _sorted_clusters(passed: np.typing.NDArray[np.bool_]) -> tuple[IntArray, IntArray]:
    """([rows] number of each row's cluster, [clusters] a row of each), whatever the order of rows."""
    if not passed.shape[1]:
        return np.zeros(len(passed), dtype=np.intp), np.zeros(1, dtype=np.intp)
    packed = np.ascontiguousarray(np.packbits(passed, axis=1))
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, ids = np.unique(keys, return_index=True, return_inverse=True)
    return ids.ravel().astype(np.intp), first.astype(np.intp)


def _evidence(
    behaviour: FloatArray, method_class: IntArray, sizes: FloatArray, model: ClusterModel
) -> FloatArray:
    """Return [K] the tempered log likelihood of the votes if cluster k is the right one.

    `behaviour` is [K, V] of 0 and 1, `method_class` [V] the class of each column.
    """
    clusters, votes = behaviour.shape
    both = (behaviour @ behaviour.T).astype(np.intp)
    passes = np.diagonal(both)
    right = passes[:, None]
    """[K, 1] tests that are right if k is; `both` [K, L] of these that cluster l passes."""
    stray = passes[None, :] - both
    on_right = _log_beta_binomial(both, right, model.wrong_on_right, votes)
    on_wrong = _log_beta_binomial(stray, votes - right, model.wrong_on_wrong, votes)
    witnesses = np.where(np.eye(clusters, dtype=np.bool_), 0.0, sizes[None, :] ** model.copies)
    tests = _class_evidence(behaviour, method_class, model)
    cells: FloatArray = (witnesses * (on_right + on_wrong)).sum(axis=1)
    evidence: FloatArray = model.cell_temper * cells + model.class_temper * tests
    return evidence


def _class_evidence(behaviour: FloatArray, method_class: IntArray, model: ClusterModel) -> FloatArray:
    """Return [K] the log chance that just the methods which cluster k passes are the right ones."""
    votes = method_class.size
    if not votes:
        return np.zeros(len(behaviour))
    order = np.argsort(method_class, kind="stable")
    starts = np.flatnonzero(np.diff(method_class[order], prepend=-1))
    passed = np.add.reduceat(behaviour[:, order], starts, axis=1).astype(np.intp)
    methods = np.diff(starts, append=votes)[None, :]
    chance: FloatArray = _log_beta_binomial(passed, methods, model.right_methods, votes).sum(axis=1)
    return chance


def _log_beta_binomial(hits: IntArray, trials: IntArray, beta: tuple[float, float], top: int) -> FloatArray:
    """Return the log chance of one sequence with so many hits, its rate being Beta(*beta)."""
    a, b = beta
    chance: FloatArray = _log_rising(a, top).take(hits) + _log_rising(b, top).take(trials - hits)
    return chance - _log_rising(a + b, top).take(trials)


@lru_cache(maxsize=64)
def _log_rising(start: float, top: int) -> FloatArray:
    """Return [top + 1] the log of start * (start + 1) * ... of so many factors."""
    return np.concatenate([[0.0], np.cumsum(np.log(start + np.arange(top)))])
