"""Rows of a code dataset as rows that verl trains on: prompts, ground truths, splits that share no prompt."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from coderm_reward.data.chat import messages_from_value, prompt_hash, question
from coderm_reward.data.columns import RoleColumns
from coderm_reward.data.entry_points import entry_point_from_prompt, entry_point_from_tests
from coderm_reward.data.ground_truth import read_ground_truth
from coderm_reward.data.json_rows import json_text, without_surrogates
from coderm_reward.data.plain_values import json_inside, plain
from coderm_reward.data.prepare_forms import DatasetForm, lookup, truth_value
from coderm_reward.data.reference import reference_code
from coderm_reward.errors import ConfigError
from coderm_reward.source import FunctionNode, safe_parse
from coderm_reward.types import Message, Problem, TestSuite, content_hash

__all__ = ["PrepareOptions", "Prepared", "PreparedRow", "Preparer", "split_rows"]

TruthReader = Callable[[object, Problem], "TestSuite | None"]

_PLACEHOLDER = re.compile(r"\{(question|starter_code|function)\}")
_CLOSING = (
    "Answer with the complete code in Python, with all the imports that it needs, in one fenced code block "
    "(```python ... ```). It is called by tests: do not read from standard input, and do not print."
)


class PrepareOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How rows are made."""

    data_source: str | None = None
    """For rows that do not say it themselves; None is the name of what they were read from."""
    template: str | None = None
    """Text with {question}, and {starter_code} and {function} where wanted; None is ours."""
    system: str | None = None
    keep_stdin: bool = False
    """Keep problems that ask for a program which reads stdin; no unit test can call one."""
    require_tests: bool = False
    """Keep only rows whose ground truth can be run."""

    def __post_init__(self) -> None:
        if self.template is not None and "{question}" not in self.template:
            raise ConfigError("--template has no {question}; put it where the problem's text belongs.")


class PreparedRow(msgspec.Struct, frozen=True):
    """One row for verl, not yet in a split."""

    prompt_hash: str
    messages: tuple[Message, ...]
    data_source: str
    ground_truth: str
    """Text as the dataset has it, anything else as JSON text; empty where there is none."""
    extra: dict[str, str | None]
    """task_id, entry_point, reference."""

    def columns(self, split: str, index: int) -> dict[str, Any]:
        """Return the row as verl's files have it."""
        prompt = [{"role": m.role, "content": m.content} for m in self.messages]
        return {
            "data_source": self.data_source,
            "prompt": prompt,
            "ability": "code",
            "reward_model": {"style": "rule", "ground_truth": self.ground_truth},
            # The prompt once more: verl's own reward managers hand over nothing else that has it.
            "extra_info": {"split": split, "index": index, **self.extra, "prompt": prompt},
        }


class Prepared(msgspec.Struct):
    """What came of the rows."""

    rows: list[PreparedRow]
    dropped: Counter[str]
    """Rows left out, by reason."""
    tests: Counter[str]
    """Kept rows by the form of their ground truth; what cannot be run has `not run: ` in front."""
    rows_in: int = 0


class Preparer:
    """Makes rows one by one; the first row of a prompt is kept, later ones are duplicates.

    Args:
        options: see PrepareOptions.
        tests_of: reads the tests in a ground truth; None where it cannot be run.
    """

    def __init__(self, options: PrepareOptions, tests_of: TruthReader) -> None:
        self._options = options
        self._tests_of = tests_of
        self._seen: set[str] = set()
        self.done = Prepared([], Counter(), Counter())

    def bad_row(self, reason: str) -> None:
        """Count a row that could not be read."""
        self.done.rows_in += 1
        self.done.dropped[f"unreadable: {reason}"] += 1

    def add(self, source: str, form: DatasetForm, roles: RoleColumns, columns: Mapping[str, Any]) -> None:
        """Take one row of a dataset, or count why it is left out."""
        self.done.rows_in += 1
        try:
            row, kind = self._row(source, form, roles, columns)
        except ValueError as error:
            self.done.dropped[str(error)] += 1
            return
        self._seen.add(row.prompt_hash)
        self.done.rows.append(row)
        self.done.tests[kind] += 1

    def _row(
        self, source: str, form: DatasetForm, roles: RoleColumns, columns: Mapping[str, Any]
    ) -> tuple[PreparedRow, str]:
        def text(role: str) -> str | None:
            return _text(lookup(columns, roles.columns[role])) if role in roles else None

        given = _prompt(lookup(columns, roles.columns["prompt"]))
        asked = given if isinstance(given, str) else question(given)
        starter, entry_point = text("starter_code"), _name(text("entry_point"))
        if starter and not entry_point:
            entry_point = entry_point_from_prompt(starter)
        value = _plain(truth_value(form, roles, columns))
        problem = Problem("", asked, entry_point)
        truth = read_ground_truth(value, problem)
        if truth.form == "stdin" and not self._options.keep_stdin:
            raise ValueError("asks for a program that reads stdin (--keep-stdin keeps it)")
        suite = self._tests_of(value, problem)
        if suite is None and self._options.require_tests:
            raise ValueError("has no tests that can be run (--require-tests)")
        if entry_point is None and suite is not None:
            entry_point = truth.function or entry_point_from_tests(suite.tests)
        entry_point = entry_point or entry_point_from_prompt(asked)
        raw = _first_text(lookup(columns, roles.columns["reference"])) if "reference" in roles else None
        reference = reference_code(raw, starter or asked, entry_point) if raw else None
        messages = self._messages(given, starter, entry_point, reference)
        identity = prompt_hash(messages)
        if identity in self._seen:
            raise ValueError("has the prompt of an earlier row")
        row = PreparedRow(
            identity,
            tuple(Message(m.role, without_surrogates(m.content)) for m in messages),
            text("data_source") or self._options.data_source or source,
            ""
            if value is None
            else without_surrogates(value if isinstance(value, str) else json_text(value)),
            {
                "task_id": text("id"),
                "entry_point": entry_point,
                "reference": without_surrogates(reference),
            },
        )
        return row, truth.form if suite is not None else f"not run: {truth.form}"

    def _messages(
        self,
        given: str | tuple[Message, ...],
        starter: str | None,
        entry_point: str | None,
        reference: str | None,
    ) -> tuple[Message, ...]:
        """Return the prompt; a chat stays as it is, behind the system text if it has none of its own."""
        system = self._options.system
        head = (Message("system", system),) if system else ()
        if not isinstance(given, str):
            return given if any(m.role == "system" for m in given) else (*head, *given)
        function = _signature(entry_point, reference) if entry_point else ""
        if self._options.template is None:
            content = _default_prompt(given, starter or "", entry_point, function)
        else:
            values = {"question": given.strip(), "starter_code": starter or "", "function": function}
            content = _PLACEHOLDER.sub(lambda m: values[m[1]], self._options.template)
        return (*head, Message("user", content))


def split_rows(
    rows: Iterable[PreparedRow], test_size: float, seed: int
) -> dict[Literal["train", "test"], list[PreparedRow]]:
    """Return the rows of each split in their order; `test_size` is a share below 1, else a number of rows.

    The prompts with the smallest hashes, over seed and prompt, are the test split: a prompt stays on its side
    when others join the dataset, as far as the size allows.

    Raises:
        ConfigError: it would take every row, or is negative.
    """
    rows = list(rows)
    count = round(test_size * len(rows)) if test_size < 1 else int(test_size)
    count = max(count, 1) if 0 < test_size < 1 and len(rows) > 1 else count
    if test_size < 0 or (count >= len(rows) and count > 0):
        raise ConfigError(
            f"--test-size {test_size:g} leaves no training row of {len(rows)}; take a smaller one."
        )
    ranked = sorted(rows, key=lambda row: content_hash(str(seed), row.prompt_hash))
    chosen = {row.prompt_hash for row in ranked[:count]}
    return {
        "train": [row for row in rows if row.prompt_hash not in chosen],
        "test": [row for row in rows if row.prompt_hash in chosen],
    }


def _prompt(value: Any) -> str | tuple[Message, ...]:
    """Return a row's question, or its messages where it has a chat.

    Raises:
        ValueError: there is none; its text is the reason why the row is left out.
    """
    value = _plain(value)
    if isinstance(value, str) and value.strip():
        inside = json_inside(value) if '"role"' in value else None
        if not isinstance(inside, list):
            return value
        value = inside
    if isinstance(value, list) and value:
        messages = messages_from_value(value)
        if question(messages):
            return messages
    if isinstance(value, (int, float, dict)):
        raise ValueError("has a prompt that is neither text nor messages")
    raise ValueError("has no prompt")


def _plain(value: Any) -> Any:
    try:
        return plain(value)
    except (ValueError, RecursionError):
        return None


def _default_prompt(asked: str, starter: str, entry_point: str | None, function: str) -> str:
    asked = asked.strip("\n").rstrip()
    tree = safe_parse(asked) or safe_parse(f"{asked}\n    pass")
    if tree is not None and any(isinstance(node, (*FunctionNode, ast.ClassDef)) for node in tree.body):
        asked = f"Complete this Python code:\n\n```python\n{asked}\n```"
    parts = [asked]
    if starter.strip():
        parts.append(f"Start from this code:\n\n```python\n{starter.strip()}\n```")
    elif entry_point and entry_point_from_prompt(asked) != entry_point:
        parts.append(f"Write the function `{function}`.")
    return "\n\n".join([*parts, _CLOSING])


def _signature(name: str, reference: str | None) -> str:
    """Return the function's name with its parameters, as far as a right solution tells them."""
    tree = safe_parse(reference) if reference else None
    for node in tree.body if tree else []:
        if isinstance(node, FunctionNode) and node.name == name:
            return f"{name}({ast.unparse(node.args)})"
    return f"{name}(...)"


def _name(text: str | None) -> str | None:
    name = (text or "").strip().removesuffix("()").rpartition(".")[2]
    return name if name.isidentifier() else None


def _text(value: Any) -> str | None:
    value = _plain(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(int(value) if isinstance(value, float) and value.is_integer() else value)
    return without_surrogates(value) if isinstance(value, str) and value.strip() else None


def _first_text(value: Any) -> str | None:
    """Return a solution, or the first of a list of them, also as JSON text."""
    value = _plain(value)
    if isinstance(value, str):
        inside = json_inside(value)
        value = inside if isinstance(inside, list) else value
    if isinstance(value, dict):  # CodeContests: lists side by side
        value = value.get("solution")
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, str) and item.strip()), None)
    return value if isinstance(value, str) and value.strip() else None
