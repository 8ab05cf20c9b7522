"""`generate`, and `score` with a model, as a user runs them: the real command against a scripted server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coderm_reward.cli import console, main
from coderm_reward.data.records import GroupRecord, read_records
from coderm_reward.generation.scripted_server import Act, Asked, Script, ScriptedServer

COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
HANG = 120.0
MODEL = "KAKA22/CodeRM-8B"
PROMPTS = [f"Write a function `add_{k}(x)` that adds {k} to a number." for k in range(3)]
N = 4


class Done(NamedTuple):
    code: int
    out: str
    err: str


def response(k: int, seed: int) -> str:
    """A test of add_k that is right, with values that follow from the seed."""
    x = seed % 1000
    return (
        "Sure:\n```python\nimport unittest\n\nclass TestAdd(unittest.TestCase):\n"
        f"    def test_{x}(self):\n        self.assertEqual(add_{k}({x}), {x + k})\n```\n"
    )


def answer(asked: Asked) -> Act:
    (k,) = [k for k in range(len(PROMPTS)) if PROMPTS[k] in asked.prompt]
    return Act(texts=tuple(response(k, (asked.seed or 0) + i) for i in range(asked.n)))


class Cut:
    """Answers so many requests, then none until it is mended."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.mended = False

    def __call__(self, asked: Asked) -> Act:
        return answer(asked) if self.mended or asked.number < self.answers else Act(stall=True)


class Shell:
    """Runs the command in a folder that holds a dump; URL in an argument stands for the server's.

    The server lives in a thread of its own. `run` calls the command in this process, which is quick; `start`
    makes a process of it, to be killed or to watch its server die.
    """

    def __init__(self, server: ScriptedServer, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.folder = folder
        self._loop = loop

    def run(self, *arguments: object) -> Done:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["coderm-reward", *self._words(arguments)])
            patch.setattr(console.out, "width", 200)
            patch.setenv("NO_PROXY", "127.0.0.1")
            logged = logging.StreamHandler(io.StringIO())
            logging.getLogger("coderm_reward").addHandler(logged)
            out, err = io.StringIO(), io.StringIO()
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                logging.getLogger("coderm_reward").removeHandler(logged)
        return Done(code, out.getvalue(), logged.stream.getvalue() + err.getvalue())

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        env = {**os.environ, "COLUMNS": "200", "NO_PROXY": "127.0.0.1"}
        command = [*COMMAND, *self._words(arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=env, stdout=pipe, stderr=pipe, text=True)

    def finish(self, process: subprocess.Popen[str]) -> Done:
        out, err = process.communicate(timeout=HANG)
        assert "Traceback" not in err + out, err
        return Done(process.returncode, out, err)

    def until(self, condition: Callable[[], bool]) -> None:
        self._in_server(self.server.until(condition))

    def stop_server(self) -> None:
        self._in_server(self.server.stop())

    def start_server(self) -> None:
        self._in_server(self.server.start())

    def records(self, name: str = "o.groups.jsonl") -> list[GroupRecord]:
        return list(read_records(self.folder / name))

    def tests(self, name: str = "tests.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text("utf-8").splitlines()]

    def _words(self, arguments: Sequence[object]) -> list[str]:
        return [str(argument).replace("URL", self.server.url) for argument in arguments]

    def _in_server(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(HANG)


@contextlib.contextmanager
def shell_in(folder: Path, script: Script = answer, **serve: Any) -> Iterator[Shell]:
    """A folder with a dump of nine rollouts of three prompts, and a server in a thread."""
    rows = [
        {
            "prompt": prompt,
            "task_id": f"t/{k}",
            "response": f"def add_{k}(x):\n    return {body}\n",
        }
        for k, prompt in enumerate(PROMPTS)
        for body in (f"x + {k}", f"x - {k} - 1", f"x+{k}  # the same")
    ]
    (folder / "dump.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"question": p}) + "\n" for p in PROMPTS))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    shell = Shell(ScriptedServer(script, **{"models": [MODEL], **serve}), folder, loop)
    try:
        shell.start_server()
        yield shell
        shell.stop_server()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(HANG)
        loop.close()


GENERATE = ("generate", "dump.jsonl", "--base-url", "URL/v1", "--n", N, "--store", "suites.db")
SCORE = ("score", "dump.jsonl", "--n", N, "--out", "o.jsonl")


def row(done: Done, name: str) -> str:
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.out.splitlines()]
    (value,) = [cell[1] for cell in cells if cell[0] == name]
    return value


def scores(shell: Shell, name: str = "o.jsonl") -> list[float]:
    return [r["coderm_score"] for r in shell.tests(name)]


def test_prompts_become_tests_and_tests_rewards(tmp_path: Path) -> None:
    with shell_in(tmp_path) as shell:
        done = shell.run(*GENERATE)
        assert done.code == 0, done.err
        assert "0 of 12 responses are there already" in done.err
        assert (row(done, "prompts"), row(done, "responses")) == ("3", "12 new")
        assert "tests/s" in row(done, "seconds")
        assert "tokens/s" in row(done, "seconds")
        written = shell.tests()
        assert [len(suite["responses"]) for suite in written] == [N] * 3
        assert {suite["task_id"] for suite in written} == {"t/0", "t/1", "t/2"}
        assert len(shell.server.asked) == 12

        scored = shell.run(*SCORE, "--tests", "tests.jsonl")
        assert scored.code == 0, scored.err
        assert scores(shell) == [1.0, 0.0, 1.0] * 3
        prompted = {name for record in shell.records() for test in record.tests for name in test.prompted_by}
        assert len(prompted) == 6  # two distinct programs of each prompt took turns

        again = shell.run(*GENERATE)
        assert (again.code, row(again, "responses"), len(shell.server.asked)) == (0, "0 new", 12)


def test_a_list_of_prompts_without_solutions_will_do(tmp_path: Path) -> None:
    with shell_in(tmp_path) as shell:
        done = shell.run("generate", "prompts.jsonl", "--base-url", "URL", "--n", 1)
        assert done.code == 0, done.err
        assert len(shell.tests()) == 3
        assert not any("solution\n" in asked.prompt for asked in shell.server.asked)


def test_score_generates_what_is_missing_while_it_runs_what_is_there(tmp_path: Path) -> None:
    with shell_in(tmp_path) as shell:
        assert (shell.run(*GENERATE[:5], 2, *GENERATE[6:])).code == 0
        done = shell.run(*SCORE, "--base-url", "URL", "--store", "suites.db", "--exclude-own-tests")
        assert done.code == 0, done.err
        assert "6 of 12 responses are there already" in done.err
        assert len(shell.server.asked) == 12
        assert scores(shell) == [1.0, 0.0, 1.0] * 3
        for name in ("seconds generating", "seconds executing", "seconds both at once"):
            assert float(row(done, name)) >= 0
        for record in shell.records():
            assert (record.budget.planned, record.budget.spent) == (N, N)
            assert record.completion_tokens > 0 < record.prompt_tokens
            assert record.generator.startswith(f"{MODEL} template=coderm:")
        truth = [{"task_id": f"t/{k}", "passed": [1, 0, 1]} for k in range(3)]
        (tmp_path / "truth.jsonl").write_text("".join(json.dumps(one) + "\n" for one in truth))
        evaluate = ("evaluate", "o.jsonl", "--truth", "truth.jsonl", "--json")
        tables = [shell.run(*evaluate, *option).out.splitlines()[-1] for option in ((), ("--own-tests",))]
        pairs = [json.loads(table)["class_pairs"] for table in tables]
        assert pairs == [18.0, 36.0]  # each of two behaviours prompted half of the tests


def test_the_sandbox_is_at_work_while_the_server_has_not_answered_yet(tmp_path: Path) -> None:
    """Half of the responses are there and the server holds back the rest until their verdicts are known."""
    cut = Cut(6)
    verdicts = tmp_path / "verdicts.db"

    def known() -> int:
        import sqlite3

        try:
            with sqlite3.connect(f"file:{verdicts}?mode=ro", uri=True) as connection:
                return int(connection.execute("SELECT count(*) FROM verdicts").fetchone()[0])
        except sqlite3.Error:
            return 0

    with shell_in(tmp_path, cut) as shell:
        process = shell.start(*SCORE, "--base-url", "URL", "--verdict-cache", "verdicts.db")
        shell.until(lambda: len(shell.server.asked) == 12)
        while process.poll() is None and not known():  # another process's work: there is no event to wait for
            time.sleep(0.05)
        assert process.poll() is None
        cut.mended = True
        shell.stop_server()
        shell.start_server()
        done = shell.finish(process)
        assert float(row(done, "seconds both at once")) > 0


def test_a_server_that_dies_loses_nothing_and_the_rest_comes_later(tmp_path: Path) -> None:
    cut = Cut(5)

    with shell_in(tmp_path, cut) as shell:
        process = shell.start(*GENERATE)
        shell.until(lambda: len(shell.server.asked) == 12)
        shell.until(lambda: shell.server.in_flight == 7)
        shell.stop_server()
        died = shell.finish(process)
        assert died.code == 4, died.err
        assert died.err.splitlines()[-1].startswith("error: 7 responses are missing (7 failed_connection)")
        assert "give the same command again" in died.err
        arrived = {r["seed"] for suite in shell.tests() for r in suite["details"]}
        assert len(arrived) == 5

        refused = shell.run(*GENERATE)
        assert refused.code == 4
        assert "127.0.0.1" in refused.err.splitlines()[-1]

        cut.mended = True
        shell.start_server()
        done = shell.run(*GENERATE)
        assert done.code == 0, done.err
        assert "5 of 12 responses are there already" in done.err
        assert not arrived & {asked.seed for asked in shell.server.asked[12:]}
        assert len(shell.server.asked) == 12 + 7
        assert sum(len(suite["responses"]) for suite in shell.tests()) == 12


@pytest.mark.slow
def test_score_survives_the_death_of_its_server_and_goes_on_with_resume(tmp_path: Path) -> None:
    cut = Cut(5)
    model = (*SCORE, "--base-url", "URL", "--store", "suites.db")

    with shell_in(tmp_path, cut) as shell:
        process = shell.start(*model)
        shell.until(lambda: shell.server.in_flight == 7)
        shell.stop_server()
        died = shell.finish(process)
        assert died.code == 4, died.err
        assert "go on with --resume" in died.err.splitlines()[-1]
        assert len(scores(shell)) == 9
        kept = sum(record.budget.spent for record in shell.records())
        assert kept == 5

        alone = shell.run(*SCORE[:-1], "alone.jsonl", "--store", "suites.db")
        assert alone.code == 0, alone.err
        assert "7 responses for" in alone.err
        assert sum(r.budget.spent for r in shell.records("alone.groups.jsonl")) == 5

        cut.mended = True
        shell.start_server()
        done = shell.run(*model, "--resume")
        assert done.code == 0, done.err
        assert len(shell.server.asked) == 12 + 7
        assert scores(shell) == [1.0, 0.0, 1.0] * 3
        assert [record.budget.spent for record in shell.records()] == [N] * 3

        complete = shell.run(*model, "--resume")
        assert "3 of 3 groups are recorded already" in complete.err
        assert len(shell.server.asked) == 12 + 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_keeps_what_arrived(tmp_path: Path, number: signal.Signals) -> None:
    cut = Cut(5)

    with shell_in(tmp_path, cut) as shell:
        process = shell.start(*GENERATE)
        shell.until(lambda: shell.server.in_flight == 7)
        while len(stored(tmp_path)) < 5:  # appended by another process
            time.sleep(0.02)
        process.send_signal(number)
        stopped = shell.finish(process)
        assert stopped.code == (-9 if number == signal.SIGKILL else 128 + number), stopped.err
        if number != signal.SIGKILL:
            assert "the 5 responses that arrived in this run are kept in suites.db" in stopped.err
        cut.mended = True
        done = shell.run(*GENERATE)
        assert done.code == 0, done.err
        assert "5 of 12 responses are there already" in done.err
        assert len(shell.server.asked) == 12 + 7


def stored(folder: Path) -> list[str]:
    from coderm_reward.errors import CodermError
    from coderm_reward.generation.store import SuiteStore

    try:
        with SuiteStore.open(folder / "suites.db", read_only=True) as store:
            return [r.text for suite in store.suites() for r in suite.responses]
    except CodermError:
        return []


@pytest.mark.slow
def test_two_generators_share_a_store_and_never_mix(tmp_path: Path) -> None:
    with shell_in(tmp_path) as shell:
        assert (shell.run(*GENERATE)).code == 0
        assert (shell.run(*GENERATE, "--temperature", 1.0, "--out", "hot.jsonl")).code == 0
        assert len(shell.server.asked) == 24
        assert [s["generator"] for s in shell.tests()] != [s["generator"] for s in shell.tests("hot.jsonl")]
        hot = shell.run(*SCORE, "--store", "suites.db", "--temperature", 1.0)
        assert hot.code == 0, hot.err
        assert {record.generator for record in shell.records()} == {
            s["generator"] for s in shell.tests("hot.jsonl")
        }
        neither = shell.run(*SCORE, "--store", "suites.db", "--temperature", 0.5, "--overwrite")
        assert neither.code == 2
        assert "temperature=0.8" in neither.err.splitlines()[-1]
        assert "temperature=1.0" in neither.err.splitlines()[-1]


def test_prompts_that_are_too_long_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    with shell_in(tmp_path, context=300) as shell:
        with (tmp_path / "dump.jsonl").open("a") as file:
            file.write(json.dumps({"prompt": "word " * 400, "task_id": "long", "response": "x = 1"}) + "\n")
        done = shell.run(*GENERATE, "--max-tokens", 100)
        assert done.code == 0, done.err
        assert "prompt long: " in done.err
        assert "4 failed_too_long" in row(done, "dropped")
        assert len(shell.tests()) == 3


BAD: dict[str, tuple[dict[str, Any], tuple[object, ...], int, list[str]]] = {
    "a wrong URL": ({}, ("--base-url", "http://127.0.0.1:9/v1"), 4, ["http://127.0.0.1:9"]),
    "no URL at all": ({}, ("--base-url", "nonsense"), 2, ["nonsense"]),
    "a wrong model": ({}, ("--base-url", "URL", "--model", "gpt-9"), 4, ["gpt-9", MODEL]),
    "a page of HTML": (
        {"listing": Act(body=b"<html>hello</html>")},
        ("--base-url", "URL"),
        4,
        ["127.0.0.1"],
    ),
    "empty choices": ({"script": Act(choices=0)}, ("--base-url", "URL"), 4, ["failed_malformed"]),
    "no key": ({"api_key": "secret"}, ("--base-url", "URL"), 4, ["127.0.0.1"]),
    "n=0": ({}, ("--base-url", "URL", "--n", 0), 2, ["--n 0 asks for no unit tests"]),
    "nobody to ask": ({}, (), 2, ["--base-url"]),
    "a server and an engine": ({}, ("--base-url", "URL", "--engine", "vllm"), 2, ["give one"]),
    "an engine that is not installed": ({}, ("--engine", "vllm"), 4, ["vllm"]),
    "an unknown engine": ({}, ("--engine", "tgi"), 2, ["tgi", "vllm"]),
    "an unknown template": ({}, ("--base-url", "URL", "--template", "chat"), 2, ["chat", "coderm"]),
    "no room for a prompt": ({}, ("--base-url", "URL", "--max-tokens", 4096), 2, ["4096", "context"]),
    "a store that is none": ({}, ("--base-url", "URL", "--store", "dump.jsonl"), 2, ["dump.jsonl"]),
    "a store in no folder": ({}, ("--base-url", "URL", "--store", "/proc/no/s.db"), 2, ["/proc/no/s.db"]),
}


@pytest.mark.parametrize("command", ["generate", "score"])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_sentence(tmp_path: Path, name: str, command: str) -> None:
    serve, options, code, said = BAD[name]

    with shell_in(tmp_path, **{"script": answer, **serve}) as shell:
        before = (tmp_path / "dump.jsonl").read_bytes()
        out = ("--out", "o.jsonl")
        failed = shell.run(command, "dump.jsonl", *out, *options)
        assert failed.code == code, failed.err
        last = failed.err.splitlines()[-1]
        assert [line for line in failed.err.splitlines() if line.startswith("error: ")] == [last]
        for text in said if (name, command) != ("empty choices", "score") else ["--resume"]:
            assert text in last
        assert (tmp_path / "dump.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tests", "t.jsonl", "--base-url", "URL"), "give one of them"),
        (("--tests", "t.jsonl", "--store", "s.db"), "give one of them"),
        (("--store", "s.db"), "s.db"),
    ],
)
def test_score_takes_its_tests_from_one_place(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    with shell_in(tmp_path) as shell:
        failed = shell.run(*SCORE, *options)
        assert failed.code == 2
        assert said in failed.err.splitlines()[-1]


def test_a_store_without_tests_for_these_prompts_says_so(tmp_path: Path) -> None:
    with shell_in(tmp_path) as shell:
        assert (shell.run(*GENERATE)).code == 0
        (tmp_path / "other.jsonl").write_text(
            json.dumps({"prompt": "Write g(x).", "response": "x = 1"}) + "\n"
        )
        failed = shell.run("score", "other.jsonl", "--out", "o.jsonl", "--store", "suites.db")
        assert failed.code == 2
        assert "suites.db has no tests for these prompts" in failed.err.splitlines()[-1]
