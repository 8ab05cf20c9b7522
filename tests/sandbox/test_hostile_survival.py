"""Solutions that outstay their time, or leave something behind that answers later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coderm_sandbox import Outcome

BODY = "self.assertEqual(f(1), 2)"


@pytest.fixture(autouse=True)
def _honest_afterwards(sandbox: Any, method: Callable[..., str]) -> Iterator[None]:
    """Whatever was done before, the next job in this pool gets its right verdicts."""
    yield
    results = sandbox.run("def f(x):\n    return x + 1\n", method(BODY), method("self.assertEqual(f(1), 3)"))
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


# Every one of these runs into a limit: what takes long is here and nowhere else.
HANGS = {
    "swallows-everything": """
        def f(x):
            while True:
                try:
                    while True:
                        pass
                except BaseException:
                    pass
    """,
    "ignores-every-signal": """
        import signal
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        def f(x):
            while True:
                signal.pause()
    """,
    "handles-every-signal": """
        import signal
        def again(*a):
            f(1)
        for number in range(1, 65):
            try:
                signal.signal(number, again)
            except (OSError, ValueError):
                pass
        def f(x):
            while True:
                pass
    """,
    "blocks-every-signal": """
        import signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        def f(x):
            while True:
                time.sleep(9)
    """,
    "regular-expression": """
        import re
        def f(x):
            return re.match(r"(a+)+$", "a" * 64 + "b")
    """,
    "power": "def f(x):\n    return len(bin(7 ** 10 ** 9))\n",
    "in-c": "def f(x):\n    return sum(range(10 ** 14))\n",
    "locked": (
        "import threading\nlock = threading.Lock()\ndef f(x):\n    return lock.acquire() and lock.acquire()\n"
    ),
    "reads": "import os\ndef f(x):\n    r, w = os.pipe()\n    return os.read(r, 1)\n",
    "generator": "def f(x):\n    while True:\n        yield x\n",
    "compared": (
        "class E:\n    def __eq__(self, other):\n        while True: pass\ndef f(x):\n    return E()\n"
    ),
    "shown": "class E:\n    def __repr__(self):\n        while True: pass\ndef f(x):\n    return E()\n",
    "destroyed": (
        "class E:\n    def __del__(self):\n        while True: pass\ndef f(x):\n    E()\n    return 5\n"
    ),
    "in-a-thread-that-stays": """
        import threading
        def burn():
            while True:
                pass
        def f(x):
            thread = threading.Thread(target=burn)
            thread.start()
            thread.join()
    """,
    "every-child-again": """
        import os
        def f(x):
            while os.fork():
                os.wait()
            return f(x)
    """,
}


@pytest.mark.parametrize("name", HANGS)
def test_hang(sandbox: Any, name: str) -> None:
    body = "self.assertEqual(list(f(1)), [2])" if name == "generator" else BODY
    assert sandbox.outcome(HANGS[name], body) is not Outcome.PASS


# The test gives what was left running a moment before it looks at the answer again.
LATER = """
import time
expected = ["needle-4711"]
got = f([1])
junk = [[] for _ in range(2000)]
deadline = time.monotonic() + 0.05
while time.monotonic() < deadline:
    time.sleep(0.005)
self.assertEqual(got, expected)
"""
STAYS = {
    "thread-that-reads-frames": """
        import sys, threading, time
        def watch(box):
            while True:
                time.sleep(0.002)
                for frame in list(sys._current_frames().values()):
                    while frame:
                        box[:] = frame.f_locals.get("expected", box)
                        frame = frame.f_back
        def f(x):
            box = []
            threading.Thread(target=watch, args=(box,), daemon=True).start()
            return box
    """,
    "thread-that-changes-the-argument": """
        import threading, time
        class Any:
            __eq__ = lambda *a: True
        def f(x):
            threading.Thread(target=lambda: (time.sleep(0.01), x.__setitem__(0, Any())), daemon=True).start()
            return x
    """,
    "thread-that-patches": """
        import threading, time, unittest
        def patch():
            time.sleep(0.01)
            unittest.TestCase._baseAssertEqual = unittest.TestCase.assertListEqual = lambda *a, **k: None
            time.sleep(0.2)
        def f(x):
            threading.Thread(target=patch, daemon=True).start()
            return 5
    """,
    "timer-that-replaces-the-answer": """
        import signal, sys
        class Any:
            __eq__ = lambda *a: True
        def change(number, frame):
            box[:] = [Any()]
        box = []
        def f(x):
            signal.signal(signal.SIGALRM, change)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return box
    """,
    "collector-that-patches": """
        import gc, unittest
        def patch(*a):
            for cls in unittest.TestCase.__subclasses__():
                if hasattr(cls, "test_0"):
                    cls.assertEqual = lambda *a: None
        gc.callbacks.append(patch)
        def f(x):
            gc.set_threshold(1)
            return 5
    """,
    "finalizer-that-patches": """
        import unittest, weakref
        class Box(list): ...
        def patch():
            for cls in unittest.TestCase.__subclasses__():
                if hasattr(cls, "test_0"):
                    cls.assertEqual = lambda *a: None
        def f(x):
            weakref.finalize(Box(), patch)
            return 5
    """,
}


@pytest.mark.parametrize("name", STAYS)
def test_what_stays_behind_and_changes_the_answer(
    sandbox: Any, method: Callable[..., str], name: str
) -> None:
    results = sandbox.run(STAYS[name], *[method(LATER)] * 2)
    assert Outcome.PASS not in {result.outcome for result in results}


DAEMONS = {
    "daemon": """
        import os, time
        def f(x):
            if os.path.exists("answer"):
                return 2
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    while True:
                        with open("answer", "w") as out:
                            out.write("2")
                        time.sleep(0.001)
                os._exit(0)
            os.wait()
            return 5
    """,
    "listener": """
        import os, socket, time
        def f(x):
            try:
                with socket.socket(socket.AF_UNIX) as asking:
                    asking.connect("\\0told")
                    return int(asking.recv(9))
            except OSError:
                pass
            if os.fork() == 0:
                with socket.socket(socket.AF_UNIX) as server:
                    server.bind("\\0told")
                    server.listen()
                    while True:
                        server.accept()[0].send(b"2")
            return 5
    """,
    "local-port": """
        import os, socket
        def f(x):
            try:
                with socket.create_connection(("127.0.0.1", 4711), 0.1) as asking:
                    return int(asking.recv(9))
            except OSError:
                pass
            if os.fork() == 0:
                with socket.create_server(("127.0.0.1", 4711)) as server:
                    while True:
                        server.accept()[0].send(b"2")
            return 5
    """,
    "marker-file": """
        import os
        def f(x):
            folders = (".", "/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"))
            told = any(os.path.exists(os.path.join(folder, "told")) for folder in folders)
            for folder in folders:
                try:
                    open(os.path.join(folder, "told"), "w").close()
                except OSError:
                    pass
            return 2 if told else 5
    """,
    "shared-memory": """
        from multiprocessing import resource_tracker, shared_memory
        resource_tracker.register = lambda *a: None
        def f(x):
            try:
                return 2 if shared_memory.SharedMemory("told") else 0
            except FileNotFoundError:
                shared_memory.SharedMemory("told", create=True, size=16)
                return 5
    """,
}


@pytest.mark.parametrize("name", DAEMONS)
def test_what_one_run_leaves_for_the_next(sandbox: Any, method: Callable[..., str], name: str) -> None:
    for _ in range(2):
        results = sandbox.run(DAEMONS[name], *[method(BODY, "self.assertEqual(f(2), 2)")] * 2)
        assert Outcome.PASS not in {result.methods["T.test_0"] for result in results}
