"""The `openai` backend: texts from any server that speaks the OpenAI chat protocol (DESIGN section 6).

Built on httpx and not on the `openai` client, which costs over twice the millisecond of CPU per request that
we allow ourselves (figures: scripts/bench/generation.py). The client owns what servers do not: the deadline,
how many requests are in flight, one retry, and the end of a request that nobody waits for any more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from coderm_reward.errors import ConfigError, GenerationError
from coderm_reward.generation.completions import Completion, CompletionRequest, Failure, FailureKind, Sampling
from coderm_reward.generation.openai_server import Exchange, OpenAIServer, RequestFailedError, Room
from coderm_reward.generation.openai_wire import chat_body, server_root
from coderm_reward.types import Message

__all__ = ["OpenAIBackend"]

MOST_PER_REQUEST = 4
AHEAD = 2
"""Requests of one call that are begun (in flight, or waiting for a turn or a retry) per request in flight."""
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class _Part:
    """Texts first .. first + n - 1 of a request: what one HTTP request asks for."""

    request: CompletionRequest
    first: int
    n: int

    def failed(self, kind: FailureKind, message: str, seconds: float = 0.0) -> list[Completion]:
        """A failure for each text."""
        failure = Failure(kind, message)
        return [
            Completion(self.request.key, self.first + i, finish_reason="", seconds=seconds, failure=failure)
            for i in range(self.n)
        ]


@dataclass
class _Call:
    """What the parts of one call to `complete` share."""

    sampling: Sampling
    rooms: dict[tuple[Message, ...], Room] = field(default_factory=dict)
    """By prompt."""


class OpenAIBackend:
    """A model behind a server (completions.CompletionBackend); belongs to one event loop.

    Args:
        base_url: `http://host:port`, with or without `/v1`.
        model: its name, as the server lists it.
        api_key: by default CODERM_API_KEY of the environment, else OPENAI_API_KEY, else none is sent.
        max_concurrency: requests in flight at most; how many there are adapts to the server
            (concurrency.AdaptiveLimit).
        deadline: seconds that a request may take in all, with its retries and the waits that the server asks
            for, but without waiting for its own turn.
        n_per_request: texts per HTTP request, 1 to 4. Text i of a request has the seed `seed + i` whatever
            this is, which is what vLLM gives to text i of n.
        retries: tries after a broken connection or a 5xx. A 429 is no failure before the deadline.
        retry_wait: seconds before such a try, on average.
        connect_timeout: seconds to make a connection.

    Requests of one prompt follow each other, so that its prefix is still cached. None waits for the answer to
    the first: that would double the time of a suite, as a prefix cannot be known to be cached before that.

    Raises:
        ConfigError: a setting is out of range, or base_url is no address of a server.
        GenerationError: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        max_concurrency: int = 256,
        deadline: float = 300.0,
        n_per_request: int = 1,
        retries: int = 1,
        retry_wait: float = 0.5,
        connect_timeout: float = 5.0,
    ) -> None:
        if max_concurrency < 1 or not deadline > 0 or not connect_timeout > 0:
            raise ConfigError("max_concurrency must be 1 or more, deadline and connect_timeout above 0.")
        if retries < 0 or not retry_wait >= 0:
            raise ConfigError("retries and retry_wait must not be negative.")
        if not 1 <= n_per_request <= MOST_PER_REQUEST:
            raise ConfigError(f"n_per_request must be between 1 and {MOST_PER_REQUEST}, not {n_per_request}.")
        self._model = model
        self._n = n_per_request
        self._window = AHEAD * max_concurrency
        self._tasks: set[asyncio.Task[list[Completion]]] = set()
        self._closed = False
        self._server = OpenAIServer(
            server_root(base_url),
            api_key=_usable_key(api_key),
            max_concurrency=max_concurrency,
            deadline=deadline,
            retries=retries,
            retry_wait=retry_wait,
            connect_timeout=connect_timeout,
        )

    @property
    def model(self) -> str:
        """The model's name, as given."""
        return self._model

    @property
    def url(self) -> str:
        """Where the server's API begins."""
        return self._server.url

    async def __aenter__(self) -> OpenAIBackend:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop all requests and close the connections; what was not there yet comes out as cancelled."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.aclose()

    async def check(self) -> None:
        """Make sure that the server can be reached and has the model.

        Raises:
            GenerationError: it cannot, wants another key, is another kind of server, or lists other models.
        """
        names = await self._server.models()
        if self._model not in names:
            there = ", ".join(names) or "no model at all"
            raise GenerationError(
                f"The server at {self.url} serves {there}, but not {self._model!r}; give a name it lists."
            )

    async def complete(
        self, requests: Sequence[CompletionRequest], sampling: Sampling
    ) -> AsyncIterator[Completion]:
        """Yield the completions as they arrive; see completions.CompletionBackend."""
        call = _Call(sampling)
        waiting = self._parts(requests)
        arrived: asyncio.Queue[asyncio.Task[list[Completion]]] = asyncio.Queue()
        running: dict[asyncio.Task[list[Completion]], _Part] = {}
        try:
            while True:
                while len(running) < self._window and (part := next(waiting, None)) is not None:
                    task = asyncio.create_task(self._answer(part, call))
                    running[task] = part
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    task.add_done_callback(arrived.put_nowait)
                if not running:
                    return
                task = await arrived.get()
                part = running.pop(task)
                for completion in self._cancelled(part) if task.cancelled() else task.result():
                    yield completion
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _parts(self, requests: Sequence[CompletionRequest]) -> Iterator[_Part]:
        """Cut requests into HTTP requests; those of one prompt follow each other."""
        by_prompt: dict[tuple[Message, ...], list[CompletionRequest]] = {}
        for request in requests:
            by_prompt.setdefault(request.messages, []).append(request)
        for same in by_prompt.values():
            for request in same:
                for first in range(0, request.n, self._n):
                    yield _Part(request, first, min(self._n, request.n - first))

    async def _answer(self, part: _Part, call: _Call) -> list[Completion]:
        """Get the texts of one part, or the failures to get them."""
        if self._closed:
            return self._cancelled(part)
        request, sampling = part.request, call.sampling
        seed = (request.seed + part.first) & LARGEST_SEED

        def body_for(max_tokens: int) -> bytes:
            return chat_body(
                self._model, request.messages, sampling, n=part.n, seed=seed, max_tokens=max_tokens
            )

        room = call.rooms.setdefault(request.messages, Room(sampling.max_tokens))
        try:
            exchange = await self._server.chat(body_for, n=part.n, room=room)
        except RequestFailedError as error:
            return part.failed(error.kind, str(error), error.seconds)
        return self._completions(part, exchange)

    def _completions(self, part: _Part, exchange: Exchange) -> list[Completion]:
        """The texts of a reply. Servers count the tokens of all of them together: each gets its share."""
        reply = exchange.reply
        missing = f"The server at {self.url} gave {len(reply.choices)} of {part.n} texts."
        found = part.failed("malformed", missing, exchange.seconds)
        for nth, (index, choice) in enumerate(sorted(reply.choices.items())):
            share, rest = divmod(reply.completion_tokens, len(reply.choices))
            found[index] = Completion(
                part.request.key,
                part.first + index,
                choice.text,
                choice.finish_reason,
                prompt_tokens=reply.prompt_tokens if part.first + index == 0 else 0,
                completion_tokens=share + (nth < rest),
                seconds=exchange.seconds,
            )
        return found

    def _cancelled(self, part: _Part) -> list[Completion]:
        return part.failed("cancelled", f"Requests to the server at {self.url} were stopped.")


def _usable_key(given: str | None) -> str:
    """Return the key to send, empty for none.

    Raises:
        ConfigError: no header can carry it.
    """
    found = given or os.environ.get("CODERM_API_KEY") or os.environ.get("OPENAI_API_KEY") or ""
    key = found.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("The API key holds characters that no header can carry; set CODERM_API_KEY anew.")
    return key
