"""What goes back to a training loop and into its records, besides what the main path makes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coderm_reward.config import RewardConfig, ScoringConfig
from coderm_reward.data.records import BudgetRecord, GroupRecord, RolloutRecord
from coderm_reward.group_run import group_content
from coderm_reward.scoring.truth import mixed_with_truth
from coderm_reward.types import (
    CodeStatus,
    Difficulty,
    ExecutionStats,
    RewardOutput,
    RolloutGroup,
    content_hash,
)

__all__ = ["failed_record", "late_part", "no_reward", "with_given", "with_truth"]


def no_reward(config: ScoringConfig) -> RewardOutput:
    """The neutral reward of a rollout about which our own failure left nothing known."""
    score = 0.0 if config.neutral == "group_mean" else float(config.neutral)
    zeros = dict.fromkeys(RewardOutput.__struct_fields__, 0.0)
    return RewardOutput(
        **{
            **zeros,
            "score": score,
            "acc": float(score >= config.acc_threshold),
            "p_correct": min(max(score, 0.0), 1.0),
            "neutral": 1.0,
            "infra_error": 1.0,
        }
    )


def with_truth(
    record: GroupRecord, truths: Sequence[bool | None], *, first: int = 0, weight: float = 0.0
) -> GroupRecord:
    """Return the record with what the dataset's own tests say of its rollouts, from the `first` on.

    Args:
        truths: None tells nothing.
        weight: how much of the score that is to be; a rollout caught tampering keeps its 0.0.
    """
    rollouts = list(record.rollouts)
    for i, truth in enumerate(truths, start=first):
        if truth is not None:
            known = msgspec.structs.replace(rollouts[i].reward, acc_true=float(truth), has_truth=1.0)
            reward = mixed_with_truth(known, weight, record.config.scoring.acc_threshold)
            rollouts[i] = msgspec.structs.replace(rollouts[i], reward=reward)
    return msgspec.structs.replace(record, rollouts=tuple(rollouts))


def with_given(record: GroupRecord, given: Sequence[RewardOutput | None]) -> GroupRecord:
    """Return the record with the rewards that were given before it was there; None where none was."""
    rollouts = tuple(
        rollout if reward is None else msgspec.structs.replace(rollout, reward=reward)
        for rollout, reward in zip(record.rollouts, given, strict=True)
    )
    return msgspec.structs.replace(record, rollouts=rollouts)


def late_part(record: GroupRecord, group: RolloutGroup, late: int, before: ExecutionStats) -> GroupRecord:
    """Return what a record of a whole group, its rollout number `late` included, says of that one alone.

    Tokens and seconds of generation stay with the record of the group; `before` is what its runs took.
    """
    alone = msgspec.structs.replace(group, rollouts=(group.rollouts[late],))
    stats = record.stats
    return msgspec.structs.replace(
        record,
        group=content_hash(group.id, "late", str(group.rollouts[late].row)),
        content=group_content(alone),
        rollouts=(record.rollouts[late],),
        budget=msgspec.structs.replace(record.budget, why=f"{record.budget.why}; a late sibling"),
        stats=ExecutionStats(
            pairs=max(stats.pairs - before.pairs, 0),
            pairs_run=max(stats.pairs_run - before.pairs_run, 0),
            cache_hits=max(stats.cache_hits - before.cache_hits, 0),
            assumed_timeouts=max(stats.assumed_timeouts - before.assumed_timeouts, 0),
            retried=max(stats.retried - before.retried, 0),
            seconds=max(stats.seconds - before.seconds, 0.0),
        ),
        gen_seconds=0.0,
        prompt_tokens=0,
        completion_tokens=0,
    )


def failed_record(group: RolloutGroup, config: RewardConfig, cause: str) -> GroupRecord:
    """The record of a group that could not be scored at all: neutral rewards, and why.

    It has no fingerprint of settings, so that nothing takes it for a result.
    """
    reward = no_reward(config.scoring)
    none = CodeStatus.NO_CODE.value
    problem = group.problem
    return GroupRecord(
        group=group.id,
        content=group_content(group),
        settings="",
        config=config,
        run=group.run,
        step=group.step,
        uid=group.uid,
        prompt_hash=problem.prompt_hash,
        question=problem.question,
        entry_point=problem.entry_point,
        task_id=problem.task_id,
        generator="",
        tests=(),
        invalid={},
        dropped={},
        budget=BudgetRecord(Difficulty(0.5, 0.0, "none"), planned=None, spent=0, why=cause),
        rollouts=tuple(RolloutRecord(r.row, none, "", -1, "", "", "", reward) for r in group.rollouts),
        details={},
        stats=ExecutionStats(),
        gen_seconds=0.0,
        warnings=(cause,),
    )
