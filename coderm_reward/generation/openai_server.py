"""One server and the life of a request to it: its turn, its deadline, its retries, what its answer means."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple

import anyio
import httpx

from coderm_reward.errors import GenerationError
from coderm_reward.generation.completions import FailureKind
from coderm_reward.generation.concurrency import AdaptiveLimit, ServerHealth, retry_after_seconds
from coderm_reward.generation.connections import Answer, Connections
from coderm_reward.generation.gate import Gate
from coderm_reward.generation.openai_errors import Sentences, broken_because
from coderm_reward.generation.openai_wire import (
    BadAnswerError,
    Reply,
    is_too_long,
    model_ids,
    read_reply,
    room_for_answer,
)

__all__ = ["Exchange", "OpenAIServer", "RequestFailedError", "Room"]

CHECK_SECONDS = 30.0
COOLDOWN = 10.0
"""Seconds between trials of a server that is taken for dead."""
LONGEST_WAIT = 30.0
"""Seconds between tries at a server that refuses without saying for how long."""


class RequestFailedError(Exception):
    """A request that will get no texts; `seconds` is what it took, its own turn excluded."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.seconds = 0.0


@dataclass
class Room:
    """Tokens that an answer to one prompt may have: as asked for, or what the server's context leaves."""

    max_tokens: int


class Exchange(NamedTuple):
    """A request that was answered."""

    reply: Reply
    seconds: float
    """From first sending it to having the reply, its own turn excluded."""


@dataclass
class _Course:
    """What one request has used up so far."""

    body_for: Callable[[int], bytes]
    n: int
    room: Room
    seconds: float = 0.0
    retries: int = 0
    refusals: int = 0
    sends: int = 0


class _Again(NamedTuple):
    """The request may be sent once more, after some seconds; if not, it has failed like this."""

    failure: RequestFailedError
    wait: float = 0.0


class OpenAIServer:
    """What all requests to one server share; the arguments are explained at OpenAIBackend."""

    def __init__(
        self,
        root: httpx.URL,
        *,
        api_key: str,
        max_concurrency: int,
        deadline: float,
        retries: int,
        retry_wait: float,
        connect_timeout: float,
    ) -> None:
        self.url = str(root)
        self._root = root
        self._key = api_key
        self._say = Sentences(self.url, api_key)
        self._deadline = deadline
        self._retries = retries
        self._retry_wait = retry_wait
        self._connect_timeout = connect_timeout
        self._limit = AdaptiveLimit(max_concurrency)
        self._health = ServerHealth(self.url, patience=deadline, cooldown=COOLDOWN)
        self._gate = Gate(self._limit, self._health)
        self._connections = self._connect()
        self._random = random.Random()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def models(self) -> list[str]:
        """Ask for the names of the server's models, over a connection of its own.

        Raises:
            GenerationError: nothing answered within CHECK_SECONDS or the deadline, or no such server did.
        """
        answer: Answer | None = None
        patience = min(self._deadline, CHECK_SECONDS)
        try:
            with anyio.move_on_after(patience):
                async with self._connect() as connections:
                    answer = await connections.send("GET", "/models")
        except httpx.RequestError as error:
            raise GenerationError(
                f"No server can be reached at {self.url} ({broken_because(error)}); start it or give its URL."
            ) from None
        if answer is None:
            raise GenerationError(
                f"The server at {self.url} did not list its models within {patience:g} s; make sure that it "
                "runs and can take requests."
            )
        if answer.status != 200:
            raise GenerationError(self._say.error(answer))
        try:
            return model_ids(answer.body)
        except BadAnswerError as error:
            raise GenerationError(
                f"{self.url}/models answers with {error}; give the URL of an OpenAI-compatible API, which "
                "mostly ends in /v1."
            ) from None

    async def chat(self, body_for: Callable[[int], bytes], *, n: int, room: Room) -> Exchange:
        """Ask for `n` texts; `body_for` makes the request's JSON for a number of tokens.

        Requests of one prompt share its `room`: what the server says to one spares the others the question.

        Raises:
            RequestFailedError: there are none to be had.
        """
        course = _Course(body_for, n, room)
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._turn(course)
                sent = loop.time()
                try:
                    outcome = await self._attempt(course, sent)
                finally:
                    course.seconds += loop.time() - sent
                    self._gate.leave()
                if isinstance(outcome, Reply):
                    return Exchange(outcome, course.seconds)
                if course.retries > self._retries or course.seconds + outcome.wait >= self._deadline:
                    raise outcome.failure
                await asyncio.sleep(outcome.wait)
                course.seconds += outcome.wait
        except RequestFailedError as error:
            error.seconds = course.seconds
            raise

    async def _turn(self, course: _Course) -> None:
        try:
            await self._gate.enter(first=course.sends > 0)
        except GenerationError as error:
            raise RequestFailedError("connection", str(error)) from None
        course.sends += 1

    async def _attempt(self, course: _Course, sent: float) -> Reply | _Again:
        """Send once and say what became of it."""
        loop = asyncio.get_running_loop()
        answer: Answer | None = None
        tokens = course.room.max_tokens
        try:
            with anyio.move_on_after(self._deadline - course.seconds):
                answer = await self._connections.send("POST", "/chat/completions", course.body_for(tokens))
        except httpx.TransportError as error:
            return self._broken(course, error, sent)
        except httpx.RequestError as error:
            self._health.answered(loop.time())
            raise RequestFailedError("malformed", f"{self._say.name} answered rubbish ({error}).") from None
        now = loop.time()
        if answer is None:
            self._health.timed_out(now, sent=sent)
            message = f"{self._say.name} did not answer within {self._deadline:g} s."
            raise RequestFailedError("timeout", message)
        if answer.status in (429, 503):
            return self._refused(course, answer, sent)
        self._health.answered(now)
        if answer.status != 200:
            return self._answered_no(course, answer, tokens)
        try:
            reply = read_reply(answer.body, course.n)
        except BadAnswerError as error:
            what = self._say.masked(str(error))
            message = f"{self._say.name} answered with {what} instead of a completion."
            raise RequestFailedError("malformed", message) from None
        in_flight = self._gate.in_flight
        self._limit.succeeded(now, sent=sent, tokens=reply.completion_tokens, in_flight=in_flight)
        return reply

    def _broken(self, course: _Course, error: httpx.TransportError, sent: float) -> _Again:
        """No connection, or one that broke."""
        now = asyncio.get_running_loop().time()
        connected = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError))
        why = broken_because(error)
        self._limit.block(now + self._health.unreachable(now, sent=sent, connected=connected, why=why))
        course.retries += 1
        what = "broke the connection" if connected else "cannot be reached"
        return _Again(RequestFailedError("connection", f"{self._say.name} {what} ({why})."), self._jitter())

    def _refused(self, course: _Course, answer: Answer, sent: float) -> _Again:
        """429 or 503: too much to do. A 503 may also mean that it is broken, so that is retried only once."""
        now = asyncio.get_running_loop().time()
        asked = retry_after_seconds(answer.headers.get("Retry-After"), datetime.now(timezone.utc))
        pause = min(LONGEST_WAIT, self._retry_wait * 2.0**course.refusals) if asked is None else asked
        self._health.refused(now)
        wait = min(asked or 0.0, self._deadline)
        self._limit.refused(now, sent=sent, in_flight=self._gate.in_flight, wait=wait)
        course.refusals = min(course.refusals + 1, 16)
        course.retries += answer.status == 503
        return _Again(RequestFailedError("server", self._say.error(answer)), pause + self._jitter())

    def _answered_no(self, course: _Course, answer: Answer, tokens: int) -> _Again:
        """Any other status than 200."""
        message = self._say.error(answer)
        if answer.status >= 500:
            course.retries += 1
            return _Again(RequestFailedError("server", message), self._jitter())
        if not is_too_long(answer.status, answer.body):
            raise RequestFailedError("rejected", message)
        failure = RequestFailedError("too_long", message)
        room = room_for_answer(answer.body, tokens)
        if room is None:
            raise failure
        course.room.max_tokens = min(course.room.max_tokens, room)
        return _Again(failure)

    def _jitter(self) -> float:
        return self._retry_wait * self._random.uniform(0.5, 1.5)

    def _connect(self) -> Connections:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return Connections(self._root, headers=headers, connect_timeout=self._connect_timeout)
