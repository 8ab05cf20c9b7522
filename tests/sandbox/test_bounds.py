"""How much candidate code can use up from inside bubblewrap, and that none of it is left for the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Limits, Outcome


@pytest.mark.parametrize("kind", ["fork", "thread"])
def test_process_storm_is_bounded(walled: Any, kind: str) -> None:
    solution = """
        import os, threading, time
        def fork():
            while True:
                try:
                    if os.fork() == 0:
                        time.sleep(60)
                except OSError:
                    return len([n for n in os.listdir("/proc") if n.isdigit()])
        def thread():
            count = 0
            try:
                while True:
                    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                    count += 1
            except RuntimeError:
                return count
    """
    result = walled.check(solution, f"self.assertLess({kind}(), 70)")
    assert result.outcome in (Outcome.PASS, Outcome.ERROR), result.detail
    assert walled.outcome("def f():\n    return 1\n", "self.assertEqual(f(), 1)") is Outcome.PASS


def test_huge_file_is_bounded(make_sandbox: Callable[..., Any]) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.5, file_mb=1))
    solution = "def f(n):\n    with open('/tmp/x', 'wb') as file:\n        file.write(bytes(n))\n"
    assert sandbox.outcome(solution, "f(1 << 20)") is Outcome.PASS
    assert sandbox.outcome(solution, "f((1 << 20) + 1)") is Outcome.ERROR


def test_full_scratch_disk_is_empty_again_for_the_next(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=2.0, file_mb=4, scratch_mb=8))
    solution = """
        import errno
        def f():
            try:
                for n in range(100):
                    open(f"/tmp/{n}", "wb").write(bytes(1 << 20))
            except OSError as error:
                return errno.errorcode[error.errno], n
    """
    results = sandbox.run(solution, *[method("self.assertEqual(f(), ('ENOSPC', 8))")] * 2)
    assert [r.outcome for r in results] == [Outcome.PASS] * 2, results[0].detail


def test_thousands_of_descriptors_are_refused(walled: Any) -> None:
    solution = """
        import os
        def f():
            held = []
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return len(held)
    """
    walled.expect(solution, "self.assertLess(f(), 256)")


@pytest.mark.parametrize("depth", [1500])
def test_a_tree_deeper_than_any_path_is_removed(walled: Any, depth: int, method: Callable[..., str]) -> None:
    solution = f"""
        import os
        def f():
            if os.path.exists("d"):
                return "again"
            for n in range({depth}):
                os.mkdir("d")
                os.chdir("d")
            return "first"
    """
    before = walled.pool.worker_pids()
    results = walled.run(solution, *[method("self.assertEqual(f(), 'first')")] * 3)
    assert [r.outcome for r in results] == [Outcome.PASS] * 3
    assert walled.pool.worker_pids() == before


def test_scratch_without_permissions_is_restored(walled: Any, method: Callable[..., str]) -> None:
    solution = """
        import os
        def f():
            open("/tmp/x", "w").close()
            try:
                os.chmod("/tmp", 0)
            except PermissionError:
                pass
    """
    results = walled.run(solution, *[method("f()")] * 3)
    assert [r.outcome for r in results] == [Outcome.PASS] * 3
