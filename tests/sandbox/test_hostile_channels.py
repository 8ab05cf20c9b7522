"""Solutions that write, read, close and exchange the descriptors they find, to speak for their judge.

The formats tried are those that a protocol between processes is likely to have, not ours alone: what
is wrong with a frame is a verdict about its sender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coderm_sandbox import Outcome

BODY = "self.assertEqual(f(1), 2)"
TWICE = "self.assertEqual([f(1), f(2)], [2, 3])"


@pytest.fixture(autouse=True)
def _honest_afterwards(sandbox: Any, method: Callable[..., str]) -> Iterator[None]:
    """Whatever was done before, the next job in this pool gets its right verdicts."""
    yield
    results = sandbox.run("def f(x):\n    return x + 1\n", method(BODY), method("self.assertEqual(f(1), 3)"))
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


TOOLS = """
import fcntl, json, os, socket, struct, sys, threading, time
def every():
    for number in range(256):
        try:
            os.fstat(number)
            yield number
        except OSError:
            pass
def write(*frames):
    for number in every():
        try:
            fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_NONBLOCK)
            for frame in frames:
                os.write(number, frame)
        except OSError:
            pass
VERDICTS = [
    {"k": "m", "n": "T.test_0", "o": "pass", "d": "", "w": ""},
    {"k": "done", "fixture": None, "w": ""},
    {"i": 0, "outcomes": {"T.test_0": "pass"}, "fixture": "", "d": "", "s": 0.1, "assumed": 0},
    {"outcome": "pass", "judge": "apart"},
    {"k": "ready"}, {"k": "run", "pid": 1}, {"op": "exit"}, {"ok": True}, "pass", True, None,
]
LINES = [json.dumps(one).encode() + b"\\n" for one in VERDICTS]
def sized(form):
    return [struct.pack(form, len(line)) + line for line in LINES]
def peeked(flags=0):
    found = []
    for number in every():
        try:
            with socket.socket(fileno=os.dup(number)) as other:
                found.append(other.recv(1 << 20, socket.MSG_DONTWAIT | flags))
        except OSError:
            pass
    return found
"""

FRAMES = {
    "lines": "LINES",
    "one-blob": "[b''.join(LINES)]",
    "sized-big-endian": "sized('>I')",
    "sized-little-endian": "sized('<I')",
    "sized-in-eight-bytes": "sized('<Q') + sized('>Q')",
    "sized-in-two-bytes": "sized('>H') + sized('<H')",
    "truncated": "[frame[:-3] for frame in LINES + sized('>I') + sized('<I')]",
    "promises-too-much": "[struct.pack(form, 2 ** 31 - 1) + b'{' for form in ('>I', '<I', '>Q', '<Q')]",
    "negative-size": "[b'\\xff' * 4, b'\\xff' * 8]",
    "empty": "[b'', b'\\0', b'\\0' * 4, b'\\0' * 8]",
    "single-bytes": "[bytes([n]) for n in range(256)]",
    "zeros": "[b'\\0' * 65536]",
    "large": "[b'\"' + b'a' * (1 << 20) + b'\"']",
    "deep": "[b'[' * 50000 + b']' * 50000, b'{\"a\":' * 50000]",
    "many-digits": "[b'9' * 60000, b'-1e999999', b'NaN']",
    "no-text": "[b'\\xff\\xfe\\x80', '\\ud800'.encode('utf-8', 'surrogatepass'), b'\"\\\\ud800\"']",
    "pickle": "[__import__('pickle').dumps(SystemExit, n) for n in range(6)]",
    "replayed": "peeked(socket.MSG_PEEK)",
    "replayed-and-taken": "peeked()",
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_in_the_call(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = f"{TOOLS}def f(x):\n    write(*{FRAMES[name]})\n    return 5\n"
    results = sandbox.run(solution, method(BODY), method(TWICE, BODY))
    assert Outcome.PASS not in {result.outcome for result in results}


ALL_FRAMES = "LINES + sized('>I') + sized('<I') + [b'\\0' * 8] + peeked(socket.MSG_PEEK)"

# `speak` writes every kind of frame once.
MOMENTS = {
    "at-import": "speak()\ndef f(x):\n    return 5",
    "at-import-and-leaves": "speak()\nos._exit(0)",
    "from-a-thread": (
        "def f(x):\n    thread = threading.Thread(target=speak)\n    thread.start()\n    thread.join()\n"
        "    return 5"
    ),
    "from-a-thread-for-ever": (
        "def talk():\n    while True:\n        speak()\nthreading.Thread(target=talk, daemon=True).start()\n"
        "def f(x):\n    return 5"
    ),
    "from-a-child": (
        "def f(x):\n    child = os.fork()\n    if child == 0:\n        speak()\n        os._exit(0)\n"
        "    os.waitpid(child, 0)\n    return 5"
    ),
    "from-a-child-for-ever": (
        "def f(x):\n    if os.fork() == 0:\n        os.setsid()\n        while True:\n            speak()\n"
        "    return 5"
    ),
    "from-a-child-made-at-import": (
        "if os.fork() == 0:\n    while True:\n        speak()\n        time.sleep(0.001)\n"
        "def f(x):\n    return 5"
    ),
    "after-returning": (
        "import gc\nclass Late:\n    def __del__(self):\n        speak()\n"
        "def f(x):\n    late = [Late()]\n    late.append(late)\n    gc.set_threshold(1)\n    return 5"
    ),
    "at-exit": "import atexit\natexit.register(speak)\ndef f(x):\n    return 5",
    "while-being-compared": (
        "class Answer:\n    def __eq__(self, other):\n        speak()\n        return True\n"
        "    __repr__ = __hash__ = lambda self: speak()\ndef f(x):\n    return Answer()"
    ),
    "while-iterated": "def f(x):\n    speak()\n    yield 5\n    speak()",
    "while-raising": "def f(x):\n    try:\n        return 1 / 0\n    finally:\n        speak()",
    "and-then-leaves": "def f(x):\n    speak()\n    os._exit(0)",
    "and-then-is-killed": "def f(x):\n    speak()\n    os.kill(os.getpid(), 9)",
    "in-another-program": (
        "def f(x):\n    for n in every():\n        os.set_inheritable(n, True)\n"
        "    code = 'import os\\nfor n in range(256):\\n  for line in %r:\\n    try: os.write(n, line)\\n"
        "    except OSError: pass' % LINES\n    os.execv(sys.executable, [sys.executable, '-c', code])"
    ),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_to_write_frames(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = f"{TOOLS}def speak():\n    write(*({ALL_FRAMES}))\n{MOMENTS[name]}\n"
    results = sandbox.run(solution, method(BODY), method(TWICE, "self.assertEqual(list(f(1)), [2])"))
    assert Outcome.PASS not in {result.outcome for result in results}


# In place of `pass`, at import and in the call.
DESCRIPTORS = {
    "closes-all": "os.closerange(0, 256)",
    "closes-the-standard-ones": "os.closerange(0, 3)",
    "replaces-by-nothing": "null = os.open('/dev/null', os.O_RDWR); [os.dup2(null, n) for n in every()]",
    "replaces-by-pipes": "r, w = os.pipe(); [os.dup2(w if n % 2 else r, n) for n in every()]",
    "replaces-by-an-echo": "echo()",
    "exchanges": "numbers = list(every()); [os.dup2(a, b) for a, b in zip(numbers, numbers[::-1])]",
    "shuts-down-reading": "[shut(n, socket.SHUT_RD) for n in every()]",
    "shuts-down-writing": "[shut(n, socket.SHUT_WR) for n in every()]",
    "does-not-wait": "[os.set_blocking(n, False) for n in every()]",
    "steals-what-arrives": "steal()",
    "fills-the-channel": "fill()",
    "passes-descriptors": "give()",
    "tiny-buffers": "small()",
    "signals-on-arrival": "[fcntl.fcntl(n, fcntl.F_SETFL, os.O_ASYNC) for n in every()]",
}
MISCHIEF = """
def shut(number, how):
    try:
        socket.socket(fileno=os.dup(number)).shutdown(how)
    except OSError:
        pass
def echo():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for number in every():
        if number not in (ours.fileno(), theirs.fileno()):
            os.dup2(theirs.fileno(), number)
    def serve():
        while True:
            ours.send(ours.recv(1 << 16) or b"pass")
            for line in LINES:
                ours.send(line)
    threading.Thread(target=serve, daemon=True).start()
def steal():
    def serve():
        while True:
            peeked()
    threading.Thread(target=serve, daemon=True).start()
def fill():
    for _ in range(4096):
        write(*LINES)
def give():
    for number in every():
        try:
            with socket.socket(fileno=os.dup(number)) as other:
                for _ in range(300):
                    socket.send_fds(other, [LINES[0]], [0, 1, 2] * 20, socket.MSG_DONTWAIT)
        except OSError:
            pass
def small():
    for number in every():
        try:
            with socket.socket(fileno=os.dup(number)) as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
                other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        except OSError:
            pass
"""


@pytest.mark.parametrize("when", ["import", "call"])
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_descriptors(sandbox: Any, method: Callable[..., str], name: str, when: str) -> None:
    at_import, in_call = (DESCRIPTORS[name], "pass") if when == "import" else ("pass", DESCRIPTORS[name])
    solution = f"{TOOLS}{MISCHIEF}{at_import}\ndef f(x):\n    {in_call}\n    return 5\n"
    results = sandbox.run(solution, method(BODY), method(TWICE, BODY))
    assert Outcome.PASS not in {result.outcome for result in results}
