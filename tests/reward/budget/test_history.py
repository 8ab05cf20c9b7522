"""What is remembered of a prompt: decayed, once per visit, by all writers, across restarts and kills."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from coderm_reward.budget import HistoryEstimator
from coderm_reward.budget.beta import beta_difficulty
from coderm_reward.errors import ConfigError, OutputError
from coderm_reward.protocols import Evidence, LearningEstimator
from coderm_reward.types import Problem

PROBLEM = Problem("prompt", "question")
ALL_RIGHT, ALL_WRONG = (Evidence(rollouts=8, right=right, tests=8) for right in (8, 0))
"""Four trials each."""
WRITER = """
import sys
from coderm_reward.budget import HistoryEstimator
from coderm_reward.protocols import Evidence
from coderm_reward.types import Problem
history = HistoryEstimator(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    history.observe(Problem(f"p{number % 5}", ""), f"{sys.argv[2]}-{number}", Evidence(8, 8, 8))
    print(number, flush=True)
"""


def writer(path, name, count):
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def count_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM outcomes").fetchone()[0]


def test_a_prompt_never_seen_has_the_prior():
    history: LearningEstimator = HistoryEstimator(prior_mean=0.25, prior_strength=4.0)
    assert history.estimate(PROBLEM) == beta_difficulty(1.0, 3.0, "history")


def test_every_further_visit_halves_what_was_before():
    history = HistoryEstimator(decay=0.5)
    history.observe(PROBLEM, "first", ALL_RIGHT)
    assert history.estimate(PROBLEM) == beta_difficulty(1 + 4, 1, "history")
    history.observe(PROBLEM, "second", ALL_WRONG)
    assert history.estimate(PROBLEM) == beta_difficulty(1 + 2, 1 + 4, "history")
    history.observe(PROBLEM, "third", ALL_WRONG)
    assert history.estimate(PROBLEM) == beta_difficulty(1 + 1, 1 + 2 + 4, "history")
    assert history.estimate(Problem("other", "question")) == beta_difficulty(1, 1, "history")


@pytest.mark.parametrize(("decay", "right", "wrong"), [(1.0, 5.0, 5.0), (0.0, 1.0, 5.0)])
def test_decay_forgets_nothing_or_everything(decay, right, wrong):
    history = HistoryEstimator(decay=decay)
    history.observe(PROBLEM, "first", ALL_RIGHT)
    history.observe(PROBLEM, "second", ALL_WRONG)
    assert history.estimate(PROBLEM) == beta_difficulty(right, wrong, "history")


def test_a_group_seen_again_replaces_its_outcome_and_is_no_new_visit():
    history = HistoryEstimator()
    history.observe(PROBLEM, "first", ALL_RIGHT)
    history.observe(PROBLEM, "second", ALL_RIGHT)
    history.observe(PROBLEM, "first", ALL_WRONG)
    assert history.estimate(PROBLEM) == beta_difficulty(1 + 4, 1 + 2, "history")


def test_what_shows_nothing_teaches_nothing():
    history = HistoryEstimator()
    history.observe(PROBLEM, "first", ALL_RIGHT)
    for number, nothing in enumerate([Evidence(), Evidence(tests=4), Evidence(rollouts=8)]):
        history.observe(PROBLEM, f"nothing {number}", nothing)
    assert history.estimate(PROBLEM) == beta_difficulty(1 + 4, 1, "history")


def test_a_file_is_there_after_a_restart(tmp_path):
    for name, seen in (("first", ALL_RIGHT), ("second", ALL_WRONG), ("second", ALL_WRONG)):
        history = HistoryEstimator(tmp_path / "history.db")
        history.observe(PROBLEM, name, seen)
        history.close()
        history.close()
    with closing(HistoryEstimator(tmp_path / "history.db")) as again:
        assert again.estimate(PROBLEM) == beta_difficulty(1 + 2, 1 + 4, "history")


def test_two_writers_lose_nothing(tmp_path):
    path = tmp_path / "history.db"
    writers = [writer(path, name, 60) for name in ("one", "other")]
    for process in writers:
        assert process.stdout.readline() == "open\n"
    for process in writers:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert count_of(path) == 120


def test_a_kill_keeps_all_that_was_observed(tmp_path):
    path = tmp_path / "history.db"
    with writer(path, "killed", 100_000) as process:
        process.stdin.write("\n")
        process.stdin.flush()
        for _ in range(20):
            last = process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        last = process.stdout.read().split("\n")[-2:][0] or last
    with closing(HistoryEstimator(path)) as again:
        again.observe(PROBLEM, "after", ALL_RIGHT)
    assert count_of(path) - 1 >= int(last) + 1


def test_threads_share_one_estimator(tmp_path):
    with closing(HistoryEstimator(tmp_path / "history.db")) as history:
        with ThreadPoolExecutor(4) as threads:
            done = threads.map(lambda n: history.observe(PROBLEM, str(n % 40), ALL_RIGHT), range(80))
            assert len(list(done)) == 80
        assert history.estimate(PROBLEM).pass_rate > 0.85
    assert count_of(tmp_path / "history.db") == 40


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("not a database, and longer than a header of SQLite is " * 4)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"difficulty history .* name another file with --history"):
        HistoryEstimator(path)
    assert path.read_bytes() == before


def test_a_file_that_fails_later_costs_a_warning_and_not_the_run(tmp_path, caplog):
    history = HistoryEstimator(tmp_path / "history.db")
    with closing(sqlite3.connect(tmp_path / "history.db")) as other:
        other.execute("DROP TABLE outcomes")
    history.observe(PROBLEM, "first", ALL_RIGHT)
    assert history.estimate(PROBLEM) == beta_difficulty(1 + 4, 1, "history")
    assert caplog.text.count("going on without it") == 1
    history.close()


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ConfigError, match="history_decay must lie in"):
        HistoryEstimator(decay=decay)
