"""Reference solutions of data sets, in the forms that these have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coderm_reward.data.columns import ColumnMap
from coderm_reward.data.dump import load_dump
from coderm_reward.data.reference import reference_code
from coderm_reward.errors import InputError

WHOLE = "def double(x):\n    return 2 * x"
HEADER = 'def double(x):\n    """Two times x."""\n'


@pytest.mark.parametrize(
    ("text", "question", "found"),
    [
        (WHOLE, "Write a function `double(x)`.", True),
        (f"```python\n{WHOLE}\n```", "Write a function `double(x)`.", True),
        ("    return 2 * x\n", HEADER, True),
        ("class Solution:\n    def double(self, x):\n        return 2 * x", "Implement `double(x)`.", True),
        ("Multiply by two.", "Write a function `double(x)`.", False),
        ("def half(x):\n    return x / 2", "Write a function `double(x)`.", False),
        ("[1, 2]", "Write a function `double(x)`.", False),
        ("", "", False),
    ],
)
def test_forms(text: str, question: str, found: bool) -> None:
    code = reference_code(text, question, None)
    assert (code is not None) == found
    if found:
        assert "def double(" in str(code)
        assert "return 2 * x" in str(code)


def write(path: Path, *rows: dict[str, object]) -> list[Path]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [path]


def test_a_dump_may_have_one_and_a_map_may_name_it(tmp_path: Path) -> None:
    row = {"prompt": "Write `double(x)`.", "response": "def double(x):\n    return x"}
    paths = write(tmp_path / "a.jsonl", {**row, "canonical_solution": WHOLE})
    assert [group.problem.reference for group in load_dump(paths).groups] == [WHOLE]
    paths = write(tmp_path / "b.jsonl", {**row, "extra": {"truth": WHOLE}})
    assert [group.problem.reference for group in load_dump(paths).groups] == [None]
    mapped = load_dump(paths, ColumnMap.parse("reference=extra.truth"))
    assert [group.problem.reference for group in mapped.groups] == [WHOLE]


def test_what_is_no_text_is_no_reference_and_no_bad_row(tmp_path: Path) -> None:
    row = {"prompt": "q", "response": "x = 1", "reference": {"inputs": []}}
    dump = load_dump(write(tmp_path / "a.jsonl", row))
    assert (dump.bad_rows, dump.groups[0].problem.reference) == ([], None)


def test_prompts_alone_are_read_where_no_responses_are_needed(tmp_path: Path) -> None:
    paths = write(tmp_path / "a.jsonl", {"question": "one", "task_id": 1}, {"question": "two"})
    dump = load_dump(paths, needs_responses=False)
    assert [(g.problem.question, g.problem.task_id, g.rollouts) for g in dump.groups] == [
        ("one", "1", ()),
        ("two", None, ()),
    ]
    with pytest.raises(InputError, match="response"):
        load_dump(paths)


def test_prompts_beside_dumps_keep_their_rollouts(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    paths = write(tmp_path / "a.jsonl", {"question": "one"})
    paths += write(tmp_path / "b.jsonl", {"prompt": "two", "response": "x = 1"})
    dump = load_dump(paths, needs_responses=False)
    assert [(g.problem.question, len(g.rollouts)) for g in dump.groups] == [("two", 1), ("one", 0)]
