"""The numbers of `coderm-reward evaluate`: recorded groups and the truth in, one table out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from coderm_reward.config import AggregatorName, JudgeName, ScoringConfig, VoteUnit
from coderm_reward.errors import InputError
from coderm_reward.scoring.aggregators import AGGREGATORS
from coderm_reward.scoring.judges import without_judges
from coderm_reward.scoring.metrics import (
    ClassifierMetrics,
    Confusion,
    ensemble_quality,
    expected_any_correct,
    expected_best_of_n,
    vote_quality,
    within_group_auc,
)
from coderm_reward.scoring.own_tests import without_own_tests
from coderm_reward.scoring.rewards import group_rewards
from coderm_reward.scoring.votes import BoolArray, count_votes
from coderm_reward.types import CodeStatus, ExecutionMatrix

__all__ = ["AggregatorRow", "EvaluationGroup", "EvaluationTable", "evaluate_groups"]


@dataclass(frozen=True, eq=False)
class EvaluationGroup:
    """One scored group and which of its R rollouts are truly correct."""

    statuses: Sequence[CodeStatus]
    matrix: ExecutionMatrix
    truth: BoolArray
    """[R]"""
    identities: Sequence[str] = ()
    """[R] of their code (source.normalised_id); needed where `exclude_own_tests`."""


@dataclass(frozen=True)
class AggregatorRow:
    """What one aggregator makes of the same votes."""

    aggregator: AggregatorName
    best_of_n: float
    """Mean over groups of the expected accuracy of the pick, ties averaged."""
    auc: float | None
    """Mean within-group AUC over the groups with correct and wrong rollouts; None if there is none."""
    ensemble: ClassifierMetrics
    """Accept where score >= acc_threshold; over the rollouts with evidence of all groups. The scores of
    `dual_agreement` and `combined` are scaled down by agreement, so the same threshold is stricter there."""


@dataclass(frozen=True)
class EvaluationTable:
    """Everything that `evaluate` prints."""

    groups: int
    rollouts: int
    rollouts_with_evidence: int
    auc_groups: int
    """Groups with correct and wrong rollouts: those that AUC is over."""
    n: int | None
    """Rollouts drawn per group for best-of-N; None means all of them."""
    vote_unit: VoteUnit
    duplicates: Literal["weight", "drop"]
    exclude_judges: tuple[JudgeName, ...]
    """Judges whose verdicts are taken for no evidence."""
    random_pick: float
    """Mean over groups of the pass rate: best-of-N of a score that knows nothing."""
    oracle: float
    """Mean over groups of the chance that any of the n is correct: best-of-N of a perfect score."""
    class_tests: ClassifierMetrics
    """Single test classes as classifiers, over all (class, rollout) pairs with evidence."""
    class_pairs: float
    method_tests: ClassifierMetrics
    """Single test methods as classifiers, over all (method, rollout) pairs with evidence."""
    method_pairs: float
    aggregators: tuple[AggregatorRow, ...]
    assertion_tests: ClassifierMetrics | None = None
    """Single assertions as classifiers, over all (assertion, rollout) pairs with evidence, if they vote."""
    assertion_pairs: float = 0.0


def evaluate_groups(
    groups: Iterable[EvaluationGroup], config: ScoringConfig | None = None, *, n: int | None = None
) -> EvaluationTable:
    """Compare every aggregator on the same recorded groups; all else is as `config` says.

    Best-of-N and AUC are over all rollouts with their rewards as trained on: 0.0 without code, neutral
    without evidence. With `n`, best-of-N is the expectation over random subsets of n rollouts (smaller
    groups are taken whole); scores stay those of the whole group. The qualities are micro averages,
    and the ensemble's is over the rollouts that single tests are judged on: those with evidence.

    Raises:
        InputError: there are no groups.
        ValueError: n is below 1, or truth and statuses of a group differ in length.
    """
    config = config or ScoringConfig()
    tallies = {name: _Tally() for name in AGGREGATORS}
    sizes: list[int] = []
    pass_rates: list[float] = []
    oracles: list[float] = []
    evidence = 0
    classes, methods, assertions = Confusion(), Confusion(), Confusion()
    for group in groups:
        truth = group.truth
        if truth.shape != (len(group.statuses),):
            raise ValueError("The truth of a group must have one entry per rollout.")
        drawn = truth.size if n is None else min(n, truth.size)
        counted = without_judges(group.matrix, config.exclude_judges)
        counted = without_own_tests(counted, group.identities, config)
        ballots = count_votes(counted, config.vote_unit, config.duplicates)
        judged = ballots.votes.votes_run() > 0.0
        sizes.append(truth.size)
        evidence += int(judged.sum())
        pass_rates.append(float(truth.mean()))
        oracles.append(expected_any_correct(truth, drawn))
        classes += vote_quality(ballots.classes, truth)
        methods += vote_quality(count_votes(counted, "method", config.duplicates).parts, truth)
        if config.vote_unit == "assertion":
            assertions += vote_quality(ballots.parts, truth)
        for name, tally in tallies.items():
            tally.add(group, msgspec.structs.replace(config, aggregator=name), judged, drawn)
    if not sizes:
        raise InputError("No scored group has a known truth; check that --truth names the same prompts.")
    return EvaluationTable(
        groups=len(sizes),
        rollouts=sum(sizes),
        rollouts_with_evidence=evidence,
        auc_groups=len(next(iter(tallies.values())).aucs),
        n=n,
        vote_unit=config.vote_unit,
        duplicates=config.duplicates,
        exclude_judges=config.exclude_judges,
        random_pick=float(np.mean(pass_rates)),
        oracle=float(np.mean(oracles)),
        class_tests=classes.metrics(),
        class_pairs=classes.decisions,
        method_tests=methods.metrics(),
        method_pairs=methods.decisions,
        aggregators=tuple(tally.row(name) for name, tally in tallies.items()),
        assertion_tests=assertions.metrics() if config.vote_unit == "assertion" else None,
        assertion_pairs=assertions.decisions,
    )


class _Tally:
    """Running figures of one aggregator."""

    def __init__(self) -> None:
        self.picks: list[float] = []
        self.aucs: list[float] = []
        self.ensemble = Confusion()

    def add(self, group: EvaluationGroup, config: ScoringConfig, judged: BoolArray, drawn: int) -> None:
        rewards = group_rewards(
            group.statuses,
            group.matrix,
            config,
            difficulty=0.0,
            gen_seconds=0.0,
            generation_failed=False,
            identities=group.identities,
        ).rewards
        score = np.array([reward.score for reward in rewards], dtype=np.float64)
        accept = np.array([reward.acc == 1.0 for reward in rewards], dtype=np.bool_)
        self.picks.append(expected_best_of_n(score, group.truth, drawn))
        auc = within_group_auc(score, group.truth)
        if auc is not None:
            self.aucs.append(auc)
        self.ensemble += ensemble_quality(accept[judged], group.truth[judged])

    def row(self, name: AggregatorName) -> AggregatorRow:
        return AggregatorRow(
            aggregator=name,
            best_of_n=float(np.mean(self.picks)),
            auc=float(np.mean(self.aucs)) if self.aucs else None,
            ensemble=self.ensemble.metrics(),
        )
