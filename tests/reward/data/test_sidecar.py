"""Group records: appended whole, cut to whole lines on resume, one writer at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.config import RewardConfig
from coderm_reward.data.records import (
    BudgetRecord,
    GroupRecord,
    RolloutRecord,
    read_records,
    replaced_records,
)
from coderm_reward.data.sidecar import LineWriter, RecordWriter, sidecar_path, write_records
from coderm_reward.errors import OutputError
from coderm_reward.types import Difficulty, ExecutionStats, RewardOutput


def record(group: str, question: str = "Q") -> GroupRecord:
    return GroupRecord(
        group=group,
        settings="s",
        config=RewardConfig(),
        content="c",
        run="r",
        step=None,
        uid=None,
        prompt_hash="h",
        question=question,
        entry_point=None,
        task_id=None,
        generator="g",
        tests=(),
        invalid={},
        dropped={},
        budget=BudgetRecord(Difficulty(0.5, 0.5, "constant"), None, 0, "all"),
        rollouts=(),
        details={0: {"t": "failed"}},
        stats=ExecutionStats(),
        gen_seconds=0.0,
    )


def rollout(row: int) -> RolloutRecord:
    reward = RewardOutput(**dict.fromkeys(RewardOutput.__struct_fields__, 0.0))
    return RolloutRecord(row, "ok", f"code {row}", 0, "", "", "", reward)


def test_records_from_before_the_verdict_cache_and_the_excluded_judges_load(tmp_path: Path) -> None:
    old = msgspec.to_builtins(record("g"))
    del old["stats"]["cache_hits"]
    del old["config"]["execution"]
    del old["config"]["scoring"]["exclude_judges"]
    path = tmp_path / "old.groups.jsonl"
    path.write_bytes(msgspec.json.encode(old) + b"\n")
    assert list(read_records(path)) == [record("g")]


def write(path: Path, *groups: str, resume: bool = False) -> None:
    with RecordWriter(path, resume=resume) as writer:
        for group in groups:
            writer.write(record(group))


def groups(path: Path) -> list[str]:
    return [found.group for found in read_records(path)]


@pytest.mark.parametrize(
    ("out", "sidecar"),
    [
        ("out/scored.parquet", "out/scored.groups.jsonl"),
        ("scored.jsonl", "scored.groups.jsonl"),
        ("scored.jsonl.gz", "scored.groups.jsonl"),
        ("a.b.parquet", "a.b.groups.jsonl"),
    ],
)
def test_sidecar_path(out: str, sidecar: str) -> None:
    assert sidecar_path(Path(out)) == Path(sidecar)


def test_records_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.groups.jsonl"
    with RecordWriter(path, resume=False) as writer:
        writer.write(record("a"))
        assert groups(path) == ["a"]
        writer.write(record("b"))
    assert list(read_records(path)) == [record("a"), record("b")]


def test_without_resume_the_old_records_go(tmp_path: Path) -> None:
    path = tmp_path / "s.groups.jsonl"
    write(path, "a", "b")
    write(path, "c")
    assert groups(path) == ["c"]


def test_resume_appends(tmp_path: Path) -> None:
    path = tmp_path / "s.groups.jsonl"
    write(path, "a")
    write(path, "b", resume=True)
    assert groups(path) == ["a", "b"]


def test_resume_without_a_file_starts_one(tmp_path: Path) -> None:
    write(tmp_path / "s.groups.jsonl", "a", resume=True)
    assert groups(tmp_path / "s.groups.jsonl") == ["a"]


@pytest.mark.parametrize("cut", [1, 2, 100])
@pytest.mark.parametrize("size", [1, 70_000, 200_000])
def test_resume_cuts_off_a_record_that_a_kill_left_unfinished(tmp_path: Path, cut: int, size: int) -> None:
    path = tmp_path / "s.groups.jsonl"
    with RecordWriter(path, resume=False) as writer:
        writer.write(record("a"))
        writer.write(record("killed", question="x" * size))
    os.truncate(path, path.stat().st_size - cut)
    write(path, "b", resume=True)
    assert groups(path) == ["a", "b"]


def test_resume_of_a_file_that_is_one_unfinished_record(tmp_path: Path) -> None:
    path = tmp_path / "s.groups.jsonl"
    path.write_bytes(b'{"group": "a"')
    write(path, "b", resume=True)
    assert groups(path) == ["b"]


def test_second_writer_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.groups.jsonl"
    with RecordWriter(path, resume=False) as writer:
        writer.write(record("a"))
        with pytest.raises(OutputError, match="Another process is writing"):
            RecordWriter(path, resume=False)
        writer.write(record("b"))
    assert groups(path) == ["a", "b"]
    write(path, "c", resume=True)


def test_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "s.groups.jsonl"
    code = (
        "import os, sys; from pathlib import Path; from coderm_reward.data.sidecar import RecordWriter\n"
        "writer = RecordWriter(Path(sys.argv[1]), resume=False); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    write(path, "a", resume=True)
    assert groups(path) == ["a"]


def test_text_that_utf8_cannot_hold_is_still_recorded(tmp_path: Path) -> None:
    path = tmp_path / "s.groups.jsonl"
    with RecordWriter(path, resume=False) as writer:
        writer.write(record("a", question="x\ud800"))
    (found,) = read_records(path)
    assert found.question == "x\ufffd"
    assert found.details == {0: {"t": "failed"}}


def test_failed_write_leaves_whole_records_only(tmp_path: Path) -> None:
    path = tmp_path / "s.groups.jsonl"
    write(path, "a")
    data = msgspec.json.encode(record("b", question="x" * 5000)).hex()
    code = f"""
import resource, sys
from pathlib import Path
import msgspec
from coderm_reward.config import RewardConfig
from coderm_reward.data.records import GroupRecord
from coderm_reward.data.sidecar import RecordWriter
from coderm_reward.errors import OutputError
writer = RecordWriter(Path(sys.argv[1]), resume=True)
resource.setrlimit(resource.RLIMIT_FSIZE, ({path.stat().st_size + 100},) * 2)
try:
    writer.write(msgspec.json.decode(bytes.fromhex("{data}"), type=GroupRecord))
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert path.read_bytes().endswith(b"\n")
    assert groups(path) == ["a"]


@pytest.mark.parametrize("place", ["/proc/none/s.groups.jsonl", "/dev/full", "/"])
def test_unwritable_place(place: str) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        RecordWriter(Path(place), resume=False)


def test_close_twice(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "s.groups.jsonl", resume=False)
    writer.close()
    writer.close()


def test_a_whole_file_of_records_appears_at_once_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "s.groups.jsonl"
    assert write_records(path, [record("a"), record("b")]) == 2
    assert groups(path) == ["a", "b"]

    def broken() -> Iterator[GroupRecord]:
        yield record("c")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_records(path, broken())
    assert groups(path) == ["a", "b"]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(OutputError, match="choose another place with --somewhere"):
        write_records(Path("/proc/none/s.groups.jsonl"), [record("a")], "--somewhere")


def test_lines_of_any_kind_are_appended_and_the_fix_is_named(tmp_path: Path) -> None:
    for number in (1, 2):
        with LineWriter(tmp_path / "lines", resume=True, option="training.records") as writer:
            writer.write_line(b"line %d" % number)
            with pytest.raises(OutputError, match=r"another place with training\.records"):
                LineWriter(tmp_path / "lines", resume=True, option="training.records")
        with (tmp_path / "lines").open("ab") as stream:
            stream.write(b"cut off")
    assert (tmp_path / "lines").read_bytes() == b"line 1\nline 2\ncut off"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 3), unique=True, max_size=4))))
def test_a_record_is_replaced_by_a_later_one_of_its_group_that_holds_all_of_it(
    made: list[tuple[str, list[int]]],
) -> None:
    records = [
        msgspec.structs.replace(record(group), rollouts=tuple(rollout(row) for row in rows))
        for group, rows in made
    ]
    expected = {
        position
        for position, (group, rows) in enumerate(made)
        if any(group == other and set(rows) <= set(later) for other, later in made[position + 1 :])
    }
    assert replaced_records(records) == expected
