"""`--map`, the names known without it, and nested columns."""

from __future__ import annotations

from typing import Any

import pytest

from coderm_reward.data.columns import MISSING, ROLES, ColumnMap
from coderm_reward.errors import ConfigError, InputError

VERL = {"input": "Q", "output": "A", "gts": None, "score": 0.0, "step": 1}


def resolved(row: dict[str, Any], *maps: str) -> dict[str, str]:
    return ColumnMap.parse(*maps).resolve("f.jsonl", [row]).columns


def test_pairs_may_come_in_one_option_or_several() -> None:
    together = ColumnMap.parse("prompt=question, response=completion")
    assert together == ColumnMap.parse("prompt=question", "response=completion")
    assert together.columns == {"prompt": "question", "response": "completion"}


def test_every_role_can_be_mapped() -> None:
    for role in ROLES:
        assert ColumnMap.parse(f"{role}=c").columns == {role: "c"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("promt=q", "did you mean 'prompt'"),
        ("zzz=q", "known: prompt, response, solutions"),
        ("prompt", "role=column"),
        ("prompt=", "role=column"),
        ("prompt=a,prompt=b", "two columns for 'prompt'"),
        ("response=a,solutions=b", "both response and solutions"),
    ],
)
def test_bad_maps_end_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ColumnMap.parse(text)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (VERL, {"prompt": "input", "response": "output", "step": "step"}),
        (
            {**VERL, "uid": "u", "request_id": "r", "prompt": "x", "response": "y"},
            {"prompt": "input", "response": "output", "uid": "uid", "step": "step"},
        ),
        ({"input": "Q", "output": "A"}, {"prompt": "input", "response": "output"}),
        ({"question": "Q", "completion": "A"}, {"prompt": "question", "response": "completion"}),
        (
            {"task_id": 1, "prompt": "Q", "entry_point": "f", "solutions": ["A"]},
            {"prompt": "prompt", "solutions": "solutions", "id": "task_id", "entry_point": "entry_point"},
        ),
        ({"prompt": "Q", "completion": ["A"]}, {"prompt": "prompt", "solutions": "completion"}),
        ({"prompt": "Q", "solutions": "A"}, {"prompt": "prompt", "response": "solutions"}),
        (
            {"prompt": "Q", "solution": "R", "responses": ["A"]},
            {"prompt": "prompt", "solutions": "responses"},
        ),
        ({"prompt": "Q", "responses": None}, {"prompt": "prompt", "solutions": "responses"}),
    ],
)
def test_known_names_are_found(row: dict[str, Any], expected: dict[str, str]) -> None:
    assert resolved(row) == expected


def test_mapped_roles_win_and_the_rest_is_found() -> None:
    row = {"prompt": "no", "text": "Q", "response": "A", "uid": "u"}
    assert resolved(row, "prompt=text") == {"prompt": "text", "response": "response", "uid": "uid"}


def test_a_mapped_column_is_not_taken_for_another_role() -> None:
    row = {"input": "Q", "output": "A", "response": "x"}
    assert resolved(row, "starter_code=response")["response"] == "output"


def test_choice_can_be_shown() -> None:
    columns = ColumnMap().resolve("f", [{**VERL, "uid": "u"}])
    assert columns.sentence() == "read input as prompt, output as response, uid, step"


@pytest.mark.parametrize("column", ["nope", "extra_info.nope", "extra_info.id.deeper", "prompt.x"])
def test_mapped_column_that_is_absent_names_file_column_and_columns(column: str) -> None:
    row = {"prompt": "Q", "response": "A", "extra_info": {"id": 1}}
    with pytest.raises(InputError, match=rf"f\.jsonl.*'{column}'.*prompt, response, extra_info"):
        resolved(row, f"id={column}")


@pytest.mark.parametrize(
    ("row", "role"), [({"text": "Q", "response": "A"}, "prompt"), ({"prompt": "Q", "text": "A"}, "response")]
)
def test_role_that_cannot_be_found_suggests_map(row: dict[str, Any], role: str) -> None:
    with pytest.raises(InputError, match=rf"f\.jsonl.*--map {role}=COLUMN"):
        resolved(row)


def test_column_of_any_looked_at_row_counts() -> None:
    columns = ColumnMap.parse("id=task").resolve("f", [{"prompt": "Q", "response": "A"}, {"task": 1}])
    assert columns.columns["id"] == "task"


def test_nested_columns_are_read_and_replaced_without_changing_the_row() -> None:
    row = {"prompt": "Q", "gen": {"texts": ["A", "B"], "n": 2}}
    columns = ColumnMap.parse("solutions=gen.texts").resolve("f", [row])
    assert columns.get("solutions", row) == ["A", "B"]
    assert columns.replaced("solutions", row, "B") == {"prompt": "Q", "gen": {"texts": "B", "n": 2}}
    assert row["gen"] == {"texts": ["A", "B"], "n": 2}


def test_column_with_a_dot_in_its_own_name_wins() -> None:
    columns = ColumnMap.parse("id=a.b").resolve(
        "f", [{"prompt": "Q", "response": "A", "a.b": 1, "a": {"b": 2}}]
    )
    assert columns.get("id", {"a.b": 1, "a": {"b": 2}}) == 1


def test_null_is_not_missing() -> None:
    columns = ColumnMap().resolve("f", [{"prompt": "Q", "response": "A"}])
    assert columns.get("prompt", {"prompt": None}) is None
    assert columns.get("prompt", {}) is MISSING
    assert columns.get("uid", {"uid": 1}) is MISSING
