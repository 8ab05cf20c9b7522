"""Prompts with pass rates: every form that is read, every row that is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from coderm_reward.data.chat import messages_from_value, prompt_hash
from coderm_reward.data.pass_rates import read_prompts
from coderm_reward.errors import InputError


def write(folder: Path, *rows: Any) -> list[Path]:
    path = folder / "prompts.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return [path]


MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add."}]


@pytest.mark.parametrize(
    ("row", "rate", "rollouts"),
    [
        ({"prompt": "Add.", "pass_rate": 0.25}, 0.25, math.inf),
        ({"prompt": "Add.", "pass_rate": 1, "n": 8}, 1.0, 8.0),
        ({"question": "Add.", "passed": [1, 0, 0, 0]}, 0.25, 4.0),
        ({"messages": MESSAGES, "pass_rate": 0, "n": 3}, 0.0, 3.0),
        ({"prompt": MESSAGES, "passed": [True]}, 1.0, 1.0),
    ],
)
def test_forms_of_a_row(tmp_path: Path, row: dict[str, Any], rate: float, rollouts: float) -> None:
    (read,) = read_prompts(write(tmp_path, row), measured=True)
    assert (read.pass_rate, read.rollouts) == (rate, rollouts)
    assert read.problem.question == "Add."
    assert read.problem.prompt_hash == prompt_hash(messages_from_value("Add."))
    assert read.columns == row


def test_a_pass_rate_is_needed_only_where_something_is_measured(tmp_path: Path) -> None:
    paths = write(tmp_path, {"prompt": "Add.", "task_id": 7})
    (row,) = read_prompts(paths, measured=False)
    assert (row.pass_rate, row.problem.task_id) == (None, "7")
    with pytest.raises(InputError, match="neither pass_rate nor passed"):
        read_prompts(paths, measured=True)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"pass_rate": 0.5}, "none of the columns prompt, messages, question"),
        ({"prompt": "", "pass_rate": 0.5}, "the prompt is empty"),
        ({"prompt": 7, "pass_rate": 0.5}, "neither text nor a list"),
        ({"prompt": "x", "pass_rate": 1.5}, "pass_rate is 1.5"),
        ({"prompt": "x", "pass_rate": -0.1}, "pass_rate is -0.1"),
        ({"prompt": "x", "pass_rate": True}, "pass_rate is True"),
        ({"prompt": "x", "pass_rate": "0.5"}, "pass_rate is '0.5'"),
        ('{"prompt": "x", "pass_rate": NaN}', "pass_rate is nan"),
        ({"prompt": "x", "pass_rate": 0.5, "n": 0}, "n is 0"),
        ({"prompt": "x", "pass_rate": 0.5, "n": 2.5}, "n is 2.5"),
        ({"prompt": "x", "passed": [0, 2]}, "something else than 0 and 1"),
        ("not json", "prompts.jsonl:2"),
    ],
)
def test_a_malformed_row_is_one_sentence_with_its_place(tmp_path: Path, row: Any, why: str) -> None:
    paths = write(tmp_path, {"prompt": "fine", "pass_rate": 0.5}, row)
    with pytest.raises(InputError, match=why) as refused:
        read_prompts(paths, measured=True)
    assert "prompts.jsonl:2" in str(refused.value)
    assert "a row is" in str(refused.value)


def test_a_file_of_blank_lines_holds_no_prompts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no prompts"):
        read_prompts(write(tmp_path, "", ""), measured=True)
