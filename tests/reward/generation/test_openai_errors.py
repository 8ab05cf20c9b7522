"""Sentences on what went wrong."""

from __future__ import annotations

import errno

import httpx
import pytest

from coderm_reward.generation.connections import Answer
from coderm_reward.generation.openai_errors import Sentences, broken_because


def caused_by(error: httpx.RequestError, *causes: Exception) -> httpx.RequestError:
    """This error with a chain of causes behind it."""
    last: Exception = error
    for cause in causes:
        last.__cause__ = cause
        last = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            caused_by(
                httpx.ConnectError("All attempts failed"),
                OSError("All attempts failed"),
                ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"),
            ),
            "Connection refused",
        ),
        (caused_by(httpx.ConnectError("x"), OSError(-2, "Name not known")), "Name not known"),
        (httpx.ConnectError("certificate verify failed."), "certificate verify failed"),
        (httpx.ConnectTimeout(""), "no connection in time"),
        (httpx.ReadError(""), "ReadError"),
    ],
)
def test_a_broken_connection_is_told_in_the_systems_words(error: httpx.RequestError, reason: str) -> None:
    assert broken_because(error) == reason


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 418, 429, 500, 503])
def test_every_sentence_names_the_server_and_hides_the_key(status: int) -> None:
    answer = Answer(status, httpx.Headers(), b'{"error": {"message": "context length: your key sk-1."}}')
    sentence = Sentences("http://there/v1", "sk-1").error(answer)
    assert "http://there/v1" in sentence
    assert "sk-1" not in sentence
    assert sentence.endswith(".")
    assert ".." not in sentence
