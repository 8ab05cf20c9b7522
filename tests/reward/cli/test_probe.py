"""The probe commands as far as they go without a language model: counting pass rates, help, and bad input."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from coderm_reward.cli import main


class Done(NamedTuple):
    """How a command ended."""

    returncode: str | int
    stdout: str
    stderr: str


COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
PROMPT = "Write a function `double(x)` that doubles a number."
TEST = (
    "```python\nimport unittest\n\nclass TestDouble(unittest.TestCase):\n"
    "    def test_two(self):\n        self.assertEqual(double(2), 4)\n```"
)
MEASURED = {"prompt": PROMPT, "pass_rate": 0.5}


@pytest.fixture
def coderm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `coderm-reward probe ...` in a folder, in this process."""

    def run(folder: Path, *arguments: object) -> Done:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["coderm-reward", "probe", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Done(ended.value.code or 0, captured.out, captured.err)

    return run


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of one prompt, scored by a real run: right, wrong, and right again without a word of code."""
    folder = tmp_path_factory.mktemp("scored")
    answers = {"1": ["return 2 * x", "return x"], "2": ["return x + x", "return 4"]}
    (folder / "dump").mkdir()
    for step, bodies in answers.items():
        lines = [
            {
                "input": PROMPT,
                "output": f"```python\ndef double(x):\n    {body}\n```",
                "score": 0,
                "step": step,
            }
            for body in bodies
        ]
        (folder / "dump" / f"{step}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "tests.jsonl").write_text(json.dumps({"prompt": PROMPT, "responses": [TEST]}) + "\n")
    done = subprocess.run(
        [*COMMAND, "score", "dump", "--tests", "tests.jsonl", "--out", "scored.jsonl"],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_pass_rates_are_counted_from_rewards_over_all_steps(
    coderm: Callable[..., Done], scored: Path, tmp_path: Path
) -> None:
    done = coderm(scored, "prompts", "scored.jsonl", "-o", tmp_path / "p.jsonl")
    assert done.returncode == 0, done.stderr
    assert "coderm_acc" in done.stderr
    assert rows(tmp_path / "p.jsonl") == [{"prompt": PROMPT, "pass_rate": 0.75, "n": 4}]


def test_with_the_truth_the_truth_decides(coderm: Callable[..., Done], scored: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_text(json.dumps({"prompt": PROMPT, "passed": [1, 0, 1, 0]}) + "\n")
    out = tmp_path / "p.jsonl"
    done = coderm(scored, "prompts", "scored.jsonl", "--truth", tmp_path / "truth.jsonl", "-o", out)
    assert done.returncode == 0, done.stderr
    assert rows(out) == [{"prompt": PROMPT, "pass_rate": 0.5, "n": 4}]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["prompts", "none.parquet"], "no group record file"),
        (["train", "none.jsonl", "--model", "m"], "There is no file or directory none.jsonl"),
        (["train", "empty.jsonl", "--model", "m"], "empty.jsonl is empty"),
        (["train", "unmeasured.jsonl", "--model", "m"], "neither pass_rate nor passed"),
        (["train", "one.jsonl", "--model", "m", "--hidden", "0"], "hidden must be at least 1"),
        (["train", "one.jsonl"], "--model"),
        (["train", "one.jsonl", "--model", "m", "--template", "cat"], "--template cannot be 'cat'"),
        (["evaluate", "one.jsonl"], "--probe to evaluate a probe, or --model"),
        (["evaluate", "one.jsonl", "--probe", "none"], "There is no probe none"),
        (["predict", "one.jsonl", "--probe", "one.jsonl"], "one.jsonl is not a difficulty probe"),
        (["predict", "one.jsonl", "--probe", "p", "--out", "one.jsonl/x"], "cannot be written"),
        (["train", "one.jsonl", "--model", "m", "--cache", "one.jsonl"], "The hidden-state cache one.jsonl"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    coderm: Callable[..., Done], tmp_path: Path, arguments: list[str], why: str
) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps(MEASURED) + "\n")
    (tmp_path / "unmeasured.jsonl").write_text(json.dumps({"prompt": PROMPT}) + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    cache = [] if "--cache" in arguments or arguments[0] == "prompts" else ["--cache", "off"]
    before = sorted(path.name for path in tmp_path.iterdir())
    done = coderm(tmp_path, *arguments, *cache)
    assert done.returncode == 2
    assert why in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="the extra is installed here")
def test_without_the_extra_one_sentence_says_what_to_install(
    coderm: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps(MEASURED) + "\n")
    done = coderm(tmp_path, "train", "one.jsonl", "--model", "m", "--cache", "off")
    assert done.returncode == 2
    assert "pip install 'coderm-reward[probe]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["prompts", "train", "predict", "evaluate"])
def test_help_shows_a_command_to_start_from(
    coderm: Callable[..., Done], tmp_path: Path, command: str
) -> None:
    done = coderm(tmp_path, command, "--help")
    assert f"coderm-reward probe {command}" in " ".join(done.stdout.split())
