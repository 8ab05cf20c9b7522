"""Rows of verl's batches as samples; nothing of verl is needed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from coderm_reward.errors import InputError
from coderm_reward.integrations.verl_samples import messages_of, sample_from_fields
from coderm_reward.types import Message

PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add two numbers."}]


def test_a_row_of_the_older_trainer() -> None:
    extra = {"split": "train", "index": 0, "task_id": 7, "entry_point": "add", "reference": "def add(): ..."}
    fields = {
        "raw_prompt": np.array(PROMPT, dtype=object),
        "uid": "ab-cd",
        "reward_model": {"ground_truth": np.array(["assert add(1, 2) == 3"], dtype=object)},
        "extra_info": extra,
        "data_source": "mbpp",
    }
    before = copy.deepcopy(extra)
    sample = sample_from_fields(fields, "code", meta={"global_steps": 12, "validate": False}, run="r")
    assert sample.messages == (Message("system", "Be brief."), Message("user", "Add two numbers."))
    assert (sample.uid, sample.step, sample.validation, sample.run) == ("ab-cd", "12", False, "r")
    assert (sample.task_id, sample.entry_point, sample.reference) == ("7", "add", "def add(): ...")
    assert sample.ground_truth == ["assert add(1, 2) == 3"]
    assert extra == before  # siblings may share it


def test_a_row_of_the_streaming_trainer_names_its_step_and_session() -> None:
    fields = {"raw_prompt": PROMPT, "uid": "u", "session_id": 3, "global_steps": 5}
    sample = sample_from_fields(fields, "code")
    assert (sample.uid, sample.member, sample.step) == ("u", "3", "5")


def test_the_session_is_no_part_of_the_uid_of_a_group() -> None:
    assert sample_from_fields({"raw_prompt": PROMPT, "uid": "u-v_3_0"}, "code").uid == "u-v"


def test_a_row_of_a_colocated_reward_model_has_a_prompt_and_nothing_else() -> None:
    sample = sample_from_fields({"raw_prompt": PROMPT}, "code", step="4")
    assert (sample.uid, sample.member, sample.step, sample.validation) == (None, None, "4", False)
    assert sample.ground_truth is None


@pytest.mark.parametrize(
    ("fields", "meta", "otherwise", "expected"),
    [
        ({}, {"validate": True}, None, True),
        ({"extra_info": {"split": "test"}}, {}, None, True),
        ({"extra_info": {"split": "Validation"}}, {}, None, True),
        ({"extra_info": {"split": "train"}}, {}, True, False),
        ({"extra_info": {"split": "test"}}, {"validate": False}, None, False),
        ({}, {}, True, True),
        ({}, {}, None, False),
    ],
)
def test_what_is_validation(fields: Any, meta: Any, otherwise: bool | None, expected: bool) -> None:
    sample = sample_from_fields({"raw_prompt": PROMPT, **fields}, "", meta=meta, validation=otherwise)
    assert sample.validation is expected


def test_a_prompt_is_taken_from_its_text_or_the_dataset_where_it_is_nowhere_else() -> None:
    (message,) = messages_of(None, "Add two numbers.", {})
    assert message == Message("user", "Add two numbers.")
    assert messages_of(None, None, {"question": "Add."}) == (Message("user", "Add."),)
    assert messages_of(None, None, {"prompt": PROMPT})[1].content == "Add two numbers."


@pytest.mark.parametrize(
    "fields",
    [{}, {"raw_prompt": []}, {"raw_prompt": [{"role": "judge", "content": "x"}]}, {"raw_prompt": 5}],
)
def test_a_row_without_a_usable_prompt_is_a_clear_error(fields: Any) -> None:
    with pytest.raises(InputError, match="prompt"):
        sample_from_fields(fields, "code")


def test_columns_kept_as_text_are_read() -> None:
    fields = {
        "raw_prompt": PROMPT,
        "extra_info": '{"entry_point": "add", "pass_rate": "0.25"}',
        "reward_model": '{"ground_truth": "[]"}',
    }
    sample = sample_from_fields(fields, "code")
    assert (sample.entry_point, sample.pass_rate, sample.ground_truth) == ("add", 0.25, "[]")


@pytest.mark.parametrize("odd", [None, 3, "x", float("nan"), [1], {"extra_info": 1}])
def test_odd_columns_are_no_failure(odd: Any) -> None:
    fields = {"raw_prompt": PROMPT, "extra_info": odd, "reward_model": odd, "uid": None}
    assert sample_from_fields(fields, "code").response == "code"
