"""A recorded group under other scoring settings: its verdicts stay, its rewards are made anew. Pure."""

from __future__ import annotations

import msgspec

from coderm_reward.config import RewardConfig
from coderm_reward.data.records import GroupRecord
from coderm_reward.scoring import group_rewards
from coderm_reward.scoring.truth import mixed_with_truth
from coderm_reward.types import FAILED, CodeStatus, content_hash

__all__ = ["rescored"]


def rescored(record: GroupRecord, config: RewardConfig) -> GroupRecord:
    """Return the record as the scoring settings of `config` would have had it, and its `ground_truth_weight`.

    What was generated and run stays, and what the dataset's own tests found. The record's own settings give
    back its own rewards. So do any where there was no scoring: a group that could not be scored (it has no
    fingerprint of settings), and a rollout that was given up on before its group was scored.

    Raises:
        InputError: the vote unit is `assertion`, and none was judged by itself.
    """
    if not record.settings:
        return record
    scoring, weight = config.scoring, config.training.ground_truth_weight
    rewarded = group_rewards(
        [CodeStatus(rollout.status) for rollout in record.rollouts],
        record.matrix(),
        scoring,
        difficulty=record.budget.difficulty.difficulty,
        gen_seconds=record.gen_seconds,
        generation_failed=f"{FAILED}generation" in record.dropped,
        identities=record.identities() if scoring.exclude_own_tests else (),
    )
    rollouts = []
    for rollout, reward in zip(record.rollouts, rewarded.rewards, strict=True):
        old = rollout.reward
        if old.infra_error and reward.tests_planned and not old.tests_planned:
            reward = old  # given up on
        else:
            reward = msgspec.structs.replace(reward, acc_true=old.acc_true, has_truth=old.has_truth)
            reward = mixed_with_truth(reward, weight, scoring.acc_threshold)
        rollouts.append(msgspec.structs.replace(rollout, reward=reward))
    training = msgspec.structs.replace(record.config.training, ground_truth_weight=weight)
    new = msgspec.structs.replace(record.config, scoring=scoring, training=training)
    settings = record.settings
    if new != record.config:  # `--resume` must not take it for a record of the same settings
        settings = content_hash(settings, new.fingerprint())
    return msgspec.structs.replace(
        record, settings=settings, config=new, rollouts=tuple(rollouts), warnings=rewarded.warnings
    )
