"""Leave out what a test says of the behaviour that stood in its prompt (DESIGN section 6). Pure.

A model that is shown a wrong solution tends to write down what it does as what is expected. Such a test then
passes that solution and all that behave like it, whatever is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coderm_reward.config import ScoringConfig
from coderm_reward.scoring.clusters import cluster_ids
from coderm_reward.scoring.judges import unknown_where
from coderm_reward.scoring.votes import BoolArray, count_votes
from coderm_reward.types import ExecutionMatrix

__all__ = ["own_cells", "without_own_tests"]


def without_own_tests(
    matrix: ExecutionMatrix, identities: Sequence[str], config: ScoringConfig
) -> ExecutionMatrix:
    """Return the matrix with every test's verdicts on the behaviour that prompted it made UNKNOWN.

    Only where `config.exclude_own_tests` asks for it. INVALID_TEST and TAMPERED stay.

    Raises:
        ValueError: `identities` are not those of these rollouts.
    """
    if not config.exclude_own_tests:
        return matrix
    return unknown_where(own_cells(matrix, identities), matrix)


def own_cells(matrix: ExecutionMatrix, identities: Sequence[str]) -> BoolArray:
    """Return [R, T] whether a rollout is of the behaviour that stood in one of the test's prompts.

    `identities` [R] are those of the rollouts' code (source.normalised_id), "" without code. Behaviour is
    that of clusters.cluster_ids: all rollouts that pass the same methods as one whose code was shown. A
    test that no rollout of this group prompted (the reference did, or an earlier step) has no such cells.
    """
    if len(identities) != matrix.has_code.size:
        raise ValueError("There must be one identity per rollout to tell whose tests are whose.")
    ballots = count_votes(matrix, "method", "weight")
    clusters = cluster_ids(ballots.parts, ballots.eligible)
    cells = np.zeros(matrix.class_verdicts.shape, dtype=np.bool_)
    for column, test in enumerate(matrix.tests):
        shown = np.array(
            [identity != "" and identity in test.prompted_by for identity in identities], np.bool_
        )
        cells[:, column] = shown | (np.isin(clusters, clusters[shown]) & ballots.eligible)
    return cells
