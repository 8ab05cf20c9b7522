"""--budget, --allocator, --difficulty and their kin, as a user gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coderm_reward.cli import main
from coderm_reward.data.records import GroupRecord, read_records

COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
GOOD = "```python\ndef double(x):\n    return 2 * x\n```"
BAD = "```python\ndef double(x):\n    return x\n```"
RATES = {"easy": 0.95, "hard": 0.1}


def prompt(name: str) -> str:
    return f"Write a function `double(x)` that doubles a number. ({name})"


def response(number: int) -> str:
    return (
        "```python\nimport unittest\n\nclass TestDouble(unittest.TestCase):\n"
        f"    def test_it(self):\n        self.assertEqual(double({number}), {2 * number})\n```"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dump").mkdir()
    for step in (1, 2):
        rows = [
            {"prompt": prompt(name), "response": code, "solved": rate}
            for name, rate in RATES.items()
            for code in ([GOOD] * 4 if name == "easy" else [BAD] * 3 + [GOOD])
        ]
        path = tmp_path / "dump" / f"{step}.jsonl"
        path.write_text("".join(json.dumps({**row, "step": step}) + "\n" for row in rows))
    tests = [{"prompt": prompt(name), "responses": [response(n) for n in range(1, 21)]} for name in RATES]
    (tmp_path / "tests.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tests))
    return tmp_path


def score(folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "score", "dump", "--tests", "tests.jsonl", "--out", "out.jsonl", "--workers", "1"]
    return subprocess.run(
        [*command, *map(str, options)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.fixture
def refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return what `score` says when it is refused: exit code 2, nothing written. In this process: quick."""

    def run(*options: object) -> str:
        command = ["coderm-reward", "score", "dump", "--tests", "tests.jsonl", "--out", "out.jsonl"]
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", [*command, *map(str, options)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2
        assert not (folder / "out.jsonl").exists()
        return capsys.readouterr().err

    return run


def records(folder: Path) -> dict[tuple[str, str | None], GroupRecord]:
    found = read_records(folder / "out.groups.jsonl")
    return {(record.question.split("(")[-1].strip(")"), record.step): record for record in found}


def test_price_by_history_learns_over_the_steps_and_over_runs(folder: Path) -> None:
    options = ["--budget", 8, "--allocator", "price", "--difficulty", "history", "--history", "history.db"]
    done = score(folder, *options)
    assert done.returncode == 0, done.stderr
    first = records(folder)
    assert first["easy", "1"].budget.difficulty.pass_rate == 0.5
    assert first["easy", "2"].budget.difficulty.pass_rate > first["hard", "2"].budget.difficulty.pass_rate
    budgets = [record.budget for record in first.values()]
    assert sum(budget.spent for budget in budgets) <= 4 * 8
    for budget in budgets:
        assert budget.spent == budget.planned
        assert budget.why.startswith("history estimator: pass rate 0.")
        assert budget.why.endswith(f"price allocator: {budget.planned} responses")

    (folder / "out.groups.jsonl").unlink()
    assert score(folder, *options, "--overwrite").returncode == 0
    assert records(folder)["easy", "1"].budget.difficulty.pass_rate > 0.5


def test_the_config_has_the_same_fields(folder: Path) -> None:
    settings = "{budget: 8, allocator: greedy, difficulty: dataset, objective: advantage, min_budget: 2}"
    (folder / "config.yaml").write_text(f"budget: {settings}\n")
    done = score(folder, "--config", "config.yaml", "--map", "pass_rate=solved", "--max-budget", 14)
    assert done.returncode == 0, done.stderr
    assert "solved as pass_rate" in done.stderr
    found = records(folder)
    budgets = {name: found[name, "1"].budget for name in RATES}
    assert {name: budget.difficulty.source for name, budget in budgets.items()} == dict.fromkeys(
        RATES, "dataset"
    )
    assert budgets["easy"].difficulty.pass_rate == pytest.approx((1 + 8 * 0.95) / 10)
    assert (budgets["easy"].planned, budgets["hard"].planned) == (2, 14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--allocator", "price"], "Allocator price splits a budget; give one with --budget"),
        (["--allocator", "best"], "choose one of uniform, greedy, price, sequential"),
        (["--difficulty", "guess"], "choose one of constant, dataset, history, pilot, probe"),
        (["--objective", "profit"], "choose one of best_of_n, advantage"),
        (["--budget", 4, "--allocator", "greedy", "--min-budget", 5], "raise budget or lower min_budget"),
        (["--budget", -3], "--budget/--n -3 asks for no unit tests"),
        (["--budget", 4, "--allocator", "price", "--max-budget", 3], "raise max_budget or lower budget"),
        (
            ["--budget", 3, "--allocator", "price", "--difficulty", "pilot"],
            "for estimator pilot: the setting pilot",
        ),
        (["--difficulty", "dataset"], "--map pass_rate=COLUMN"),
        (["--difficulty", "probe"], "Estimator probe needs a trained probe; name its file with --probe"),
        (["--difficulty", "probe", "--probe", "tests.jsonl"], "tests.jsonl is not a difficulty probe"),
        (
            ["--difficulty", "history", "--history", "tests.jsonl"],
            "written over or into the input tests.jsonl",
        ),
        (
            ["--difficulty", "history", "--history", "no/where.db"],
            "The difficulty history no/where.db cannot",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_runs(
    refused: Callable[..., str], options: list[object], message: str
) -> None:
    assert message in refused(*options).splitlines()[-1]


@pytest.mark.parametrize("rate", [-0.25, 1.5, "often", True])
def test_a_pass_rate_that_is_none_is_a_bad_row(
    folder: Path, refused: Callable[..., str], rate: object
) -> None:
    row = {"prompt": prompt("easy"), "response": GOOD, "solved": rate, "step": 2}
    with (folder / "dump" / "2.jsonl").open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    said = refused("--difficulty", "dataset", "--map", "pass_rate=solved")
    assert "'solved' (the pass_rate) is" in said
    assert "not a number from 0 to 1" in said
