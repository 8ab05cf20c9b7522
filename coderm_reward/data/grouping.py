"""Rollouts into groups of siblings: (prompt, step, source run), and the uid where the dump has one. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coderm_reward.data.chat import messages_from_value, prompt_hash, question
from coderm_reward.types import Problem, Rollout, RolloutGroup, content_hash

__all__ = ["GroupBuilder", "GroupDraft", "PromptEntry", "group_uid"]

_V1_UID = re.compile(r"(.+)_\d+_\d+", re.DOTALL)


class PromptEntry(NamedTuple):
    """One distinct prompt: the column's value (shared by all rows that have it), question and identity."""

    value: Any
    question: str
    hash: str


@dataclass
class GroupDraft:
    """A group being filled; ids and entry point are those of the first row that has one."""

    id: str
    """Hash of run, step, uid and prompt: the same whenever the same paths are read."""
    prompt: PromptEntry
    run: str
    step: str | None
    uid: str | None
    task_id: str | None = None
    entry_point: str | None = None
    reference: str | None = None
    pass_rate: float | None = None
    rollouts: list[Rollout] = field(default_factory=list)


def group_uid(uid: str) -> str:
    """Return the part of a uid that siblings share: verl's v1 trainer dumps `{uid}_{session}_{index}`."""
    match = _V1_UID.fullmatch(uid)
    return match[1] if match else uid


class GroupBuilder:
    """Collects the prompts and the groups of one load."""

    def __init__(self) -> None:
        self._prompts: dict[str, PromptEntry] = {}
        self._groups: dict[tuple[str, ...], GroupDraft] = {}

    def prompt(self, value: Any) -> PromptEntry:
        """Return the entry of a prompt column's value, taken apart once for all rows that have it.

        Raises:
            ValueError: it is no prompt, or an empty one; its text is the reason, to stand in a BadRow.
        """
        key = value if isinstance(value, str) else content_hash(json.dumps(value, default=str))
        entry = self._prompts.get(key)
        if entry is None:
            messages = messages_from_value(value)
            text = question(messages)
            if not text:
                raise ValueError("the prompt is empty")
            entry = PromptEntry(value, value if text == value else text, prompt_hash(messages))
            self._prompts[key] = entry
        return entry

    def group(self, prompt: PromptEntry, run: str, step: str | None, uid: str | None) -> GroupDraft:
        """Return the group of one row; `uid` as the dump has it."""
        uid = None if uid is None else group_uid(uid)
        key = (run, step or "", uid or "", prompt.hash)
        draft = self._groups.get(key)
        if draft is None:
            draft = GroupDraft(content_hash(*key), prompt, run, step, uid)
            self._groups[key] = draft
        return draft

    def finish(self, *, with_empty: bool = False) -> tuple[list[RolloutGroup], list[str]]:
        """Return the groups with rollouts, in the order of their first rows, and notes for the user.

        Those without any come last, where they are asked for.
        """
        filled = [draft for draft in self._groups.values() if draft.rollouts]
        drafts = sorted(filled, key=lambda d: d.rollouts[0].row)
        if with_empty:
            drafts += [draft for draft in self._groups.values() if not draft.rollouts]
        groups = [
            RolloutGroup(
                id=draft.id,
                problem=Problem(
                    draft.prompt.hash,
                    draft.prompt.question,
                    draft.entry_point,
                    draft.task_id,
                    draft.reference,
                    draft.pass_rate,
                ),
                rollouts=tuple(draft.rollouts),
                run=draft.run,
                step=draft.step,
                uid=draft.uid,
            )
            for draft in drafts
        ]
        return groups, _shared_ids(groups)


def _shared_ids(groups: list[RolloutGroup]) -> list[str]:
    named = {(group.problem.task_id, group.problem.prompt_hash) for group in groups}
    shared = [name for name, count in Counter(name for name, _ in named).items() if name and count > 1]
    if not shared:
        return []
    return [
        f"{len(shared)} task ids stand for more than one prompt (such as {min(shared)!r}), "
        "so tests found by id may belong to another prompt"
    ]
