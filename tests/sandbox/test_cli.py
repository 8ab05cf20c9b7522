"""`python -m coderm_sandbox run`, as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RIGHT, WRONG = "def f(x):\n    return x + 1\n", "def f(x):\n    return x\n"
TEXT = (
    "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_a(self):\n        self.assertEqual(f(1), 2)\n"
    "    def test_b(self):\n        self.assertEqual(f(0), f(0))\n"
)
TWO = TEXT + TEXT.replace("class T", "class U")


def row(identity: Any, solution: str, unit_test: str = TEXT) -> dict[str, Any]:
    return {"id": identity, "solution": solution, "unit_test": unit_test}


def command(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "coderm_sandbox", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, **options)


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def run(tmp_path: Path, rows: list[Any], *options: Any) -> list[dict[str, Any]]:
    out = tmp_path / "out.jsonl"
    done = command("run", write(tmp_path / "pairs.jsonl", rows), "--out", out, "--timeout", 0.5, *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_rows_in_input_order(tmp_path: Path) -> None:
    rows = [
        row("a", RIGHT), row(2, WRONG), row("c", RIGHT, "class ("), row("a", WRONG), row("e", RIGHT, TWO),
        row("f", "while True: pass"), row("g", "def f(x): 1 / 0"), row("h", "raise SystemExit"),
    ]  # fmt: skip
    results = run(tmp_path, rows)
    assert [one["id"] for one in results] == ["a", 2, "c", "a", "e", "f", "g", "h"]
    assert [one["verdict"] for one in results] == [
        *("pass", "fail", "invalid_test", "fail", "pass", "timeout", "error", "error"),
    ]


def test_fields_of_a_result(tmp_path: Path) -> None:
    right, invalid, two = run(tmp_path, [row("a", RIGHT), row("b", RIGHT, ""), row("c", RIGHT, TWO)])
    assert right.pop("seconds") > 0
    methods = {"test_a": "pass", "test_b": "pass"}
    assert right == {"id": "a", "verdict": "pass", "methods": methods, "judge": "apart"}
    assert invalid == {"id": "b", "verdict": "invalid_test", "methods": {}, "judge": "apart", "seconds": 0.0}
    assert list(two["methods"]) == ["T.test_a", "T.test_b", "U.test_a", "U.test_b"]


@pytest.mark.parametrize(
    "solution",
    [
        pytest.param("\0", id="null-byte"),
        pytest.param("x = '\ud800'", id="surrogate"),
        pytest.param("x = '" + "y" * (10 << 20) + "'", id="ten-megabytes"),
        pytest.param("", id="empty"),
    ],
)
def test_odd_solutions_have_a_verdict(tmp_path: Path, solution: str) -> None:
    (result,) = run(tmp_path, [row("a", solution)])
    assert result["verdict"] == "error"


def test_options(tmp_path: Path) -> None:
    rows = [row("a", RIGHT), row("b", "def f(x):\n    return len(bytearray(10 ** 8))")]
    options = ["--workers", 1, "--memory", 64, "--isolation", "bubblewrap", "--python", sys.executable]
    results = run(tmp_path, rows, *options)
    assert [one["verdict"] for one in results] == ["pass", "memory"]


def test_more_rows_than_a_window_holds(tmp_path: Path) -> None:
    rows = [row(n, RIGHT if n % 3 else WRONG) for n in range(5000)]
    results = run(tmp_path, rows)
    assert [(one["id"], one["verdict"]) for one in results] == [
        (n, "pass" if n % 3 else "fail") for n in range(5000)
    ]


def test_stdin_to_stdout() -> None:
    done = command("run", "-", "--out", "-", input=json.dumps(row("a", RIGHT)) + "\n\n")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "pass"


def test_no_rows(tmp_path: Path) -> None:
    assert run(tmp_path, []) == []


def test_level_none_says_so(tmp_path: Path) -> None:
    pairs = write(tmp_path / "pairs.jsonl", [row("a", RIGHT)])
    done = command("run", pairs, "--out", "-", "--isolation", "none")
    assert json.loads(done.stdout)["verdict"] == "pass"
    assert "isolation is off" in done.stderr


def fails(done: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("coderm_sandbox: ")
    assert "Traceback" not in done.stderr
    if code == 2:
        assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("{", ["not a JSON object"], id="truncated"),
        pytest.param("[1]", ["an array"], id="array"),
        pytest.param("7", ["a number"], id="number"),
        pytest.param("[" * 100000, ["not a JSON object"], id="deep"),
        pytest.param('{"id": 1, "solution": ""}', ['no field "unit_test"'], id="missing"),
        pytest.param('{"id": 1.5, "solution": "", "unit_test": ""}', ['"id" must be'], id="float-id"),
        pytest.param('{"id": true, "solution": "", "unit_test": ""}', ['"id" must be'], id="bool-id"),
        pytest.param(
            '{"id": 1, "solution": null, "unit_test": ""}', ['"solution" must be', "null"], id="null"
        ),
        pytest.param(
            '{"id": 1, "solution": "", "unit_test": ["x"]}', ['"unit_test" must be', "array"], id="list"
        ),
    ],
)
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_malformed_row(tmp_path: Path, line: str, words: list[str], source: str) -> None:
    """Found before anything runs, so that no output exists."""
    text = json.dumps(row("a", RIGHT)) + "\n\n" + line + "\n"
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    pairs.write_text(text)
    if source == "file":
        done = command("run", pairs, "--out", out)
    else:
        done = command("run", "-", "--out", out, input=text)
    fails(done, "line 3", *words)
    assert list(tmp_path.iterdir()) == [pairs]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_bytes(b'{"id": "\xff"}\n')
    fails(command("run", pairs, "--out", tmp_path / "out"), "line 1")


def test_missing_input(tmp_path: Path) -> None:
    fails(command("run", tmp_path / "none.jsonl", "--out", "-"), "cannot be read: No such file")
    fails(command("run", tmp_path, "--out", "-"), "cannot be read: Is a directory")


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    pairs = write(tmp_path / "pairs.jsonl", [row("a", RIGHT)])
    fails(command("run", pairs, "--out", tmp_path / "no" / "out.jsonl"), "cannot be written: No such file")
    fails(command("run", pairs, "--out", tmp_path), "cannot be written: Is a directory")
    fails(command("run", pairs, "--out", "/dev/full"), "cannot be written: No space left")


def test_output_keeps_its_old_content_when_the_input_is_wrong(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    (tmp_path / "pairs.jsonl").write_text("{")
    fails(command("run", tmp_path / "pairs.jsonl", "--out", out))
    assert out.read_text() == "old"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--workers", "0"], "workers"),
        (["--timeout", "0"], "timeout"),
        (["--timeout", "nan"], "timeout"),
        (["--memory", "-5"], "memory"),
        (["--memory", "1.5"], "--memory"),
        (["--isolation", "docker"], "bubblewrap"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, options: list[str], word: str) -> None:
    pairs = write(tmp_path / "pairs.jsonl", [row("a", RIGHT)])
    fails(command("run", pairs, "--out", tmp_path / "out", *options), word)
    assert not (tmp_path / "out").exists()


def test_no_command() -> None:
    fails(command(), "COMMAND")


def test_no_sandbox(tmp_path: Path) -> None:
    pairs = write(tmp_path / "pairs.jsonl", [row("a", RIGHT)])
    done = command("run", pairs, "--out", tmp_path / "out", "--python", tmp_path / "python")
    fails(done, "does not run", code=3)
    assert list(tmp_path.iterdir()) == [pairs]


def test_reader_that_goes_away(tmp_path: Path) -> None:
    pairs = write(tmp_path / "pairs.jsonl", [row(n, RIGHT) for n in range(3000)])
    line = f"{sys.executable} -m coderm_sandbox run {pairs} --out - | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["id"] == 0
    assert done.stderr == ""


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_signals_leave_nothing(
    tmp_path: Path, isolation: str, number: signal.Signals, code: int, wait_until: Callable[..., bool],
    processes_with: Callable[[str], list[int]],
) -> None:  # fmt: skip
    mark = f"coderm-cli-{isolation}-{number}-{os.getpid()}"
    child = f"import time; time.sleep(60) # {mark}"
    solution = (
        f"import subprocess, sys, time\ndef f(x):\n    subprocess.Popen([sys.executable, '-c', {child!r}])\n"
    )
    rows = [row(n, solution + f"    time.sleep(60)  # {n}\n") for n in range(2)]
    pairs, out = write(tmp_path / "pairs.jsonl", rows), tmp_path / "out.jsonl"
    line = [sys.executable, "-m", "coderm_sandbox", "run", pairs, "--out", out, "--isolation", isolation]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [*map(str, line), "--timeout", "50"],
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    with process:
        assert process.stderr is not None
        assert wait_until(lambda: len(processes_with(mark)) >= 2)
        time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(20) == code
        assert b"Traceback" not in process.stderr.read()
    assert wait_until(lambda: not processes_with(mark))
    assert wait_until(lambda: not list(scratch.iterdir()))
    assert not out.exists()
    if number != signal.SIGKILL:
        assert sorted(tmp_path.iterdir()) == [pairs, scratch]


def test_help_shows_what_goes_in_and_comes_out() -> None:
    done = command("run", "--help")
    assert done.returncode == 0
    for word in ('"unit_test"', '"verdict"', "invalid_test", "exit code", "example"):
        assert word in done.stdout
