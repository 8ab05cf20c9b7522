"""Printing, input and warnings of a solution, carried to the judge in the order in which they happen."""

from __future__ import annotations

import builtins
import io
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["PlayerIO"]


class _Raw(io.RawIOBase):
    """One of the two output streams; counts over both, and refuses beyond the limit."""

    def __init__(self, owner: PlayerIO, name: str, descriptor: int) -> None:
        self._owner = owner
        self._name = name
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor  # /dev/null in every run

    def write(self, data: Any) -> int:
        self._owner.written(self._name, bytes(data))
        return len(data)


class _Bytes(io.RawIOBase):
    """What sys.stdin.buffer is."""

    def __init__(self, stdin: _Stdin) -> None:
        self._stdin = stdin

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stdin.read(size).encode("utf-8", "surrogateescape")

    def readline(self, size: int | None = -1) -> bytes:
        return self._stdin.readline(size).encode("utf-8", "surrogateescape")  # type: ignore[arg-type]


class _Stdin(io.TextIOBase):
    """sys.stdin: reads from the sys.stdin that the judge has at that moment."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.buffer = _Bytes(self)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def read(self, size: int | None = -1) -> str:
        return str(self._peer.ask("stdin", "read", -1 if size is None else size))

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        return str(self._peer.ask("stdin", "readline", size))


class PlayerIO:
    """Replaces the streams of this process, before the solution is loaded."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.limit = 0
        """Bytes that may be printed."""
        self._count = 0
        self._exceeded = False
        self._events: list[Any] = []
        self._print = builtins.print
        self._argv = ["solution.py"]
        sys.argv[:] = self._argv
        raws = [_Raw(self, name, number) for number, name in ((1, "o"), (2, "e"))]
        sys.stdout, sys.stderr = self._streams = [
            io.TextIOWrapper(
                io.BufferedWriter(raw), encoding="utf-8", errors="surrogateescape", write_through=True
            )
            for raw in raws
        ]
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
        sys.stdin = sys.__stdin__ = _Stdin(peer)  # type: ignore[assignment,misc]
        builtins.input = self._input
        warnings.simplefilter("always")
        warnings.showwarning = self._warn
        peer.outgoing, peer.incoming = self._outgoing, self._incoming

    def reset(self) -> None:
        """Count anew, for another test."""
        self._count = 0
        self._exceeded = False

    def was_quiet(self) -> bool:
        """Whether nothing was printed; what was is forgotten."""
        for stream in self._streams:
            stream.flush()
        quiet = not (self._count or self._events)
        self.reset()
        self._events.clear()
        return quiet

    def renew(self) -> None:
        """Be as before the first solution."""
        self.was_quiet()
        self._incoming(None)

    def written(self, name: str, data: bytes) -> None:
        self._count += len(data)
        if self._count > self.limit:
            self._exceeded = True
            raise OSError("output limit exceeded")
        text = data.decode("utf-8", "surrogateescape")
        if self._events and self._events[-1][0] == name:
            self._events[-1][1].append(text)
        else:
            self._events.append([name, [text]])

    def _warn(self, message: Any, category: Any, *place: Any, **names: Any) -> None:
        names_of_bases = [base.__name__ for base in category.__mro__ if base in vars(builtins).values()]
        kind = next(iter(names_of_bases), "Warning")
        self._events.append(["w", [kind, str(message)]])

    def _outgoing(self) -> Any:
        for stream in self._streams:
            stream.flush()
        if not (self._events or self._exceeded):
            return None
        events = [[k, parts if k == "w" else "".join(parts)] for k, parts in self._events]
        self._events.clear()
        return [events, self._exceeded]

    def _incoming(self, extra: Any) -> None:
        """What the test has patched at this moment: [whether print is patched, sys.argv or null]."""
        patched, argv = extra or (False, None)
        builtins.print = self._ask_print if patched else self._print
        if argv is not None or sys.argv != self._argv:
            sys.argv[:] = self._argv if argv is None else argv

    def _ask_print(self, *values: Any, **names: Any) -> None:
        if names.get("file") not in (None, sys.stdout):
            self._print(*values, **names)
            return
        names.pop("file", None)
        names.pop("flush", None)
        self._peer.ask("print", "\0".join(names), *values, *names.values())

    def _input(self, *prompt: Any) -> str:
        return str(self._peer.ask("input", *[str(part) for part in prompt]))
