"""The benchmark scripts: each explains itself, and what they compute from is right."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"
PROGRAMS = sorted(path.name for path in BENCH.glob("*.py") if "__main__" in path.read_text("utf-8"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of scripts/bench by its name, as the scripts do among themselves."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def run(name: str, *arguments: str, data: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({} if data is None else {"CODERM_DATA": str(data)})}
    command = [sys.executable, str(BENCH / name), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_names_the_command_and_ends_well(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"{name} " in done.stdout


@pytest.mark.parametrize("name", ["sandbox.py", "workload.py"])
def test_missing_data_end_in_one_sentence(name: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "choice.json")] if name == "workload.py" else []
    done = run(name, *out, data=tmp_path / "nowhere")
    assert done.returncode == 1
    assert "CODERM_DATA" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_too_many_problems_are_refused_in_one_sentence(real_data: Path) -> None:
    done = run("sandbox.py", "--problems", "21", data=real_data)
    assert (done.returncode, done.stderr) == (1, "--problems must be between 1 and 20, not 21.\n")


def test_unprotected_executors_do_not_run_outside_a_sandbox() -> None:
    done = run("baselines.py", "exec")
    assert done.returncode == 1
    assert "unprotected" in done.stderr


def test_a_small_benchmark_runs_to_its_last_line(real_data: Path) -> None:
    few = ["--problems", "1", "--solutions", "2", "--tests", "2", "--repeat", "1", "--loops", "0"]
    done = run("sandbox.py", *few, "--timeout", "5", "--json", data=real_data)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["pairs"] == 4
    assert set(figures["disagreements"].values()) == {0}
    assert all(rate > 0 for rate in figures["pairs_per_s"].values())
    for name in ("ratio_vs_process_per_pair", "ratio_vs_raw", "rss_mb", "ready_s"):
        assert figures[name] > 0


def test_a_small_budget_benchmark_runs_to_its_last_line() -> None:
    done = run("budget.py", "--prompts", "300", "--repeat", "1", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["prompts"] == 300
    for name in ("greedy_best_of_n_s", "greedy_advantage_s", "price_best_of_n_us", "price_advantage_us"):
        assert figures[name] > 0
    assert 0 < figures["peak_mb"] < 500


def test_a_small_soak_finds_every_verdict_as_expected() -> None:
    done = run("soak.py", "--pairs", "100", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["pairs"], figures["wrong_verdicts"], figures["unknown"]) == (100, 0, 0)
    assert figures["measures"]["processes"]["end"] > 0


def test_a_small_load_on_a_scripted_model_server_runs_to_its_last_line() -> None:
    few = ["--requests", "64", "--in-flight", "8", "--latency", "0.05", "--stall", "0.5", "--repeat", "1"]
    done = run("generation.py", "--part", "client", *few, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    for name in ("client", "client_beside_stall"):
        measured = figures[name]
        assert 0 < measured["in_flight_server"] <= 9
        assert measured["in_flight_client"] > 0
        assert measured["cpu_ms_per_request"] > 0
    assert figures["client_beside_stall"]["stalled_s"] >= 0.5


def test_too_few_requests_for_a_figure_are_refused() -> None:
    done = run("generation.py", "--requests", "100")
    assert done.returncode == 2
    assert "6 times --in-flight" in done.stderr


def test_the_ceiling_is_what_the_loops_leave(script: Callable[[str], ModuleType]) -> None:
    ceiling = script("figures").ceiling
    assert ceiling(2000, 0, 1.0, 500.0) == 500.0
    assert ceiling(2000, 20, 1.0, 990.0) == pytest.approx(2000 / (20 + 2))


def test_percentiles_are_values_that_occurred(script: Callable[[str], ModuleType]) -> None:
    percentile = script("figures").percentile
    values = [float(value) for value in range(20, 0, -1)]
    assert [percentile(values, share) for share in (50, 95, 100)] == [10.0, 19.0, 20.0]
    assert percentile([], 50) == 0.0


def test_a_missing_verdict_never_agrees(script: Callable[[str], ModuleType]) -> None:
    verdicts = ["pass", "fail", "timeout", "unknown", "pass", "fail"]
    reference = ["pass", "timeout", "fail", "fail", "fail", "pass"]
    assert script("figures").disagreements(verdicts, reference) == [3, 4, 5]


def test_a_disagreement_in_any_round_is_named_once(script: Callable[[str], ModuleType]) -> None:
    run, problem = script("executors").Run, script("workload").Problem
    said = (["pass", "fail"], ["fail", "fail"], ["fail", "timeout"])
    rounds = [run(verdicts, [0.1, 0.1], [0.2], 0.2) for verdicts in said]
    problems = [problem("A", ("s",), ("t", "u"))]
    assert script("comparison").compared({"pool": rounds}, ["pass", "fail"], problems) == {
        "pool": ["A solution 0 test 0: pool, 1 worker says fail, the reference pass"]
    }


def test_growth_after_the_warm_up_is_not_flat(script: Callable[[str], ModuleType]) -> None:
    figures = script("figures")
    assert figures.flat([1.0, 5.0, 9.0, 9.0, 9.0, 9.2, 9.1, 9.0, 9.3], 0.5)
    assert not figures.flat([float(value) for value in range(9)], 0.5)
    assert figures.slope([0.0, 1.0, 2.0], [3.0, 5.0, 7.0]) == pytest.approx(2.0)


def test_a_table_is_markdown_with_columns_of_one_width(script: Callable[[str], ModuleType]) -> None:
    lines = script("figures").table(("name", "n"), [("a longer name", "1"), ("b", "1000")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.count("|") for line in lines] == [3, 3, 3, 3]


def test_texts_that_differ_in_form_alone_are_one(script: Callable[[str], ModuleType]) -> None:
    texts = [
        'def f(x):\n    """Double."""\n    return 2*x\n',
        "def f(x):\n    return 2 * x  # doubled\n",
        "def f(x:\n",
        "def f(x):\n    return x * 2\n",
    ]
    assert script("workload").distinct(texts) == [0, 3]


def test_the_choice_takes_tests_that_many_pass_and_solutions_that_pass_them(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = script("workload")
    monkeypatch.setattr(workload, "TESTS", 2)
    monkeypatch.setattr(workload, "SOLUTIONS", 3)
    monkeypatch.setattr(workload, "PASSING", 2)
    passes = {0: {7}, 1: {5}, 2: {5, 8}, 3: {5, 8}, 4: set[int]()}
    assert workload.best(passes, [5, 6, 7, 8]) == ([0, 2, 3], [5, 8])


def test_the_chosen_pairs_are_distinct_and_whole(
    script: Callable[[str], ModuleType], real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODERM_DATA", str(real_data))
    workload = script("workload")
    problems = workload.load()
    assert [len(problems), {(len(p.solutions), len(p.tests)) for p in problems}] == [20, {(10, 10)}]
    assert all(len(workload.distinct(texts)) == 10 for p in problems for texts in (p.solutions, p.tests))
    part = workload.load(2, 3, 4)
    assert part == [workload.Problem(p.name, p.solutions[:3], p.tests[:4]) for p in problems[:2]]


def test_other_data_are_noticed(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = script("workload")
    rows: dict[str, dict[str, Any]] = {
        "solutions": {"solutions": ["f = 1"]},
        "unit_tests": {"unit_tests": [{"unittest": "g = 1"}]},
    }
    for name, row in rows.items():
        path = tmp_path / workload.DATA / f"{name}.jsonl.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps({"task_id": "A", **row}).encode()))
    monkeypatch.setenv("CODERM_DATA", str(tmp_path))
    with pytest.raises(workload.DataError, match="other texts"):
        workload.load()


SOLUTION = 'def f(a, b):\n    """Add."""\n    return a + b\n'


def a_class(*calls: str) -> str:
    lines = [f"        assert {call} == 0" for call in calls]
    return "\n".join(["import unittest", "class T(unittest.TestCase):", "    def test_a(self):", *lines, ""])


def test_a_loop_is_for_the_inputs_of_one_class(script: Callable[[str], ModuleType]) -> None:
    text = script("loops").with_loop(SOLUTION, "([1], 'x')")
    assert text == (
        'def f(a, b):\n    """Add."""\n    if (a, b,) == ([1], \'x\'):\n        while True:\n'
        "            pass\n    return a + b\n"
    )


@pytest.mark.parametrize(
    "solution",
    [
        "x = 1\n",
        "def f(*a):\n    return 1\n",
        "def f(a):\n    return 1\n",
        "def f(a, b):\n    return f(b, a)\n",
        "def f(a, b): return a\n",
        'def f(a, b):\n    """Nothing."""\n',
    ],
)
def test_no_loop_where_it_would_not_be_alone(solution: str, script: Callable[[str], ModuleType]) -> None:
    assert script("loops").with_loop(solution, "(1, 2)") is None


def test_inputs_that_two_classes_share_are_not_used(script: Callable[[str], ModuleType]) -> None:
    loops, problem = script("loops"), script("workload").Problem
    tests = (a_class("f(1, 2)"), a_class("f(3, 4)", "f(1, 2)"), a_class("f(x, 5)"))
    found = [loop for loop, _ in loops.candidates(problem("A", (SOLUTION,), tests))]
    assert found == [(0, 1)]


def test_loops_are_spread_and_confirmed(script: Callable[[str], ModuleType]) -> None:
    loops, problem = script("loops"), script("workload").Problem
    tests = tuple(a_class(f"f({number}, 0)") for number in range(3))
    solutions = (SOLUTION, SOLUTION.replace("a + b", "b + a"))
    problems = [problem("A", solutions, tests), problem("B", solutions, tests)]

    def reference(part: Any) -> list[str]:
        (text,), name = part.solutions, part.name
        hanging = next(number for number in range(3) if f"({number}, 0)" in text)
        verdicts = ["timeout" if number == hanging else "fail" for number in range(3)]
        return ["fail"] * 3 if (name, hanging) == ("A", 0) else verdicts

    chosen = loops.choose_loops(problems, 3, reference)
    assert [sorted(own) for own in chosen] == [[(0, 1), (1, 1)], [(0, 1)]]
    assert loops.with_loops(problems[1], chosen[1]).solutions != solutions
    assert [loops.loops_wanted(*case) for case in ((2000, 1.0), (30, 1.0), (30, 0.0))] == [20, 1, 0]


def test_a_soak_knows_its_verdicts(script: Callable[[str], ModuleType]) -> None:
    soak = script("soak")
    share = [soak.expected(number, test) for number in range(10) for test in range(10)]
    assert share.count(True) == 84
    assert len({soak.solution(group, number) for group in range(3) for number in range(10)}) == 30
    assert len({soak.test_class(group, number) for group in range(3) for number in range(10)}) == 30


def test_descendants_are_found_at_any_depth(script: Callable[[str], ModuleType]) -> None:
    inner = "subprocess.Popen(['cat'], stdin=subprocess.PIPE)"
    code = f"import subprocess, sys; {inner}; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in script("soak").descendants(os.getpid())
        assert len(script("soak").descendants(child.pid)) == 1
