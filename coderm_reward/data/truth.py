"""Ground truth for evaluation: which rollouts of a scored set are really correct."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coderm_reward.data.chat import messages_from_value, prompt_hash
from coderm_reward.data.files import BadRow, expand_inputs, read_rows
from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import InputError

__all__ = ["read_truth"]

_KEYS = ("task_id", "prompt_hash", "prompt")
_FORM = 'a truth row is {"task_id" | "prompt" | "prompt_hash": ..., "passed": [0 or 1 per rollout]}'


def read_truth(path: Path, records: Sequence[GroupRecord]) -> list[npt.NDArray[np.bool_] | None]:
    """Return [R] truth per record, in order; None for the groups that the file says nothing of.

    Rows name a prompt and list `passed` for all its rollouts in input order, over all its groups; or
    each row has one `passed` and they follow the scored rows one by one.

    Raises:
        InputError: a row of another form, a list of the wrong length, or truth for none of the groups.
    """
    rows: list[tuple[str, dict[str, Any]]] = []
    for file in expand_inputs([path]):
        for row in read_rows(file):
            if isinstance(row, BadRow):
                raise InputError(f"{row.where}: {row.reason}; {_FORM}.")
            if "passed" not in row.columns:
                raise InputError(f"{file.label}:{row.line} has no column 'passed'; {_FORM}.")
            rows.append((f"{file.label}:{row.line}", row.columns))
    if rows and not isinstance(rows[0][1]["passed"], list):
        by_row = _one_per_row(path, rows, records)
    else:
        by_row = _by_prompt(rows, records)
    if not by_row:
        raise InputError(f"{path} has truth for none of the scored prompts; is it for another data set?")
    found: list[npt.NDArray[np.bool_] | None] = []
    for record in records:
        known = [by_row.get(rollout.row) for rollout in record.rollouts]
        found.append(None if None in known else np.array(known, dtype=np.bool_))
    return found


def _one_per_row(
    path: Path, rows: Sequence[tuple[str, dict[str, Any]]], records: Sequence[GroupRecord]
) -> dict[int, bool]:
    total = sum(len(record.rollouts) for record in records)
    if len(rows) != total:
        raise InputError(
            f"{path} has {len(rows)} rows for {total} scored rollouts; with one `passed` per row there must "
            "be one row per rollout, in input order."
        )
    return {index: _flag(where, row["passed"]) for index, (where, row) in enumerate(rows)}


def _by_prompt(rows: Sequence[tuple[str, dict[str, Any]]], records: Sequence[GroupRecord]) -> dict[int, bool]:
    """Global row -> truth, for every prompt that a row names."""
    scored: dict[tuple[str, str], list[int]] = {}
    for record in records:
        for key in (("task_id", record.task_id), ("prompt_hash", record.prompt_hash)):
            if key[1] is not None:
                scored.setdefault((key[0], key[1]), []).extend(r.row for r in record.rollouts)
    truth: dict[int, bool] = {}
    for where, row in rows:
        if not isinstance(row["passed"], list) or not any(key in row for key in _KEYS):
            raise InputError(f"{where} names no prompt or lists no `passed`; {_FORM}.")
        try:
            keys = _keys(row)
        except ValueError as error:
            raise InputError(f"{where}: {error}; {_FORM}.") from None
        rollouts = next((scored[key] for key in keys if key in scored), None)
        if rollouts is None:
            continue
        if len(rollouts) != len(row["passed"]):
            raise InputError(
                f"{where} lists {len(row['passed'])} results for a prompt with {len(rollouts)} scored "
                "rollouts; there must be one for each, in input order."
            )
        if truth.keys() & set(rollouts):
            raise InputError(f"{where} is a second row for a prompt; keep one row per prompt.")
        for index, passed in zip(sorted(rollouts), row["passed"], strict=True):
            truth[index] = _flag(where, passed)
    return truth


def _keys(row: dict[str, Any]) -> list[tuple[str, str]]:
    keys = [(name, str(row[name])) for name in ("task_id", "prompt_hash") if row.get(name) is not None]
    if row.get("prompt") is not None:
        keys.append(("prompt_hash", prompt_hash(messages_from_value(row["prompt"]))))
    return keys


def _flag(where: str, value: object) -> bool:
    if value not in (0, 1):
        raise InputError(f"{where}: passed is {value!r}, not 0 or 1; {_FORM}.")
    return bool(value)
