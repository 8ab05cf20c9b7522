"""A recorded group under other scoring settings: its verdicts stay, its rewards are made anew. Pure."""

from __future__ import annotations

import msgspec

from coderm_reward.config import RewardConfig
from coderm_reward.data.records import GroupRecord
from coderm_reward.scoring import group_rewards
from coderm_reward.types import FAILED, CodeStatus, content_hash

__all__ = ["rescored"]


def rescored(record: GroupRecord, config: RewardConfig) -> GroupRecord:
    """Return the record as `config.scoring` would have had it; what was generated and run stays.

    The record's own settings give back the rewards that votes gave; a share of the dataset's own tests in
    them (`training.ground_truth_weight`) is left out.

    Raises:
        InputError: the vote unit is `assertion`, and none was judged by itself.
    """
    rewarded = group_rewards(
        [CodeStatus(rollout.status) for rollout in record.rollouts],
        record.matrix(),
        config.scoring,
        difficulty=record.budget.difficulty.difficulty,
        gen_seconds=record.gen_seconds,
        generation_failed=f"{FAILED}generation" in record.dropped,
        identities=record.identities() if config.scoring.exclude_own_tests else (),
    )
    rollouts = tuple(
        msgspec.structs.replace(
            rollout,
            reward=msgspec.structs.replace(
                reward, acc_true=rollout.reward.acc_true, has_truth=rollout.reward.has_truth
            ),
        )
        for rollout, reward in zip(record.rollouts, rewarded.rewards, strict=True)
    )
    settings = record.settings
    new = msgspec.structs.replace(record.config, scoring=config.scoring)
    if new != record.config:  # `--resume` must not take it for a record of the same settings
        settings = content_hash(settings, new.fingerprint())
    return msgspec.structs.replace(
        record,
        settings=settings,
        config=new,
        rollouts=rollouts,
        warnings=rewarded.warnings,
    )
