"""The OpenAI chat protocol as far as we speak it: what is sent and what an answer says. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec

from coderm_reward.errors import ConfigError
from coderm_reward.generation.completions import Sampling
from coderm_reward.types import Message

__all__ = [
    "BadAnswerError",
    "Choice",
    "Reply",
    "chat_body",
    "complaint",
    "is_too_long",
    "model_ids",
    "read_reply",
    "room_for_answer",
    "server_root",
]

LONGEST_COMPLAINT = 300
_VERSION = re.compile(r"v[0-9]+[a-z0-9]*")
_CONTEXT = re.compile(
    r"(?:context (?:length|window|size)|max_model_len)[^0-9]{0,24}(?P<size>[0-9][0-9,]*)", re.IGNORECASE
)
_ASKED = re.compile(
    r"(?P<bound>at least )?(?P<size>[0-9][0-9,]*) "
    r"(?:input tokens|(?:tokens )?(?:in|from) the (?:input )?(?:messages|prompt))",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[_ ](?:length|window|size)|max_model_len|(?:prompt|input|request)(?: is)? too (?:long|large)"
    r"|too many (?:input )?tokens|reduce the length",
    re.IGNORECASE,
)


class BadAnswerError(ValueError):
    """An answer that is no completion; the text says what it is instead, to follow `answered with`."""


class Choice(NamedTuple):
    """One text of a reply."""

    text: str
    finish_reason: str


class Reply(NamedTuple):
    """The choices by their index (fewer than asked for if some are missing), and what they cost."""

    choices: dict[int, Choice]
    prompt_tokens: int
    completion_tokens: int


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class _Reply(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_decode_reply = msgspec.json.Decoder(_Reply).decode
_encode = msgspec.json.Encoder().encode


def server_root(base_url: str) -> httpx.URL:
    """Return where the API begins: `http://host:8000` and `http://host:8000/v1/` both end in `/v1`.

    Raises:
        ConfigError: that is no address of a server.
    """
    text = base_url.strip()
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and not (url.query or url.fragment)
        if not usable or url.username or url.password or (url.port == 0):
            raise ValueError(text)
        path = url.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
        if not any(_VERSION.fullmatch(part) for part in path.split("/")):
            path += "/v1"
        return httpx.URL(f"{url.scheme}://{url.netloc}{path}")
    except (ValueError, httpx.InvalidURL):
        shown = re.sub(r"//[^/@]*@", "//", text)
        raise ConfigError(
            f"{shown!r} is not the address of a server; give one such as http://127.0.0.1:8000/v1, without "
            "user, query or fragment (a key goes into CODERM_API_KEY)."
        ) from None


def chat_body(
    model: str, messages: Sequence[Message], sampling: Sampling, *, n: int, seed: int, max_tokens: int
) -> bytes:
    """Return the JSON of a request to /chat/completions; lone surrogates become U+FFFD."""
    body = {
        "model": model,
        "messages": messages,
        "n": n,
        "seed": seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": max_tokens,
        "stream": False,
    }
    try:
        return _encode(body)
    except UnicodeEncodeError:
        body["messages"] = [Message(_whole(one.role), _whole(one.content)) for one in messages]
        return _encode(body)


def read_reply(body: bytes, n: int) -> Reply:
    """Return the choices of an answer with status 200; those beyond `n` are ignored.

    A choice without content is an empty text: a model may spend all its tokens on thoughts that the server
    keeps apart.

    Raises:
        BadAnswerError: that is no completion.
    """
    try:
        found = _decode_reply(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = _decode_loosely(body)
    choices: dict[int, Choice] = {}
    for position, choice in enumerate(found.choices):
        index = position if choice.index is None else choice.index
        if 0 <= index < n:
            text = _whole(choice.message.content or "")
            choices.setdefault(index, Choice(text, choice.finish_reason or "stop"))
    if not choices:
        raise BadAnswerError("no choices")
    usage = found.usage or _Usage()
    return Reply(choices, usage.prompt_tokens or 0, usage.completion_tokens or 0)


def model_ids(body: bytes) -> list[str]:
    """Return the names in an answer to GET /models.

    Raises:
        BadAnswerError: that is no list of models.
    """
    try:
        tree = json.loads(_as_text(body))
    except (ValueError, RecursionError):
        raise BadAnswerError(_kind(body)) from None
    data = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(data, list):
        raise BadAnswerError("JSON that is no list of models")
    return [one["id"] for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)]


def complaint(body: bytes) -> str:
    """Return what an error answer says, as one line of at most LONGEST_COMPLAINT characters."""
    try:
        tree = json.loads(_as_text(body))
    except (ValueError, RecursionError):
        kind = _kind(body)
        tree = kind if kind.startswith("an ") else _as_text(body)
    while isinstance(tree, dict):
        tree = next((tree[key] for key in ("error", "message", "detail") if tree.get(key)), json.dumps(tree))
    text = " ".join((tree if isinstance(tree, str) else json.dumps(tree)).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text[: LONGEST_COMPLAINT + 1])
    return text if len(text) <= LONGEST_COMPLAINT else text[:LONGEST_COMPLAINT] + "..."


def is_too_long(status: int, body: bytes) -> bool:
    """Whether an error answer says that prompt and answer exceed the model's context."""
    return status in (400, 413, 422) and _TOO_LONG.search(_as_text(body)) is not None


def room_for_answer(body: bytes, max_tokens: int) -> int | None:
    """Return a smaller `max_tokens` that may fit where prompt and answer together do not; None if none may.

    Servers differ: new vLLM cuts `max_tokens` down to what is left by itself, older vLLM and SGLang refuse
    such a request and name the numbers; a number of `at least` is only a bound, so that is halved.
    """
    text = _as_text(body)
    context, asked = _CONTEXT.search(text), _ASKED.search(text)
    if context is None:
        return None
    size = int(context["size"].replace(",", ""))
    room = size - int(asked["size"].replace(",", "")) if asked else size
    if asked and asked["bound"]:
        room = min(room, max_tokens // 2)
    return room if 0 < room < max_tokens else None


def _decode_loosely(body: bytes) -> _Reply:
    """Read what strict JSON refuses but servers send: bytes that are no UTF-8, lone surrogates."""
    try:
        tree = json.loads(_as_text(body))
    except (ValueError, RecursionError):
        raise BadAnswerError(_kind(body)) from None
    if isinstance(tree, dict) and tree.get("error"):
        raise BadAnswerError(f"an error ({complaint(body)})")
    try:
        return msgspec.convert(tree, _Reply)
    except msgspec.ValidationError as error:
        raise BadAnswerError(f"JSON that is no completion ({error})") from None


def _kind(body: bytes) -> str:
    """What a body is that is not JSON."""
    start = _as_text(body[:1000]).lstrip().lower()
    if start.startswith(("<!doctype", "<html")):
        return "an HTML page"
    return f"{len(body)} bytes that are no JSON" if start else "an empty body"


def _as_text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _whole(text: str) -> str:
    """Replace lone surrogates, which neither a request nor a file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
