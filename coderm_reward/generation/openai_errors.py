"""What went wrong with a server, in one sentence with the fix in it. Pure."""

from __future__ import annotations

import os

import httpx

from coderm_reward.generation.connections import Answer
from coderm_reward.generation.openai_wire import complaint, is_too_long

__all__ = ["Sentences", "broken_because"]


class Sentences:
    """Sentences on one server; the key that it was sent appears in none of them."""

    def __init__(self, url: str, api_key: str) -> None:
        self.name = f"The server at {url}"
        self._url = url
        self._key = api_key

    def masked(self, text: str) -> str:
        """The text with stars for the key."""
        return text.replace(self._key, "***") if self._key else text

    def error(self, answer: Answer) -> str:
        """On an answer with another status than 200."""
        status, text = answer.status, self.masked(complaint(answer.body)).rstrip(".")
        if 300 <= status < 400:
            return f"{self.name} sends us on to {answer.headers.get('Location', 'nowhere')}; use that URL."
        if status in (401, 403):
            how = "refuses the API key" if self._key else "wants an API key"
            return f"{self.name} {how} ({status}: {text}); set CODERM_API_KEY or OPENAI_API_KEY."
        if status == 404:
            return f"{self.name} says {text!r} (404); check the URL and the model's name."
        if is_too_long(status, answer.body):
            return (
                f"The prompt does not fit the context of the model at {self._url} ({status}: {text}); shorten"
                " it, or start the server with a longer context."
            )
        if status in (429, 503):
            return f"{self.name} is too busy ({status}: {text}); send it fewer requests at once."
        if status >= 500:
            return f"{self.name} failed ({status}: {text}); its log says why."
        return f"{self.name} rejected the request ({status}: {text})."


def broken_because(error: httpx.RequestError) -> str:
    """Why there is no answer, in the operating system's words where it said something."""
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    cause: BaseException | None = error
    reason = str(error)
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            reason = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
        cause = cause.__cause__ or cause.__context__
    return reason.rstrip(".") or type(error).__name__
