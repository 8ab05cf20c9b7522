"""A verdict is what a fresh process for this (solution, test) pair alone would give."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Outcome

FIRST = "self.assertEqual(f(), 'first')"


def all_first(sandbox: Any, solution: str, method: Callable[..., str], count: int = 3) -> list[str]:
    return [result.outcome.value for result in sandbox.run(solution, *[method(FIRST)] * count)]


LEAKS = {
    "global": """
        calls = 0
        def f():
            global calls
            calls += 1
            return "first" if calls == 1 else "again"
    """,
    "mutable-default": """
        def f(seen=[]):
            seen.append(1)
            return "first" if len(seen) == 1 else "again"
    """,
    "file-in-tmp": """
        import os
        def f():
            if os.path.exists("/tmp/marker"):
                return "again"
            open("/tmp/marker", "w").close()
            return "first"
    """,
    "file-in-shm": """
        import os
        def f():
            if os.path.exists("/dev/shm/marker"):
                return "again"
            open("/dev/shm/marker", "w").close()
            return "first"
    """,
    "hidden-tree": """
        import os
        def f():
            if "a" in os.listdir("."):
                return "again"
            os.makedirs("a/b/c")
            os.symlink("/", "a/root")
            os.chmod("a/b", 0)
            os.chmod("a", 0)
            return "first"
    """,
    "file-open-since-import": """
        import tempfile
        log = tempfile.TemporaryFile("w+")
        def f():
            log.seek(0)
            if log.read():
                return "again"
            log.write("x")
            log.flush()
            return "first"
    """,
    "pipe-open-since-import": """
        import os
        r, w = os.pipe()
        os.set_blocking(r, False)
        def f():
            try:
                os.read(r, 1)
            except BlockingIOError:
                os.write(w, b"x")
                return "first"
            return "again"
    """,
    "shared-memory": """
        import mmap
        cell = mmap.mmap(-1, 16)
        def f():
            cell[0] += 1
            return "first" if cell[0] == 1 else "again"
    """,
    "shared-counter": """
        import multiprocessing
        calls = multiprocessing.Value("i", 0)
        def f():
            with calls.get_lock():
                calls.value += 1
                return "first" if calls.value == 1 else "again"
    """,
    "environment": """
        import os
        def f():
            return os.environ.setdefault("CALLS", "first") if "CALLS" not in os.environ else "again"
    """,
    "module-attribute": """
        import math
        def f():
            if hasattr(math, "seen"):
                return "again"
            math.seen = True
            return "first"
    """,
    "working-directory": """
        import os
        def f():
            if os.getcwd() == "/":
                return "again"
            os.chdir("/")
            return "first"
    """,
    "signal-handler": """
        import signal
        calls = 0
        def count(number, frame):
            global calls
            calls += 1
        signal.signal(signal.SIGCHLD, count)
        def f():
            return "first" if calls == 0 else "again"
    """,
    "bound-port": """
        import socket
        def f():
            s = socket.socket(socket.AF_UNIX)
            try:
                s.bind("\\0marker")
            except OSError:
                return "again"
            import os, time
            if os.fork() == 0:
                os.setsid()
                time.sleep(60)
            return "first"
    """,
}


@pytest.mark.parametrize("name", LEAKS)
def test_nothing_leaks_from_test_to_test(sandbox: Any, method: Callable[..., str], name: str) -> None:
    assert all_first(sandbox, LEAKS[name], method) == ["pass"] * 3


@pytest.mark.parametrize("name", LEAKS)
def test_nothing_leaks_from_job_to_job(sandbox: Any, method: Callable[..., str], name: str) -> None:
    for _ in range(2):
        assert all_first(sandbox, LEAKS[name], method, count=1) == ["pass"]


def test_a_file_written_at_import_is_there_in_every_test(sandbox: Any, method: Callable[..., str]) -> None:
    solution = """
        open("table", "w").write("first")
        def f():
            return open("table").read()
    """
    assert all_first(sandbox, solution, method) == ["pass"] * 3


def test_a_process_started_at_import_is_there_in_every_test(sandbox: Any, method: Callable[..., str]) -> None:
    solution = """
        import subprocess, sys
        server = subprocess.Popen([sys.executable, "-c", "print(input())"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        def f():
            return server.communicate("first")[0].strip()
    """
    assert all_first(sandbox, solution, method) == ["pass"] * 3


def test_an_alarm_set_at_import_does_not_end_later_tests(sandbox: Any, method: Callable[..., str]) -> None:
    solution = """
        import signal, time
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        def f():
            time.sleep(0.12)
            return "first"
    """
    assert all_first(sandbox, solution, method, count=5) == ["pass"] * 5


SURVIVORS = {
    "double-fork": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                stay()
            os._exit(0)
    """,
    "ignores-sigterm": """
        if os.fork() == 0:
            for number in range(1, 32):
                if number not in (9, 19):
                    signal.signal(number, signal.SIG_IGN)
            stay()
    """,
    "refork": """
        if os.fork() == 0:
            while True:
                if os.fork():
                    os._exit(0)
    """,
    "subprocess": """
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", CODE], start_new_session=True)
        time.sleep(0.2)
    """,
    "stopped": """
        pid = os.fork()
        if pid == 0:
            stay()
        os.kill(pid, signal.SIGSTOP)
    """,
    "thread": """
        import threading
        threading.Thread(target=stay).start()
    """,
}

SURVIVOR = '''
import os, signal, time
CODE = """
import time
while True:
    open("/dev/shm/alive", "w").close()
    time.sleep(0.01)
"""
def stay():
    exec(CODE)
def f():
{body}
    return "first"
def alive():
    time.sleep(0.05)
    return os.path.exists("/dev/shm/alive") or len([p for p in os.listdir("/proc") if p.isdigit()])
'''


@pytest.mark.parametrize("name", SURVIVORS)
def test_no_process_outlives_its_test(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = SURVIVOR.format(body=textwrap.indent(textwrap.dedent(SURVIVORS[name]), "    "))
    starts, looks = sandbox.run(solution, method(FIRST), method("self.assertEqual(alive(), 3)"))
    assert starts.outcome is Outcome.PASS, starts.detail
    assert looks.outcome is Outcome.PASS, looks.detail  # pid 1, the solution's process and the test's


PAIRS = [
    ("def f(x):\n    return x + 1\n", "self.assertEqual(f(1), 2)"),
    ("def f(x):\n    return x\n", "self.assertEqual(f(1), 2)"),
    ("n = 0\ndef f(x):\n    global n\n    n += 1\n    return n\n", "self.assertEqual(f(1), 1)"),
    (
        "cache = {}\ndef f(x):\n    cache[x] = 1\n    return len(cache)\n",
        "self.assertEqual([f(1), f(2)], [1, 2])",
    ),
    ("import random\nrandom.seed(1)\ndef f(x):\n    return random.random() < 0.2\n", "self.assertTrue(f(1))"),
    ("def f(x, seen=set()):\n    seen.add(x)\n    return len(seen)\n", "self.assertEqual(f(7), 1)"),
    (
        "from functools import lru_cache\n@lru_cache\ndef f(x):\n    return object()\n",
        "self.assertIs(f(1), f(1))",
    ),
    ("def f(x):\n    raise ValueError\n", "self.assertRaises(ValueError, f, 1)"),
    ("def f(x):\n    raise SystemExit(0)\n", "f(1)"),
    ("import itertools\nc = itertools.count()\ndef f(x):\n    return next(c)\n", "self.assertEqual(f(1), 0)"),
    ("def f(x):\n    yield x\n", "self.assertEqual(list(f(1)), [1])"),
    ("g = (n for n in range(9))\ndef f(x):\n    return next(g)\n", "self.assertEqual(f(1) + f(1), 1)"),
    ("def f(x):\n    return hash('a')\n", "self.assertEqual(f(1), hash('a'))"),
    ("def f(x):\n    return {'b', 'a'}\n", "self.assertEqual(str(f(1)), str(f(1)))"),
    ("import sys\ndef f(x):\n    sys.setrecursionlimit(50)\n    return 2\n", "self.assertEqual(f(1), 2)"),
    (
        "import decimal\ndecimal.getcontext().prec = 3\ndef f(x):\n    return decimal.Decimal(1) / 3\n",
        "self.assertEqual(str(f(1)), '0.333')",
    ),
    (
        "import threading\nlocal = threading.local()\nlocal.x = 5\ndef f(x):\n    return local.x\n",
        "self.assertEqual(f(1), 5)",
    ),
    ("def f(x):\n    while True: pass\n", "self.assertEqual(f(1), 2)"),
    (
        "class A:\n    n = 0\n    def f(self):\n        A.n += 1\n        return A.n\n",
        "self.assertEqual(A().f(), 1)",
    ),
    ("f = 3\n", "self.assertEqual(f, 3)"),
    (
        "import warnings\ndef f(x):\n    warnings.warn('x')\n    return 1\n",
        "self.assertWarns(UserWarning, f, 1)",
    ),
]


def test_verdicts_are_those_of_a_process_per_pair(
    sandbox: Any, make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    """Every solution against every test in one job, and again as a job for each pair alone."""
    texts = list(dict.fromkeys(method(body) for _, body in PAIRS))[:7]
    alone = make_sandbox(workers=2)
    for solution in [solution for solution, _ in PAIRS if "while True" not in solution][::2]:
        together = [result.methods for result in sandbox.run(solution, *texts)]
        each = [alone.run(solution, text)[0].methods for text in texts]
        assert together == each


@pytest.mark.parametrize(("solution", "body"), PAIRS)
def test_a_pair_in_a_worker_that_never_ran_anything(
    sandbox: Any, make_sandbox: Callable[..., Any], solution: str, body: str, method: Callable[..., str]
) -> None:
    text = method(body)
    warm = sandbox.run(solution, text, text)
    fresh = make_sandbox()
    reference = fresh.run(solution, text)[0].methods
    fresh.close()
    assert [result.methods for result in warm] == [reference] * 2
