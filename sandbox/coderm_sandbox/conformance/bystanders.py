"""What stands beside a worker on its host while probes try to reach it, made for the check alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["Bystanders", "descendants", "processes_with"]

_VICTIM = """
import signal, sys, time
signal.signal(signal.SIGURG, lambda *_: sys.exit(1))
print(flush=True)
while True:
    time.sleep(60)
"""


class Bystanders:
    """Files, sockets, a process and a secret in the environment. Use as a context manager."""

    def __enter__(self) -> Bystanders:
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self._make(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _make(self, stack: contextlib.ExitStack) -> None:
        self.secret = f"coderm-secret-{secrets.token_hex(8)}"
        self.folder = Path(tempfile.mkdtemp(prefix="coderm-check-"))
        stack.callback(shutil.rmtree, self.folder)
        self.folder.chmod(0o777)
        self.file = self.folder / "secret"
        self.file.write_text(f"#!/bin/sh\necho {self.secret}\n")
        self.file.chmod(0o777)
        self._content, self._stat = self._read(), self._attributes()
        self.tcp4: int = _listen(stack, socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)).getsockname()[1]
        self.tcp6 = self._listen6(stack)
        self._names = _listen(stack, socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.udp4 = self._names.getsockname()[1]
        self.stream, self.datagram = str(self.folder / "stream"), str(self.folder / "datagram")
        for path, kind in ((self.stream, socket.SOCK_STREAM), (self.datagram, socket.SOCK_DGRAM)):
            _listen(stack, socket.AF_UNIX, kind, path)
            os.chmod(path, 0o777)
        self.abstract = (f"{self.secret}-stream", f"{self.secret}-datagram")
        for name, kind in zip(self.abstract, (socket.SOCK_STREAM, socket.SOCK_DGRAM), strict=True):
            _listen(stack, socket.AF_UNIX, kind, f"\0{name}")
        self._listing = sorted(os.listdir(self.folder))
        os.environ["CODERM_CHECK"] = self.secret
        stack.callback(os.environ.pop, "CODERM_CHECK", None)
        self._victim = subprocess.Popen(
            [sys.executable, "-S", "-c", _VICTIM, self.secret],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.callback(_end, self._victim)
        assert self._victim.stdout is not None
        self._victim.stdout.readline()
        self.victim = self._victim.pid
        """A process of our user with the secret in its command line and its environment."""

    def _listen6(self, stack: contextlib.ExitStack) -> int:
        try:
            address: tuple[str, int] = _listen(
                stack, socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)
            ).getsockname()[:2]
        except OSError:
            return self.tcp4  # a host without IPv6: nothing listens there, and nobody may connect
        return address[1]

    def _read(self) -> str:
        return self.file.read_text()

    def _attributes(self) -> tuple[int, ...]:
        found = self.file.stat()
        return (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, found.st_size)

    def harm(self, *kinds: str) -> str:
        """What happened to us of these kinds (content, attributes, folder, process, names), in words."""
        seen: dict[str, tuple[str, Callable[[], bool]]] = {
            "content": (
                "a file was changed",
                lambda: not self.file.exists() or self._read() != self._content,
            ),
            "attributes": ("a file has other attributes", lambda: self._attributes() != self._stat),
            "folder": ("a folder was changed", lambda: sorted(os.listdir(self.folder)) != self._listing),
            "process": ("a process was signalled", lambda: self._victim.poll() is not None),
            "names": ("a name server was asked", lambda: _received(self._names)),
        }
        return ", ".join(seen[kind][0] for kind in kinds if seen[kind][1]())


def _listen(
    stack: contextlib.ExitStack, family: int, kind: int, address: tuple[str, int] | str
) -> socket.socket:
    one = stack.enter_context(socket.socket(family, kind))
    one.bind(address)
    one.setblocking(False)
    if kind == socket.SOCK_STREAM:
        one.listen(64)
    return one


def _received(one: socket.socket) -> bool:
    try:
        one.recv(512)
    except BlockingIOError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def descendants() -> list[int]:
    """Pids of all that this process started, directly or not."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):  # it ended while we looked
                stat = Path(f"/proc/{name}/stat").read_bytes()
                parents.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(name))
    found: list[int] = []
    level = parents.get(os.getpid(), [])
    while level:
        found += level
        level = [child for pid in level for child in parents.get(pid, [])]
    return found


def processes_with(marker: str) -> list[int]:
    """Pids on this host whose command line holds the marker (a zombie's is empty)."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):  # it ended while we looked
                if marker.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                    found.append(int(name))
    return found
