"""Reading group records that were written before: of a scored file, or of a training's folder."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from coderm_reward.data.records import GroupRecord, read_records, replaced_records
from coderm_reward.data.sidecar import sidecar_path
from coderm_reward.errors import ConfigError, InputError

__all__ = ["Scored", "Steps", "load_scored", "read_scored", "record_file"]

Scored = Annotated[
    Path,
    typer.Argument(
        help="A scored file, its sidecar of group records, or a training's folder or file of them.",
        show_default=False,
    ),
]
Steps = Annotated[
    str | None,
    typer.Option("--steps", help="Only groups of these training steps: 12, 10-20 or 10-. \\[default: all]"),
]


def record_file(path: Path) -> Path:
    """Return where the group records are that a user means by `path`."""
    if path.is_dir():
        return path / "groups.jsonl"
    return path if path.name.endswith(("groups.jsonl", ".groups.jsonl.part")) else sidecar_path(path)


def read_scored(path: Path, steps: str | None = None) -> Iterator[GroupRecord]:
    """Yield the group records one by one, but those that a later one of their group holds completely.

    Raises:
        InputError: there is no such file, or a line of it is no record.
        ConfigError: `steps` is not of the form that `--steps` takes.
    """
    file = record_file(path)
    replaced = replaced_records(read_records(file))
    yield from _chosen(read_records(file), replaced, steps)


def load_scored(path: Path, steps: str | None = None) -> list[GroupRecord]:
    """Return the group records as a list.

    Raises:
        InputError: as `read_scored`, or there are none.
        ConfigError: as `read_scored`.
    """
    everything = list(read_records(record_file(path)))
    records = list(_chosen(everything, replaced_records(everything), steps))
    if not records:
        of_steps = "" if steps is None else f" of steps {steps}"
        raise InputError(f"{record_file(path)} holds no group records{of_steps}; score some rollouts first.")
    return records


def _chosen(records: Iterable[GroupRecord], replaced: set[int], steps: str | None) -> Iterator[GroupRecord]:
    first, last = _range(steps)
    for position, record in enumerate(records):
        if position not in replaced and (steps is None or first <= _number(record.step) <= last):
            yield record


def _number(step: str | None) -> float:
    try:
        return float(step or "nan")
    except ValueError:
        return math.nan


def _range(steps: str | None) -> tuple[float, float]:
    if steps is None:
        return -math.inf, math.inf
    match = re.fullmatch(r"\s*(\d+)\s*(-?)\s*(\d*)\s*", steps)
    if match is None or (match[3] and (not match[2] or int(match[3]) < int(match[1]))):
        raise ConfigError(f"--steps {steps!r} names no steps; write 12, 10-20 or 10-.")
    first = int(match[1])
    return first, int(match[3]) if match[3] else (math.inf if match[2] else first)
