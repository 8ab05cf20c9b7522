"""Reading recorded unit tests: the forms of rows, the keys, and what is wrong with bad files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from coderm_reward.data.chat import messages_from_text, prompt_hash
from coderm_reward.data.recorded_tests import read_recorded_tests
from coderm_reward.errors import InputError
from coderm_reward.types import RecordedSuite, UnitTest

TEST = {
    "id": "t1",
    "source": "import unittest\n",
    "class_name": "TestF",
    "methods": ["test_a"],
    "response": 3,
    "copies": 2,
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> dict[str, RecordedSuite]:
    return read_recorded_tests([path])


def test_responses_by_task_id(tmp_path: Path) -> None:
    found = read(
        write(
            tmp_path / "t.jsonl", {"task_id": "a/1", "responses": ["x", "y"]}, {"task_id": 7, "responses": []}
        )
    )
    assert found == {"a/1": RecordedSuite(("x", "y")), "7": RecordedSuite()}


def test_published_form_gives_its_texts(tmp_path: Path) -> None:
    row = {"task_id": "a", "unit_tests": ["x", {"unittest": "y", "FAR": 0.1}]}
    assert read(write(tmp_path / "t.jsonl", row))["a"].responses == ("x", "y")


def test_prompt_gives_hash_and_text_keys(tmp_path: Path) -> None:
    found = read(write(tmp_path / "t.jsonl", {"prompt": "Add  two\nnumbers. ", "responses": ["x"]}))
    assert set(found) == {prompt_hash(messages_from_text("Add  two\nnumbers.")), "Add two numbers."}


def test_prompt_as_messages_equals_its_text(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add."}]
    rows = [{"prompt": chat, "responses": ["x"]}, {"prompt": "Add.", "responses": ["y"]}]
    assert read(write(tmp_path / "t.jsonl", *rows))["Add."].responses == ("x", "y")


def test_text_shared_by_two_prompts_is_no_key(tmp_path: Path) -> None:
    def chat(first: str) -> list[dict[str, str]]:
        turns = [("user", first), ("assistant", "Yes."), ("user", "Again.")]
        return [{"role": role, "content": content} for role, content in turns]

    rows = [{"prompt": chat("A"), "responses": ["x"]}, {"prompt": chat("B"), "responses": ["y"]}]
    found = read(write(tmp_path / "t.jsonl", *rows))
    assert "Again." not in found
    assert sorted(suite.responses for suite in found.values()) == [("x",), ("y",)]


def test_rows_of_one_prompt_are_put_together(tmp_path: Path) -> None:
    one = write(
        tmp_path / "1.jsonl.txt",
        {"task_id": "a", "responses": ["x"]},
        {"prompt_hash": "h", "responses": ["y"]},
    )
    two = write(tmp_path / "2.jsonl.txt", {"task_id": "a", "prompt_hash": "h", "responses": ["z"]})
    found = read_recorded_tests([one, two])
    assert found["a"] is found["h"]
    assert found["a"].responses == ("x", "y", "z")


def test_group_records_are_ready_tests(tmp_path: Path) -> None:
    record = {
        "version": 1,
        "prompt_hash": "h",
        "task_id": None,
        "question": "Add.",
        "tests": [TEST],
        "rollouts": [],
    }
    found = read(write(tmp_path / "scored.groups.jsonl", record, {**record, "step": "2"}))
    expected = UnitTest("t1", "import unittest\n", "TestF", ("test_a",), response=3, copies=2)
    assert found["h"] == found["Add."] == RecordedSuite(tests=(expected,))


def test_last_record_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "scored.groups.jsonl", {"version": 1, "prompt_hash": "h", "tests": [TEST]})
    path.write_text(path.read_text() + '{"version": 1, "prompt_')
    assert set(read(path)) == {"h"}


def test_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"task_id": "a", "responses": ["x"]}\n'))
    assert read(path)["a"].responses == ("x",)


GOOD = '{"task_id": "a", "responses": []}\n'
BAD = {
    "no JSON": (GOOD + "no\n", ":2 cannot be used as tests: not valid JSON"),
    "truncated": (GOOD + '{"task_id": "b", "resp', ":2 cannot be used as tests: the JSON ends early"),
    "no object": ("[1]\n", "an object with named columns is needed"),
    "no key": ('{"responses": []}\n', "it needs prompt_hash, task_id or prompt"),
    "no tests": (
        '{"task_id": "a", "other": 1}\n',
        "it needs responses or unit_tests, and has other, task_id",
    ),
    "responses no list": (
        '{"task_id": "a", "responses": "x"}\n',
        "responses must be a list of texts, not a str",
    ),
    "response no text": ('{"task_id": "a", "responses": ["x", 1]}\n', "item 2 of responses is not text"),
    "unit test no text": (
        '{"task_id": "a", "unit_tests": [{"code": "x"}]}\n',
        'item 1 of unit_tests is not text or {"unittest": text}',
    ),
    "task id no text": ('{"task_id": [1], "responses": []}\n', "task_id must be text or a whole number"),
    "hash no text": ('{"prompt_hash": 1, "responses": []}\n', "prompt_hash must be text"),
    "prompt no text": (
        '{"prompt": 1, "responses": []}\n',
        "the prompt is neither text nor a list of messages",
    ),
    "other version": (
        '{"version": 2, "prompt_hash": "h", "tests": []}\n',
        "its version is 2 where version 1 is read",
    ),
    "bad record": (
        '{"version": 1, "prompt_hash": "h", "tests": [{"id": 1}]}\n',
        "the tests of this group record cannot be read",
    ),
    "blank": ("\n\n", "holds no tests; write one JSON object a line"),
    "empty": ("", "is empty"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_bad_file_says_what_and_where(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.jsonl"):
        read(tmp_path / "no.jsonl")
