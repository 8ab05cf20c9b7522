"""When the sandbox itself is hit: nothing is lost, nothing is left, and nobody is graded for it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coderm_sandbox import (
    Job,
    Limits,
    Outcome,
    SandboxPool,
    Test,
)

ADD = "import time\ndef f(x, wait=0):\n    time.sleep(wait)\n    return x + 1\n"
SLOW = "self.assertEqual(f(1, 0.5), 2)"
WRONG_SLOW = "self.assertEqual(f(1, 0.5), 3)"


JUDGES, PLAYERS = 0, 1
"""Which of the two zygotes of a worker."""
EITHER = pytest.mark.parametrize("zygote", [JUDGES, PLAYERS], ids=["judges", "players"])


def zygotes(sandbox: Any, which: int) -> list[int]:
    """Pids of the judges' or the players' zygotes."""
    return list(sandbox.pool.worker_pids()[which::2])


async def kill_workers(sandbox: Any, times: int, which: int) -> int:
    """Kill -9 one zygote of the worker `times` times, each time 0.05 s after another one has come up."""
    killed: set[int] = set()
    while len(killed) < times:
        for pid in set(zygotes(sandbox, which)) - killed:
            await asyncio.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        await asyncio.sleep(0.01)
    return len(killed)


async def run_under_fire(sandbox: Any, solution: str, texts: list[str], times: int, which: int) -> list[Any]:
    tests = await sandbox.prepare(texts)
    killer = asyncio.ensure_future(kill_workers(sandbox, times, which))
    results = await sandbox.pool.run(Job(solution, tests))
    killer.cancel()
    return results


@EITHER
def test_job_of_a_killed_worker_runs_again(
    make_sandbox: Callable[..., Any], method: Callable[..., str], zygote: int
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=2.0))
    before = sandbox.pool.worker_pids()
    texts = [method(SLOW), method(WRONG_SLOW), method(SLOW)]
    results = sandbox.do(run_under_fire(sandbox, ADD, texts, 1, zygote))
    assert [result.outcome.value for result in results] == ["pass", "fail", "pass"]
    assert sandbox.pool.stats.retried == 1
    assert sandbox.pool.stats.workers_replaced == 1
    assert not set(before) & set(sandbox.pool.worker_pids()), "both zygotes are replaced"
    assert not any(is_running(pid) for pid in before)


@EITHER
def test_two_deaths_are_unknown_and_never_a_fail(
    make_sandbox: Callable[..., Any], method: Callable[..., str], zygote: int
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=2.0))
    results = sandbox.do(run_under_fire(sandbox, ADD, [method(WRONG_SLOW), method(WRONG_SLOW)], 2, zygote))
    assert [result.outcome.value for result in results] == ["unknown", "fail"]
    assert results[0].methods == {"T.test_0": Outcome.UNKNOWN}


@EITHER
def test_many_deaths_end_a_job(
    make_sandbox: Callable[..., Any], method: Callable[..., str], zygote: int
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=2.0))
    results = sandbox.do(run_under_fire(sandbox, ADD, [method(WRONG_SLOW)] * 5, 100, zygote))
    assert {result.outcome for result in results} == {Outcome.UNKNOWN}
    assert sandbox.pool.stats.unknown == 5


def is_running(pid: int) -> bool:
    """Whether a process lives, or lies unreaped."""
    return Path(f"/proc/{pid}").exists()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def kill_child(sandbox: Any, which: int, spared: int = 0) -> int:
    """Kill -9 what a zygote has forked, the judge or the player, 0.1 s after it came up; its pid."""
    while True:
        found = [child for pid in zygotes(sandbox, which) for child in children(pid) if child != spared]
        if found:
            await asyncio.sleep(0.1)
            os.kill(found[0], signal.SIGKILL)
            return found[0]
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("solution", [ADD, "state = []\n" + ADD], ids=["stateless", "stateful"])
def test_killed_judge_is_nobodys_fault(
    make_sandbox: Callable[..., Any], method: Callable[..., str], solution: str
) -> None:
    """The process of the judges is ours: what was under way has no verdict, and is run once more."""
    sandbox = make_sandbox(limits=Limits(timeout=2.0))

    async def scenario() -> list[Any]:
        tests = await sandbox.prepare([method(WRONG_SLOW), method(SLOW)])
        killer = asyncio.ensure_future(kill_child(sandbox, JUDGES))
        results = await sandbox.pool.run(Job(solution, tests))
        assert not is_running(await killer)
        return results

    assert [result.outcome.value for result in sandbox.do(scenario())] == ["fail", "pass"]
    assert sandbox.pool.stats.unknown == 0
    assert sandbox.outcome(ADD, "self.assertEqual(f(1), 3)") is Outcome.FAIL


def test_judge_that_is_killed_again_is_unknown(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=2.0))

    async def kill_two() -> None:
        await kill_child(sandbox, JUDGES, await kill_child(sandbox, JUDGES))

    async def scenario() -> list[Any]:
        tests = await sandbox.prepare([method(WRONG_SLOW)])
        killer = asyncio.ensure_future(kill_two())
        results = await sandbox.pool.run(Job(ADD, tests))
        await killer
        return results

    (result,) = sandbox.do(scenario())
    assert result.outcome is Outcome.UNKNOWN
    assert result.retried


def test_killed_player_is_the_solutions_own_end(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    """A solution can end its own process; that never is a pass, and the worker goes on."""
    sandbox = make_sandbox(limits=Limits(timeout=2.0))
    before = sandbox.pool.worker_pids()

    async def scenario() -> list[Any]:
        tests = await sandbox.prepare([method(SLOW), method(SLOW)])
        killer = asyncio.ensure_future(kill_child(sandbox, PLAYERS))
        results = await sandbox.pool.run(Job(ADD, tests))
        assert not is_running(await killer)
        return results

    results = sandbox.do(scenario())
    assert [result.outcome.value for result in results] == ["error", "pass"]
    assert "signal 9" in results[0].detail
    assert sandbox.pool.worker_pids() == before


@EITHER
def test_inspection_survives_a_killed_worker(make_sandbox: Callable[..., Any], zygote: int) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=2.0))
    text = "import time, unittest\ntime.sleep(0.3)\nclass T(unittest.TestCase):\n    def test_a(self): f()\n"

    async def scenario() -> Any:
        killer = asyncio.ensure_future(kill_workers(sandbox, 1, zygote))
        found = await sandbox.pool.inspect([Test(text), Test(text)])
        killer.cancel()
        return found

    assert [one.valid for one in sandbox.do(scenario())] == [True, True]


@EITHER
def test_idle_worker_that_died_is_replaced(sandbox: Any, zygote: int) -> None:
    before = sandbox.pool.worker_pids()
    os.kill(before[zygote], signal.SIGKILL)
    assert sandbox.outcome(ADD, "self.assertEqual(f(1), 2)") is Outcome.PASS
    assert not any(is_running(pid) for pid in before)


@EITHER
def test_stopped_worker_is_given_up(
    make_sandbox: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, zygote: int
) -> None:
    """A worker that falls silent is killed, and its job goes on in another."""
    monkeypatch.setattr("coderm_sandbox.worker.GRACE_SECONDS", 0.5)
    sandbox = make_sandbox(limits=Limits(timeout=0.1))
    before = sandbox.pool.worker_pids()
    os.kill(before[zygote], signal.SIGSTOP)
    assert sandbox.outcome(ADD, "self.assertEqual(f(1), 2)") is Outcome.PASS
    assert not set(before) & set(sandbox.pool.worker_pids())
    assert not any(is_running(pid) for pid in before)


def test_pool_in_a_thread(method: Callable[..., str]) -> None:
    """Workers belong to the thread that runs the loop, which need not be the main one."""
    import threading

    found: list[Outcome] = []

    async def main() -> None:
        async with SandboxPool(workers=1) as pool:
            text = method("self.assertEqual(f(1), 2)")
            (result,) = await pool.run(Job(ADD, (Test(text, methods=("T.test_0",)),)))
            found.append(result.outcome)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    assert found == [Outcome.PASS]


def test_seconds_are_wall_time_of_the_test(sandbox: Any) -> None:
    began = time.monotonic()
    result = sandbox.check(ADD, "f(1, 0.2)")
    assert 0.2 <= result.seconds <= time.monotonic() - began
