"""Why rollouts of a group got no reward of their own, as far as that is our failure. Pure."""

from __future__ import annotations

from coderm_reward.data.records import GroupRecord
from coderm_reward.types import FAILED

__all__ = ["failure_cause"]


def failure_cause(record: GroupRecord) -> str | None:
    """Return why rollouts of this group have `infra_error`, in words that like groups share; None if none."""
    if not any(rollout.reward.infra_error for rollout in record.rollouts):
        return None
    if not record.settings:  # it could not be scored at all: see online.answers.failed_record
        return record.warnings[0] if record.warnings else "the group could not be scored"
    kinds = sorted(reason.removeprefix(FAILED) for reason in record.dropped if reason.startswith(FAILED))
    if kinds and not record.tests:
        return f"unit tests could not be generated ({', '.join(kinds)})"
    return "the sandbox gave no evidence"
