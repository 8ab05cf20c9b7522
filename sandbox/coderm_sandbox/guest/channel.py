"""Messages between judge and player: four bytes of length, then JSON. Nothing that can run on decoding."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

__all__ = ["MAX_MESSAGE", "Channel", "PlayerLostError", "WireError"]

MAX_MESSAGE = 64 << 20
"""Bytes; a longer message is not sent, and not accepted."""
_HEADER = struct.Struct("!I")
_CHUNK = 1 << 16


class WireError(Exception):
    """The peer sent something that is no message, or no value: a verdict about the peer."""


class PlayerLostError(BaseException):
    """The other process is gone. No test text may catch it, hence not an Exception."""


class Channel:
    """One end of a stream socket; blocking, for one thread at a time."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self._rest = b""
        # Bound here, before any candidate code runs in this process.
        self._dumps = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
        self._loads = json.JSONDecoder().decode
        self._pack, self._unpack = _HEADER.pack, _HEADER.unpack
        if sock is not None:
            self.open(sock)

    def open(self, sock: socket.socket) -> None:
        """Use this socket."""
        self._sock = sock
        self._send, self._receive = sock.sendall, sock.recv

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: list[Any]) -> None:
        """Write one message. Raises OverflowError if it is too long, PlayerLostError if nobody reads."""
        body = self._dumps(message).encode("ascii")
        if len(body) > MAX_MESSAGE:
            raise OverflowError(f"a message of {len(body)} bytes is longer than {MAX_MESSAGE}")
        try:
            self._send(self._pack(len(body)) + body)
        except OSError as error:
            raise PlayerLostError(str(error)) from None

    def receive(self) -> list[Any]:
        """Read one message. Raises WireError for what is none, PlayerLostError at the end of the stream."""
        data = self._rest
        while len(data) < 4:
            data += self._more(_CHUNK)
        (size,) = self._unpack(data[:4])
        if size > MAX_MESSAGE:
            raise WireError("announced a message that is too long")
        end = 4 + size
        if len(data) < end:
            parts, have = [data], len(data)
            while have < end:
                part = self._more(min(1 << 20, max(_CHUNK, end - have)))
                parts.append(part)
                have += len(part)
            data = b"".join(parts)
        self._rest = data[end:]
        try:
            message = self._loads(data[4:end].decode("ascii"))
        except (ValueError, RecursionError, MemoryError) as error:
            raise WireError(f"sent what cannot be read ({type(error).__name__})") from None
        if type(message) is not list or not message or type(message[0]) is not str:
            raise WireError("sent what is no message")
        return message

    def _more(self, size: int) -> bytes:
        try:
            data = self._receive(size)
        except OSError as error:
            raise PlayerLostError(str(error)) from None
        if not data:
            raise PlayerLostError("the other process ended")
        return data

    def drain(self) -> None:
        """Forget what has arrived and was not read: it belongs to a test that is over."""
        self._rest = b""
        self._sock.setblocking(False)
        try:
            while self._sock.recv(1 << 20):
                pass
        except OSError:
            pass  # nothing more is there; a closed peer shows with the next receive
        finally:
            self._sock.setblocking(True)

    def close(self) -> None:
        self._sock.close()
