"""Frames between the supervisor and a worker: four bytes of length, then JSON (never pickle).

JSON with ASCII escapes carries any Python str, lone surrogates included.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

__all__ = [
    "HEADER",
    "MAX_FRAME",
    "FrameError",
    "decode_body",
    "dumps",
    "encode",
    "loads",
    "recv_frame",
    "send_frame",
    "weight",
]

dumps = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
"""JSON in ASCII; made once, for json.dumps makes an encoder each time that it is to leave out spaces."""
loads = json.JSONDecoder().decode
HEADER = struct.Struct("!I")
MAX_FRAME = 64 * 1024 * 1024


class FrameError(Exception):
    """The peer sent something that is not a frame."""


def weight(text: str) -> int:
    """Bytes that `text` takes in a frame, or a little more than that where it is short."""
    most = 12 * len(text) + 2  # two escapes of six for a character beyond the basic plane
    return most if most < 1 << 20 else len(json.dumps(text))


def encode(message: dict[str, Any]) -> bytes:
    """Return `message` as one frame. Raises FrameError above MAX_FRAME bytes."""
    body = dumps(message).encode("ascii")
    if len(body) > MAX_FRAME:
        raise FrameError(f"a frame of {len(body)} bytes exceeds the limit of {MAX_FRAME}")
    return HEADER.pack(len(body)) + body


def decode_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a frame's body. Raises FrameError for anything else."""
    try:
        message = loads(body.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise FrameError(f"not a JSON object: {type(message).__name__}")
    return message


def send_frame(sock: socket.socket, message: dict[str, Any]) -> None:
    """Write one frame to a blocking stream socket."""
    sock.sendall(encode(message))


def recv_frame(sock: socket.socket) -> dict[str, Any] | None:
    """Read one frame from a blocking stream socket; None once the peer has closed it."""
    header = _recv_exact(sock, HEADER.size)
    if header is None:
        return None
    (size,) = HEADER.unpack(header)
    if size > MAX_FRAME:
        raise FrameError(f"a frame of {size} bytes exceeds the limit of {MAX_FRAME}")
    body = _recv_exact(sock, size)
    return None if body is None else decode_body(body)


def _recv_exact(sock: socket.socket, size: int) -> bytes | None:
    chunks = bytearray()
    while len(chunks) < size:
        chunk = sock.recv(min(1 << 20, size - len(chunks)))
        if not chunk:
            return None
        chunks += chunk
    return bytes(chunks)
