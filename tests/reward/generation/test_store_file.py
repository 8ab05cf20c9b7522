"""The file of a store: what is refused and stays as it is, disks that fail, damage that is found late."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coderm_reward.errors import GenerationError, InputError, OutputError
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.store_file import KIND
from coderm_reward.generation.stored import StoredResponse
from coderm_reward.types import Problem
from coderm_sandbox.bubblewrap import bwrap_paths

G = "model=a"
PROBLEM = Problem("h", "Add one to x.")


def append(store: SuiteStore, *slots: int, size: int = 10) -> None:
    made = [StoredResponse(slot, f"r{slot}".ljust(size, ".")) for slot in slots]
    asyncio.run(store.append(PROBLEM, G, made))


def filled(path: Path, count: int = 400) -> None:
    with SuiteStore.open(path) as store:
        append(store, *range(count), size=1000)


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def not_a_database(path: Path) -> None:
    path.write_bytes(b"These are my notes, and no suites.\n" * 200)


def of_another_kind(path: Path) -> None:
    change(path, "CREATE TABLE mine (x)")


def of_another_program(path: Path) -> None:
    change(path, "CREATE TABLE mine (x)", "PRAGMA application_id = 7", "PRAGMA journal_mode = WAL")


def newer(path: Path) -> None:
    filled(path)
    change(path, "PRAGMA user_version = 2")


def with_other_tables(path: Path) -> None:
    filled(path)
    change(path, "ALTER TABLE responses ADD COLUMN mine")


def cut_off(path: Path) -> None:
    filled(path)
    path.write_bytes(path.read_bytes()[: 16384 * 9 + 7])


def overwritten(path: Path) -> None:
    filled(path)
    data = bytearray(path.read_bytes())
    data[16384 * 20 : 16384 * 21] = b"\xff" * 16384
    path.write_bytes(data)


def killed(path: Path, after: str) -> None:
    """Left by a process that was killed after it had done more: with a log that is not in the file yet."""
    code = (
        "import os, signal, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode = WAL')\n"
        "for statement in sys.argv[2].split(';'): connection.execute(statement)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path), after])
    assert ended.returncode == -signal.SIGKILL
    assert path.with_name(path.name + "-wal").stat().st_size > 0


def killed_by_a_newer_version(path: Path) -> None:
    filled(path)
    killed(path, "PRAGMA user_version = 3")


def killed_and_damaged(path: Path) -> None:
    filled(path)
    killed(path, "UPDATE prompts SET task_id = 'x'")
    data = bytearray(path.read_bytes())
    data[16384 * 20 : 16384 * 21] = b"\xff" * 16384
    path.write_bytes(data)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "not a database": (not_a_database, "no suite store"),
    "a database of another kind": (of_another_kind, "another kind"),
    "a database of another program": (of_another_program, "another kind"),
    "a newer version": (newer, r"newer version of coderm-reward \(format 2\)"),
    "other tables": (with_other_tables, "damaged"),
    "cut off": (cut_off, "damaged"),
    "overwritten": (overwritten, "damaged"),
    "killed while a newer version wrote": (killed_by_a_newer_version, "newer version"),
    "killed and damaged": (killed_and_damaged, "damaged"),
    "a folder": (a_folder, "it is no file"),
    "a pipe": (a_pipe, "it is no file"),
}


def contents(folder: Path) -> dict[str, bytes]:
    """What lies in a folder; the shared memory beside a log says nothing that lasts."""
    files = (p for p in folder.iterdir() if p.is_file() and not p.name.endswith("-shm"))
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_used_is_one_clear_error_and_stays_as_it_is(
    tmp_path: Path, name: str, read_only: bool
) -> None:
    make, said = REFUSED[name]
    path = tmp_path / "s"
    make(path)
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(OutputError, match=said) as error:
            SuiteStore.open(path, read_only=read_only)
        text = str(error.value)
        assert str(path) in text
        assert text.endswith("name another file with --store or remove it.")
    after = contents(tmp_path)
    log = after.pop("s-wal", b"")  # reading alone may leave an empty one
    assert after | ({"s-wal": log} if log else {}) == before


def test_a_place_without_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be opened \(there is no folder .*no/such\)"):
        SuiteStore.open(tmp_path / "no/such/s")
    with pytest.raises(InputError, match="There is no suite store"):
        SuiteStore.open(tmp_path / "s", read_only=True)
    (tmp_path / "empty").touch()
    with pytest.raises(OutputError, match="is empty"):
        SuiteStore.open(tmp_path / "empty", read_only=True)


def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    filled(tmp_path / "s", 2)
    with SuiteStore.open(tmp_path / "s", read_only=True) as store:
        assert len(store.responses("h", G)) == 2


def test_a_name_that_means_something_in_a_uri_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#b%41 c"
    filled(path, 1)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_a_killed_process_left_in_its_log_is_there(tmp_path: Path) -> None:
    filled(tmp_path / "s", 2)
    killed(tmp_path / "s", "UPDATE prompts SET task_id = 'late'")
    for read_only in (True, False):
        with SuiteStore.open(tmp_path / "s", read_only=read_only) as store:
            assert [p.task_id for p in store.problems()] == ["late"]


def test_a_changed_text_is_found_when_it_is_read_and_by_verify(tmp_path: Path) -> None:
    path = tmp_path / "s"
    filled(path)
    data = path.read_bytes()
    assert data.count(b"r321") == 1
    path.write_bytes(data.replace(b"r321", b"r921"))
    with SuiteStore.open(path) as store:  # its structure is sound
        assert len(store.responses("h", G, 321)) == 321
        with pytest.raises(GenerationError, match="is damaged") as error:
            store.responses("h", G)
        assert "--store" in str(error.value)
        with pytest.raises(OutputError, match="is damaged"):
            store.verify()


def test_damage_in_a_large_file_is_found_where_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file is not checked page by page on opening."""
    monkeypatch.setattr("coderm_reward.generation.store_file.KIND", KIND._replace(checked_bytes=0))
    path = tmp_path / "s"
    overwritten(path)
    with SuiteStore.open(path) as store:
        with pytest.raises(GenerationError, match="is damaged"):
            store.responses("h", G)
        with pytest.raises(OutputError, match="is damaged"):
            store.verify()


def test_a_store_opened_to_read_takes_nothing_and_says_so_before_a_model_is_asked(tmp_path: Path) -> None:
    filled(tmp_path / "s", 2)

    async def claim(store: SuiteStore, n: int) -> tuple[int, ...]:
        async with store.claim("h", G, n) as missing:
            return missing

    with SuiteStore.open(tmp_path / "s", read_only=True) as store:
        assert store.read_only
        assert asyncio.run(claim(store, 2)) == ()
        store.verify()
        for attempt in (lambda: asyncio.run(claim(store, 3)), lambda: append(store, 2)):
            with pytest.raises(GenerationError, match="opened to read it alone"):
                attempt()


PLACE = """
import asyncio, json, sys
from pathlib import Path
from coderm_reward.errors import CodermError
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.stored import StoredResponse
from coderm_reward.types import Problem

def attempt(what):
    try:
        return what()
    except CodermError as error:
        return [type(error).__name__, str(error)]

path, said = Path(sys.argv[1]), {}
"""
READING = """
said["write"] = attempt(lambda: SuiteStore.open(path).close())
said["new"] = attempt(lambda: SuiteStore.open(path.with_name("new")).close())
def read():
    with SuiteStore.open(path, read_only=True) as store:
        store.verify()
        return len(store.responses("h", "model=a"))
said["read"] = attempt(read)
print(json.dumps(said))
"""
FILLING = """
def append(store, slots):
    made = [StoredResponse(slot, "x" * 100_000) for slot in slots]
    return asyncio.run(store.append(Problem("h", "Q"), "model=a", made))

with SuiteStore.open(path) as store:
    (path.parent / "ballast").write_bytes(bytes(1_000_000))
    said["many"] = attempt(lambda: append(store, range(1000, 1200)))
    said["none of them"] = len(store.responses("h", "model=a"))
    for slot in range(1000):
        found = attempt(lambda: append(store, [slot]))
        if "GenerationError" in found:
            break
    said["one"], said["kept"] = found, len(store.responses("h", "model=a")) == slot > 0
    (path.parent / "ballast").unlink()
    said["again"] = append(store, [slot]) == (slot,)
with SuiteStore.open(path) as store:
    store.verify()
    said["in the end"] = len(store.responses("h", "model=a")) - slot
print(json.dumps(said))
"""


def in_mount(folder: Path, mount: list[str], code: str) -> dict[str, object]:
    """Run code on the store `s` of a folder that is mounted in another way."""
    command = [sys.executable, "-c", PLACE + code, str(folder / "s")]
    for bwrap in bwrap_paths():
        view = [bwrap, "--dev-bind", "/", "/", *mount]
        if subprocess.run([*view, "true"], capture_output=True).returncode == 0:
            ended = subprocess.run([*view, *command], capture_output=True, text=True)
            assert ended.returncode == 0, ended.stderr
            said: dict[str, object] = json.loads(ended.stdout)
            return said
    pytest.skip("this host forbids mounts, so it can show neither a read-only nor a full disk")


@pytest.mark.parametrize("left", ["closed", "read", "killed"])
def test_a_read_only_disk(tmp_path: Path, left: str) -> None:
    path = tmp_path / "s"
    filled(path, 3)
    if left == "read":  # readers leave -shm and an empty -wal
        SuiteStore.open(path, read_only=True).close()
    if left == "killed":
        killed(path, "UPDATE prompts SET task_id = 'late'")
        path.with_name("s-shm").unlink()
    said = in_mount(tmp_path, ["--ro-bind", str(tmp_path), str(tmp_path)], READING)
    for place, name in (("write", "s"), ("new", "new")):
        kind, sentence = said[place]  # type: ignore[misc]
        assert kind == "OutputError"
        assert "read-only disk" in sentence
        assert f"{tmp_path / name} " in sentence
        assert sentence.endswith("name another file with --store.")
    if left == "killed":
        kind, sentence = said["read"]  # type: ignore[misc]
        assert kind == "OutputError"
        assert "was not closed and lies on a read-only disk" in sentence
    else:
        assert said["read"] == 3


def test_a_full_disk_costs_what_did_not_fit_and_nothing_else(tmp_path: Path) -> None:
    said = in_mount(tmp_path, ["--size", str(4 << 20), "--tmpfs", str(tmp_path)], FILLING)
    for attempt in ("many", "one"):
        kind, sentence = said[attempt]  # type: ignore[misc]
        assert kind == "GenerationError"
        assert "its disk is full" in sentence
        assert "make room and run again" in sentence
    assert said["none of them"] == 0
    assert said["kept"] is True
    assert said["again"] is True
    assert said["in the end"] == 1
