"""Reader of recorded unit tests: JSON lines (also gzip) or Parquet, one prompt a row.

A row names its prompt by one or several of `prompt_hash`, `task_id` and `prompt` (text or a list of
messages), and holds one or both of

- `responses`: a list of raw model responses,
- `unit_tests`: a list of test sources, each a string or `{"unittest": source}` (the published CodeRM form),

or it is a group record of this project (`version`, `prompt_hash`, `tests`), whose tests are taken as they
are. Rows of the same prompt are put together, in order. These files are ours, so a malformed row is fatal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coderm_reward.data.chat import messages_from_value, prompt_hash, question
from coderm_reward.data.files import BadRow, expand_inputs, read_rows
from coderm_reward.data.records import RECORD_VERSION
from coderm_reward.errors import InputError
from coderm_reward.text import prompt_key
from coderm_reward.types import RecordedSuite, UnitTest

__all__ = ["RecordedRow", "malformed_row", "read_recorded_rows", "read_recorded_tests"]


class RecordedRow(msgspec.Struct, frozen=True):
    """One row of recorded tests, as it stands in its file."""

    where: str
    """`file:line`."""
    keys: tuple[str, ...]
    """What names its prompt: prompt hash, task id, hash of the prompt; at least one of them."""
    prompt_hash: str | None
    task_id: str | None
    question: str
    """Text of the prompt's question; empty if the row does not have it."""
    responses: tuple[str, ...]
    tests: tuple[UnitTest, ...]
    """Ready tests of a group record."""
    columns: dict[str, Any]


def read_recorded_tests(paths: Sequence[Path]) -> dict[str, RecordedSuite]:
    """Return the recorded tests of each prompt under all its keys: prompt hash, task id, prompt text.

    The text key is text.prompt_key of the question; it is left out where two prompts share it.

    Raises:
        InputError: a missing or empty file, or a malformed row (with file and line).
    """
    suites = _Suites()
    for row in read_recorded_rows(paths):
        try:
            suites.add(row)
        except ValueError as error:
            raise malformed_row(row.where, str(error)) from None
    return suites.by_key()


def read_recorded_rows(paths: Sequence[Path]) -> Iterator[RecordedRow]:
    """Yield the rows of all files in order.

    Raises:
        InputError: as read_recorded_tests.
    """
    for file in expand_inputs(paths):
        rows = 0
        bad: BadRow | None = None
        is_record = False
        for row in read_rows(file):
            if bad is not None:
                raise malformed_row(bad.where, bad.reason)
            if isinstance(row, BadRow):
                bad = row
                continue
            rows += 1
            is_record = "version" in row.columns
            where = f"{file.label}:{row.line}"
            try:
                found = _row(where, row.columns)
            except ValueError as error:
                raise malformed_row(where, str(error)) from None
            yield found
        if bad is not None and not is_record:  # the last of the group records may be cut off by a kill
            raise malformed_row(bad.where, bad.reason)
        if not rows:
            raise InputError(f"{file.label} holds no tests; write one JSON object a line, one prompt each.")


def malformed_row(where: str, reason: str) -> InputError:
    """The error for a row that cannot be used, `where` being `file:line`."""
    return InputError(f"{where} cannot be used as tests: {reason}; correct this row or remove it.")


class _Suites:
    """Collects rows; rows that share a prompt hash or a task id belong to one prompt."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._texts: dict[str, _Entry | None] = {}
        self._count = itertools.count()

    def add(self, row: RecordedRow) -> None:
        """Add one row; ValueError says what is wrong with it."""
        text = prompt_key(row.question)
        known = list(dict.fromkeys(self._entries[key] for key in row.keys if key in self._entries))
        entry = known[0] if known else _Entry()
        if text and any(other.text not in ("", text) for other in known):
            raise ValueError("its task_id belongs to a row with another prompt")
        entry.text = entry.text or text
        for other in known[1:]:
            entry.rows += other.rows
            for table in (self._entries, self._texts):
                table.update({key: entry for key, value in table.items() if value is other})
        entry.rows.append((next(self._count), row))
        self._entries.update(dict.fromkeys(row.keys, entry))
        if text:
            self._texts[text] = entry if self._texts.get(text, entry) is entry else None

    def by_key(self) -> dict[str, RecordedSuite]:
        entries = {key: entry for key, entry in self._texts.items() if entry is not None} | self._entries
        suites = {entry: entry.suite() for entry in dict.fromkeys(entries.values())}
        return {key: suites[entry] for key, entry in entries.items()}


class _Entry:
    """What was read for one prompt so far: number, responses and ready tests of each row."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, RecordedRow]] = []
        self.text = ""

    def suite(self) -> RecordedSuite:
        """Put the rows together in their order; a test that several group records hold counts once."""
        rows = [row for _, row in sorted(self.rows, key=lambda numbered: numbered[0])]
        responses = tuple(text for row in rows for text in row.responses)
        tests: dict[str, UnitTest] = {}
        for test in (test for row in rows for test in row.tests):
            tests.setdefault(test.id, test)
        prompted_by = tuple(name for row in rows for name in _prompted_by(row))
        return RecordedSuite(responses, tuple(tests.values()), prompted_by if any(prompted_by) else ())


def _prompted_by(row: RecordedRow) -> Iterator[str]:
    """Yield for each response whose code stood in its prompt, where our own export says so."""
    details, solutions = (row.columns.get(name) or [] for name in ("details", "solutions"))
    for position in range(len(row.responses)):
        try:
            name = solutions[details[position]["solution"]]["id"]
        except (IndexError, KeyError, TypeError):
            name = ""
        yield name if isinstance(name, str) else ""


def _row(where: str, columns: dict[str, Any]) -> RecordedRow:
    """Read one row; ValueError says what is wrong with it."""
    hashed, task_id, prompt = (columns.get(name) for name in ("prompt_hash", "task_id", "prompt"))
    asked = columns["question"] if isinstance(columns.get("question"), str) else ""
    if hashed is not None and (not isinstance(hashed, str) or not hashed):
        raise ValueError(f"prompt_hash must be text, not {hashed!r}")
    if task_id is not None:
        if isinstance(task_id, bool) or not isinstance(task_id, (str, int)) or task_id == "":
            raise ValueError(f"task_id must be text or a whole number, not {task_id!r}")
        task_id = str(task_id)
    hash_of_prompt = None
    if prompt is not None:
        messages = messages_from_value(prompt)
        hash_of_prompt = prompt_hash(messages)
        asked = question(messages) or asked
    keys = tuple(dict.fromkeys(key for key in (hashed, task_id, hash_of_prompt) if key is not None))
    if not keys:
        raise ValueError("it needs prompt_hash, task_id or prompt to say which prompt its tests are for")
    responses, tests = _contents(columns)
    return RecordedRow(
        where=where,
        keys=keys,
        prompt_hash=hashed or hash_of_prompt,
        task_id=task_id,
        question=asked,
        responses=tuple(responses),
        tests=tuple(tests),
        columns=columns,
    )


def _contents(row: Mapping[str, Any]) -> tuple[list[str], list[UnitTest]]:
    """Return the model texts and the ready tests of a row."""
    if "tests" in row and "version" in row:
        if row["version"] != RECORD_VERSION:
            raise ValueError(f"its version is {row['version']!r} where version {RECORD_VERSION} is read")
        try:
            return [], msgspec.convert(row["tests"], list[UnitTest])
        except msgspec.ValidationError as error:
            raise ValueError(f"the tests of this group record cannot be read ({error})") from None
    if "responses" not in row and "unit_tests" not in row:
        found = ", ".join(sorted(row)) or "nothing"
        raise ValueError(f"it needs responses or unit_tests, and has {found}")
    texts = _texts(row.get("responses"), "responses")
    return texts + _texts(row.get("unit_tests"), "unit_tests"), []


def _texts(value: object, name: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} must be a list of texts, not a {type(value).__name__}")
    texts = []
    for number, item in enumerate(value, 1):
        text = item.get("unittest") if isinstance(item, Mapping) and name == "unit_tests" else item
        if not isinstance(text, str):
            form = ' or {"unittest": text}' if name == "unit_tests" else ""
            raise ValueError(f"item {number} of {name} is not text{form}")
        texts.append(text)
    return texts
