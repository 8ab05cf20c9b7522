"""The life of a pool: it starts or says why not, serves many, is closed at any moment, and leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coderm_sandbox import (
    Job,
    Limits,
    Outcome,
    PoolClosedError,
    SandboxPool,
    SandboxUnavailableError,
    Test,
)
from coderm_sandbox import pool as pool_module
from coderm_sandbox import worker as worker_module
from coderm_sandbox.isolation import Launch

ADD = "import time\ndef f(x, wait=0):\n    time.sleep(wait)\n    return x + 1\n"
SLOW = "self.assertEqual(f(1, 0.5), 2)"
WRONG_SLOW = "self.assertEqual(f(1, 0.5), 3)"


def test_cancelled_job_leaves_a_working_pool(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=5.0))

    async def scenario() -> None:
        tests = await sandbox.prepare([method("self.assertEqual(f(1, 4), 2)")])
        task = asyncio.ensure_future(sandbox.pool.run(Job(ADD, tests)))
        waiting = asyncio.ensure_future(sandbox.pool.run(Job(ADD, tests)))
        await asyncio.sleep(0.1)
        waiting.cancel()
        task.cancel()
        for one in (task, waiting):
            with pytest.raises(asyncio.CancelledError):
                await one

    before = sandbox.pool.worker_pids()
    sandbox.do(scenario())
    assert sandbox.outcome(ADD, "self.assertEqual(f(1), 2)") is Outcome.PASS
    assert sandbox.pool.worker_pids() != before, "a cancelled job's worker is not used again"


def test_close_with_jobs_in_flight_and_waiting(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=5.0))

    async def scenario() -> list[Any]:
        tests = await sandbox.prepare([method("self.assertEqual(f(1, 4), 3)"), method("f(1)")])
        tasks = [asyncio.ensure_future(sandbox.pool.run(Job(ADD, tests))) for _ in range(3)]
        await asyncio.sleep(0.1)
        sandbox.pool.close()
        return await asyncio.gather(*tasks)

    assert {r.outcome for results in sandbox.do(scenario()) for r in results} == {Outcome.UNKNOWN}
    assert sandbox.pool.worker_pids() == []


def test_inspection_on_a_closed_pool_condemns_no_test(make_sandbox: Callable[..., Any]) -> None:
    sandbox = make_sandbox()
    sandbox.pool.close()
    with pytest.raises(PoolClosedError):
        sandbox.inspect("import unittest\n")


def test_close_twice(make_sandbox: Callable[..., Any]) -> None:
    sandbox = make_sandbox()
    sandbox.pool.close()
    sandbox.pool.close()


def test_many_callers_on_two_workers(make_sandbox: Callable[..., Any], method: Callable[..., str]) -> None:
    sandbox = make_sandbox(workers=2)

    async def scenario() -> list[Any]:
        (test,) = await sandbox.prepare([method("self.assertEqual(f(1), 11)")])
        jobs = [Job(f"def f(x):\n    return x + {n}\n", (test,)) for n in range(50)]
        return await asyncio.gather(*(sandbox.pool.run(job) for job in jobs))

    outcomes = [results[0].outcome for results in sandbox.do(scenario())]
    assert outcomes == [Outcome.PASS if n == 10 else Outcome.FAIL for n in range(50)]
    assert len(sandbox.pool.worker_pids()) <= 4


def threads_and_children() -> tuple[int, int]:
    children = sum(
        len((task / "children").read_text().split()) for task in Path(f"/proc/{os.getpid()}/task").iterdir()
    )
    return len(os.listdir("/proc/self/fd")), children


def test_nothing_piles_up_over_many_jobs(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox()

    async def scenario(jobs: int) -> None:
        (test,) = await sandbox.prepare([method("self.assertEqual(f(1), 2)")])
        for _ in range(jobs):
            await sandbox.pool.run(Job(ADD, (test,)))

    # Only root may look into the descriptors of processes that took care not to be looked into.
    kinds = ("task",) if os.geteuid() else ("fd", "task")

    def held() -> Any:
        inside = [len(os.listdir(f"/proc/{pid}/{what}")) for pid in pids for what in kinds]
        return threads_and_children(), inside

    pids = sandbox.pool.worker_pids()
    sandbox.do(scenario(5))
    before = held()
    sandbox.do(scenario(300))
    assert held() == before
    assert sandbox.pool.worker_pids() == pids


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_nothing_is_left_after_close(
    make_sandbox: Callable[..., Any], method: Callable[..., str], isolation: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = threads_and_children()
    sandbox = make_sandbox(isolation=isolation, workers=2)
    litter = "import os\nos.makedirs('a/b')\nos.chmod('a', 0)\ndef f(x):\n    os.mknod('y')\n    return 2\n"
    assert sandbox.outcome(litter, "self.assertEqual(f(1), 2)") is Outcome.PASS
    sandbox.close()
    fds, children = threads_and_children()
    assert (fds, children) <= before
    assert list(tmp_path.iterdir()) == []


def test_level_none_warns(make_sandbox: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    make_sandbox(isolation="none")
    assert "isolation is off" in caplog.text


SUPERVISOR = textwrap.dedent("""
    import asyncio, os, sys
    from coderm_sandbox import *
    TEXT = "import unittest\\nclass T(unittest.TestCase):\\n    def test_a(self):\\n        f()\\n"
    SOLUTION = '''
    import os, subprocess, sys, time
    def f():
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", os.environ["CODERM_MARK"]])
        time.sleep(60)
    '''
    async def main():
        async with SandboxPool(workers=2, limits=Limits(timeout=50.0), isolation=sys.argv[1]) as pool:
            job = Job(SOLUTION, (Test(TEXT, methods=("T.test_a",)),))
            runs = [asyncio.ensure_future(pool.run(job)) for _ in range(2)]
            await asyncio.sleep(0.7)
            print("running", flush=True)
            await asyncio.gather(*runs)
    import signal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    from coderm_sandbox import launch
    launch.ENVIRONMENT["CODERM_MARK"] = os.environ["CODERM_MARK"]
    asyncio.run(main())
""")


@pytest.mark.parametrize("isolation", ["bubblewrap", "landlock", "none"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_supervisor(
    tmp_path: Path, isolation: str, number: signal.Signals, wait_until: Callable[..., bool],
    processes_with: Callable[[str], list[int]],
) -> None:  # fmt: skip
    mark = f"coderm-mark-{isolation}-{number}-{os.getpid()}"
    environment = {**os.environ, "CODERM_MARK": mark, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", SUPERVISOR, isolation]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    try:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"running\n"
        assert wait_until(lambda: len(processes_with(mark)) > 3)
    finally:
        supervisor.send_signal(number)
        supervisor.wait(20)
        supervisor.stdout.close()  # type: ignore[union-attr]
    assert wait_until(lambda: not processes_with(mark)), processes_with(mark)
    assert wait_until(lambda: not list(tmp_path.iterdir()))


def test_pool_that_was_not_entered() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(SandboxPool(workers=1).inspect([Test("")]))


def test_starting_fails_as_one_sentence(tmp_path: Path) -> None:
    async def start(**options: Any) -> None:
        async with SandboxPool(workers=1, **options):
            pass

    with pytest.raises(SandboxUnavailableError, match="does not run"):
        asyncio.run(start(python=str(tmp_path / "python")))
    with pytest.raises(SandboxUnavailableError, match="does not run"):
        asyncio.run(start(python="/bin/true"))
    with pytest.raises(SandboxUnavailableError, match="Unknown isolation level 'docker'"):
        asyncio.run(start(isolation="docker"))


def test_no_bwrap_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coderm_sandbox.isolation.bwrap_paths", list)

    async def start() -> None:
        async with SandboxPool(workers=1, isolation="bubblewrap"):
            pass

    with pytest.raises(SandboxUnavailableError, match="no bwrap"):
        asyncio.run(start())


def test_a_bwrap_that_cannot_make_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it prints is passed on, and the way that does work is taken."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("coderm_sandbox.isolation.bwrap_paths", lambda: [str(broken)])

    async def start() -> None:
        async with SandboxPool(workers=1, isolation="bubblewrap"):
            pass

    with pytest.raises(SandboxUnavailableError, match="No permissions to create a new namespace"):
        asyncio.run(start())


def test_a_broken_bwrap_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from coderm_sandbox.isolation import bwrap_paths

    working = bwrap_paths()
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("coderm_sandbox.isolation.bwrap_paths", lambda: [str(broken), *working])

    async def start() -> str:
        async with SandboxPool(workers=1) as pool:
            return pool.description

    assert working[0] in asyncio.run(start())


def silent(self: Launch, *_unused: object) -> list[str]:
    """The command of a process that lives and never says that it is ready."""
    return [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


def test_a_worker_that_never_says_it_is_ready_is_given_up(
    make_sandbox: Callable[..., Any], method: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make_sandbox(isolation="none", limits=Limits(timeout=2.0))

    async def scenario() -> list[Any]:
        tests = await sandbox.prepare([method("self.assertEqual(f(1), 2)")])
        for pid in sandbox.pool.worker_pids():
            os.kill(pid, signal.SIGKILL)
        return await asyncio.wait_for(sandbox.pool.run(Job(ADD, tests)), 20)

    with monkeypatch.context() as silenced:
        silenced.setattr(worker_module, "START_SECONDS", 0.2)
        silenced.setattr(pool_module, "_START_DELAYS", (0.0,))
        silenced.setattr(Launch, "command", silent)
        with pytest.raises(SandboxUnavailableError, match="not ready in time"):
            asyncio.run(asyncio.wait_for(SandboxPool(workers=1, isolation="none").__aenter__(), 20))
        assert [result.outcome for result in sandbox.do(scenario())] == [Outcome.UNKNOWN]
    assert sandbox.outcome(ADD, "self.assertEqual(f(1), 2)") is Outcome.PASS  # its place is free again
