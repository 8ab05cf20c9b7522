"""Every bad input of a user ends in one clear sentence and a non-zero exit code, and loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
PROMPT = "Write a function `double(x)` that doubles a number."
ROW = {"prompt": PROMPT, "response": "```python\ndef double(x):\n    return 2 * x\n```"}
TEST = (
    "```python\nimport unittest\n\nclass TestDouble(unittest.TestCase):\n"
    "    def test_two(self):\n        self.assertEqual(double(2), 4)\n```"
)


def coderm(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=folder, timeout=120, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dump.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "tests.jsonl").write_text(json.dumps({"prompt": PROMPT, "responses": [TEST]}) + "\n")
    return tmp_path


def test_the_smallest_run_works(folder: Path) -> None:
    done = coderm(folder, "score", "dump.jsonl", "--tests", "tests.jsonl", "--out", "o.jsonl")
    assert done.returncode == 0, done.stderr
    row = json.loads((folder / "o.jsonl").read_text())
    assert (row["coderm_score"], row["coderm_acc"], row["coderm_tests_run"]) == (1.0, 1.0, 1.0)


def empty(folder: Path) -> None:
    (folder / "dump.jsonl").write_text("")


def truncated(folder: Path) -> None:
    with (folder / "dump.jsonl").open("a") as file:
        file.write('{"prompt": "x", "resp')


def only_an_empty_directory(folder: Path) -> None:
    (folder / "dump.jsonl").unlink()
    (folder / "dump.jsonl").mkdir()


def nothing(folder: Path) -> None:
    pass


def tests_of_others(folder: Path) -> None:
    (folder / "tests.jsonl").write_text(json.dumps({"prompt": "Something else.", "responses": [TEST]}) + "\n")


def unknown_key(folder: Path) -> None:
    (folder / "c.yaml").write_text("sandbox: {timeouts: 3}\n")


def notes(folder: Path) -> None:
    (folder / "notes").write_text("These are my notes, and no verdicts.\n" * 100)


def parquet_without_the_column(folder: Path) -> None:
    pq.write_table(pa.table({"question": [PROMPT], "response": ["x"]}), folder / "d.parquet")


BASE = ["score", "dump.jsonl", "--tests", "tests.jsonl"]
CASES: dict[str, tuple[Callable[[Path], None], list[str], int, list[str]]] = {
    "a missing dump": (nothing, ["score", "none.jsonl", "--tests", "tests.jsonl"], 2, ["none.jsonl"]),
    "an empty dump": (empty, BASE, 2, ["dump.jsonl is empty"]),
    "a directory without rows": (only_an_empty_directory, BASE, 2, ["dump.jsonl"]),
    "truncated JSON": (truncated, BASE, 2, ["dump.jsonl:2", "--on-bad-row skip"]),
    "a missing tests file": (nothing, ["score", "dump.jsonl", "--tests", "none.jsonl"], 2, ["none.jsonl"]),
    "tests for other prompts": (tests_of_others, BASE, 2, ["other prompts", "--tests"]),
    "an unwritable output": (nothing, [*BASE, "--out", "/proc/no/scored.parquet"], 2, ["/proc/no", "--out"]),
    "an output of unknown kind": (nothing, [*BASE, "--out", "o.csv"], 2, [".parquet"]),
    "an unwritable report": (nothing, [*BASE, "--report", "/proc/no/r.html"], 2, ["/proc/no", "--report"]),
    "an unknown key in a config": (unknown_key, [*BASE, "--config", "c.yaml"], 2, ["did you mean 'timeout'"]),
    "a missing config": (nothing, [*BASE, "--config", "none.yaml"], 2, ["none.yaml"]),
    "an unknown aggregator": (nothing, [*BASE, "--aggregator", "mean"], 2, ["choose one of majority"]),
    "an unknown judge": (nothing, [*BASE, "--exclude-judge", "apart"], 2, ["handle, inline"]),
    "a verdict cache that is none": (
        notes,
        [*BASE, "--verdict-cache", "notes"],
        2,
        ["notes", "--verdict-cache"],
    ),
    "a verdict cache in no folder": (
        nothing,
        [*BASE, "--verdict-cache", "no/v"],
        2,
        ["no/v", "--verdict-cache"],
    ),
    "an unknown role in --map": (nothing, [*BASE, "--map", "promt=prompt"], 2, ["did you mean 'prompt'"]),
    "a mapped column that is not there": (
        parquet_without_the_column,
        ["score", "d.parquet", "--tests", "tests.jsonl", "--map", "prompt=prompt_text"],
        2,
        ["prompt_text", "question"],
    ),
    "a sandbox interpreter that is not there": (
        nothing,
        [*BASE, "--sandbox-python", "/no/python"],
        3,
        ["/no/python"],
    ),
    "an unknown option": (nothing, [*BASE, "--agregator", "majority"], 2, ["agregator"]),
    "evaluate before score": (
        nothing,
        ["evaluate", "s.parquet", "--truth", "t.jsonl"],
        2,
        ["s.groups.jsonl"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_and_a_nonzero_exit(folder: Path, name: str) -> None:
    prepare, arguments, code, said = CASES[name]
    prepare(folder)
    failed = coderm(folder, *arguments)
    assert failed.returncode == code, failed.stderr
    assert "Traceback" not in failed.stderr + failed.stdout
    for text in said:
        assert text in failed.stderr
    if "unknown option" not in name:
        errors = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert failed.stderr.splitlines()[-1] == errors[0]


def test_a_bad_row_can_be_skipped_and_is_counted(folder: Path) -> None:
    truncated(folder)
    done = coderm(folder, *BASE, "--on-bad-row", "skip", "--out", "o.parquet")
    assert done.returncode == 0, done.stderr
    assert "dump.jsonl:2" in done.stderr
    assert pq.read_table(folder / "o.parquet").num_rows == 1
    assert "1 malformed" in done.stdout


def test_an_earlier_result_survives_a_run_that_fails(folder: Path) -> None:
    assert coderm(folder, *BASE, "--out", "o.parquet").returncode == 0
    before = (folder / "o.parquet").read_bytes()
    (folder / "dump.jsonl").unlink()
    assert coderm(folder, *BASE, "--out", "o.parquet").returncode == 2
    assert (folder / "o.parquet").read_bytes() == before


def test_a_prompt_without_usable_tests_is_neutral_and_counted(folder: Path) -> None:
    other = {**ROW, "prompt": "Write a function `half(x)`."}
    (folder / "dump.jsonl").write_text(json.dumps(ROW) + "\n" + json.dumps(other) + "\n")
    (folder / "tests.jsonl").write_text(
        json.dumps({"prompt": PROMPT, "responses": [TEST]})
        + "\n"
        + json.dumps({"prompt": other["prompt"], "responses": ["I cannot write tests."]})
        + "\n"
    )
    done = coderm(folder, *BASE, "--out", "o.jsonl")
    assert done.returncode == 0, done.stderr
    row = json.loads((folder / "o.jsonl").read_text().splitlines()[1])
    assert (row["coderm_neutral"], row["coderm_infra_error"], row["coderm_tests_run"]) == (1.0, 0.0, 0.0)
    assert "groups without a usable test" in done.stdout


def test_a_stdin_program_is_unsupported_where_no_function_was_asked(folder: Path) -> None:
    row = {
        "prompt": "Read two integers and print their sum.",
        "response": "```python\nprint(int(input()) + 1)\n```",
    }
    (folder / "dump.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(ROW) + "\n")
    done = coderm(folder, *BASE, "--out", "o.jsonl")
    assert done.returncode == 0, done.stderr
    scored = json.loads((folder / "o.jsonl").read_text().splitlines()[0])
    assert (scored["coderm_unsupported_format"], scored["coderm_neutral"]) == (1.0, 1.0)
    assert "stdin" in done.stderr


@pytest.mark.parametrize("command", [[], ["score"], ["evaluate"], ["report"], ["doctor"]])
def test_help_teaches(folder: Path, command: list[str]) -> None:
    shown = coderm(folder, *command, "--help")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) > 8


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "dump.jsonl"],
        ["--out", "tests.jsonl"],
        ["--out", "o.parquet", "--out", "./o.parquet"],
        ["--out", "o.jsonl", "--report", "o.jsonl"],
        ["--out", "o.jsonl", "--report", "o.groups.jsonl"],
        ["--out", "o.jsonl", "--verdict-cache", "tests.jsonl"],
        ["--out", "o.jsonl", "--verdict-cache", "./o.jsonl"],
    ],
)
def test_nothing_is_written_over_an_input_or_another_output(folder: Path, arguments: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused = coderm(folder, *BASE, *arguments)
    assert refused.returncode == 2, refused.stderr
    assert "choose another place" in refused.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_outputs_do_not_go_into_the_dump_directory(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "dump.jsonl").rename(folder / "run" / "1.jsonl")
    refused = coderm(folder, "score", "run", "--tests", "tests.jsonl", "--out", "run/scored.parquet")
    assert refused.returncode == 2
    assert "the input run" in refused.stderr


def test_group_records_are_not_taken_from_another_scored_file(folder: Path) -> None:
    assert coderm(folder, *BASE, "--out", "o.jsonl").returncode == 0
    refused = coderm(folder, *BASE, "--out", "o.parquet")
    assert refused.returncode == 2
    assert "o.jsonl" in refused.stderr
    assert coderm(folder, *BASE, "--out", "o.parquet", "--out", "o.jsonl").returncode == 0


def test_no_usable_test_at_all_is_an_error_with_everything_written(folder: Path) -> None:
    (folder / "tests.jsonl").write_text(json.dumps({"prompt": PROMPT, "responses": ["Sorry."]}) + "\n")
    done = coderm(folder, *BASE, "--out", "o.jsonl")
    assert done.returncode == 2
    assert "No prompt has a usable test" in done.stderr
    assert json.loads((folder / "o.jsonl").read_text())["coderm_neutral"] == 1.0


def test_resume_finds_its_groups_under_another_spelling_of_the_path(folder: Path) -> None:
    assert coderm(folder, *BASE, "--out", "o.jsonl").returncode == 0
    arguments = ["score", folder / "dump.jsonl", "--tests", "tests.jsonl", "--out", "o.jsonl", "--resume"]
    resumed = coderm(folder, *arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert "1 of 1 groups are recorded already" in resumed.stderr


def test_resume_goes_on_when_tests_for_other_prompts_were_added(folder: Path) -> None:
    assert coderm(folder, *BASE, "--out", "o.jsonl").returncode == 0
    other = {"prompt": "Write a function `half(x)`.", "response": "def half(x):\n    return x / 2"}
    with (folder / "dump.jsonl").open("a") as file:
        file.write(json.dumps(other) + "\n")
    with (folder / "tests.jsonl").open("a") as file:
        file.write(
            json.dumps({"prompt": other["prompt"], "responses": [TEST.replace("double", "half")]}) + "\n"
        )
    resumed = coderm(folder, *BASE, "--out", "o.jsonl", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "1 of 2 groups are recorded already" in resumed.stderr


def test_tests_of_another_prompt_with_the_same_id_are_found_only_by_id(folder: Path) -> None:
    """A row that carries its prompt belongs to that prompt; the id joins only what no prompt names."""
    rows = [{"task_id": 0, "prompt": "Write a function `half(x)`.", "responses": [TEST]}]
    (folder / "tests.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "dump.jsonl").write_text(json.dumps({**ROW, "extra_info": {"index": 0}}) + "\n")
    refused = coderm(folder, *BASE, "--out", "o.jsonl")
    assert refused.returncode == 2
    assert "other prompts" in refused.stderr


def test_control_characters_of_the_data_do_not_reach_the_terminal(folder: Path) -> None:
    row = {**ROW, "task_id": "\x1b[31mred"}
    (folder / "dump.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "tests.jsonl").write_text(json.dumps({"prompt": PROMPT, "responses": ["Sorry."]}) + "\n")
    done = coderm(folder, *BASE, "--out", "o.jsonl")
    assert "red" in done.stderr
    assert "\x1b" not in done.stderr
