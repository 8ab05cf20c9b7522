"""What TRL hands to a reward function, as samples: prompts, completions and columns. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coderm_reward.data.chat import messages_from_value, prompt_hash
from coderm_reward.data.columns import COLUMN_NAMES
from coderm_reward.errors import InputError
from coderm_reward.online.sample import Sample
from coderm_reward.types import Message

__all__ = ["completion_text", "grouped", "samples_from_batch"]

_TRUTHS = ("ground_truth", "tests", "answer")


def samples_from_batch(
    prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any], *, run: str = ""
) -> list[Sample]:
    """Return a sample for each (prompt, completion), not grouped yet.

    Columns are lists with one value for each; others are not ours. A column of the data set that says
    nothing we can use for a row (another type, None) is left out for that row.

    Raises:
        InputError: there are not as many completions as prompts.
    """
    if len(prompts) != len(completions):
        raise InputError(
            f"The reward function got {len(prompts)} prompts and {len(completions)} completions; give one "
            "completion for each prompt."
        )
    usable = {
        name: values
        for name, values in columns.items()
        if isinstance(values, (list, tuple)) and len(values) == len(prompts)
    }
    state = columns.get("trainer_state")
    step = getattr(state, "global_step", None)
    return [
        Sample(
            messages=_messages(prompt),
            response=completion_text(completion),
            member=str(i),
            step=str(step) if isinstance(step, int) else None,
            run=run,
            ground_truth=_first(usable, _TRUTHS, i),
            task_id=_label(_first(usable, COLUMN_NAMES["id"], i)),
            entry_point=_text(_first(usable, ("entry_point",), i)),
            reference=_text(_first(usable, COLUMN_NAMES["reference"], i)),
            pass_rate=_rate(_first(usable, ("pass_rate",), i)),
        )
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
    ]


def grouped(samples: Sequence[Sample], num_generations: int | None) -> list[list[int]]:
    """Return the places of each group's samples: those of one prompt, in order.

    With `num_generations` known, a prompt that a batch holds several times over gives several groups.
    """
    by_prompt: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        by_prompt.setdefault(prompt_hash(sample.messages) + _system(sample.messages), []).append(place)
    size = num_generations or len(samples) or 1
    return [
        places[start : start + size] for places in by_prompt.values() for start in range(0, len(places), size)
    ]


def completion_text(completion: Any) -> str:
    """Return the text of a completion: itself, or what the assistant said last; "" where it said nothing."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Mapping):
        completion = [completion]
    if not isinstance(completion, (list, tuple)):
        return ""
    turns = [turn for turn in completion if isinstance(turn, Mapping)]
    said = [turn for turn in turns if turn.get("role", "assistant") == "assistant"]
    for turn in reversed(said):
        if text := _content(turn.get("content")):
            return text
    return ""


def _messages(prompt: Any) -> tuple[Message, ...]:
    """The messages of a prompt; what is no chat that we know is one user message with all its text."""
    try:
        return messages_from_value(prompt)
    except ValueError:
        turns = prompt if isinstance(prompt, (list, tuple)) else [prompt]
        texts = [_content(turn.get("content") if isinstance(turn, Mapping) else turn) for turn in turns]
        return (Message("user", "\n\n".join(text for text in texts if text)),)


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _system(messages: Iterable[Message]) -> str:
    """What a prompt's identity leaves out and TRL's groups do not."""
    return "\0".join(message.content for message in messages if message.role == "system")


def _first(columns: Mapping[str, Sequence[Any]], names: Sequence[str], place: int) -> Any:
    found = (columns[name][place] for name in names if name in columns)
    return next((value for value in found if value is not None), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _label(value: Any) -> str | None:
    return (
        str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "" else None
    )


def _rate(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and 0 <= value <= 1 else None
