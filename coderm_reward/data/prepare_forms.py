"""Which columns of a code dataset hold what: told from the columns, never from the dataset's name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import msgspec

from coderm_reward.data.columns import MISSING, RoleColumns, parse_roles
from coderm_reward.data.plain_values import json_inside
from coderm_reward.errors import InputError

__all__ = ["FORMS", "ROLES", "DatasetForm", "choose_form", "parse_map", "truth_value"]

ROLES = {
    "prompt": "the question: text, or a list of messages",
    "tests": "the ground truth; several columns with + between them",
    "id": "the task's id",
    "entry_point": "name of the function under test",
    "starter_code": "code that the answer starts from",
    "reference": "a right solution, or a list of them",
    "data_source": "where the row comes from",
}


class DatasetForm(msgspec.Struct, frozen=True):
    """A family of datasets: it is taken if all of `needs` are among the columns."""

    name: str
    needs: tuple[str, ...]
    prompt: tuple[str, ...]
    """First one that is there; so with the other roles."""
    tests: tuple[str, ...] = ()
    """All of them that are there, together."""
    id: tuple[str, ...] = ("task_id", "question_id", "problem_id", "id", "name")
    entry_point: tuple[str, ...] = ("entry_point", "fn_name", "function_name")
    starter_code: tuple[str, ...] = ("starter_code",)
    reference: tuple[str, ...] = ()
    data_source: tuple[str, ...] = ("data_source",)
    renamed: dict[str, str] = {}
    """Columns whose part in the ground truth has another name there (see data.ground_truth)."""


FORMS = (
    DatasetForm(
        "verl",
        ("prompt", "reward_model"),
        ("prompt",),
        ("reward_model.ground_truth",),
        id=("extra_info.task_id", "task_id"),
        entry_point=("extra_info.entry_point", "entry_point"),
        starter_code=("extra_info.starter_code", "starter_code"),
        reference=("extra_info.reference", "reference"),
    ),
    DatasetForm(
        "LeetCodeDataset",
        ("problem_description", "test", "entry_point"),
        ("problem_description",),
        ("prompt", "test"),
        reference=("completion",),
        renamed={"prompt": "import_prefix"},
    ),
    DatasetForm(
        "MBPP",
        ("test_list",),
        ("text", "prompt", "question"),
        ("test_imports", "test_setup_code", "test_list"),
        reference=("code", "canonical_solution"),
    ),
    DatasetForm(
        "HumanEval",
        ("entry_point", "test"),
        ("instruct_prompt", "question", "prompt", "complete_prompt"),
        ("test",),
        reference=("canonical_solution",),
    ),
    DatasetForm(
        "HumanEval",
        ("entry_point", "ground_truth_test"),
        ("question", "prompt"),
        ("ground_truth_test",),
        reference=("canonical_solution",),
    ),
    DatasetForm(
        "APPS, TACO",
        ("question", "input_output"),
        ("question",),
        ("input_output",),
        reference=("solutions",),
    ),
    DatasetForm(
        "SYNTHETIC",
        ("prompt", "verification_info"),
        ("prompt",),
        ("verification_info",),
        reference=("gold_standard_solution",),
    ),
    DatasetForm(
        "CodeContests",
        ("description", "public_tests"),
        ("description",),
        ("public_tests", "private_tests", "generated_tests"),
        id=("name", "id"),
    ),
    DatasetForm(
        "LiveCodeBench",
        ("question_content", "public_test_cases"),
        ("question_content",),
        ("private_test_cases", "public_test_cases", "metadata"),
    ),
    DatasetForm(
        "KodCode",
        ("question", "test"),
        ("question",),
        ("test",),
        entry_point=("entry_point", "test_info.0.function_name"),
        reference=("solution",),
    ),
    DatasetForm(
        "AceCode",
        ("question", "test_cases"),
        ("question",),
        ("test_cases",),
        reference=("solution", "canonical_solution"),
    ),
    DatasetForm(
        "DeepCoder",
        ("problem", "tests"),
        ("problem",),
        ("tests", "metadata"),
        reference=("solutions", "solution"),
    ),
)
"""In this order: the first whose needs are met."""

_PROMPT = (
    "question",
    "problem",
    "problem_description",
    "description",
    "instruction",
    "query",
    "prompt",
    "input",
)
_TESTS = (
    "tests",
    "test",
    "test_cases",
    "unit_tests",
    "test_list",
    "assert_case",
    "input_output",
    "ground_truth",
)
_PLAIN = DatasetForm(
    "prompt and tests",
    (),
    _PROMPT,
    reference=("reference", "reference_solution", "canonical_solution", "solution", "code"),
)


def parse_map(texts: Sequence[str]) -> dict[str, str]:
    """Parse `role=column` pairs, given one by one or separated by commas; raises as `parse_roles` does."""
    return parse_roles(texts, ROLES)


def choose_form(
    source: str, rows: Sequence[Mapping[str, Any]], mapped: Mapping[str, str]
) -> tuple[DatasetForm, RoleColumns]:
    """Return the form of a dataset and the column of each role, from its first rows.

    `mapped` wins over what the columns say. The tests' columns are joined by `+`.

    Raises:
        InputError: no column holds the prompt, or a mapped one is in none of the rows.
    """
    there = list(dict.fromkeys(name for row in rows for name in row))
    shown = ", ".join(there) or "none"
    form = next((form for form in FORMS if set(form.needs) <= set(there)), _PLAIN)
    chosen = {}
    for role in ROLES:
        if role in mapped:
            names = mapped[role].split("+")
            absent = [name for name in names if not _in_any(rows, name)]
            if absent:
                raise InputError(
                    f"{source} has no column {absent[0]!r}, the {role} of --map; "
                    f"the columns there are: {shown}."
                )
            chosen[role] = mapped[role]
        elif role == "tests":
            tests = [name for name in form.tests if _in_any(rows, name)]
            if form is _PLAIN:
                tests = [name for name in _TESTS if name in there and name not in mapped.values()][:1]
            if tests:
                chosen[role] = "+".join(tests)
        elif found := _first(getattr(form, role), rows, chosen.values()):
            chosen[role] = found
    if "prompt" not in chosen:
        raise InputError(
            f"{source} has no column known to hold the prompt; name it with --map prompt=COLUMN "
            f"(the columns there are: {shown})."
        )
    return form, RoleColumns(chosen)


def truth_value(form: DatasetForm, roles: RoleColumns, row: Mapping[str, Any]) -> Any:
    """Return what a row's columns of tests hold: the one value, or an object of several; None without any."""
    names = roles.columns["tests"].split("+") if "tests" in roles else []
    found = {name: lookup(row, name) for name in names}
    found = {form.renamed.get(name, name): value for name, value in found.items() if not _is_empty(value)}
    if form.name == "CodeContests":
        return _joined(found.values())
    if len(names) == 1:
        return next(iter(found.values()), None)
    return found or None


def lookup(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column, or of a dotted path with list indices in it; None where there is none."""
    value = RoleColumns({"": column}).get("", row)
    if value is not MISSING:
        return value
    inner: Any = row
    for part in column.split("."):
        if isinstance(inner, str):
            inner = json_inside(inner)
        if isinstance(inner, Mapping):
            inner = inner.get(part)
        elif isinstance(inner, list) and part.isdecimal() and int(part) < len(inner):
            inner = inner[int(part)]
        else:
            return None
    return inner


def _joined(parts: Iterable[Any]) -> dict[str, list[Any]] | None:
    """Put the inputs and outputs of several columns one after another, as verl's prime_code reads them."""
    inputs: list[Any] = []
    outputs: list[Any] = []
    for part in parts:
        part = json_inside(part) if isinstance(part, str) else part
        if isinstance(part, Mapping):
            inputs += part.get("input") or part.get("inputs") or []
            outputs += part.get("output") or part.get("outputs") or []
    return {"inputs": inputs, "outputs": outputs} if inputs else None


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def _in_any(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    return any(column in row or lookup(row, column) is not None for row in rows)


def _first(names: Iterable[str], rows: Sequence[Mapping[str, Any]], taken: Iterable[str]) -> str | None:
    taken = set(taken)
    return next((name for name in names if name not in taken and _in_any(rows, name)), None)
