"""One connection of the scripted server: HTTP/1.1 by hand, so that it can also be spoken badly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Literal, NamedTuple, cast

__all__ = ["Request", "ScriptedConnection"]


class Request(NamedTuple):
    """A request, read whole; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedConnection(asyncio.Protocol):
    """Reads one request after the other and has each served; a client that goes away cancels the serving.

    Args:
        serve: answers a request, by calling `send`.
        closed: told at the end of the connection.
    """

    def __init__(
        self,
        serve: Callable[[ScriptedConnection, Request], Awaitable[None]],
        closed: Callable[[ScriptedConnection], None],
    ) -> None:
        self.aborted = False
        """Whether the server ended it."""
        self._serve = serve
        self._closed = closed
        self._buffer = b""
        self._task: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def abort(self) -> None:
        """Break the connection."""
        self.aborted = True
        if self._transport is not None:
            self._transport.abort()

    async def send(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        endless: bool = False,
        trickle: float = 0.0,
        drop: Literal["", "before", "after_head", "in_body"] = "",
    ) -> None:
        """Send an answer, as badly as asked for."""
        if drop == "before":
            self.abort()
            return
        framing = {"Connection": "close"} if endless else {"Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in {**framing, **headers}.items()]
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n" + "\r\n".join(lines) + "\r\n\r\n"
        if drop:
            sent = body[: len(body) // 2] if drop == "in_body" else b""
            await self._write(head.encode("latin-1") + sent)
            self._hang_up()
        elif trickle:
            await self._write(head.encode("latin-1"))
            for byte in body:
                await self._write(bytes([byte]))
                await asyncio.sleep(trickle)
        else:
            await self._write(head.encode("latin-1") + body)
            while endless:
                await self._write(body)
                await asyncio.sleep(0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._task is not None:
            self._task.cancel()
        self._closed(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)
        await self._writable.wait()

    def _hang_up(self) -> None:
        """End the connection after what is written."""
        self.aborted = True
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> None:
        """Have the next request served if it is whole and none is being served."""
        if self._task is not None:
            return
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        request_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, *_ = (*request_line.split(" "), "", "")
        self._task = asyncio.ensure_future(self._serve(self, Request(method, path, headers, rest[:length])))
        self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Future[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if error := task.exception():
            self.abort()
            raise error  # a mistake in the script: the event loop's handler reports it
        self._next()
