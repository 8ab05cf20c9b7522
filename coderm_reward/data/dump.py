"""A rollout dump in memory: one row per rollout, gathered into groups of siblings.

Counting is in rollouts: `rows_in == len(rows) + len(bad_rows)`, a row that cannot be used as a whole
counting once and a list of N responses N times.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa

from coderm_reward.data import fields
from coderm_reward.data.columns import ColumnMap, RoleColumns
from coderm_reward.data.entry_points import entry_point_from_prompt
from coderm_reward.data.files import (
    BadRow,
    InputFile,
    RawRow,
    expand_inputs,
    list_directory,
    parquet_types,
    read_rows,
)
from coderm_reward.data.grouping import GroupBuilder
from coderm_reward.data.reference import reference_code
from coderm_reward.errors import BadRowError, InputError
from coderm_reward.types import Rollout, RolloutGroup

__all__ = ["Dump", "InputRow", "load_dump"]

PEEK_ROWS = 1000
"""Readable rows of a file that are looked at to choose its columns."""

_PROGRESS_ROWS = 1000


class InputRow(msgspec.Struct, frozen=True):
    """One rollout's row: where it came from and its columns, to be written out again."""

    index: int
    """Global row number from 0, in input order: the rollout's `Rollout.row`."""
    file: str
    line: int
    position: int | None
    """Index of the response within a row that holds a list of them, else None."""
    columns: dict[str, Any]
    """The input's columns; a list of responses is replaced by this rollout's element."""
    roles: RoleColumns
    group: str
    """RolloutGroup.id."""
    prompt_hash: str


@dataclass(frozen=True)
class Dump:
    """Everything read from the inputs."""

    rows: list[InputRow]
    groups: list[RolloutGroup]
    """In the order of their first rows."""
    bad_rows: list[BadRow]
    rows_in: int
    """Rollouts that the inputs hold, good or bad."""
    column_types: dict[str, pa.DataType]
    """Arrow types of columns that came from Parquet."""
    reading: tuple[str, ...]
    """The choice of columns, to be shown: `read input as prompt, output as response` (one per choice)."""
    notes: tuple[str, ...] = ()
    """What the user should know besides, one sentence each."""


def load_dump(
    paths: Sequence[Path],
    column_map: ColumnMap | None = None,
    on_bad_row: Literal["skip", "fail"] = "skip",
    *,
    needs_responses: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Dump:
    """Read files and directories into rows and groups; `progress` hears the rows read, now and then.

    A group is (prompt, step, source run), and its uid where the dump has one. Siblings' prompts share one
    string in memory. Without `needs_responses` a file may hold prompts alone: groups without rollouts.

    Raises:
        InputError: a file that cannot be read or holds no row, columns not found, or no usable row at all.
        BadRowError: a malformed row, with `on_bad_row="fail"`.
    """
    loader = _Loader(column_map or ColumnMap(), on_bad_row, progress, needs_responses)
    for file in expand_inputs(paths):
        loader.load(file)
    if not loader.rows and not loader.prompts_alone:
        first = loader.bad_rows[0]
        raise InputError(
            f"None of the {loader.rows_in} rows can be scored: the first is {first.where}, {first.reason}; "
            "check that the input is a rollout dump."
        )
    loader.notes += [
        f"left out {path}: only the {{step}}.jsonl files of that directory are read"
        for directory in map(Path, paths)
        if directory.is_dir()
        for path in list_directory(directory)[1]
    ]
    return loader.finish()


def _starter_entry_point(roles: RoleColumns, columns: Mapping[str, Any]) -> str | None:
    starter = roles.get("starter_code", columns)
    return entry_point_from_prompt(starter) if isinstance(starter, str) else None


class _Loader:
    """The state of one load; everything is appended in input order."""

    def __init__(
        self,
        column_map: ColumnMap,
        on_bad_row: Literal["skip", "fail"],
        progress: Callable[[int], None] | None,
        needs_responses: bool,
    ) -> None:
        self.rows: list[InputRow] = []
        self.bad_rows: list[BadRow] = []
        self.rows_in = 0
        self.notes: list[str] = []
        self._column_map = column_map
        self._fail = on_bad_row == "fail"
        self._progress = progress
        self._needs_responses = needs_responses
        self.prompts_alone = 0
        self._groups = GroupBuilder()
        self._types: dict[str, set[pa.DataType | None]] = {}
        self._reading: dict[str, None] = {}
        self._raw_rows = 0
        self._repaired = 0

    def load(self, file: InputFile) -> None:
        stream = read_rows(file)
        head: list[RawRow | BadRow] = []
        readable: list[dict[str, Any]] = []
        for row in stream:
            head.append(row)
            if isinstance(row, RawRow):
                readable.append(row.columns)
                if len(readable) == PEEK_ROWS:
                    break
        if not head:
            raise InputError(f"{file.label} holds no rows; remove it or write its rows again.")
        roles = RoleColumns({})
        if readable:
            roles = self._column_map.resolve(file.label, readable, needs_response=self._needs_responses)
            self._reading[roles.sentence()] = None
        self._add_types(file, roles, readable)
        del readable
        for row in chain(head, stream):
            self._raw_rows += 1
            if self._progress and self._raw_rows % _PROGRESS_ROWS == 0:
                self._progress(self._raw_rows)
            if isinstance(row, BadRow):
                self._bad(row)
            else:
                self._add(file, roles, row)

    def finish(self) -> Dump:
        groups, notes = self._groups.finish(with_empty=not self._needs_responses)
        if self._repaired:
            notes.append(f"{self._repaired} rows had lone surrogates in their text, replaced by U+FFFD")
        return Dump(
            rows=self.rows,
            groups=groups,
            bad_rows=self.bad_rows,
            rows_in=self.rows_in,
            column_types={
                name: kind for name, kinds in self._types.items() if len(kinds) == 1 for kind in kinds if kind
            },
            reading=tuple(self._reading),
            notes=(*self.notes, *notes),
        )

    def _bad(self, row: BadRow) -> None:
        self.rows_in += row.position is None  # responses of a list were counted with their row
        if self._fail:
            raise BadRowError(f"{row.where}: {row.reason}; mend it, or leave it out with --on-bad-row skip.")
        self.bad_rows.append(row)

    def _add(self, file: InputFile, roles: RoleColumns, raw: RawRow) -> None:
        columns = {sys.intern(name): value for name, value in raw.columns.items()}
        try:
            prompt = self._groups.prompt(fields.required("prompt", roles, columns))
            responses = fields.responses(roles, columns)
            uid, step, task_id, entry_point = (
                fields.scalar(role, roles, columns) for role in ("uid", "step", "id", "entry_point")
            )
            pass_rate = fields.rate("pass_rate", roles, columns)
        except ValueError as error:
            self._bad(BadRow(file.label, raw.line, str(error)))
            return
        self._repaired += raw.repaired
        if roles.columns["prompt"] in columns:
            columns[roles.columns["prompt"]] = prompt.value
        group = self._groups.group(prompt, file.run, step or file.step, uid)
        group.task_id = group.task_id or task_id
        group.entry_point = group.entry_point or entry_point or _starter_entry_point(roles, columns)
        group.pass_rate = pass_rate if group.pass_rate is None else group.pass_rate
        reference = roles.get("reference", columns)
        if isinstance(reference, str) and group.reference is None:
            group.reference = reference_code(reference, prompt.question, group.entry_point)
        self.rows_in += len(responses)
        self.prompts_alone += not responses
        for position, text in responses:
            if not isinstance(text, str):
                reason = f"the response is {fields.kind(text)}, not text"
                self._bad(BadRow(file.label, raw.line, reason, position))
                continue
            group.rollouts.append(Rollout(len(self.rows), text))
            row = InputRow(
                index=len(self.rows),
                file=file.label,
                line=raw.line,
                position=position,
                columns=columns if position is None else roles.replaced("solutions", columns, text),
                roles=roles,
                group=group.id,
                prompt_hash=prompt.hash,
            )
            self.rows.append(row)

    def _add_types(self, file: InputFile, roles: RoleColumns, rows: Sequence[Mapping[str, Any]]) -> None:
        """A column that comes from JSON as well has no known type: its objects may have more fields."""
        types = parquet_types(file)
        if "solutions" in roles:
            types = fields.element_types(types, roles.columns["solutions"])
        for name in dict.fromkeys(chain(types, *rows)):
            self._types.setdefault(name, set()).add(types.get(name))
