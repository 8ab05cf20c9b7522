"""From files to rollouts and groups: nothing lost, siblings together, ids stable."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.data.columns import ColumnMap
from coderm_reward.data.dump import Dump, load_dump
from coderm_reward.data.grouping import group_uid
from coderm_reward.errors import BadRowError, InputError

UUID = "0b0f6c1e-5f0e-4c58-8f57-1d7d0a1d4b11"
OTHER = "9f6c2c3e-1111-4c58-8f57-1d7d0a1d4b22"


def decoded(question: str) -> str:
    return f"system\nYou are a helpful assistant.\nuser\n{question}\nassistant\n"


def v0_train(question: str, answer: str, step: int = 3) -> dict[str, Any]:
    return {
        "input": decoded(question),
        "output": answer,
        "gts": "4",
        "score": 1.0,
        "step": step,
        "acc": True,
        "pred": ["4"],
        "request_id": f"request-{answer}",
    }


def v1_train(question: str, answer: str, uid: str, step: int = 3) -> dict[str, Any]:
    return {"input": decoded(question), "output": answer, "gts": None, "score": 0.5, "step": step, "uid": uid}


def v1_validation(question: str, answer: str, uid: str) -> dict[str, Any]:
    return {**v1_train(question, answer, uid), "gts": ["4"], "reward": 0.5, "acc": 0.0}


def written(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def shape(dump: Dump) -> list[tuple[str, list[str]]]:
    return [(g.problem.question, [r.text for r in g.rollouts]) for g in dump.groups]


def load(path: Path, *maps: str) -> Dump:
    return load_dump([path], ColumnMap.parse(*maps))


def test_v0_train_dump_is_grouped_by_prompt(tmp_path: Path) -> None:
    path = written(tmp_path / "3.jsonl", v0_train("P", "a"), v0_train("Q", "b"), v0_train("P", "c"))
    dump = load(path)
    assert shape(dump) == [("P", ["a", "c"]), ("Q", ["b"])]
    assert dump.reading == ("read input as prompt, output as response, step",)
    assert {(g.step, g.uid, g.run) for g in dump.groups} == {("3", None, str(tmp_path))}
    assert dump.rows[0].columns == v0_train("P", "a")


def test_v1_train_dump_is_grouped_by_the_uid_without_session_and_index(tmp_path: Path) -> None:
    rows = [
        v1_train("P", "a", f"{UUID}_0_0"),
        v1_train("P", "b", f"{UUID}_1_0"),
        v1_train("P", "c", f"{OTHER}_0_0"),
    ]
    dump = load(written(tmp_path / "3.jsonl", *rows))
    assert [(g.uid, len(g.rollouts)) for g in dump.groups] == [(UUID, 2), (OTHER, 1)]
    assert len({g.problem.prompt_hash for g in dump.groups}) == 1


def test_v1_validation_dump_with_plain_uids(tmp_path: Path) -> None:
    rows = [v1_validation("P", "a", UUID), v1_validation("P", "b", UUID), v1_validation("Q", "c", OTHER)]
    dump = load(written(tmp_path / "0.jsonl", *rows))
    assert [g.uid for g in dump.groups] == [UUID, OTHER]
    assert shape(dump) == [("P", ["a", "b"]), ("Q", ["c"])]


@pytest.mark.parametrize(
    ("uid", "shared"),
    [
        (f"{UUID}_0_0", UUID),
        (f"{UUID}_12_3", UUID),
        (UUID, UUID),
        (f"{UUID}_1", f"{UUID}_1"),
        (f"{UUID}_a_1", f"{UUID}_a_1"),
        ("_1_2", "_1_2"),
        ("a_1_2_3", "a_1"),
    ],
)
def test_group_uid(uid: str, shared: str) -> None:
    assert group_uid(uid) == shared


def test_one_uid_with_two_prompts_makes_two_groups(tmp_path: Path) -> None:
    rows = [v1_train("P", "a", f"{UUID}_0_0"), v1_train("Q", "b", f"{UUID}_1_0")]
    groups = load(written(tmp_path / "3.jsonl", *rows)).groups
    assert len(groups) == 2
    assert groups[0].id != groups[1].id


def test_steps_and_runs_part_groups_of_one_prompt(tmp_path: Path) -> None:
    for name in ("a/1.jsonl", "a/2.jsonl", "b/1.jsonl"):
        step = int(Path(name).stem)
        written(tmp_path / name, v0_train("P", "x", step), v0_train("P", "y", step))
    groups = load_dump([tmp_path / "a", tmp_path / "b"]).groups
    assert [(Path(g.run).name, g.step, len(g.rollouts)) for g in groups] == [
        ("a", "1", 2),
        ("a", "2", 2),
        ("b", "1", 2),
    ]
    assert len({g.id for g in groups}) == 3
    assert len({g.problem.prompt_hash for g in groups}) == 1


def test_steps_in_one_file_part_groups(tmp_path: Path) -> None:
    path = written(tmp_path / "all.jsonl", v0_train("P", "x", 1), v0_train("P", "y", 2))
    assert [g.step for g in load(path).groups] == ["1", "2"]


def test_step_of_the_file_name_is_used_without_a_column(tmp_path: Path) -> None:
    path = written(
        tmp_path / "17.jsonl", {"input": "P", "output": "a"}, {"input": "P", "output": "b", "step": None}
    )
    assert [(g.step, len(g.rollouts)) for g in load(path).groups] == [("17", 2)]


def test_group_ids_are_the_same_on_every_load(tmp_path: Path) -> None:
    path = written(tmp_path / "3.jsonl", v0_train("P", "a"), v0_train("Q", "b"))
    assert [g.id for g in load(path).groups] == [g.id for g in load(path).groups]


def test_raw_messages_and_decoded_input_are_the_same_prompt(tmp_path: Path) -> None:
    raw = written(tmp_path / "raw.jsonl", {"prompt": [{"role": "user", "content": "P"}], "response": "a"})
    dump = load_dump([raw, written(tmp_path / "3.jsonl", v0_train("P", "a"))])
    assert dump.groups[0].problem == dump.groups[1].problem


def test_siblings_share_one_prompt_string(tmp_path: Path) -> None:
    rows = load(written(tmp_path / "3.jsonl", v0_train("P", "a"), v0_train("P", "b"))).rows
    assert rows[0].columns["input"] is rows[1].columns["input"]


def test_rows_point_to_their_group_and_line(tmp_path: Path) -> None:
    path = written(tmp_path / "3.jsonl", v0_train("P", "a"), "", v0_train("Q", "b"))
    dump = load(path)
    assert [(row.index, row.line, row.position) for row in dump.rows] == [(0, 1, None), (1, 3, None)]
    assert [row.group for row in dump.rows] == [g.id for g in dump.groups]
    assert [row.prompt_hash for row in dump.rows] == [g.problem.prompt_hash for g in dump.groups]
    assert [r.row for g in dump.groups for r in g.rollouts] == [0, 1]


def test_list_of_solutions_becomes_one_row_per_element(tmp_path: Path) -> None:
    row = {"task_id": "T/1", "prompt": "P", "entry_point": "f", "solutions": ["a", "b"], "extra": [1]}
    dump = load(written(tmp_path / "s.jsonl", row))
    assert shape(dump) == [("P", ["a", "b"])]
    assert [(r.position, r.columns["solutions"]) for r in dump.rows] == [(0, "a"), (1, "b")]
    assert dump.rows[1].columns == {**row, "solutions": "b"}
    assert (dump.groups[0].problem.task_id, dump.groups[0].problem.entry_point) == ("T/1", "f")


def test_elements_that_are_no_text_are_reported_one_by_one(tmp_path: Path) -> None:
    path = written(tmp_path / "s.jsonl", {"prompt": "P", "responses": ["a", None, {"x": 1}, "b"]})
    dump = load(path)
    assert shape(dump) == [("P", ["a", "b"])]
    assert [(bad.where, bad.reason) for bad in dump.bad_rows] == [
        (f"{path}:1[1]", "the response is null, not text"),
        (f"{path}:1[2]", "the response is an object, not text"),
    ]
    assert dump.rows_in == 4


def test_nested_columns(tmp_path: Path) -> None:
    row = {"q": {"text": "P"}, "gen": {"texts": ["a", "b"]}, "extra_info": {"task": 7}}
    dump = load(written(tmp_path / "s.jsonl", row), "prompt=q.text,solutions=gen.texts,id=extra_info.task")
    assert shape(dump) == [("P", ["a", "b"])]
    assert dump.rows[1].columns == {**row, "gen": {"texts": "b"}}
    assert dump.groups[0].problem.task_id == "7"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"input": "P"}, "there is no 'output' (the response)"),
        ({"output": "a"}, "there is no 'input' (the prompt)"),
        ({"input": None, "output": "a"}, "'input' (the prompt) is null"),
        ({"input": "P", "output": None}, "'output' (the response) is null"),
        ({"input": "P", "output": 3}, "'output' (the response) is a number, not text"),
        (
            {"input": "P", "output": ["a"]},
            "'output' (the response) is a list, which needs --map solutions=output",
        ),
        ({"input": 3, "output": "a"}, "the prompt is neither text nor a list of messages"),
        ({"input": " \n", "output": "a"}, "the prompt is empty"),
        ({"input": [{"role": "user"}], "output": "a"}, "the prompt is empty"),
        ({"input": "P", "output": "a", "uid": [1]}, "'uid' (the uid) is a list, not text or a number"),
        ('{"input": "P", "outp', "the JSON ends early (a truncated line?)"),
        ("[]", "a JSON list where an object with named columns is needed"),
    ],
)
def test_malformed_row_is_reported_with_file_line_and_reason(tmp_path: Path, row: Any, reason: str) -> None:
    good = {"input": "P", "output": "good", "uid": None}
    path = written(tmp_path / "1.jsonl", good, row, good)
    dump = load(path)
    assert [(bad.where, bad.reason) for bad in dump.bad_rows] == [(f"{path}:2", reason)]
    assert [row.line for row in dump.rows] == [1, 3]
    assert dump.rows_in == 3


@pytest.mark.parametrize(
    "row", ['{"input": "P", "outp', {"input": "P"}, {"prompt": "P", "responses": ["a", 1]}]
)
def test_bad_row_is_fatal_when_asked_for(tmp_path: Path, row: Any) -> None:
    good = {"input": "P", "output": "good"} if "prompt" not in row else {"prompt": "P", "responses": ["a"]}
    path = written(tmp_path / "1.jsonl", good, row)
    with pytest.raises(BadRowError, match=r"1\.jsonl:2.*--on-bad-row skip"):
        load_dump([path], on_bad_row="fail")


def test_empty_response_is_a_rollout(tmp_path: Path) -> None:
    dump = load(written(tmp_path / "1.jsonl", {"input": "P", "output": ""}))
    assert shape(dump) == [("P", [""])]


@pytest.mark.parametrize("value", ["T1", 3, 3.0])
def test_ids_are_text(tmp_path: Path, value: object) -> None:
    dump = load(written(tmp_path / "1.jsonl", {"prompt": "P", "response": "a", "task_id": value}))
    assert dump.groups[0].problem.task_id == str(value).removesuffix(".0")


@pytest.mark.parametrize("value", [None, float("nan"), ""])
def test_absent_id_is_none(tmp_path: Path, value: object) -> None:
    dump = load(written(tmp_path / "1.jsonl", {"prompt": "P", "response": "a", "task_id": value}))
    assert dump.groups[0].problem.task_id is None


def test_an_index_in_extra_info_is_no_id_unless_mapped(tmp_path: Path) -> None:
    row = {"prompt": "P", "response": "a", "extra_info": {"index": 4}}
    assert load(written(tmp_path / "1.jsonl", row)).groups[0].problem.task_id is None


def test_id_shared_by_two_prompts_is_noted(tmp_path: Path) -> None:
    rows = [{"prompt": text, "response": "a", "task_id": "T"} for text in "PQ"]
    (note,) = load(written(tmp_path / "1.jsonl", *rows)).notes
    assert "'T'" in note


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"starter_code": "class Solution:\n    def twoSum(self, nums):\n        "}, "twoSum"),
        ({"starter_code": "def f(x):\n    pass", "entry_point": "g"}, "g"),
        ({"starter_code": ""}, None),
        ({"starter_code": None}, None),
    ],
)
def test_starter_code_names_the_entry_point(
    tmp_path: Path, columns: dict[str, Any], expected: str | None
) -> None:
    dump = load(written(tmp_path / "1.jsonl", {"prompt": "P", "response": "a", **columns}))
    assert dump.groups[0].problem.entry_point == expected


def test_replaced_surrogates_are_noted(tmp_path: Path) -> None:
    dump = load(written(tmp_path / "1.jsonl", '{"input": "P", "output": "\\ud800"}'))
    assert dump.rows[0].columns["output"] == "\ufffd"
    assert any("surrogates" in note for note in dump.notes)


def test_left_out_files_are_noted(tmp_path: Path) -> None:
    written(tmp_path / "1.jsonl", v0_train("P", "a"))
    written(tmp_path / "other.jsonl", v0_train("P", "a"))
    (note,) = load(tmp_path).notes
    assert "other.jsonl" in note


def test_each_file_has_its_own_columns(tmp_path: Path) -> None:
    verl = written(tmp_path / "1.jsonl", v0_train("P", "a"))
    plain = written(tmp_path / "plain.jsonl", {"question": "P", "completion": "b"})
    dump = load_dump([verl, plain])
    assert dump.reading == (
        "read input as prompt, output as response, step",
        "read question as prompt, completion as response",
    )


def test_first_row_that_is_malformed_does_not_decide_the_columns(tmp_path: Path) -> None:
    dump = load(written(tmp_path / "1.jsonl", {}, "{", v0_train("P", "a")))
    assert (len(dump.rows), len(dump.bad_rows)) == (1, 2)


def test_no_usable_row_at_all(tmp_path: Path) -> None:
    path = written(tmp_path / "1.jsonl", "{", "[]")
    with pytest.raises(InputError, match=r"None of the 2 rows .*1\.jsonl:1, the JSON ends early"):
        load(path)


def test_blank_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.jsonl holds no rows"):
        load(written(tmp_path / "1.jsonl", "", "  "))


def test_parquet_without_the_mapped_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["P"], "response": ["a"]}), tmp_path / "f.parquet")
    with pytest.raises(InputError, match=r"f\.parquet.*'task'.*prompt, response"):
        load(tmp_path / "f.parquet", "id=task")


def test_parquet_of_verl_with_messages_and_lists(tmp_path: Path) -> None:
    table = pa.table(
        {
            "prompt": [[{"role": "user", "content": "P"}]],
            "extra_info": [{"index": 0, "split": "test"}],
            "responses": pa.array([["a", "b"]], pa.large_list(pa.string())),
            "n": pa.array([1], pa.int8()),
        }
    )
    pq.write_table(table, tmp_path / "f.parquet")
    dump = load(tmp_path / "f.parquet")
    assert shape(dump) == [("P", ["a", "b"])]
    assert dump.column_types["responses"] == pa.string()
    assert dump.column_types["n"] == pa.int8()


def test_column_that_json_has_as_well_has_no_known_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["P"], "response": ["a"], "n": [1]}), tmp_path / "f.parquet")
    plain = written(tmp_path / "g.jsonl", {"prompt": "P", "response": "a", "n": "x"})
    dump = load_dump([tmp_path / "f.parquet", plain])
    assert "n" not in dump.column_types


def test_progress_is_told_rows(tmp_path: Path) -> None:
    told: list[int] = []
    path = written(tmp_path / "1.jsonl", *[{"input": "P", "output": "a"}] * 2500)
    load_dump([path], progress=told.append)
    assert told == [1000, 2000]


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.lists(st.text(max_size=2), max_size=3)
)
LINES = st.one_of(
    st.fixed_dictionaries({}, optional={"prompt": VALUES, "solutions": VALUES, "uid": VALUES}).map(
        json.dumps
    ),
    st.fixed_dictionaries({"prompt": st.sampled_from("PQ"), "solutions": VALUES}).map(json.dumps),
    st.sampled_from(["[]", "{", "null", "", " ", '{"prompt": NaN}']),
)


def rollouts_in(line: str) -> int:
    """How many rollouts a line stands for: those of a usable row's list, otherwise one."""
    if not line.strip():
        return 0
    try:
        row = json.loads(line)
    except ValueError:
        return 1
    usable = isinstance(row, dict) and isinstance(row.get("prompt"), str) and row["prompt"].strip()
    if usable and not isinstance(row.get("uid"), (list, bool)) and isinstance(row.get("solutions"), list):
        return max(1, len(row["solutions"]))
    return 1


@settings(deadline=None, max_examples=150)
@given(st.lists(LINES, max_size=8))
def test_rows_in_are_rows_out_and_rows_reported(lines: list[str]) -> None:
    good = json.dumps({"prompt": "P", "solutions": ["a", "b"], "uid": "u"})
    with tempfile.TemporaryDirectory() as folder:
        dump = load(written(Path(folder) / "1.jsonl", good, *lines), "solutions=solutions")
    assert dump.rows_in == sum(map(rollouts_in, [good, *lines]))
    assert dump.rows_in == len(dump.rows) + len(dump.bad_rows)
    assert [row.index for row in dump.rows] == list(range(len(dump.rows)))
    assert sorted(r.row for g in dump.groups for r in g.rollouts) == list(range(len(dump.rows)))
    assert len({g.id for g in dump.groups}) == len(dump.groups)
