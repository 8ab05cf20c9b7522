"""What is kept and for whom, in memory and in a file that others use at the same time."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from coderm_reward.errors import OutputError
from coderm_reward.execution.cache import (
    KnownResult,
    MemoryCache,
    VerdictCache,
    circumstances,
    is_lasting,
    key_of_test,
)
from coderm_reward.execution.cache_file import FileCache, open_cache
from coderm_sandbox import Limits, Outcome, Test, TestResult


def digits(number: int) -> str:
    """An identity, or a key, as it is written."""
    return f"{number:032x}"


TEST = Test("class T: ...", "T", ("T.test_a", "T.test_b"), ("T.test_b",))
PASS_RESULT = TestResult(
    Outcome.PASS,
    {"T.test_a": Outcome.PASS, "T.test_b": Outcome.INVALID_TEST},
    judge="handle",
    seconds=0.25,
    detail="d",
)
PASSED = KnownResult.of(PASS_RESULT)
FAILED = KnownResult(Outcome.FAIL, (Outcome.FAIL, Outcome.INVALID_TEST), "apart", 0.5, "T.test_a: 0 != 1")
A, B, C = map(digits, range(3))


@pytest.fixture(params=["memory", "file"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VerdictCache]:
    made = open_cache("memory" if request.param == "memory" else str(tmp_path / "verdicts"))
    assert made is not None
    yield made
    made.close()


def test_results_come_back_whole_and_only_for_what_was_asked(cache: VerdictCache) -> None:
    cache.add({(A, A): PASSED, (A, B): FAILED, (B, A): FAILED})
    assert cache.find([A], [A, B, C]) == {(A, A): PASSED, (A, B): FAILED}
    assert cache.find([C], [A]) == cache.find([], [A]) == cache.find([A], []) == {}


def test_the_first_verdict_stands(cache: VerdictCache) -> None:
    cache.add({(A, A): PASSED})
    cache.add({(A, A): FAILED})
    assert cache.find([A], [A]) == {(A, A): PASSED}


def test_more_tests_than_one_query_takes(cache: VerdictCache) -> None:
    tests = list(map(digits, range(1203)))
    cache.add({(A, test): PASSED for test in tests})
    assert len(cache.find([A, B], tests)) == 1203


def test_text_that_no_file_can_hold_is_kept_as_the_records_keep_it(cache: VerdictCache) -> None:
    cache.add({(A, A): KnownResult.of(replace(PASS_RESULT, detail="x\ud800y"))})
    assert cache.find([A], [A])[A, A].detail == "x\ufffdy"


def test_a_closed_cache_knows_nothing(cache: VerdictCache) -> None:
    cache.add({(A, A): PASSED})
    cache.close()
    cache.close()
    assert cache.find([A], [A]) == {}


def test_memory_forgets_what_was_not_asked_for_longest() -> None:
    cache = MemoryCache(entries=2)
    cache.add({(A, A): PASSED, (B, A): PASSED})
    cache.find([A], [A])
    cache.add({(C, A): PASSED})
    assert len(cache) == 2
    assert set(cache.find([A, B, C], [A])) == {(A, A), (C, A)}


def test_off_is_no_cache() -> None:
    assert open_cache("off") is None


@pytest.mark.parametrize("outcome", Outcome)
def test_what_speaks_of_the_moment_does_not_last(outcome: Outcome) -> None:
    momentary = outcome in (Outcome.TIMEOUT, Outcome.MEMORY, Outcome.UNKNOWN)
    assert is_lasting(TestResult(outcome, {"T.test_a": outcome})) != momentary
    mixed = TestResult(Outcome.FAIL, {"T.test_a": Outcome.FAIL, "T.test_b": outcome})
    assert is_lasting(mixed) != momentary


def test_assumed_and_repeated_results_do_not_last() -> None:
    assert is_lasting(PASS_RESULT)
    assert not is_lasting(replace(PASS_RESULT, assumed=1))
    assert not is_lasting(replace(PASS_RESULT, retried=True))


def test_a_kept_result_is_given_back_as_it_was() -> None:
    assert PASSED.result(TEST) == PASS_RESULT


def test_a_method_that_a_class_defines_twice_is_kept_once() -> None:
    twice = replace(TEST, methods=("T.test_a", "T.test_a", "T.test_b"))
    assert PASSED.result(twice) == PASS_RESULT


WHERE = circumstances(Limits(), "bubblewrap", "/usr/bin/python3 3.11.2")


@pytest.mark.parametrize(
    "other",
    [
        replace(TEST, source="class T: pass"),
        replace(TEST, class_name="U"),
        replace(TEST, class_name=None),
        replace(TEST, methods=("T.test_a",)),
        replace(TEST, skipped=()),
    ],
)
def test_everything_about_a_test_is_part_of_its_key(other: Test) -> None:
    assert key_of_test(other, WHERE) != key_of_test(TEST, WHERE)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_every_limit_is_part_of_the_circumstances(name: str) -> None:
    other = replace(Limits(), **{name: getattr(Limits(), name) + 1})
    assert circumstances(other, "bubblewrap", "/usr/bin/python3 3.11.2") != WHERE


def test_isolation_interpreter_and_sandbox_version_are_part_of_the_circumstances() -> None:
    python = "/usr/bin/python3 3.11.2"
    others = [
        circumstances(Limits(), "none", python),
        circumstances(Limits(), "bubblewrap", python.replace("11", "12")),
        circumstances(Limits(), "bubblewrap", python, version="another"),
    ]
    assert len({WHERE, *others}) == 4


def test_a_file_keeps_results_over_runs_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for expected in ({}, {(A, A): PASSED}):
        cache = FileCache(tmp_path / "verdicts")
        assert cache.find([A], [A]) == expected
        cache.add({(A, A): PASSED})
        cache.close()
    assert [path.name for path in tmp_path.iterdir()] == ["verdicts"]


OPENER = """
import sys
from pathlib import Path
from coderm_reward.execution.cache_file import FileCache
print("ready", flush=True)
for line in sys.stdin:
    FileCache(Path(line.strip())).close()
    print("done", flush=True)
"""


def test_two_processes_may_make_a_file_at_the_same_time(tmp_path: Path) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]

    def heard() -> list[str]:
        return [opener.stdout.readline().strip() for opener in openers if opener.stdout is not None]

    try:
        assert heard() == ["ready", "ready"]
        for number in range(60):  # in one of ten, one of them saw half of what the other made
            for opener in openers:
                assert opener.stdin is not None
                opener.stdin.write(f"{tmp_path / str(number)}\n")
                opener.stdin.flush()
            assert heard() == ["done", "done"]
    finally:
        for opener in openers:
            opener.communicate(timeout=60)
    assert [opener.returncode for opener in openers] == [0, 0]


WRITER = """
import sys
from pathlib import Path
from coderm_reward.execution.cache import KnownResult
from coderm_reward.execution.cache_file import FileCache
from coderm_sandbox import Outcome
path, offset = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
cache = FileCache(path)
passed, failed = (KnownResult(outcome, (), "apart", 0.0, "") for outcome in (Outcome.PASS, Outcome.FAIL))
for step in range(100):
    own, shared = "%032x" % (offset + step), "%032x" % step
    cache.add({(own, own): passed, (shared, "%032x" % 1): failed})
    assert cache.find([own, shared], [own, "%032x" % 1])[own, own] == passed
cache.close()
"""


def test_two_processes_make_and_fill_one_file_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "verdicts")]
    writers = [
        subprocess.Popen(
            [*command, str(offset)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for offset in (1000, 2000)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert (writer.returncode, said) == (0, b"")
    cache = FileCache(tmp_path / "verdicts")
    own = [digits(offset + step) for offset in (1000, 2000) for step in range(100)]
    shared = [digits(step) for step in range(100)]
    assert len(cache.find([*own, *shared], [*own, B])) == 300
    cache.close()


def not_a_database(path: Path) -> None:
    path.write_bytes(b"These are my notes, and no verdicts.\n" * 200)


def of_another_kind(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()


def newer(path: Path) -> None:
    FileCache(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def filled(path: Path) -> None:
    cache = FileCache(path)
    cache.add({(digits(n), A): PASSED for n in range(500)})
    cache.close()


def cut_off(path: Path) -> None:
    filled(path)
    path.write_bytes(path.read_bytes()[:9000])


def overwritten(path: Path) -> None:
    filled(path)
    data = bytearray(path.read_bytes())
    data[8192:12288] = b"\xff" * 4096
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "not a database": (not_a_database, "no verdict cache"),
    "a database of another kind": (of_another_kind, "another kind"),
    "a newer version": (newer, "newer version"),
    "cut off": (cut_off, "damaged"),
    "overwritten": (overwritten, "damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_cannot_be_used_is_one_clear_error_and_stays_as_it_is(tmp_path: Path, name: str) -> None:
    damage, said = DAMAGE[name]
    path = tmp_path / "verdicts"
    damage(path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=said) as error:
        open_cache(str(path))
    assert "--verdict-cache" in str(error.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["no/such/folder/verdicts", "."])
def test_a_place_where_no_file_can_be_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="cannot be opened"):
        open_cache(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "verdicts"
    path.touch()
    cache = FileCache(path)
    cache.add({(A, A): PASSED})
    assert cache.find([A], [A]) == {(A, A): PASSED}
    cache.close()


def test_a_file_that_fails_in_use_costs_a_warning_and_no_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "verdicts"
    cache = FileCache(path)
    cache.add({(A, A): PASSED, (B, A): PASSED})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE verdicts SET result = ? WHERE solution = ?", (b"{", bytes.fromhex(B)))
    connection.close()
    with caplog.at_level(logging.WARNING, "coderm_reward"):
        assert cache.find([A, B], [A]) == {(A, A): PASSED}
        assert cache.find([A, B], [A]) == {}
        cache.add({(C, A): PASSED})
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    cache.close()


VOTING = replace(TEST, votes=(2, 1))
VOTED = replace(
    PASS_RESULT, votes={"T.test_a": (Outcome.PASS, Outcome.PASS), "T.test_b": (Outcome.INVALID_TEST,)}
)


def test_votes_come_back_and_what_has_none_is_read_as_before(cache: VerdictCache) -> None:
    cache.add({(A, A): KnownResult.of(VOTED), (A, B): PASSED})
    found = cache.find([A], [A, B])
    assert found[A, A].result(VOTING) == VOTED
    assert found[A, B].result(TEST) == PASS_RESULT


def test_verdicts_with_and_without_votes_do_not_mix() -> None:
    where = circumstances(Limits(), "bubblewrap", "python")
    assert key_of_test(VOTING, where) != key_of_test(TEST, where)
    assert key_of_test(replace(VOTING, votes=(1, 2)), where) != key_of_test(VOTING, where)


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.MEMORY, Outcome.UNKNOWN])
def test_a_vote_of_the_moment_is_not_kept(outcome: Outcome) -> None:
    failed = replace(VOTED, outcome=Outcome.FAIL, methods={"T.test_a": Outcome.FAIL})
    assert is_lasting(replace(failed, votes={"T.test_a": (Outcome.FAIL, Outcome.PASS)}))
    assert not is_lasting(replace(failed, votes={"T.test_a": (Outcome.FAIL, outcome)}))
