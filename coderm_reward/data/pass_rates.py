"""Prompts with measured pass rates: what a difficulty probe is trained and evaluated on.

One prompt a row, JSON lines (also gzip) or Parquet:

- `prompt` (or `messages`, `question`): text, chat-template text or a list of messages;
- `pass_rate` in [0, 1], with `n`, the number of rollouts behind it, where that is known; or `passed`, a list
  of 0 and 1 for each rollout;
- `task_id`, where there is one.

Or they are counted from group records of scored rollouts (data.records).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from coderm_reward.data.chat import messages_from_value, prompt_hash, question
from coderm_reward.data.files import BadRow, expand_inputs, read_rows
from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import InputError
from coderm_reward.types import Problem

__all__ = ["PromptRow", "count_pass_rates", "read_prompts"]

_PROMPTS = ("prompt", "messages", "question")
_FORM = '{"prompt": text or messages, "pass_rate": 0 to 1, "n": rollouts}'


class PromptRow(msgspec.Struct, frozen=True):
    """One prompt; `columns` is the row as it was read."""

    problem: Problem
    pass_rate: float | None
    rollouts: float
    """How many rollouts the pass rate was measured on; infinity where the row does not say."""
    columns: dict[str, Any]


def read_prompts(paths: Sequence[Path], *, measured: bool) -> list[PromptRow]:
    """Return the prompts of some files, in order; with `measured` every row must have a pass rate.

    Raises:
        InputError: a missing or empty file, or a malformed row (with file and line).
    """
    rows = []
    for file in expand_inputs(paths):
        for row in read_rows(file):
            if isinstance(row, BadRow):
                raise InputError(f"{row.where}: {row.reason}; a row is {_FORM}.")
            try:
                rows.append(_prompt_row(row.columns, measured))
            except ValueError as error:
                raise InputError(f"{file.label}:{row.line}: {error}; a row is {_FORM}.") from None
    if not rows:
        raise InputError(f"{', '.join(map(str, paths))} holds no prompts; a row is {_FORM}.")
    return rows


def count_pass_rates(
    records: Sequence[GroupRecord], truths: Sequence[npt.NDArray[np.bool_] | None] | None = None
) -> list[PromptRow]:
    """Return the pass rate of each prompt over all its recorded groups, in the order of its first group.

    With the truth a rollout passes if it is correct, and groups without truth are left out. Without, it
    passes if its reward says so (`acc`), and rollouts with the neutral reward are left out: no evidence is no
    pass rate.
    """
    counts: dict[str, tuple[GroupRecord, int, int]] = {}
    for record, truth in zip(records, truths or [None] * len(records), strict=True):
        if truths is not None:
            passed = [] if truth is None else [bool(right) for right in truth]
        else:
            passed = [r.reward.acc == 1.0 for r in record.rollouts if r.reward.neutral == 0.0]
        if passed:
            first, right, total = counts.get(record.prompt_hash, (record, 0, 0))
            counts[record.prompt_hash] = (first, right + sum(passed), total + len(passed))
    rows = []
    for record, right, total in counts.values():
        named = {} if record.task_id is None else {"task_id": record.task_id}
        columns = {**named, "prompt": record.question, "pass_rate": right / total, "n": total}
        problem = Problem(record.prompt_hash, record.question, record.entry_point, record.task_id)
        rows.append(PromptRow(problem, right / total, float(total), columns))
    return rows


def _prompt_row(columns: dict[str, Any], measured: bool) -> PromptRow:
    value = next((columns[name] for name in _PROMPTS if columns.get(name) is not None), None)
    if value is None:
        raise ValueError(f"it has none of the columns {', '.join(_PROMPTS)}")
    messages = messages_from_value(value)
    text = question(messages)
    if not text:
        raise ValueError("the prompt is empty")
    task_id = columns.get("task_id")
    problem = Problem(prompt_hash(messages), text, task_id=None if task_id is None else str(task_id))
    rate, rollouts = _measured(columns)
    if rate is None and measured:
        raise ValueError("it has neither pass_rate nor passed")
    return PromptRow(problem, rate, rollouts, columns)


def _measured(columns: Mapping[str, Any]) -> tuple[float | None, float]:
    rate, passed, n = (columns.get(name) for name in ("pass_rate", "passed", "n"))
    if rate is None and isinstance(passed, list) and passed:
        if any(flag not in (0, 1) for flag in passed):
            raise ValueError("passed holds something else than 0 and 1")
        return sum(passed) / len(passed), float(len(passed))
    if rate is None:
        return None, math.inf
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0.0 <= rate <= 1.0:
        raise ValueError(f"pass_rate is {rate!r} and not a number from 0 to 1")
    if n is None:
        return float(rate), math.inf
    if isinstance(n, bool) or not isinstance(n, (int, float)) or not (1 <= n < math.inf) or n != int(n):
        raise ValueError(f"n is {n!r} and not a number of rollouts")
    return float(rate), float(n)
