"""Time and the limits: what is charged to a solution, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Job, Limits, Outcome, Test, class_outcome

HANGS = "def f(x):\n    while x == 1: pass\n    return x\n"
HANG, FINE = "self.assertEqual(f(1), 1)", "self.assertEqual(f(2), 2)"


def outcomes(results: list[Any]) -> list[str]:
    return [outcome.value for result in results for outcome in result.methods.values()]


def test_a_solution_that_only_hangs_is_not_run_for_ever(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.3, hang_limit=2))
    results = sandbox.run(HANGS, method(HANG, HANG), method(HANG, FINE), method(FINE, FINE))
    assert outcomes(results) == ["timeout"] * 6
    assert [result.assumed for result in results] == [0, 1, 2]


def test_one_test_alone_never_condemns_a_solution(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.3, hang_limit=2))
    results = sandbox.run(HANGS, method(HANG, HANG, HANG, FINE), method(FINE))
    assert outcomes(results) == ["timeout"] * 3 + ["pass"] * 2
    assert [result.assumed for result in results] == [0, 0]


def test_any_other_verdict_takes_the_suspicion_away_for_good(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.3, hang_limit=2))
    results = sandbox.run(HANGS, method(FINE), method(HANG), method(HANG, HANG), method(FINE))
    assert outcomes(results) == ["pass"] + ["timeout"] * 3 + ["pass"]
    assert [result.assumed for result in results] == [0, 0, 0, 0]


def test_without_a_hang_limit_everything_runs(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.1))
    (result,) = sandbox.run(HANGS, method(*[HANG] * 4, FINE))
    assert outcomes([result]) == ["timeout"] * 4 + ["pass"]
    assert result.assumed == 0


def test_many_methods_that_hang_are_no_silence(
    make_sandbox: Callable[..., Any], method: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker tells that it lives while one test takes longer than it may be silent."""
    monkeypatch.setattr("coderm_sandbox.worker.GRACE_SECONDS", 1.5)
    sandbox = make_sandbox(limits=Limits(timeout=0.1))
    before = sandbox.pool.worker_pids()
    (result,) = sandbox.run(HANGS, method(*[HANG] * 25))
    assert outcomes([result]) == ["timeout"] * 25
    assert sandbox.pool.worker_pids() == before


def test_waiting_for_a_core_is_not_charged(make_sandbox: Callable[..., Any]) -> None:
    """Four others want the one core: the test gets a fifth of it, and still all of its time."""
    core, burners = min(os.sched_getaffinity(0)), []
    before = os.sched_getaffinity(0)
    burn = [sys.executable, "-c", "import os\nwhile os.getppid() != 1: pass"]
    try:
        os.sched_setaffinity(0, {core})
        sandbox = make_sandbox(limits=Limits(timeout=1.0))
        burners = [subprocess.Popen(burn, start_new_session=True) for _ in range(4)]
        solution = """
            import time
            def f():
                while time.process_time() < 0.4:
                    pass
        """
        assert sandbox.outcome(solution, "f()") is Outcome.PASS
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
        os.sched_setaffinity(0, before)


def test_sleeping_is_charged(make_sandbox: Callable[..., Any]) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.2))
    assert sandbox.outcome("import time\ndef f():\n    time.sleep(0.5)\n", "f()") is Outcome.TIMEOUT


def test_each_method_has_its_own_time(make_sandbox: Callable[..., Any], method: Callable[..., str]) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.4))
    solution = "import time\ndef f():\n    time.sleep(0.25)\n"
    (result,) = sandbox.run(solution, method("f()", "f()", "f()"))
    assert outcomes([result]) == ["pass"] * 3


def test_processor_time_is_limited_as_well(make_sandbox: Callable[..., Any]) -> None:
    """A process that puts off its own end by the wall clock alone would still be ended."""
    sandbox = make_sandbox(limits=Limits(timeout=1.0))
    solution = "import resource\ndef f():\n    return resource.getrlimit(resource.RLIMIT_CPU)\n"
    assert sandbox.outcome(solution, "self.assertEqual(f(), (3, 4))") is Outcome.PASS


@pytest.mark.parametrize(
    ("name", "expected"),
    [("RLIMIT_FSIZE", 3 << 20), ("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 256), ("RLIMIT_NPROC", 9)],
)
def test_limits_in_force(make_sandbox: Callable[..., Any], name: str, expected: int) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=1.0, file_mb=3, processes=7))
    body = f"import resource\nself.assertEqual(resource.getrlimit(resource.{name}), ({expected}, {expected}))"
    result = sandbox.check("", body)
    assert result.outcome is Outcome.PASS, result.detail


def test_output_limit(make_sandbox: Callable[..., Any]) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=1.0, output_mb=1))
    solution = "def f(n):\n    print('x' * n, end='', flush=True)\n"
    assert sandbox.outcome(solution, "f(1 << 20)") is Outcome.PASS
    assert sandbox.outcome(solution, "f((1 << 20) + 1)") is Outcome.OUTPUT
    swallows = "def f(n):\n    try:\n        print('x' * n, flush=True)\n    except OSError:\n        pass\n"
    assert sandbox.outcome(swallows, "f(1 << 21)") is Outcome.OUTPUT


P, F, E, T, U, X = (
    Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.TIMEOUT, Outcome.UNKNOWN, Outcome.INVALID_TEST,
)  # fmt: skip


@pytest.mark.parametrize(
    ("methods", "fixture", "expected"),
    [
        ([P, P], None, P),
        ([P, F], None, F),
        ([F, E, T], None, T),
        ([P, U], None, U),
        ([F, U], None, F),
        ([P, X], None, P),
        ([X, X], None, X),
        ([], None, X),
        ([P], E, E),
        ([X], E, X),
        ([P, Outcome.TAMPERED, T], None, Outcome.TAMPERED),
    ],
)
def test_outcome_of_a_class(methods: list[Outcome], fixture: Outcome | None, expected: Outcome) -> None:
    assert class_outcome(methods, fixture) is expected


def test_stats_count_jobs_and_tests(make_sandbox: Callable[..., Any], method: Callable[..., str]) -> None:
    sandbox = make_sandbox()
    text = method(FINE)
    sandbox.do(sandbox.pool.run(Job(HANGS, (Test(text, methods=("T.test_0",)),) * 3)))
    stats = sandbox.pool.stats
    assert (stats.jobs, stats.tests, stats.workers_replaced, stats.retried, stats.unknown) == (1, 3, 0, 0, 0)
