"""A real pool behind a plain, synchronous face; one event loop per pool, no mocks."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from coderm_sandbox import Inspection, Job, Limits, Outcome, SandboxPool, Test, TestResult
from coderm_sandbox import pool as pool_module
from coderm_sandbox.errors import SandboxUnavailableError
from coderm_sandbox.interpreter import describe_interpreter
from coderm_sandbox.isolation import open_to_all

T = TypeVar("T")

ROOT = "root"
USERNS = "userns"


class Sandbox:
    """A pool that is entered, and the loop it lives in."""

    def __init__(self, variant: str | None = None, **options: Any) -> None:
        self.limits = options.setdefault("limits", Limits(timeout=0.5, memory_mb=256))
        options.setdefault("workers", 1)
        options.setdefault(
            "python", os.environ.get("CODERM_SANDBOX_PYTHON")
        )  # to try another version by hand
        self.loop = asyncio.new_event_loop()
        self.pool = SandboxPool(**options)
        found = pool_module.launches

        def only(*arguments: Any) -> Any:
            return [launch for launch in found(*arguments) if launch.as_root == (variant == ROOT)]

        try:
            pool_module.launches = found if variant is None else only
            self.do(self.pool.__aenter__())
        finally:
            pool_module.launches = found

    def do(self, awaitable: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(awaitable)

    def close(self) -> None:
        if self.loop.is_closed():
            return
        try:
            self.pool.close()
            self.do(asyncio.sleep(0))
            self.do(self.loop.shutdown_asyncgens())
            self.do(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()

    def inspect(self, *sources: str) -> list[Inspection]:
        return self.do(self.pool.inspect([Test(textwrap.dedent(source)) for source in sources]))

    async def prepare(self, sources: list[str]) -> tuple[Test, ...]:
        """Inspected tests, which all have to be valid."""
        texts = [textwrap.dedent(source) for source in sources]
        found = await self.pool.inspect([Test(text) for text in texts])
        assert all(one.valid for one in found), [one.reason for one in found]
        return tuple(
            Test(text, methods=one.methods, skipped=one.skipped)
            for text, one in zip(texts, found, strict=True)
        )

    async def arun(self, solution: str, *sources: str) -> list[TestResult]:
        tests = await self.prepare(list(sources))
        return await self.pool.run(Job(textwrap.dedent(solution), tests))

    def run(self, solution: str, *sources: str) -> list[TestResult]:
        return self.do(self.arun(solution, *sources))

    def check(self, solution: str, body: str) -> TestResult:
        """One method with this body; its result."""
        (result,) = self.run(solution, method(body))
        return result

    def outcome(self, solution: str, body: str) -> Outcome:
        return self.check(solution, body).outcome

    def expect(self, solution: str, body: str) -> None:
        """One method with this body passes."""
        result = self.check(solution, body)
        assert result.outcome is Outcome.PASS, result.detail


PROBES = """
    import ctypes, errno, os, socket
    libc = ctypes.CDLL(None, use_errno=True)
    def call(number, *arguments):
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
        return errno.errorcode[ctypes.get_errno()] if result == -1 else "allowed"
    def attempt(action, *arguments):
        try:
            action(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]
        return "allowed"
"""
"""A solution whose functions say what the kernel answers."""


@pytest.fixture(scope="session")
def probes() -> str:
    return PROBES


class Control:
    """An odd but honest program: it passes, and a variant of it that is wrong does not."""

    def __init__(self, sandbox: Sandbox, solution: str, body: str, change: tuple[str, str]) -> None:
        self._sandbox = sandbox
        self._solution = textwrap.dedent(solution)
        self._text = body if "TestCase" in body else method(body)
        self._change = change

    def passes(self) -> None:
        (result,) = self._sandbox.run(self._solution, self._text)
        assert result.outcome is Outcome.PASS, result.detail

    def wrong_variant_does_not_pass(self) -> None:
        changed = self._solution.replace(*self._change)
        assert changed != self._solution
        (result,) = self._sandbox.run(changed, self._text)
        assert result.outcome is not Outcome.PASS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `control` runs for every one of its module's CASES."""
    if "control" in metafunc.fixturenames:
        cases = metafunc.module.CASES
        metafunc.parametrize("control", cases.values(), ids=list(cases), indirect=True)


@pytest.fixture
def control(request: pytest.FixtureRequest, sandbox: Sandbox) -> Control:
    return Control(sandbox, *request.param)


def method(*bodies: str) -> str:
    """A test text with one class T, whose methods test_0, test_1, ... have these bodies."""
    lines = ["import unittest", "class T(unittest.TestCase):"]
    for number, body in enumerate(bodies):
        lines.append(f"    def test_{number}(self):")
        lines.append(textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session", name="method")
def _method() -> Callable[..., str]:
    return method


@pytest.fixture(scope="module")
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    made: list[Sandbox] = []

    def make(**options: Any) -> Sandbox:
        made.append(Sandbox(**options))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.close()


@pytest.fixture(scope="module")
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """The default: one bubblewrap worker, short timeout, shared by a module."""
    return make_sandbox()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            ROOT, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root starts it this way")
        ),
        USERNS,
    ],
)
def walled(request: pytest.FixtureRequest, make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """Bubblewrap in each way it is started: by root, and in a user namespace of its own."""
    return make_sandbox(variant=request.param)


@pytest.fixture(scope="module", params=["bubblewrap", "none"])
def either(request: pytest.FixtureRequest, make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """Every isolation level."""
    return make_sandbox(isolation=request.param)


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., bool]:
    def wait(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Whether the condition came true in time; ends as soon as it does."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    return wait


@pytest.fixture(scope="session")
def processes_with() -> Callable[[str], list[int]]:
    def find(marker: str) -> list[int]:
        """Pids of processes whose command line or environment holds the marker (zombies hold neither)."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                except OSError:
                    continue
                if marker.encode() in text:
                    found.append(int(folder.name))
        return found

    return find


@pytest.fixture(scope="session")
def open_python() -> str:
    """An interpreter that every user of this host can read."""
    for executable in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            python = describe_interpreter(executable)
        except SandboxUnavailableError:
            continue
        if all(map(open_to_all, (executable, *python.folders, *python.files))):
            return executable
    pytest.skip("no interpreter here can be read by every user")
