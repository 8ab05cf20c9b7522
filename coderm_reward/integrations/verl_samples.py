"""From a row of verl's batch to a Sample. Pure: no verl, torch or Ray is imported, and nothing is changed.

Which fields there are depends on the trainer. The older one and the streaming one hand over every column of
the dataset; the v1 trainer with a colocated reward model only `raw_prompt`. `extra_info` may be one object
for all siblings, so it is read and never written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from coderm_reward.data.chat import messages_from_text, messages_from_value
from coderm_reward.data.columns import COLUMN_NAMES
from coderm_reward.data.grouping import group_uid
from coderm_reward.data.plain_values import plain
from coderm_reward.errors import InputError
from coderm_reward.online.sample import Sample
from coderm_reward.types import Message

__all__ = ["messages_of", "sample_from_fields", "usable"]

_VALIDATION_SPLITS = {"test", "val", "valid", "validation", "dev", "eval"}


def sample_from_fields(
    fields: Mapping[str, Any],
    response: str,
    *,
    prompt_text: str | None = None,
    meta: Mapping[str, Any] | None = None,
    step: str | None = None,
    validation: bool | None = None,
    run: str = "",
) -> Sample:
    """Return the sample of one row.

    Args:
        fields: the row's non-tensor fields.
        response: its response, decoded without special tokens.
        prompt_text: its prompt, decoded, where `fields` has no `raw_prompt`.
        meta: verl's meta_info of the batch.
        step: what to call the step where verl does not say.
        validation: whether it is validation, where verl does not say.

    Raises:
        InputError: there is no prompt.
    """
    meta = meta or {}
    extra = _mapping(fields.get("extra_info"))
    truth = _mapping(fields.get("reward_model")).get("ground_truth")
    uid = _text(fields.get("uid"))
    known_step = _first(fields.get("global_steps"), meta.get("global_steps"))
    return Sample(
        messages=messages_of(fields.get("raw_prompt"), prompt_text, extra),
        response=response,
        uid=None if uid is None else group_uid(uid),
        member=_text(fields.get("session_id")),
        step=step if known_step is None else str(known_step),
        run=run,
        validation=_is_validation(meta, extra, validation),
        ground_truth=usable(truth),
        task_id=_text(_first(*(extra.get(name) for name in COLUMN_NAMES["id"]))),
        entry_point=_text(extra.get("entry_point")),
        reference=_text(_first(*(extra.get(name) for name in COLUMN_NAMES["reference"]))),
        pass_rate=_rate(extra.get("pass_rate")),
    )


def messages_of(raw_prompt: Any, prompt_text: str | None, extra: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the prompt's messages, from the first of: `raw_prompt`, its text, `extra_info`'s question.

    Raises:
        InputError: none of them is there, or usable.
    """
    found: Any = _first(raw_prompt, prompt_text, extra.get("prompt"), extra.get("question"))
    if found is None:
        raise InputError(
            "A row has no prompt: verl hands over raw_prompt with data.return_raw_chat=True, and a plain "
            "reward function needs the prompt in extra_info (`prompt` or `question`)."
        )
    try:
        return (
            messages_from_text(found)
            if isinstance(found, str) and found is prompt_text
            else messages_from_value(plain(found))
        )
    except ValueError as error:
        raise InputError(f"The prompt of a row cannot be used: {error}.") from None


def usable(value: Any) -> Any:
    """The value as plain data; None for what is nothing that a dataset would hold."""
    try:
        return plain(value)
    except ValueError:
        return None


def _is_validation(meta: Mapping[str, Any], extra: Mapping[str, Any], otherwise: bool | None) -> bool:
    if "validate" in meta:
        return bool(meta["validate"])
    split = extra.get("split")
    if isinstance(split, str):
        return split.lower() in _VALIDATION_SPLITS
    return bool(otherwise)


def _mapping(value: Any) -> Mapping[str, Any]:
    """A column that should hold a mapping, which some datasets keep as JSON text."""
    value = usable(value)
    if isinstance(value, str) and value[:1] == "{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def _first(*values: Any) -> Any:
    for value in values:
        if value is None or (isinstance(value, (str, list, tuple, Sequence)) and not len(value)):
            continue
        return value
    return None


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(usable(value))


def _rate(value: Any) -> float | None:
    try:
        rate = float(usable(value))
    except (TypeError, ValueError):
        return None
    return rate if 0.0 <= rate <= 1.0 else None
