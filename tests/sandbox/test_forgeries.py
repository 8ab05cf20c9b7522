"""Solutions and tests that write on every descriptor they find, to be taken for somebody else.

Each is tried apart, where the channel carries answers, and inline, where it carries verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Outcome

BODY = "self.assertEqual(f(1), 2)"
SEEDED = "import random\nrandom.seed(0)\n" + BODY
"""Judged inline."""
BOTH = pytest.mark.parametrize("body", [BODY, SEEDED], ids=["apart", "inline"])

# A pass of a method, and the end of its run, in the form in which a player sends them.
FRAMED = """
        import json, os, struct
        def send(*messages):
            for fd in range(3, 256):
                for message in messages:
                    body = json.dumps(message).encode()
                    try:
                        os.write(fd, struct.pack("!I", len(body)) + body)
                    except OSError:
                        pass
        PASSED, DONE = ["m", "T.test_0", "pass", ""], ["done", None]
"""

NOT_A_PASS = {
    "junk-on-every-descriptor": """
        import os
        def f(x):
            for fd in range(3, 256):
                try:
                    os.write(fd, b"junk")
                except OSError:
                    pass
            return 2
    """,
    "json-on-every-descriptor": """
        import os
        def f(x):
            for fd in range(3, 256):
                for text in (b'{"k":"m","n":"T.test_0","o":"pass"}', b'{"k":"done","fixture":null}'):
                    try:
                        os.write(fd, text)
                    except OSError:
                        pass
            os._exit(0)
    """,
    "json-at-import": """
        import os
        for fd in range(3, 256):
            for text in (b'{"k":"load","o":"ok"}', b'{"k":"m","n":"T.test_0","o":"pass"}', b'{"k":"done"}'):
                try:
                    os.write(fd, text)
                except OSError:
                    pass
        os._exit(0)
    """,
    "endless-frames": """
        import os
        def f(x):
            while True:
                for fd in range(3, 20):
                    try:
                        os.write(fd, b'{"k":"run","pid":1}')
                    except OSError:
                        pass
    """,
    "ready-for-ever": """
        import os
        while True:
            for fd in range(3, 20):
                try:
                    os.write(fd, b'{"k":"ready"}')
                except OSError:
                    pass
    """,
    "end-of-file": """
        import os
        def f(x):
            os.closerange(3, 256)
            return 2
    """,
    "shutdown": """
        import socket
        def f(x):
            for fd in range(3, 256):
                try:
                    socket.socket(fileno=fd).shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            return 2
    """,
    "deep-json": """
        import os
        def f(x):
            for fd in range(3, 256):
                try:
                    os.write(fd, b"[" * 60000)
                except OSError:
                    pass
            return 2
    """,
    "kills-its-parent": """
        import os
        def f(x):
            os.kill(os.getppid(), 9)
            return 5
    """,
    "stops-its-parent-and-leaves": """
        import os, signal
        def f(x):
            os.kill(os.getppid(), signal.SIGSTOP)
            os._exit(0)
    """,
    "exits-with-success": "import os\ndef f(x):\n    os._exit(0)\n",
    "late-frames-from-a-child": """
        import os, time
        def f(x):
            if os.fork() == 0:
                while True:
                    for fd in range(3, 20):
                        try:
                            os.write(fd, b'{"k":"m","n":"T.test_0","o":"pass","w":""}')
                        except OSError:
                            pass
            time.sleep(0.05)
            return 5
    """,
    "verdict-in-a-frame": FRAMED
    + """
        def f(x):
            send(PASSED, DONE)
            os._exit(0)
    """,
    "verdict-in-a-frame-and-a-hang": FRAMED
    + """
        def f(x):
            send(PASSED, DONE)
            while True:
                pass
    """,
    "verdict-and-the-end-of-the-process": FRAMED
    + """
        def f(x):
            send(PASSED, DONE, ["died", 0])
            os._exit(0)
    """,
    "verdict-at-import": FRAMED
    + """
        send(["ready", True], ["loaded", "ok", "", None, False], PASSED, DONE)
        def f(x):
            return 5
    """,
    "length-of-a-message-that-never-comes": """
        import os
        def f(x):
            for fd in range(3, 256):
                try:
                    os.write(fd, b"\\x03\\xff\\xff\\xff[")
                except OSError:
                    pass
            return 5
    """,
}


@BOTH
@pytest.mark.parametrize("name", NOT_A_PASS)
def test_attacks_that_do_not_pass(sandbox: Any, method: Callable[..., str], name: str, body: str) -> None:
    before = sandbox.pool.worker_pids()
    results = sandbox.run(NOT_A_PASS[name], *[method(body)] * 2)
    assert {result.outcome for result in results} <= {
        Outcome.ERROR,
        Outcome.TAMPERED,
        Outcome.TIMEOUT,
        Outcome.FAIL,
    }
    assert sandbox.pool.worker_pids() == before, "the worker must survive it"


@BOTH
def test_no_frame_holds_a_word_that_makes_a_verdict(sandbox: Any, body: str) -> None:
    solution = """
        import json, os, sys
        def f(x):
            frame = sys._getframe()
            word = ""
            while frame is not None:
                word = str(frame.f_locals.get("command", {}).get("word", word))
                frame = frame.f_back
            passed = {"k": "m", "n": "T.test_0", "o": "pass", "w": word}
            for message in (passed, {"k": "done", "fixture": None, "w": word}):
                for fd in range(3, 20):
                    try:
                        os.write(fd, json.dumps(message).encode())
                    except OSError:
                        pass
            os._exit(0)
    """
    assert sandbox.outcome(solution, body) is not Outcome.PASS


def test_a_forged_inspection_is_an_invalid_test(sandbox: Any) -> None:
    text = """
        import os
        for fd in range(3, 256):
            for methods in (b"null", b'["T.x"]'):
                text = b'{"k":"inspected","ok":true,"methods":' + methods + b"}"
                try:
                    os.write(fd, text)
                except OSError:
                    pass
    """
    (found,) = sandbox.inspect(text)
    assert not found.valid


HONEST = """
import unittest
class T(unittest.TestCase):
    def test_a(self): self.assertEqual(f(1), 2)
"""


@pytest.mark.parametrize("data", [b"junk", b"[]", b"7", b"\xff", b"1" * 10000, b"[" * 5000, b"x" * 70000])
def test_junk_from_an_inspected_text_condemns_no_other(sandbox: Any, data: bytes) -> None:
    """Among honest ones in one request; and the next job of the pool has its verdict."""
    text = f"""
import os
for fd in range(3, 256):
    try:
        os.write(fd, {data!r})
    except OSError:
        pass
{HONEST}"""
    assert [one.valid for one in sandbox.inspect(HONEST, text, HONEST)] == [True, False, True]
    assert sandbox.outcome("def f(x):\n    return 2\n", BODY) is Outcome.PASS
