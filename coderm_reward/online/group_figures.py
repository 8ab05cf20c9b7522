"""What the metrics of a step need of one scored group: small enough to keep for many steps. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import msgspec
import numpy as np

from coderm_reward.data.records import GroupRecord
from coderm_reward.online.sample import GroupOutcome
from coderm_reward.rescoring import rescored
from coderm_reward.scoring.votes import BoolArray, FloatArray, IntArray
from coderm_reward.types import ExecutionMatrix, ExecutionStats, RewardOutput, Verdict

__all__ = ["GroupFigures", "group_figures"]


@dataclass(frozen=True, eq=False)
class GroupFigures:
    """One group of R rollouts."""

    group: str
    prompt: str
    """Prompt hash: groups of one prompt share a suite."""
    uid: str
    validation: bool
    whole: bool
    """False of late siblings that were recorded by themselves, and of a group that could not be scored."""
    members: Counter[tuple[int, str]]
    """See GroupRecord.members."""
    rewards: tuple[RewardOutput, ...]
    generated: FloatArray
    """[R] the rewards that votes gave, without any share of the dataset's own tests."""
    accepted: BoolArray
    """[R] whether votes alone call it right: their score is `acc_threshold` or more."""
    verdicts: IntArray
    """[Verdict] cells of the vote unit, over rollouts with code."""
    valid: int
    invalid: int
    """Test classes."""
    planned: int
    spent: int
    """Generator responses; planned is what was spent where every response there is was asked for."""
    prompt_tokens: int
    completion_tokens: int
    difficulty: float
    programs: int
    """Distinct programs among its rollouts; those without code are one."""
    stats: ExecutionStats
    gen_seconds: float
    siblings: int
    """How many rollouts the group was thought to have; 0 of late ones, whose group has said so."""
    late: int
    waited: tuple[float, ...]
    answered: tuple[float, ...]


def group_figures(outcome: GroupOutcome) -> GroupFigures:
    """Return the figures of one group.

    Raises:
        ValueError: its verdicts do not fit its tests.
    """
    record = outcome.record
    rewards = tuple(rollout.reward for rollout in record.rollouts)
    votes_alone, training = rewards, record.config.training
    if (
        training.ground_truth_weight
        and not outcome.validation
        and any(reward.has_truth for reward in rewards)
    ):
        training = msgspec.structs.replace(training, ground_truth_weight=0.0)
        again = rescored(record, msgspec.structs.replace(record.config, training=training))
        votes_alone = tuple(rollout.reward for rollout in again.rollouts)
    programs = {rollout.solution for rollout in record.rollouts if rollout.solution >= 0}
    invalid = sum(test.id in record.invalid for test in record.tests)
    return GroupFigures(
        group=record.group,
        prompt=record.prompt_hash,
        uid=record.uid or "",
        validation=outcome.validation,
        whole=bool(record.settings) and outcome.late < len(rewards),
        members=record.members(),
        rewards=rewards,
        generated=np.array([reward.score for reward in votes_alone], dtype=np.float64),
        accepted=np.array([reward.acc == 1.0 for reward in votes_alone], dtype=np.bool_),
        verdicts=_verdicts(record, record.matrix()),
        valid=len(record.tests) - invalid,
        invalid=invalid,
        planned=record.budget.spent if record.budget.planned is None else record.budget.planned,
        spent=record.budget.spent,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        difficulty=record.budget.difficulty.difficulty,
        programs=len(programs) + any(rollout.solution < 0 for rollout in record.rollouts),
        stats=record.stats,
        gen_seconds=record.gen_seconds,
        siblings=0 if outcome.late == len(rewards) else outcome.siblings or 0,
        late=outcome.late,
        waited=outcome.waited,
        answered=outcome.answered,
    )


def _verdicts(record: GroupRecord, matrix: ExecutionMatrix) -> IntArray:
    cells = {
        "class": matrix.class_verdicts,
        "method": matrix.method_verdicts,
        "assertion": matrix.assertion_verdicts,
    }[record.config.scoring.vote_unit]
    if cells is None:
        cells = matrix.method_verdicts
    return np.bincount(cells[matrix.has_code].ravel(), minlength=len(Verdict)).astype(np.intp)
