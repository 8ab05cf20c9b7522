"""A fake model server that answers by script, and misbehaves by script, down to the bytes of a connection.

The public fake for everything that talks to an OpenAI-compatible server:

    async with ScriptedServer([Act(texts=("import unittest",)), Act(status=503), Act(stall=True)]) as server:
        backend = OpenAIBackend(server.url, "scripted")

It runs in the event loop that enters it, on the loopback device, and knows GET /health, GET /v1/models and
POST /v1/chat/completions. Its tokens are words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal

import msgspec

from coderm_reward.generation.scripted_connection import Request, ScriptedConnection
from coderm_reward.types import Message

__all__ = ["Act", "Asked", "Script", "ScriptedServer"]


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What the server does with one request; by default it answers at once, and well."""

    texts: tuple[str, ...] = ()
    """Choice i gets text i, and round again; none: a small test class that depends on the seed."""
    choices: int | None = None
    """How many there are; None: as many as were asked for."""
    finish_reason: str = "stop"
    """Texts longer than max_tokens are cut off and say `length` in any case."""
    delay: float = 0.0
    """Seconds before the answer begins."""
    status: int = 200
    message: str = "scripted"
    """What the error says if `status` is not 200."""
    headers: dict[str, str] = {}
    """More headers, such as Retry-After."""
    body: bytes | None = None
    """Instead of JSON."""
    stall: bool = False
    """Never answer."""
    endless: bool = False
    """Repeat the body for ever."""
    trickle: float = 0.0
    """Seconds between the bytes of the body."""
    drop: Literal["", "before", "after_head", "in_body"] = ""
    """Break the connection before the head, after it, or in the middle of the body."""


class Asked(msgspec.Struct, frozen=True):
    """One chat request, as it came in."""

    number: int
    """Counted from 0."""
    model: str
    messages: tuple[Message, ...]
    seed: int | None
    n: int
    max_tokens: int
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """The contents of its messages, one after the other."""
        return "\n".join(message.content for message in self.messages)


class _Chat(msgspec.Struct):
    model: str
    messages: tuple[Message, ...]
    seed: int | None = None
    n: int = 1
    max_tokens: int = 2**31


Script = Act | Sequence[Act] | Callable[[Asked], Act]


class ScriptedServer:
    """The server; an async context manager.

    Args:
        script: what to do with chat requests: always the same; one act after the other as they come in, and
            Act() after the last; or what a function says.
        models: the names it lists and takes.
        api_key: without it a request is answered with 401.
        context: words that prompt and answer may have together; a request for more is answered with 400.
        listing: what to do with GET /v1/models, if not list the models.
        port: 0 takes a free one; it stays the same over `stop` and `start`.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        models: Sequence[str] = ("scripted",),
        api_key: str | None = None,
        context: int | None = None,
        listing: Act | None = None,
        port: int = 0,
    ) -> None:
        self.asked: list[Asked] = []
        """Chat requests, in the order in which they came in."""
        self.in_flight = 0
        """Chat requests that are being answered."""
        self.most_in_flight = 0
        self.disconnects = 0
        """Chat requests whose client went away before the answer was complete."""
        self.connections = 0
        """Connections ever made."""
        self._script = script
        self._models = tuple(models)
        self._api_key = api_key
        self._context = context
        self._listing = listing
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[ScriptedConnection] = set()
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it listens, without /v1."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> ScriptedServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connected, "127.0.0.1", self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Die: break every connection and listen no more."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                connection.abort()
            await self.until(lambda: not self._open)
            await self._server.wait_closed()
            self._server = None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the counts above holds."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _connected(self) -> ScriptedConnection:
        self.connections += 1
        connection = ScriptedConnection(self._serve, self._closed)
        self._open.add(connection)
        self._changed.set()
        return connection

    def _closed(self, connection: ScriptedConnection) -> None:
        self._open.discard(connection)
        self._changed.set()

    async def _serve(self, connection: ScriptedConnection, request: Request) -> None:
        if (request.method, request.path) == ("POST", "/v1/chat/completions"):
            await self._chat(connection, request)
        elif (request.method, request.path) == ("GET", "/v1/models"):
            listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in self._models]}
            act = self._listing or Act()
            await self._perform(
                connection, act if self._allowed(request) else _refusal(401, "No key."), listed
            )
        elif (request.method, request.path) == ("GET", "/health"):
            await self._perform(connection, Act(), {})
        else:
            await self._perform(connection, _refusal(404, "Not Found"), {})

    async def _chat(self, connection: ScriptedConnection, request: Request) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            act, answer = self._choose(request)
            self._changed.set()
            await self._perform(connection, act, answer)
        except asyncio.CancelledError:
            self.disconnects += not connection.aborted
            raise
        finally:
            self.in_flight -= 1
            self._changed.set()

    def _choose(self, request: Request) -> tuple[Act, dict[str, Any]]:
        """(what to do, the JSON of a good answer)."""
        if not self._allowed(request):
            return _refusal(401, "Incorrect API key: " + request.headers.get("authorization", "none")), {}
        try:
            asked = _asked(len(self.asked), request)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _refusal(400, f"No chat request: {error}"), {}
        self.asked.append(asked)
        if asked.model not in self._models:
            return _refusal(404, f"The model {asked.model!r} does not exist."), {}
        words = len(asked.prompt.split())
        if self._context is not None and words + asked.max_tokens > self._context:
            limit = f"The maximum context length is {self._context} tokens"
            return _refusal(400, f"{limit}, but {words} input tokens were given."), {}
        if callable(self._script):
            act = self._script(asked)
        elif isinstance(self._script, Act):
            act = self._script
        else:
            act = self._script[asked.number] if asked.number < len(self._script) else Act()
        return act, _completion(act, asked, words)

    def _allowed(self, request: Request) -> bool:
        return self._api_key is None or request.headers.get("authorization") == f"Bearer {self._api_key}"

    async def _perform(self, connection: ScriptedConnection, act: Act, answer: dict[str, Any]) -> None:
        if act.stall:
            await asyncio.Event().wait()
        if act.delay:
            await asyncio.sleep(act.delay)
        if act.status != 200:
            answer = {"error": {"message": act.message, "type": "scripted", "code": act.status}}
        body = msgspec.json.encode(answer) if act.body is None else act.body
        headers = {"Content-Type": "application/json", **act.headers}
        await connection.send(
            act.status, headers, body, endless=act.endless, trickle=act.trickle, drop=act.drop
        )


def _refusal(status: int, message: str) -> Act:
    return Act(status=status, message=message)


def _asked(number: int, request: Request) -> Asked:
    chat = msgspec.json.decode(request.body, type=_Chat)
    everything = msgspec.json.decode(request.body)
    return Asked(
        number, chat.model, chat.messages, chat.seed, chat.n, chat.max_tokens, request.headers, everything
    )


def _completion(act: Act, asked: Asked, words: int) -> dict[str, Any]:
    choices, tokens = [], 0
    for index in range(asked.n if act.choices is None else act.choices):
        text = act.texts[index % len(act.texts)] if act.texts else _some_test((asked.seed or 0) + index)
        parts = text.split(" ")
        if cut := len(parts) > asked.max_tokens:
            text = " ".join(parts[: asked.max_tokens])
        tokens += min(len(parts), asked.max_tokens)
        message = {"role": "assistant", "content": text}
        reason = "length" if cut else act.finish_reason
        choices.append({"index": index, "message": message, "finish_reason": reason})
    usage = {"prompt_tokens": words, "completion_tokens": tokens, "total_tokens": words + tokens}
    return {"object": "chat.completion", "model": asked.model, "choices": choices, "usage": usage}


def _some_test(seed: int) -> str:
    return (
        f"```python\nimport unittest\n\nclass TestSeed{seed}(unittest.TestCase):\n"
        f"    def test_value(self):\n        self.assertEqual(solve({seed}), {seed})\n```"
    )
