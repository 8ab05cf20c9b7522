"""Datasets of every form as rows for verl: prompts, ground truths, what is left out and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.data.chat import question
from coderm_reward.data.entry_points import entry_point_from_prompt
from coderm_reward.data.prepare import PreparedRow, PrepareOptions, Preparer, split_rows
from coderm_reward.data.prepare_forms import FORMS, choose_form, parse_map
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.online.truth import truth_suite
from coderm_reward.types import Message, Problem

ADD = "def add(a, b):\n    return a + b\n"
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
CALLS = {"inputs": [[1, 2], [0, 0]], "outputs": [3, 0], "fn_name": "add"}
STARTER = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "mbpp": (
        "MBPP",
        {
            "task_id": 2,
            "text": "Write a function to add two numbers.",
            "code": ADD.replace("\n", "\r\n"),
            "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
            "test_setup_code": "",
            "challenge_test_list": [],
        },
    ),
    "mbpp sanitized": (
        "MBPP",
        {
            "source_file": "x",
            "task_id": 2,
            "prompt": "Write a function to add two numbers.",
            "code": ADD,
            "test_imports": ["import math"],
            "test_list": ["assert math.isclose(add(1, 2), 3)"],
        },
    ),
    "humaneval": (
        "HumanEval",
        {
            "task_id": "HumanEval/0",
            "prompt": 'def add(a: int, b: int) -> int:\n    """Add a and b."""\n',
            "canonical_solution": "    return a + b\n",
            "test": CHECK,
            "entry_point": "add",
        },
    ),
    "kodcode": (
        "KodCode",
        {
            "question_id": "Prefill_1",
            "question": "Write a function that adds two numbers.",
            "solution": ADD,
            "test": "from solution import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
            "test_info": [{"function_name": "add", "parameter_list": "(a, b)"}],
            "style": "instruct",
        },
    ),
    "apps": (
        "APPS, TACO",
        {
            "problem_id": 7,
            "question": "Add two numbers.",
            "solutions": json.dumps([ADD]),
            "input_output": json.dumps({**CALLS, "outputs": [[3], [0]]}),
            "starter_code": "def add(a, b):\n\t",
        },
    ),
    "leetcode": (
        "LeetCodeDataset",
        {
            "task_id": "add-two",
            "problem_description": "Add two numbers.",
            "starter_code": STARTER,
            "prompt": "from typing import *\nimport math\n",
            "completion": "class Solution:\n    def add(self, a, b):\n        return a + b\n",
            "entry_point": "Solution().add",
            "test": "def check(candidate):\n    assert candidate(a=1, b=2) == math.floor(3)\n",
            "query": "...",
            "response": "...",
            "input_output": [{"input": "a = 1, b = 2", "output": "3"}],
        },
    ),
    "synthetic": (
        "SYNTHETIC",
        {
            "problem_id": "s_1",
            "prompt": "Solve it in Python: write a function `add` that adds.",
            "gold_standard_solution": ADD,
            "verification_info": json.dumps(
                {
                    "language": "python",
                    "test_cases": [
                        {"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]},
                        {"type": "function_call", "fn_name": "add", "input": [0, 0], "output": [0]},
                    ],
                }
            ),
        },
    ),
    "livecodebench": (
        "LiveCodeBench",
        {
            "question_content": "Add two numbers.",
            "question_id": "2727",
            "starter_code": STARTER,
            "public_test_cases": json.dumps([{"input": "1\n2", "output": "3", "testtype": "functional"}]),
            "private_test_cases": "eJxrYJmaxwABLZJA",
            "metadata": json.dumps({"func_name": "add"}),
        },
    ),
    "acecode": (
        "AceCode",
        {
            "id": "ace_1",
            "question": "Write a function named add.",
            "test_cases": np.array(["assert add(1, 2) == 3"], dtype=object),
        },
    ),
    "deepcoder": (
        "DeepCoder",
        {
            "problem": "Add two numbers.",
            "solutions": [ADD],
            "tests": json.dumps([{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": 3}]),
        },
    ),
    "verl": (
        "verl",
        {
            "data_source": "other",
            "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "Write `add(a, b)`."}],
            "ability": "code",
            "reward_model": {"style": "rule", "ground_truth": json.dumps(CALLS)},
            "extra_info": {"index": 3, "entry_point": "add", "task_id": "v1", "reference": ADD},
        },
    ),
    "plain": (
        "prompt and tests",
        {"question": "Write a function add(a, b).", "tests": "assert add(1, 2) == 3", "solution": ADD},
    ),
}
WITHOUT_REFERENCE = {"acecode", "livecodebench"}
STDIN = {
    "name": "1_A",
    "description": "Read two numbers, print their sum.",
    "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
    "private_tests": {"input": ["0 0\n"], "output": ["0\n"]},
    "generated_tests": {"input": [], "output": []},
    "solutions": {"language": [3], "solution": ["print(sum(map(int, input().split())))"]},
}


def prepared(*rows: Mapping[str, Any], maps: tuple[str, ...] = (), **options: Any) -> Preparer:
    preparer = Preparer(PrepareOptions(**options), truth_suite)
    form, roles = choose_form("file", rows, parse_map(maps))
    for row in rows:
        preparer.add("file", form, roles, row)
    return preparer


def user_text(row: PreparedRow) -> str:
    return question(row.messages)


@pytest.mark.parametrize("name", ROWS)
def test_every_form_gives_a_prompt_and_tests_that_can_be_run(name: str) -> None:
    form, columns = ROWS[name]
    assert choose_form("file", [columns], {})[0].name == form
    done = prepared(columns).done
    assert (done.dropped, done.rows_in, len(done.rows)) == ({}, 1, 1)
    assert not any(kind.startswith("not run") for kind in done.tests)
    row = done.rows[0]
    assert row.extra["entry_point"] == "add"
    assert ("return a + b" in (row.extra["reference"] or "")) is (name not in WITHOUT_REFERENCE)
    assert entry_point_from_prompt(user_text(row)) == "add"  # the prompt alone says it as well
    problem = Problem(row.prompt_hash, user_text(row), row.extra["entry_point"])
    assert truth_suite(row.ground_truth, problem) is not None
    assert row.data_source == ("other" if name == "verl" else "file")


def test_a_prompt_says_what_the_question_leaves_open() -> None:
    row = prepared(ROWS["mbpp"][1]).done.rows[0]
    assert user_text(row).startswith(
        "Write a function to add two numbers.\n\nWrite the function `add(a, b)`.\n\n"
    )
    row = prepared(ROWS["humaneval"][1]).done.rows[0]
    assert user_text(row).startswith("Complete this Python code:\n\n```python\ndef add(")
    assert "Write the function" not in user_text(row)
    row = prepared(ROWS["leetcode"][1]).done.rows[0]
    assert "Start from this code:\n\n```python\nclass Solution:" in user_text(row)


def test_a_template_and_a_system_text_replace_ours() -> None:
    template = 'Q: {question}\nF: {function}\nS: {starter_code}\nJSON: {"a": {x}}'
    row = prepared(ROWS["mbpp"][1], template=template, system="Be brief.").done.rows[0]
    assert row.messages == (
        Message("system", "Be brief."),
        Message("user", 'Q: Write a function to add two numbers.\nF: add(a, b)\nS: \nJSON: {"a": {x}}'),
    )
    with pytest.raises(ConfigError, match="question"):
        PrepareOptions(template="no place for it")


def test_braces_of_a_question_are_text() -> None:
    row = prepared(
        {"question": "Add {starter_code} {function}.", "tests": ""}, template="{question}!"
    ).done.rows[0]
    assert user_text(row) == "Add {starter_code} {function}.!"


def test_chats_stay_as_they_are() -> None:
    chat = ROWS["verl"][1]
    row = prepared(chat, system="Be brief.").done.rows[0]
    assert [m.role for m in row.messages] == ["system", "user"]
    assert row.messages[0].content == "s"
    text = {"prompt": json.dumps([{"role": "user", "content": "Write `add`."}])}
    row = prepared(text, system="Be brief.").done.rows[0]
    assert row.messages == (Message("system", "Be brief."), Message("user", "Write `add`."))


def test_rows_that_cannot_be_used_are_counted_by_reason() -> None:
    good = ROWS["plain"][1]
    rows = [good, {**good, "question": "  "}, {**good, "question": None}, {**good, "question": 3}, good]
    rows += [{**good, "question": [{"role": "robot", "content": "x"}]}]
    preparer = prepared(*rows)
    preparer.bad_row("not valid JSON")
    done = preparer.done
    assert (done.rows_in, len(done.rows)) == (7, 1)
    assert done.dropped == {
        "has no prompt": 2,
        "has a prompt that is neither text nor messages": 1,
        "has the prompt of an earlier row": 1,
        "message 1 of the prompt has no role such as user or assistant": 1,
        "unreadable: not valid JSON": 1,
    }


def test_prompts_that_differ_in_white_space_or_system_text_are_one() -> None:
    rows = [{"question": "Write `add`."}, {"question": "Write `add`.\n"}, {"question": "Write `sub`."}]
    assert len(prepared(*rows).done.rows) == 2
    chats = [[{"role": "system", "content": s}, {"role": "user", "content": "Write `add`."}] for s in "ab"]
    assert len(prepared(*({"prompt": chat} for chat in chats)).done.rows) == 1


def test_programs_that_read_stdin_are_left_out_unless_asked_for() -> None:
    done = prepared(STDIN).done
    assert list(done.dropped) == ["asks for a program that reads stdin (--keep-stdin keeps it)"]
    done = prepared(STDIN, keep_stdin=True).done
    assert json.loads(done.rows[0].ground_truth) == {"inputs": ["1 2\n", "0 0\n"], "outputs": ["3\n", "0\n"]}
    assert done.tests == {"not run: stdin": 1}


def test_rows_without_tests_are_kept_unless_tests_are_required() -> None:
    row = {"question": "Write a function add(a, b).", "tests": "42"}
    assert prepared(row).done.tests == {"not run: text": 1}
    assert list(prepared(row, require_tests=True).done.dropped) == [
        "has no tests that can be run (--require-tests)"
    ]


def test_a_map_wins_and_names_what_is_missing() -> None:
    row = {
        "question": "no",
        "task": "Write a function add(a, b).",
        "meta": {"checks": "assert add(1, 2) == 3"},
    }
    done = prepared(row, maps=("prompt=task", "tests=meta.checks")).done
    assert user_text(done.rows[0]).startswith("Write a function add(a, b).")
    assert done.tests == {"asserts": 1}
    both = {"q": "Write `add`.", "setup_code": "x = 1", "test_list": ["assert add(x) == 1"]}
    assert prepared(both, maps=("prompt=q,tests=setup_code+test_list",)).done.tests == {"asserts": 1}
    with pytest.raises(InputError, match="no column 'other'"):
        prepared(row, maps=("prompt=other",))
    with pytest.raises(InputError, match="--map prompt=COLUMN"):
        prepared({"a": 1})
    for text in ("prompt", "promt=a", "prompt=a,prompt=b"):
        with pytest.raises(ConfigError):
            parse_map([text])


def test_forms_need_columns_that_another_form_does_not_hide() -> None:
    for number, form in enumerate(FORMS):
        assert not any(set(earlier.needs) <= set(form.needs) for earlier in FORMS[:number]), form.name


def rows_of(prompts: list[str]) -> list[PreparedRow]:
    return [PreparedRow(p, (Message("user", p),), "s", "", {}) for p in dict.fromkeys(prompts)]


@given(st.lists(st.text(), min_size=2), st.integers(), st.floats(0, 0.9))
def test_no_prompt_is_in_both_splits_and_none_is_lost(prompts: list[str], seed: int, size: float) -> None:
    rows = rows_of(prompts)
    if len(rows) < 2:
        return
    splits = split_rows(rows, size if round(size * len(rows)) < len(rows) else 0.5, seed)
    train, test = ({row.prompt_hash for row in splits[name]} for name in ("train", "test"))
    assert not train & test
    assert train | test == {row.prompt_hash for row in rows}
    assert bool(test) is (size > 0)
    assert splits == split_rows(rows, size if round(size * len(rows)) < len(rows) else 0.5, seed)


def test_a_prompt_keeps_its_side_when_others_join() -> None:
    few, many = rows_of([str(i) for i in range(100)]), rows_of([str(i) for i in range(200)])
    before, after = ({row.prompt_hash for row in split_rows(rows, 0.1, 1)["test"]} for rows in (few, many))
    assert len(before) == 10
    assert after & {row.prompt_hash for row in few} <= before | after
    assert len(after & before) >= 5
    assert before != {row.prompt_hash for row in split_rows(few, 0.1, 2)["test"]}
    with pytest.raises(ConfigError, match="--test-size 100"):
        split_rows(few, 100, 0)


def test_odd_values_neither_raise_nor_reach_a_file(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "lone \ud800 surrogate", "tests": "assert f() == '\ud800'", "task_id": 1.0},
        {"question": "b", "tests": {1, 2}, "task_id": float("nan")},
        {"question": "c", "tests": {"a": float("nan")}, "entry_point": 3},
    ]
    done = prepared(*rows).done
    assert len(done.rows) == 3
    for row in done.rows:
        json.dumps(row.columns("train", 0)).encode("utf-8")
    assert done.rows[0].extra["task_id"] == "1"
