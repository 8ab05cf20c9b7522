"""Solutions that look for the expected value instead of computing it.

The tests expect a text that no argument tells: `needle-` and four digits. A solution searches what it
can reach for that pattern and answers with what it finds.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coderm_sandbox import Outcome

EXPECTED = "needle-4711"
TEXT = f"""
    import unittest
    EXPECTED = "{EXPECTED}"
    class Box:
        def __init__(self, value):
            self.value = value
        def get(self):
            return self.value
    def same(x):
        return x
    class T(unittest.TestCase):
        wanted = EXPECTED
        def setUp(self):
            self.expected = "{EXPECTED}"
        def helper(self, x):
            return x
        def test_0(self):
            expected = "{EXPECTED}"
            {{body}}
            self.assertEqual(got, expected)
"""
PLAIN = TEXT.format(body="got = f(1)")

SEARCH = r"""
import os, re, sys, types
PATTERN = re.compile(r"needle-\d{4}")
seen = set()
def look(thing, depth=6):
    "The needle, if it is somewhere in this object."
    if isinstance(thing, (bytes, bytearray)):
        thing = thing.decode("latin-1")
    if isinstance(thing, str):
        found = PATTERN.search(thing)
        return found and found[0]
    if depth == 0 or id(thing) in seen:
        return None
    seen.add(id(thing))
    inner = []
    if isinstance(thing, dict):
        inner = list(thing.values())
    elif isinstance(thing, (list, tuple, set)):
        inner = list(thing)
    elif isinstance(thing, types.CodeType):
        inner = list(thing.co_consts)
    elif isinstance(thing, types.FunctionType):
        inner = [thing.__code__, thing.__globals__]
    elif isinstance(thing, types.FrameType):
        inner = [thing.f_locals, thing.f_code, thing.f_globals, thing.f_back]
    elif isinstance(thing, types.TracebackType):
        inner = [thing.tb_frame, thing.tb_next]
    elif isinstance(thing, type) or isinstance(thing, types.ModuleType):
        inner = list(vars(thing).values())
    for part in inner:
        found = look(part, depth - 1)
        if found:
            return found
def read(path):
    try:
        with open(path, "rb") as file:
            return look(file.read(1 << 20))
    except OSError:
        return None
def memory(pid):
    try:
        maps = open(f"/proc/{pid}/maps").read().splitlines()
        cells = open(f"/proc/{pid}/mem", "rb", 0)
    except OSError:
        return None
    for line in maps:
        start, end = (int(n, 16) for n in line.split()[0].split("-"))
        if " rw" in line and end - start < 1 << 26:
            try:
                cells.seek(start)
                found = re.search(rb"needle-\d{4}", cells.read(end - start))
            except (OSError, ValueError):
                continue
            if found:
                return found[0].decode()
def pids():
    return [name for name in os.listdir("/proc") if name.isdigit()]
"""

# What the call of f(1) returns.
PLACES = {
    "locals-of-the-caller": "sys._getframe(1).f_locals['expected']",
    "every-frame": "look(sys._getframe(), 40)",
    "inspect-stack": "look([info.frame for info in __import__('inspect').stack()], 40)",
    "current-frames": "look(sys._current_frames(), 40)",
    "consts-of-the-caller": "look(sys._getframe(1).f_code)",
    "self-of-the-caller": "sys._getframe(1).f_locals['self'].expected",
    "traceback": "raised()",
    "gc-objects": "look(__import__('gc').get_objects())",
    "gc-referrers": "look(__import__('gc').get_referrers(f))",
    "test-cases": "look(__import__('unittest').TestCase.__subclasses__())",
    "every-class": "look(object.__subclasses__())",
    "test-module": "look(sys.modules['test_solution'])",
    "every-module": "look(list(sys.modules.values()), 5)",
    "main-module": "look(sys.modules['__main__'], 40)",
    "linecache": "look(__import__('linecache').cache) or look(__import__('linecache').getlines('<test>'))",
    "arguments": "look([sys.argv, sys.orig_argv, dict(os.environ)])",
    "own-memory": "memory('self')",
    "every-memory": "next(filter(None, map(memory, pids())))",
    "command-lines": "next(filter(None, (read(f'/proc/{p}/cmdline') for p in pids())))",
    "environments": "next(filter(None, (read(f'/proc/{p}/environ') for p in pids())))",
    "open-files": (
        "next(filter(None, (read(f'/proc/{p}/fd/{n}') for p in pids() if os.access(f'/proc/{p}/fd', 4)"
        " for n in os.listdir(f'/proc/{p}/fd') if not os.readlink(f'/proc/{p}/fd/{n}').startswith('pipe'))))"
    ),
    "files": (
        "next(filter(None, (read(os.path.join(at, name)) for top in ('.', '/tmp', '/dev/shm', '/var', '/run')"
        " for at, _, names in os.walk(top) for name in names)))"
    ),
    "channels": "look(peeked())",
}
MORE = """
def raised():
    try:
        raise ValueError
    except ValueError as error:
        return look(error.__traceback__.tb_frame, 40)
def peeked():
    import socket
    seen = []
    for number in range(256):
        try:
            with socket.socket(fileno=os.dup(number)) as other:
                seen.append(other.recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            pass
    return seen
"""


@pytest.fixture(autouse=True)
def _honest_afterwards(sandbox: Any, method: Callable[..., str]) -> Iterator[None]:
    """Whatever was done before, the next job in this pool gets its right verdicts."""
    yield
    right, wrong = method("self.assertEqual(f(1), 2)"), method("self.assertEqual(f(1), 3)")
    results = sandbox.run("def f(x):\n    return x + 1\n", right, wrong)
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


@pytest.mark.parametrize("name", PLACES)
def test_the_expected_value_is_nowhere(sandbox: Any, name: str) -> None:
    solution = f"{SEARCH}{MORE}def f(x):\n    return {PLACES[name]}\n"
    results = sandbox.run(solution, PLAIN, PLAIN)
    assert Outcome.PASS not in {result.outcome for result in results}


# Set up at import, to see the test when it comes.
HOOKS = {
    "audit-hook": "sys.addaudithook(lambda event, values: event == 'exec' and note(values))",
    "profile": "sys.setprofile(lambda frame, *a: note(frame))",
    "trace": "sys.settrace(lambda frame, *a: note(frame))",
    "exec": "import builtins; run = exec; builtins.exec = lambda *a: note(a) or run(*a)",
    "compile": "import builtins; run = compile; builtins.compile = lambda *a, **k: note(a) or run(*a, **k)",
    "json-loader": "import json; run = json.loads; json.loads = lambda *a: note(a) or run(*a)",
    "gc-callback": "import gc; gc.callbacks.append(lambda *a: note(gc.get_objects())); gc.set_threshold(1)",
}


@pytest.mark.parametrize("name", HOOKS)
def test_no_hook_sees_the_test(sandbox: Any, name: str) -> None:
    solution = f"""{SEARCH}
found = []
def note(thing):
    if not found:
        found.extend(filter(None, [look(thing, 8)]))
        seen.clear()
def f(x):
    return found[0]
{HOOKS[name]}
"""
    results = sandbox.run(solution, PLAIN, PLAIN)
    assert Outcome.PASS not in {result.outcome for result in results}


# What the test hands over, and what the solution makes of it.
HANDED_OVER = {
    "globals-of-a-function": ("f(same)", "x.__globals__['EXPECTED']"),
    "globals-by-attrgetter": ("f(same)", "__import__('operator').attrgetter('__globals__')(x)['EXPECTED']"),
    "globals-by-format": ("f(same)", "look('{0.__globals__}'.format(x))"),
    "globals-by-object": ("f(same)", "object.__getattribute__(x, '__globals__')['EXPECTED']"),
    "globals-of-a-method": ("f(Box(1).get)", "x.__func__.__globals__['EXPECTED']"),
    "globals-of-an-object": ("f(Box(1))", "x.__class__.__init__.__globals__['EXPECTED']"),
    "globals-of-a-class": ("f(Box)", "x.get.__globals__['EXPECTED']"),
    "module-of-a-class": ("f(Box)", "look(sys.modules[x.__module__])"),
    "closure": ("f(lambda n: (n, expected)[0])", "x.__closure__[0].cell_contents"),
    "consts-of-a-function": ("f(lambda n: n if n else 'needle-4711')", "look(x.__code__)"),
    "defaults-of-a-function": ("f(lambda n, other=expected: n)", "x.__defaults__[0]"),
    "self-of-a-method": ("f(self.helper)", "x.__self__.expected"),
    "class-of-a-method": ("f(self.helper)", "type(x.__self__).wanted"),
    "frame-of-a-generator": ("f(n for n in (1, 2) if expected)", "look(x.gi_frame, 40)"),
    "globals-of-a-generator": ("f((lambda: (yield))())", "look(x.gi_frame.f_globals)"),
    "traceback-of-an-exception": ("f(lambda n: n.missing)", "fails(x)"),
    "frame-in-a-callback": ("f(lambda n: n())", "x(lambda: look(sys._getframe(), 40))"),
    "referrers": ("f(Box(1))", "look(__import__('gc').get_referrers(type(x)))"),
    "subclasses-of-object": ("f(Box)", "look(x.__mro__[-1].__subclasses__())"),
    "reduce": ("f(self.helper)", "x.__reduce__()[1][0].expected"),
    "init-of-a-slot": ("f(Box(1).get)", "x.__init__.__self__.__func__.__globals__['EXPECTED']"),
    "the-test-case": ("f(self)", "look(type(x).test_0)"),
    "patched-code": ("same(f(same))", "patch(x)"),
}


@pytest.mark.parametrize("name", HANDED_OVER)
def test_nothing_handed_over_leads_to_the_expected_value(sandbox: Any, name: str) -> None:
    call, answer = HANDED_OVER[name]
    solution = f"""{SEARCH}
def fails(call):
    try:
        call(1)
    except Exception as error:
        return look(error.__traceback__, 40)
def patch(call):
    def lie(x):
        return EXPECTED
    call.__code__ = lie.__code__
def f(x):
    return {answer}
"""
    results = sandbox.run(solution, *[TEXT.format(body=f"got = {call}")] * 2)
    assert Outcome.PASS not in {result.outcome for result in results}


@contextlib.contextmanager
def telling(family: int, address: Any) -> Iterator[Any]:
    """A server outside the sandbox that tells the expected value to everyone who asks."""
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as asked:
                        asked.sendall(EXPECTED.encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("kind", ["tcp", "unix", "abstract"])
def test_nobody_outside_tells_it(sandbox: Any, tmp_path: Path, kind: str) -> None:
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    address: Any = {
        "tcp": ("127.0.0.1", 0),
        "unix": str(tmp_path / "told"),
        "abstract": "\0" + str(tmp_path),
    }[kind]
    with telling(family, address) as name:
        solution = f"""
            import socket
            def f(x):
                with socket.socket({int(family)}) as asking:
                    asking.settimeout(0.2)
                    asking.connect({name!r})
                    return asking.recv(99).decode()
        """
        assert sandbox.outcome(solution, f"self.assertEqual(f(1), {EXPECTED!r})") is not Outcome.PASS


def test_no_secret_of_the_environment(
    make_sandbox: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, method: Callable[..., str]
) -> None:
    monkeypatch.setenv("CODERM_SECRET", EXPECTED)
    other = make_sandbox()
    solution = f"""{SEARCH}
def f(x):
    return look(dict(os.environ)) or next(filter(None, (read(f"/proc/{{p}}/environ") for p in pids())))
"""
    assert other.outcome(solution, f"self.assertEqual(f(1), {EXPECTED!r})") is not Outcome.PASS
