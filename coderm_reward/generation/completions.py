"""What a generator asks of a model, and what it hears back: the seam between it and every backend.

A backend knows nothing of unit tests: it turns chat messages into texts. Failures to get a text are values
here, never exceptions, so that what arrived is kept whatever happens to the rest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from coderm_reward.types import Message

__all__ = ["Completion", "CompletionBackend", "CompletionRequest", "Failure", "FailureKind", "Sampling"]

FailureKind = Literal["connection", "timeout", "server", "rejected", "too_long", "malformed", "cancelled"]
"""connection: no answer could be had. timeout: past our deadline. server: 5xx or 429 to the end.
rejected: 4xx. too_long: the prompt does not fit the model's context. malformed: an answer that is no
completion. cancelled: we stopped it."""


class Sampling(msgspec.Struct, frozen=True):
    """How texts are drawn; the defaults are the paper's for CodeRM-8B (DESIGN section 1)."""

    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 2048


class CompletionRequest(msgspec.Struct, frozen=True):
    """`n` texts for one conversation."""

    key: str
    """The asker's name for this request; every completion of it carries it back. Unique within one call."""
    messages: tuple[Message, ...]
    seed: int
    """The same request with the same seed draws the same texts, as far as the model's server allows."""
    n: int = 1


class Failure(msgspec.Struct, frozen=True):
    """Why a text is missing, in one sentence that names the server or the engine."""

    kind: FailureKind
    message: str


class Completion(msgspec.Struct, frozen=True):
    """One text, or the failure to get it. A failed request gives one of these for each text it owed."""

    key: str
    choice: int = 0
    """Which of the request's `n` texts."""
    text: str = ""
    finish_reason: str = "stop"
    """stop, length (cut off at max_tokens or the context), or what else the server says."""
    prompt_tokens: int = 0
    """Tokens of the prompt; counted with choice 0 only, so that sums are right."""
    completion_tokens: int = 0
    seconds: float = 0.0
    """From sending the request to having this text, waiting for our own turn excluded."""
    failure: Failure | None = None


class CompletionBackend(Protocol):
    """A model that answers chat messages: a server, an engine in this process, or a script."""

    @property
    def model(self) -> str:
        """Name of the model as the user gave it: part of the generator's identity."""
        ...

    async def check(self) -> None:
        """Make sure that the model can be reached. Raises GenerationError with the fix in its sentence."""
        ...

    def complete(
        self, requests: Sequence[CompletionRequest], sampling: Sampling
    ) -> AsyncIterator[Completion]:
        """Yield the completions as they arrive, in any order: exactly `n` for each request.

        Closing the iterator early stops what it still had in flight. Several calls may be open at once; they
        share the backend's concurrency.
        """
        ...

    async def aclose(self) -> None:
        """Stop everything and give back connections or memory; safe to call twice."""
        ...
