"""Single flight, within a process and across processes, whatever happens to who was at it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coderm_reward.generation import store_leases as leases
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.stored import StoredResponse
from coderm_reward.types import Problem

G = "model=a"
PROBLEM = Problem("h", "Add one to x.")


async def fill(store: SuiteStore, n: int, asked: list[int], prompt_hash: str = "h") -> None:
    """What a generator does: ask for what is missing."""
    async with store.claim(prompt_hash, G, n) as missing:
        for slot in missing:
            asked.append(slot)
            await asyncio.sleep(0)
            await store.append(Problem(prompt_hash, "Q"), G, [StoredResponse(slot, f"r{slot}")])


@pytest.mark.parametrize("place", [":memory:", "file"])
def test_tasks_of_a_process_ask_for_each_slot_once(tmp_path: Path, place: str) -> None:
    async def play() -> list[int]:
        asked: list[int] = []
        with SuiteStore.open(tmp_path / "s" if place == "file" else place) as store:
            await asyncio.gather(*(fill(store, n, asked) for n in (4, 8, 2, 8, 6)))
        return asked

    assert sorted(asyncio.run(play())) == list(range(8))


def test_two_stores_on_one_file_are_two_owners(tmp_path: Path) -> None:
    async def play() -> list[int]:
        asked: list[int] = []
        with SuiteStore.open(tmp_path / "s") as one, SuiteStore.open(tmp_path / "s") as other:
            await asyncio.gather(*(fill(store, 8, asked) for store in (one, other, one)))
            assert one.responses("h", G) == other.responses("h", G)
        return asked

    assert sorted(asyncio.run(play())) == list(range(8))


def test_a_task_that_has_what_it_wants_waits_no_longer() -> None:
    async def play() -> None:
        with SuiteStore.open() as store:
            async with store.claim("h", G):
                waiting = asyncio.create_task(fill(store, 1, asked := []))
                await asyncio.sleep(0)
                await store.append(PROBLEM, G, [StoredResponse(0, "r0")])
                await asyncio.wait_for(waiting, 60)
                assert asked == []

    asyncio.run(play())


def test_other_keys_do_not_wait() -> None:
    async def play() -> None:
        with SuiteStore.open() as store:
            async with store.claim("h", G), store.claim("h", "other"), store.claim("h2", G, 1) as missing:
                assert missing == (0,)

    asyncio.run(play())


def test_a_claim_ends_with_its_task_and_with_its_error() -> None:
    async def play() -> None:
        with SuiteStore.open() as store:
            entered = asyncio.Event()

            async def hold() -> None:
                async with store.claim("h", G):
                    entered.set()
                    await asyncio.Event().wait()

            holding = asyncio.create_task(hold())
            await entered.wait()
            waiting = [asyncio.create_task(hold()) for _ in range(2)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            holding.cancel()
            entered.clear()
            await asyncio.wait_for(entered.wait(), 60)
            waiting[1].cancel()
            with pytest.raises(ZeroDivisionError):
                async with store.claim("h", G):
                    raise ZeroDivisionError
            async with store.claim("h", G):
                pass

    asyncio.run(play())


def test_a_task_stopped_while_it_takes_a_claim_leaves_none() -> None:
    """Stopped after every possible number of steps of the event loop."""

    async def play() -> None:
        with SuiteStore.open() as store:
            for steps in range(12):
                task = asyncio.create_task(fill(store, 1, [], f"h{steps}"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                async with store.claim(f"h{steps}", G):
                    pass

    asyncio.run(asyncio.wait_for(play(), 60))


def test_an_append_happens_though_its_task_is_stopped() -> None:
    async def play() -> None:
        with SuiteStore.open() as store:
            task = asyncio.create_task(store.append(PROBLEM, G, [StoredResponse(0, "r0")]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.append(PROBLEM, G, [StoredResponse(1, "r1")])  # the writer keeps the order
            assert [r.text for r in store.responses("h", G)] == ["r0", "r1"]

    asyncio.run(play())


WORKER = """
import asyncio, json, sys
from contextlib import AsyncExitStack
from pathlib import Path
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.stored import StoredResponse
from coderm_reward.types import Problem

G = "model=a"

def say(*what):
    print(json.dumps(what), flush=True)

async def fill(store, prompt_hash, n):
    asked = []
    async with store.claim(prompt_hash, G, n) as missing:
        for slot in missing:
            asked.append([prompt_hash, slot])
            await store.append(Problem(prompt_hash, "Q"), G, [StoredResponse(slot, "r%d" % slot)])
    return asked

async def main():
    loop = asyncio.get_running_loop()
    stack, tasks = AsyncExitStack(), []
    with SuiteStore.open(Path(sys.argv[1])) as store:
        say("ready")
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order, *arguments = json.loads(line)
            if order == "claim":
                say("missing", await stack.enter_async_context(store.claim("h", G, *arguments)))
            elif order == "append":
                made = [StoredResponse(slot, "w%d" % slot) for slot in arguments]
                say("added", await store.append(Problem("h", "Q"), G, made))
            elif order == "fill":
                keys, n = arguments
                asked = await asyncio.gather(*(fill(store, key, n) for key in keys))
                say("asked", sum(asked, []))
            elif order == "append for ever":
                say("begun")
                for slot in range(*arguments, 10**9):
                    await store.append(Problem("h", "Q"), G, [StoredResponse(slot, "w%d" % slot)])
                    print(slot, flush=True)
        await stack.aclose()

asyncio.run(main())
"""


class Worker:
    """Another process with the same store, which does one thing after another."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.hear() == ["ready"]

    def tell(self, *order: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hear(self) -> list[object]:
        heard: list[object] = json.loads(self.line())
        return heard

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def do(self, *order: object) -> object:
        self.tell(*order)
        return self.hear()[1]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Starts workers on the file `s`; all are killed in the end."""
    workers: list[Worker] = []

    def start() -> Worker:
        workers.append(Worker(tmp_path / "s"))
        return workers[-1]

    yield start
    for one in workers:
        one.end()


def test_two_processes_that_race_ask_for_each_slot_once(tmp_path: Path, worker: Callable[[], Worker]) -> None:
    racers = [worker(), worker()]
    keys = [f"h{i}" for i in range(20)]
    for racer in racers:
        racer.tell("fill", keys, 4)
    asked = [tuple(slot) for racer in racers for slot in racer.hear()[1]]  # type: ignore[attr-defined]
    assert Counter(asked) == Counter((key, slot) for key in keys for slot in range(4))
    with SuiteStore.open(tmp_path / "s") as store:
        assert all(len(store.responses(key, G)) == 4 for key in keys)


def test_who_waits_for_another_process_sees_its_responses_and_stops_waiting(
    tmp_path: Path, worker: Callable[[], Worker]
) -> None:
    owner = worker()

    async def play() -> None:
        with SuiteStore.open(tmp_path / "s") as store:
            assert owner.do("claim", 4) == [0, 1, 2, 3]
            assert owner.do("append", 0) == [0]
            assert [r.text for r in store.responses("h", G)] == ["w0"]
            waiting = asyncio.create_task(fill(store, 2, asked := []))
            await asyncio.sleep(0)
            assert not waiting.done()
            assert owner.do("append", 1) == [1]
            await asyncio.wait_for(waiting, 60)  # the owner still has its claim
            assert asked == []

    asyncio.run(play())


def test_a_killed_owner_loses_its_claim_at_once_and_nothing_else(
    tmp_path: Path, worker: Callable[[], Worker]
) -> None:
    owner, waiter = worker(), worker()
    assert owner.do("claim", 4) == [0, 1, 2, 3]
    owner.do("append", 0, 2)
    waiter.tell("claim", 4)
    os.kill(owner.process.pid, signal.SIGKILL)  # a zombie from now on, as nobody waits for it yet
    assert waiter.hear() == ["missing", [1, 3]]
    with SuiteStore.open(tmp_path / "s") as store:
        assert [r.text for r in store.responses("h", G)] == ["w0", "w2"]


def test_kill_9_in_the_middle_of_appends_keeps_all_that_were_appended(
    tmp_path: Path, worker: Callable[[], Worker]
) -> None:
    kept: list[StoredResponse] = []
    for _ in range(3):
        owner = worker()
        assert owner.do("claim") == []
        owner.tell("append for ever", len(kept))
        assert owner.hear() == ["begun"]
        told = [owner.line() for _ in range(25)]
        os.kill(owner.process.pid, signal.SIGKILL)
        rest, _ = owner.process.communicate()
        last = int([*told, *(line for line in rest.splitlines() if line)][-1])
        with SuiteStore.open(tmp_path / "s") as store:
            store.verify()
            kept = store.responses("h", G)
            assert last < len(kept)
            assert [(r.slot, r.text) for r in kept] == [(slot, f"w{slot}") for slot in range(len(kept))]


def rewrite(path: Path, change: str, *values: object) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE leases SET {change}", values)
    connection.close()


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ("renewed = renewed + ?", -leases.LEASE_SECONDS - 1),
        ("renewed = renewed + ?", 100 * leases.LEASE_SECONDS),
        ("started = started + ?", 1),
        ("host = 'elsewhere', renewed = renewed + ?", -leases.LEASE_SECONDS - 1),
    ],
    ids=["not renewed", "the clock was set back", "the pid belongs to another process by now", "elsewhere"],
)
def test_a_lease_that_holds_no_more_is_taken_over(tmp_path: Path, change: str, moved: float) -> None:
    async def play() -> None:
        with SuiteStore.open(tmp_path / "s") as one, SuiteStore.open(tmp_path / "s") as other:
            async with one.claim("h", G, 2) as missing:
                rewrite(tmp_path / "s", change, moved)
                async with other.claim("h", G, 2) as theirs:
                    assert missing == theirs == (0, 1)
                    await other.append(PROBLEM, G, [StoredResponse(0, "theirs")])
                    late = [StoredResponse(slot, "late") for slot in missing]
                    assert await one.append(PROBLEM, G, late) == (1,)  # it spoils nothing

    asyncio.run(asyncio.wait_for(play(), 60))


def test_a_lease_of_another_container_holds_until_it_expires(tmp_path: Path) -> None:
    async def play() -> None:
        with SuiteStore.open(tmp_path / "s") as one, SuiteStore.open(tmp_path / "s") as other:
            async with one.claim("h", G):
                rewrite(tmp_path / "s", "host = 'elsewhere', pid = 4194305")  # no such pid here
                waiting = asyncio.create_task(fill(other, 1, asked := []))
                done, _ = await asyncio.wait([waiting], timeout=0.1)
                assert not done
            await asyncio.wait_for(waiting, 60)
            assert asked == [0]

    asyncio.run(play())


def test_claims_are_renewed_while_they_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT", 0.01)

    async def play() -> None:
        with SuiteStore.open(tmp_path / "s") as store:
            async with store.claim("h", G):
                rewrite(tmp_path / "s", "renewed = 0")
                deadline = time.monotonic() + 60
                renewed = 0.0
                while not renewed and time.monotonic() < deadline:
                    with sqlite3.connect(tmp_path / "s") as connection:
                        (renewed,) = connection.execute("SELECT renewed FROM leases").fetchone()
                    connection.close()
                    time.sleep(0.01)  # blocks the event loop, which must not matter
                assert renewed

    asyncio.run(play())


def test_a_closed_store_holds_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        one = SuiteStore.open(tmp_path / "s")
        claim = one.claim("h", G)
        await claim.__aenter__()
        one.close()
        with SuiteStore.open(tmp_path / "s") as other:
            await asyncio.wait_for(fill(other, 1, asked := []), 60)
            assert asked == [0]

    asyncio.run(play())
