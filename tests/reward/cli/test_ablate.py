"""`coderm-reward ablate`, as a user gives it, on small records made here."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from coderm_reward.cli.app import app
from coderm_reward.config import RewardConfig
from coderm_reward.data.records import BudgetRecord, GroupRecord, RolloutRecord
from coderm_reward.errors import ConfigError, InputError, OutputError
from coderm_reward.scoring import group_rewards
from coderm_reward.types import CodeStatus, Difficulty, ExecutionStats, UnitTest

COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()", "ablate"]
FAST = ("--draws", 3, "--replicates", 40)


def ablate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def in_process(*arguments: object) -> None:
    """The command without a process of its own: its errors are raised."""
    app(["ablate", *map(str, arguments)], standalone_mode=False)


def record(number: int, rollouts: int = 8, tests: int = 6) -> tuple[GroupRecord, list[int]]:
    """A group with a little noise in its verdicts, and the truth about it."""
    rng = np.random.default_rng(number)
    truth = rng.random(rollouts) < number / 8
    passed = truth[:, None] ^ (rng.random((rollouts, tests)) < 0.2)
    reward = group_rewards(
        [CodeStatus.NO_CODE],
        None,
        RewardConfig().scoring,
        difficulty=0,
        gen_seconds=0,
        generation_failed=False,
    ).rewards[0]
    made = GroupRecord(
        group=f"g{number}",
        content="c",
        settings="s",
        config=RewardConfig(),
        run="run",
        step=None,
        uid=None,
        prompt_hash=f"p{number}",
        question="?",
        entry_point="f",
        task_id=f"Task/{number}",
        generator="recorded",
        tests=tuple(UnitTest(f"t{i}", "", f"T{i}", ("test_a",), response=i) for i in range(tests)),
        invalid={},
        dropped={},
        budget=BudgetRecord(Difficulty(0.5, 0.5, "constant"), planned=None, spent=tests, why="all"),
        rollouts=tuple(
            RolloutRecord(
                row=number * rollouts + i,
                status="ok",
                code="def f(): pass",
                solution=i,
                classes="".join("P" if cell else "F" for cell in row),
                methods="".join("P" if cell else "F" for cell in row),
                judges="A" * tests,
                reward=reward,
            )
            for i, row in enumerate(passed)
        ),
        details={},
        stats=ExecutionStats(),
        gen_seconds=0.0,
    )
    return made, truth.astype(int).tolist()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("ablate")
    made = [record(number) for number in range(8)]
    records, truth = folder / "scored.groups.jsonl", folder / "truth.jsonl"
    records.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r, _ in made))
    truth.write_text("".join(json.dumps({"task_id": r.task_id, "passed": t}) + "\n" for r, t in made))
    return records, truth


def test_tables_csv_report_and_json_come_out(data: tuple[Path, Path], tmp_path: Path) -> None:
    records, truth = data
    out, page = tmp_path / "new" / "a.csv", tmp_path / "a.html"
    done = ablate(
        records, "--truth", truth, *FAST, "--budgets", "4,2", "--csv", out, "--report", page, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 groups of 4 rollouts drawn 3 times")
    for title in (
        "Aggregators, uniform budgets",
        "Rules for budgets",
        "Budget at which a rule matches uniform",
    ):
        assert f"\n{title}\n" in done.stdout
    assert "uniform, other draws" in done.stdout
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["rule"] for row in rows} >= {
        "uniform",
        "oracle:greedy",
        "pilot:price/advantage",
        "sequential",
    }
    assert {row["budget"] for row in rows} == {"2", "4"}
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["cells"]) == len(rows)
    html = page.read_text("utf-8")
    assert "default-src 'none'" in html
    assert html.count("data:image/svg+xml") >= 2 * 8
    for heading in ("Accuracy against budget", "Allocation against difficulty", "Tests by difficulty"):
        assert heading in html


def test_a_choice_of_everything_is_taken(data: tuple[Path, Path]) -> None:
    records, truth = data
    done = ablate(
        *(records, "--truth", truth, *FAST, "--difficulty", "history", "--allocator", "price"),
        *("--objective", "advantage", "--aggregator", "combined", "--aggregator", "dual_agreement"),
        *("--vote-unit", "class", "--budgets", "3", "--rollouts", "5", "--only", "Task/[4-7]"),
        *("--pass-rate", "0.7", "--reliability-rule", "shrink", "--seed", "3", "--json"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["groups"] == 4
    assert result["rollouts"] == 5
    assert result["pass_rate"] == pytest.approx(0.7)
    assert {c["policy"] for c in result["cells"]} == {
        "uniform",
        "uniform, other draws",
        "history:price/advantage",
    }
    assert {(c["vote_unit"], c["aggregator"]) for c in result["cells"]} == {
        ("class", "combined"),
        ("class", "dual_agreement"),
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--difficulty", "psychic"), "--difficulty cannot be 'psychic'; choose one of constant, oracle"),
        (("--allocator", "fair"), "--allocator cannot be 'fair'"),
        (("--aggregator", "best"), "--aggregator cannot be 'best'"),
        (("--vote-unit", "line"), "--vote-unit cannot be 'line'"),
        (("--budgets", "2,many"), "--budgets '2,many' must be whole numbers"),
        (("--budgets", "0"), "budgets must be different whole numbers of at least 1"),
        (("--budgets", "-4"), "budgets must be different whole numbers of at least 1"),
        (("--draws", "0"), "draws must be at least 1"),
        (("--pass-rate", "nan"), "mean pass rate of nan cannot be had"),
        (("--only", "("), "is not a regular expression"),
        (("--only", "Nothing"), "finds none of the task ids"),
        (("--reliability-rule", "trust"), "reliability_rule cannot be 'trust'"),
    ],
)
def test_bad_options_are_one_sentence(data: tuple[Path, Path], options: tuple[str, str], words: str) -> None:
    records, truth = data
    with pytest.raises((ConfigError, InputError)) as raised:
        in_process(records, "--truth", truth, *FAST, *options)
    assert words in str(raised.value)


def test_an_error_ends_with_its_sentence_and_exit_code(data: tuple[Path, Path]) -> None:
    records, truth = data
    done = ablate(records, "--truth", truth, "--budgets", "-4")
    assert done.returncode == 2
    assert done.stderr.startswith("error: budgets must be")
    assert done.stderr.count("\n") == 1


def test_an_input_is_not_written_over(data: tuple[Path, Path], tmp_path: Path) -> None:
    records, truth = data
    twice = ("--csv", tmp_path / "a", "--report", tmp_path / "a")
    for options in (("--csv", records), ("--report", truth), twice):
        with pytest.raises(OutputError, match="is an input or another output"):
            in_process(records, "--truth", truth, *FAST, *options)
    with pytest.raises(OutputError, match="name a file in it with --csv"):
        in_process(records, "--truth", truth, *FAST, "--csv", tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing_half_written(
    data: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    records, truth = data
    out = tmp_path / "a.csv"
    options = ["ablate", str(records), "--truth", str(truth), "--draws", "100000", "--csv", str(out)]
    command = [sys.executable, "-c", _SAYS_WHEN, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "at work\n"
        process.send_signal(number)
        assert process.wait(timeout=120) == 128 + number
        assert process.stderr.read() == f"stopped by {number.name}; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


_SAYS_WHEN = """
import sys
import coderm_reward.cli.ablate as module
steps = module.steps
def said(settings):
    print("at work", file=sys.stderr, flush=True)
    return steps(settings)
module.steps = said
from coderm_reward.cli import main
main()
"""
"""The command, which says when it has begun to compute."""
