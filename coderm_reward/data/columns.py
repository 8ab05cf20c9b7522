"""Which column plays which role: the `--map` option and the names known without it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from coderm_reward.errors import ConfigError, InputError

__all__ = ["COLUMN_NAMES", "MISSING", "ROLES", "ColumnMap", "RoleColumns", "parse_roles"]

ROLES = {
    "prompt": "the question: text, chat-template text or a list of messages",
    "response": "one model response",
    "solutions": "a list of model responses",
    "id": "the task's id, by which tests may be found",
    "uid": "the id that siblings share",
    "step": "the training step",
    "entry_point": "name of the function under test",
    "starter_code": "code that the prompt starts from",
    "reference": "a right solution of the data set",
    "pass_rate": "how often the problem was solved, from 0 to 1",
}

_VERL = {"input", "output", "score", "step"}
"""The columns that every dump of either verl trainer has (DESIGN section 9)."""
_PROMPTS = ("prompt", "question", "raw_prompt", "problem", "instruction", "input")
_RESPONSES = ("response", "completion", "output", "responses", "completions", "solutions", "solution")
COLUMN_NAMES = {
    "id": ("task_id", "problem_id", "question_id", "id"),
    "uid": ("uid",),
    "step": ("step",),
    "entry_point": ("entry_point",),
    "starter_code": ("starter_code",),
    "reference": ("reference", "reference_solution", "canonical_solution"),
}
"""Role -> the columns that are taken for it without being named, best first."""


MISSING: Final = object()
"""What a row gives for a column that it does not have (null is something else)."""


class RoleColumns(msgspec.Struct, frozen=True):
    """The columns chosen for one file: role -> column, a dotted path for a nested one."""

    columns: dict[str, str]

    def __contains__(self, role: str) -> bool:
        return role in self.columns

    def get(self, role: str, row: Mapping[str, Any]) -> Any:
        """Return the value that plays this role in a row; MISSING if the row or the map has none."""
        column = self.columns.get(role)
        return MISSING if column is None else _lookup(row, column)

    def replaced(self, role: str, row: Mapping[str, Any], value: Any) -> dict[str, Any]:
        """Return a copy of the row with another value in the column of this role."""
        return _replaced(row, self.columns[role], value)

    def sentence(self) -> str:
        """What to tell the user, as in `read input as prompt, output as response, step`."""
        parts = (c if c == role else f"{c} as {role}" for role, c in self.columns.items())
        return "read " + ", ".join(parts)


def parse_roles(texts: Sequence[str], roles: Iterable[str]) -> dict[str, str]:
    """Parse `role=column` pairs separated by commas, as given to `--map` once or several times.

    Raises:
        ConfigError: an unknown or repeated role, or a pair without `=`.
    """
    known = list(roles)
    columns: dict[str, str] = {}
    for pair in (p.strip() for text in texts for p in text.split(",") if p.strip()):
        role, equals, column = (part.strip() for part in pair.partition("="))
        if not (role and equals and column):
            raise ConfigError(f"--map has {pair!r} where role=column is needed, as in prompt=question.")
        if role not in known:
            close = difflib.get_close_matches(role, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"--map does not know the role {role!r}; {hint}known: {', '.join(known)}.")
        if columns.setdefault(role, column) != column:
            more = " (tests=a+b for two)" if role == "tests" else ""
            raise ConfigError(f"--map names two columns for {role!r}; name one{more}.")
    return columns


class ColumnMap(msgspec.Struct, frozen=True):
    """The user's choice of columns; roles that it leaves out are found by name."""

    columns: dict[str, str] = {}

    @classmethod
    def parse(cls, *texts: str) -> ColumnMap:
        """Parse `role=column` pairs separated by commas, as given to `--map` once or several times.

        Raises:
            ConfigError: an unknown or repeated role, a pair without `=`, or both response and solutions.
        """
        columns = parse_roles(texts, ROLES)
        if "response" in columns and "solutions" in columns:
            raise ConfigError("--map names both response and solutions; name the one that the rows have.")
        return cls(columns)

    def resolve(
        self, file: str, rows: Sequence[Mapping[str, Any]], *, needs_response: bool = True
    ) -> RoleColumns:
        """Choose the columns of a file from its first rows.

        Without a map: `input` and `output` in what looks like a dump of verl, otherwise the first common
        name that is there; a column of lists plays `solutions` instead of `response`. A file without any
        response is a list of prompts, where `needs_response` allows that.

        Raises:
            InputError: a mapped column is in none of the rows, or there is no prompt or no response.
        """
        there = list(dict.fromkeys(name for row in rows for name in row))
        shown = ", ".join(there) or "none"
        chosen: dict[str, str] = {}
        for role, column in self.columns.items():
            if all(_lookup(row, column) is MISSING for row in rows):
                raise InputError(
                    f"{file} has no column {column!r}, the {role} of --map; the columns there are: {shown}."
                )
            chosen[role] = column
        verl = set(there) >= _VERL
        if "prompt" not in chosen:
            prompt = _first(("input", *_PROMPTS) if verl else _PROMPTS, there, chosen)
            if prompt is None:
                raise InputError(
                    f"{file} has no column known to hold the prompt; name it with --map prompt=COLUMN "
                    f"(the columns there are: {shown})."
                )
            chosen["prompt"] = prompt
        if "response" not in chosen and "solutions" not in chosen:
            response = _first(("output", *_RESPONSES) if verl else _RESPONSES, there, chosen)
            if response is None and needs_response:
                raise InputError(
                    f"{file} has no column known to hold the response; name it with --map response=COLUMN "
                    f"or solutions=COLUMN for a list of responses (the columns there are: {shown})."
                )
            if response is not None:
                chosen["solutions" if _holds_lists(rows, response) else "response"] = response
        for role, names in COLUMN_NAMES.items():
            found = _first(names, there, chosen)
            if role not in chosen and found is not None:
                chosen[role] = found
        return RoleColumns({role: chosen[role] for role in ROLES if role in chosen})


def _first(names: Iterable[str], there: Sequence[str], chosen: Mapping[str, str]) -> str | None:
    return next((name for name in names if name in there and name not in chosen.values()), None)


def _holds_lists(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether lists or text come first in this column; by its name where there is neither."""
    for row in rows:
        if isinstance(row.get(column), (list, str)):
            return isinstance(row[column], list)
    return column in ("responses", "completions", "solutions")


def _lookup(row: Mapping[str, Any], column: str) -> Any:
    if column in row:
        return row[column]
    head, dot, rest = column.partition(".")
    inner = row.get(head) if dot else None
    return _lookup(inner, rest) if isinstance(inner, dict) else MISSING


def _replaced(row: Mapping[str, Any], column: str, value: Any) -> dict[str, Any]:
    if column in row:
        return {**row, column: value}
    head, _, rest = column.partition(".")
    return {**row, head: _replaced(row[head], rest, value)}
