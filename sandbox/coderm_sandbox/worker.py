"""One worker as the supervisor sees it: two sandboxed zygotes, and one job at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coderm_sandbox.errors import SandboxUnavailableError, WorkerDiedError
from coderm_sandbox.guest import seccomp, wire
from coderm_sandbox.guest.watch import LOAD_FACTOR, WALL_FACTOR
from coderm_sandbox.isolation import Launch
from coderm_sandbox.types import Limits

__all__ = ["Worker"]

START_SECONDS = 30.0
STOP_SECONDS = 5.0
GRACE_SECONDS = 30.0
"""A worker silent for this long beyond what its limits allow is taken for dead."""


class _Zygote:
    """A sandboxed process of a worker: the judges' zygote or the players' one."""

    def __init__(self, launch: Launch, core: int | None) -> None:
        """Start it. Raises SandboxUnavailableError."""
        self._launch = launch
        self.rss = 0
        self.last_words = ""
        try:
            self.sock, theirs = socket.socketpair()
        except OSError as error:
            raise SandboxUnavailableError(f"{launch.describe} cannot be started: {error}") from None
        filter_fd: int | None = None
        self._scratch: tuple[str, ...] = ()
        try:
            self._scratch = launch.make_scratch()
            passed = [theirs.fileno()]
            if launch.needs_filter:
                filter_fd = os.memfd_create("seccomp")
                os.write(filter_fd, seccomp.build_filter())
                os.lseek(filter_fd, 0, os.SEEK_SET)
                passed.append(filter_fd)
            self._process = subprocess.Popen(
                launch.command(theirs.fileno(), filter_fd, self._scratch),
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**launch.environment, "HOME": self._scratch[0], "TMPDIR": self._scratch[0]},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self.sock.close()
            launch.remove_scratch(self._scratch)
            raise SandboxUnavailableError(f"{launch.describe} cannot be started: {error}") from None
        finally:
            theirs.close()
            if filter_fd is not None:
                os.close(filter_fd)
        self.pid = self._process.pid
        """Pid of the zygote on the host, once it is ready."""
        if core is not None:
            with contextlib.suppress(OSError):  # the core may have been taken from us since
                os.sched_setaffinity(self._process.pid, {core})

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def greeted(self, hello: dict[str, Any]) -> None:
        self.rss = int(hello["rss"])
        with contextlib.suppress(OSError, ValueError, IndexError):  # only a quicker way to kill it
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
            self.pid = int(children.split()[0])

    def hang_up(self) -> None:
        """End the conversation: who waits for a word of it hears that there is none."""
        with contextlib.suppress(OSError):  # it may be closed, or handed on
            self.sock.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """Kill the zygote with everything in it, reap it, and remove its scratch folder."""
        self.hang_up()
        self.sock.close()
        if self._process.poll() is None:
            if self._launch.kept:
                self._process.terminate()  # the keeper kills the zygote, and then what that leaves
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)  # pid 1 of its namespace: all else dies with it
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stderr is not None:
            self.last_words = self._process.stderr.read().decode("utf-8", "replace").strip()
            self._process.stderr.close()
            self._process.stderr = None
        self._launch.remove_scratch(self._scratch)


class Worker:
    """A running worker. Use `await Worker.start(...)`; `kill()` leaves no process and no file."""

    def __init__(self, launch: Launch, core: int | None) -> None:
        self._launch = launch
        self._silent = False
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.python = ""
        self._judges = _Zygote(launch, core)
        try:
            self._players = _Zygote(launch, core)
        except BaseException:
            self._judges.kill()
            raise

    @classmethod
    async def start(cls, launch: Launch, *, core: int | None = None, preload: Sequence[str] = ()) -> Worker:
        """Start a worker and wait until it is warm.

        Args:
            core: the one core that both its zygotes run on; None leaves that to the kernel.
            preload: modules to import in both zygotes.

        Raises:
            SandboxUnavailableError: it did not become ready; the text ends with what it printed.
        """
        worker = cls(launch, core)
        try:
            await worker._greet(list(preload))
        except WorkerDiedError as error:
            worker.kill()
            words = f"{worker._judges.last_words}\n{worker._players.last_words}".strip()
            lines = words.splitlines() or [str(error)]
            raise SandboxUnavailableError(f"{launch.describe} cannot be started: {lines[-1]}") from None
        except BaseException:
            worker.kill()
            raise
        return worker

    async def _greet(self, preload: list[str]) -> None:
        """Wait for both zygotes, then give the judges' one its end of the players'."""
        with self._watchdog(START_SECONDS):
            roles = {"judge": self._judges, "player": self._players}
            for role, zygote in roles.items():
                zygote.sock.setblocking(False)
                with _ended():
                    zygote.sock.sendall(wire.encode({"role": role, "modules": preload}))
            for zygote in roles.values():
                hello = await self._hello(zygote)
                zygote.greeted(hello)
                self.python = str(hello["python"])
            self._players.sock.setblocking(True)  # a property of the socket, not of whoever holds it
            with _ended():
                self._judges.sock.sendall(wire.encode({"op": "judge"}))
                socket.send_fds(self._judges.sock, [b"l"], [self._players.sock.fileno()])
            self._players.sock.close()
            self._reader, self._writer = await asyncio.open_connection(sock=self._judges.sock)

    async def _hello(self, zygote: _Zygote) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        with _ended():
            data = b""
            while (
                len(data) < wire.HEADER.size
                or len(data) < wire.HEADER.size + wire.HEADER.unpack_from(data)[0]
            ):
                more = await loop.sock_recv(zygote.sock, 4096)
                if not more:
                    how = "was not ready in time" if self._silent else "ended before it was ready"
                    raise WorkerDiedError(f"a sandbox worker {how}")
                data += more
            return wire.decode_body(data[wire.HEADER.size :])

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
        return self._writer is not None and self._judges.alive and self._players.alive

    @property
    def pids(self) -> tuple[int, int]:
        """Host pids of the judges' and the players' zygote."""
        return self._judges.pid, self._players.pid

    @property
    def rss(self) -> int:
        """Bytes resident in both zygotes when they were ready."""
        return self._judges.rss + self._players.rss

    def unpin(self) -> None:
        """Let every process of this worker, and all that they fork from now on, run on any core."""
        cores = os.sched_getaffinity(0)
        waiting = list(self.pids)
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError, ValueError):  # it ended meanwhile
                os.sched_setaffinity(pid, cores)
                waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    async def exchange(
        self, op: str, tests: list[dict[str, Any]], limits: Limits, **fields: Any
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
            **fields,
        }
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
                    for one in answer.get("a", ()):
                        yield one
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
        if self._writer is not None:
            self.kill()
        else:  # `start` waits at these sockets, and would never hear of it if they were closed under it
            self._judges.hang_up()
            self._players.hang_up()

    def kill(self) -> None:
        """Kill the worker with everything in it, reap it, and remove its scratch folders."""
        if self._writer is not None:
            with contextlib.suppress(OSError):  # the peer may have closed it already
                self._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            self._writer.transport.abort()
            self._writer = None
        self._judges.kill()
        self._players.kill()


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """A worker that closes its socket before it is ready has ended."""
    try:
        yield
    except (OSError, wire.FrameError) as error:
        raise WorkerDiedError(f"a sandbox worker ended before it was ready ({error})") from None
