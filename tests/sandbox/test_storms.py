"""Programs that press on the worker and the machine: each ends as a verdict, and the worker goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Limits, Outcome

STORMS = {
    "memory-in-many-processes": (
        {"memory", "timeout"},
        """
        import os
        def f():
            for _ in range(60):
                if os.fork() == 0:
                    break
            held = []
            while True:
                held.append(bytearray(1 << 20))
        """,
    ),
    "memory-in-many-threads": (
        {"memory", "error", "timeout"},
        """
        import threading
        def f():
            def hold():
                held = []
                while True:
                    held.append(" " * 100000)
            for _ in range(50):
                threading.Thread(target=hold, daemon=True).start()
            hold()
        """,
    ),
    "burning-processes": (
        {"timeout"},
        """
        import os
        def f():
            for _ in range(60):
                if os.fork() == 0:
                    break
            while True:
                pass
        """,
    ),
    "fork-and-exec": (
        {"timeout", "error"},
        """
        import os, sys
        CODE = "import os\\nwhile True:\\n  try: os.fork()\\n  except OSError: pass"
        def f():
            while True:
                try:
                    if os.fork() == 0:
                        os.execv(sys.executable, [sys.executable, "-c", CODE])
                except OSError:
                    pass
        """,
    ),
    "children-of-the-zygote": (
        {"fail", "timeout", "error"},
        """
        import ctypes, os
        libc = ctypes.CDLL(None)
        CLONE_PARENT, SIGCHLD = 0x8000, 17
        def f():
            number = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
            while True:
                pid = libc.syscall(number, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)
                if pid == 0:
                    os.setsid()
                    while True:
                        pass
                if pid < 0:
                    return 1
        """,
    ),
    "zombies": (
        {"fail", "timeout"},
        """
        import os
        def f():
            while True:
                try:
                    if os.fork() == 0:
                        os._exit(0)
                except OSError:
                    return 1
        """,
    ),
    "signals-to-everyone": (
        {"fail", "error"},
        """
        import os
        def f():
            os.kill(-1, 9)
            return 1
        """,
    ),
    "stops-everyone": (
        {"timeout"},
        """
        import os, signal
        def f():
            os.kill(-1, signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
        """,
    ),
    "many-small-files": (
        {"timeout"},
        """
        import os
        def f():
            for folder in range(8):
                if os.fork() == 0:
                    os.mkdir(f"/tmp/{folder}")
                    os.chdir(f"/tmp/{folder}")
                    n = 0
                    while True:
                        os.close(os.open(str(n), os.O_CREAT))
                        n += 1
            while True:
                pass
        """,
    ),
    "kernel-buffers": (
        {"timeout"},
        """
        import os, socket, time
        def f():
            held = []
            try:
                while True:
                    a, b = socket.socketpair()
                    a.setblocking(False)
                    held.append((a, b))
                    try:
                        while True:
                            a.send(bytes(65536))
                    except BlockingIOError:
                        pass
            except OSError:
                time.sleep(60)
        """,
    ),
}


@pytest.fixture(scope="module")
def stormy(make_sandbox: Callable[..., Any]) -> Any:
    return make_sandbox(limits=Limits(timeout=0.3, memory_mb=256))


@pytest.mark.parametrize("name", STORMS)
def test_storm(stormy: Any, method: Callable[..., str], name: str) -> None:
    expected, solution = STORMS[name]
    before = stormy.pool.worker_pids()
    results = stormy.run(solution, *[method("self.assertEqual(f(), 2)")] * 2)
    assert {result.outcome.value for result in results} <= expected
    assert stormy.outcome("def f():\n    return 2\n", "self.assertEqual(f(), 2)") is Outcome.PASS
    assert stormy.pool.worker_pids() == before, "the worker must survive it"
    assert stormy.pool.stats.retried == 0
