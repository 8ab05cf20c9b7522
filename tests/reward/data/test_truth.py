"""Ground truth finds its rollouts by prompt, or row by row, and says so where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coderm_reward.config import RewardConfig
from coderm_reward.data.chat import messages_from_text, prompt_hash
from coderm_reward.data.records import BudgetRecord, GroupRecord, RolloutRecord
from coderm_reward.data.truth import read_truth
from coderm_reward.errors import InputError
from coderm_reward.types import Difficulty, ExecutionStats, RewardOutput

REWARD = RewardOutput(*[0.0] * len(RewardOutput.__struct_fields__))


def record(prompt: str, rows: list[int], task_id: str | None = None) -> GroupRecord:
    return GroupRecord(
        group=f"{prompt}-{rows[0]}",
        content="c",
        settings="s",
        config=RewardConfig(),
        run="run",
        step=None,
        uid=None,
        prompt_hash=prompt_hash(messages_from_text(prompt)),
        question=prompt,
        entry_point=None,
        task_id=task_id,
        generator="g",
        tests=(),
        invalid={},
        dropped={},
        budget=BudgetRecord(Difficulty(0.5, 0.5, "constant"), None, 0, ""),
        rollouts=tuple(RolloutRecord(row, "ok", "", 0, "", "", "", REWARD) for row in rows),
        details={},
        stats=ExecutionStats(),
        gen_seconds=0.0,
    )


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


RECORDS = [record("Add two.", [0, 1], "t/0"), record("Sort it.", [2, 3]), record("Add two.", [4], "t/0")]


@pytest.mark.parametrize(
    "key", [{"task_id": "t/0"}, {"prompt": "Add two."}, {"prompt_hash": RECORDS[0].prompt_hash}]
)
def test_a_list_covers_all_groups_of_its_prompt_in_input_order(tmp_path: Path, key: dict[str, str]) -> None:
    truth = read_truth(write(tmp_path / "t.jsonl", [{**key, "passed": [1, 0, 1]}]), RECORDS)
    assert truth[0] is not None
    assert truth[2] is not None
    assert truth[0].tolist() == [True, False]
    assert truth[1] is None
    assert truth[2].tolist() == [True]


def test_one_row_per_rollout(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.jsonl", [{"passed": i % 2} for i in range(5)]), RECORDS)
    assert [t.tolist() for t in truth if t is not None] == [[False, True], [False, True], [False]]
    assert all(t is not None and t.dtype == np.bool_ for t in truth)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"task_id": "t/0", "passed": [1, 0]}], "3 scored"),
        ([{"task_id": "other", "passed": [1]}], "none of the scored prompts"),
        ([{"passed": 1}], "1 rows for 5"),
        ([{"task_id": "t/0"}], "no column 'passed'"),
        ([{"task_id": "t/0", "passed": [1, 0, 2]}], "not 0 or 1"),
        ([{"passed": [1]}], "names no prompt"),
        ([{"prompt": 5, "passed": [1, 0, 1]}], "a truth row is"),
        ([{"task_id": "t/0", "passed": [1, 0, 1]}] * 2, "second row"),
    ],
)
def test_truth_that_does_not_fit(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_truth(write(tmp_path / "t.jsonl", rows), RECORDS)
