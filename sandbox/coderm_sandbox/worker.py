"""One worker as the supervisor sees it: a process behind a socket that answers one job at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

from coderm_sandbox import seccomp
from coderm_sandbox.errors import SandboxUnavailableError, WorkerDiedError
from coderm_sandbox.guest import wire
from coderm_sandbox.guest.watch import LOAD_FACTOR, WALL_FACTOR
from coderm_sandbox.isolation import Launch
from coderm_sandbox.types import Limits

__all__ = ["Worker"]

START_SECONDS = 30.0
STOP_SECONDS = 5.0
GRACE_SECONDS = 30.0
"""A worker silent for this long beyond what its limits allow is taken for dead."""


class Worker:
    """A running worker. Use `await Worker.start(...)`; `kill()` leaves no process and no file."""

    def __init__(self, process: subprocess.Popen[bytes], scratch: tuple[str, ...], launch: Launch) -> None:
        self._process = process
        self._scratch = scratch
        self._launch = launch
        self._silent = False
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._inner = process.pid
        self.rss = 0
        """Bytes resident in the zygote once it is ready."""
        self.python = ""
        self.last_words = ""
        """What it printed to stderr before it was ready, once it is killed."""

    @classmethod
    async def start(cls, launch: Launch) -> Worker:
        """Start a worker and wait until it is warm.

        Raises:
            SandboxUnavailableError: it did not become ready; the text ends with what it printed.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise SandboxUnavailableError(f"{launch.describe} cannot be started: {error}") from None
        filter_fd: int | None = None
        scratch: tuple[str, ...] = ()
        try:
            scratch = launch.make_scratch()
            passed = [theirs.fileno()]
            if launch.needs_filter:
                filter_fd = os.memfd_create("seccomp")
                os.write(filter_fd, seccomp.build_filter())
                os.lseek(filter_fd, 0, os.SEEK_SET)
                passed.append(filter_fd)
            process = subprocess.Popen(
                launch.command(theirs.fileno(), filter_fd, scratch),
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**launch.environment, "HOME": scratch[0], "TMPDIR": scratch[0]},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            launch.remove_scratch(scratch)
            raise SandboxUnavailableError(f"{launch.describe} cannot be started: {error}") from None
        finally:
            theirs.close()
            if filter_fd is not None:
                os.close(filter_fd)
        worker = cls(process, scratch, launch)
        try:
            await worker._greet(ours, launch)
        except BaseException:
            worker.kill()
            raise
        return worker

    async def _greet(self, ours: socket.socket, launch: Launch) -> None:
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        try:
            with self._watchdog(START_SECONDS):
                hello = await self._receive()
        except WorkerDiedError as error:
            self.kill()
            lines = self.last_words.splitlines() or [str(error)]
            raise SandboxUnavailableError(f"{launch.describe} cannot be started: {lines[-1]}") from None
        self.rss, self.python = int(hello["rss"]), str(hello["python"])
        if self._launch.level == "bubblewrap":
            with contextlib.suppress(OSError, ValueError, IndexError):  # only a quicker way to kill it
                children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
                self._inner = int(children.split()[0])

    async def _receive(self) -> dict[str, Any]:
        assert self._reader is not None
        try:
            (size,) = wire.HEADER.unpack(await self._reader.readexactly(wire.HEADER.size))
            if size > wire.MAX_FRAME:
                raise wire.FrameError("frame too long")
            return wire.decode_body(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError, wire.FrameError) as error:
            if self._silent:
                raise WorkerDiedError("a sandbox worker fell silent") from None
            raise WorkerDiedError(f"a sandbox worker ended unexpectedly ({error})") from None

    @property
    def alive(self) -> bool:
        return self._process.poll() is None and self._writer is not None

    @property
    def pid(self) -> int:
        """Pid of the zygote on the host."""
        return self._inner

    async def exchange(
        self, op: str, tests: list[dict[str, Any]], limits: Limits, solution: str | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Send one job and yield its answers, one per test in order; kills itself if not read to the end.

        Close the iterator (contextlib.aclosing) before anything else is done with the worker.

        Raises:
            WorkerDiedError: the worker ended or fell silent; what was yielded stands.
        """
        if self._writer is None:
            raise WorkerDiedError("a sandbox worker was closed")
        message = {
            "op": op,
            "tests": tests,
            "limits": {**limits.as_message(), "count_processes": self._launch.counts_processes},
        }
        if solution is not None:
            message["solution"] = solution
        silence = WALL_FACTOR * LOAD_FACTOR * limits.timeout + GRACE_SECONDS
        finished = False
        try:
            with self._watchdog(silence) as pet:
                self._writer.write(wire.encode(message))
                await self._writer.drain()
                while True:
                    answer = await self._receive()
                    pet()
                    if "end" in answer:
                        break
                    if "alive" not in answer:
                        yield answer
                        pet()  # what the caller did with it is not the worker's silence
            finished = bool(answer["clean"])
        except ConnectionError as error:
            raise WorkerDiedError(f"a sandbox worker ended unexpectedly ({error})") from None
        finally:
            if not finished:
                self.kill()

    @contextlib.contextmanager
    def _watchdog(self, seconds: float) -> Iterator[Callable[[], None]]:
        """Kill the worker, which ends every wait for it, unless the yielded function is called in time."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._fell_silent)

        def pet() -> None:
            nonlocal timer
            timer.cancel()
            timer = loop.call_later(seconds, self._fell_silent)

        try:
            yield pet
        finally:
            timer.cancel()

    def _fell_silent(self) -> None:
        self._silent = True
        self.kill()

    def kill(self) -> None:
        """Kill the worker with everything in it, reap it, and remove its scratch folder."""
        if self._writer is not None:
            with contextlib.suppress(OSError):  # the peer may have closed it already
                self._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            self._writer.transport.abort()
            self._writer = None
        if self._process.poll() is None:
            if self._launch.level == "bubblewrap":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._inner, signal.SIGKILL)  # pid 1 of its namespace: all else dies with it
            try:  # a zygote without a namespace sees the closed socket, kills what it started, and ends
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stderr is not None:
            self.last_words = self._process.stderr.read().decode("utf-8", "replace").strip()
            self._process.stderr.close()
            self._process.stderr = None
        self._launch.remove_scratch(self._scratch)
