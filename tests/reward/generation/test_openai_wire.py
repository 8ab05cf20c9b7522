"""The chat protocol: addresses, requests, and whatever servers answer."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.errors import ConfigError
from coderm_reward.generation.completions import Sampling
from coderm_reward.generation.openai_wire import (
    LONGEST_COMPLAINT,
    BadAnswerError,
    Choice,
    chat_body,
    complaint,
    is_too_long,
    model_ids,
    read_reply,
    room_for_answer,
    server_root,
)
from coderm_reward.types import Message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "index", "usage", "error"]), inner
        )
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("given_url", "root"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        (" https://host/v1/ ", "https://host/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("https://host/proxy", "https://host/proxy/v1"),
        ("https://host/v1beta/openai/", "https://host/v1beta/openai"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_may_have_v1_or_not(given_url: str, root: str) -> None:
    assert str(server_root(given_url)) == root


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "127.0.0.1:8000",
        "localhost:8000/v1",
        "ftp://host/v1",
        "http://",
        "http://host:99999",
        "http://host:x",
        "http://host/v1?a=b",
        "http://me:secret@host/v1",
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(bad: str) -> None:
    with pytest.raises(ConfigError, match="is not the address of a server") as caught:
        server_root(bad)
    assert "secret" not in str(caught.value)


def test_a_request_holds_what_was_asked_for() -> None:
    body = json.loads(
        chat_body("m", [Message("user", "hi")], Sampling(0.5, 0.9, 7), n=2, seed=3, max_tokens=5)
    )
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "n": 2,
        "seed": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 5,
        "stream": False,
    }


@given(st.text(st.characters()))
def test_any_text_can_be_sent(text: str) -> None:
    body = json.loads(chat_body("m", [Message("user", text)], Sampling(), n=1, seed=0, max_tokens=1))
    assert body["messages"][0]["content"] == text.encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )


def reply(*choices: object, **more: object) -> bytes:
    return json.dumps({"choices": choices, **more}).encode()


def choice(text: str | None, **more: object) -> dict[str, object]:
    return {"message": {"content": text}, **more}


def test_choices_are_found_by_index_or_else_position() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    body = reply(choice("b", index=1), choice("a", index=0, finish_reason="length"), usage=usage)
    found = read_reply(body, 2)
    assert found.choices == {0: Choice("a", "length"), 1: Choice("b", "stop")}
    assert (found.prompt_tokens, found.completion_tokens) == (5, 7)
    assert read_reply(reply(choice("a"), choice("b")), 2).choices[1].text == "b"
    assert set(read_reply(reply(choice("a"), choice("b"), choice("c")), 2).choices) == {0, 1}
    assert set(read_reply(reply(choice("a")), 2).choices) == {0}


def test_a_choice_without_content_is_an_empty_text() -> None:
    assert read_reply(reply(choice(None, finish_reason="length")), 1).choices == {0: Choice("", "length")}
    assert read_reply(reply({"message": {}}), 1).choices == {0: Choice("", "stop")}
    assert read_reply(reply(choice("x"), usage={"completion_tokens": None}), 1).completion_tokens == 0


def test_bytes_that_are_no_unicode_become_replacements() -> None:
    assert read_reply(reply(choice("a\ud83d")), 1).choices[0].text == "a\ufffd"
    assert read_reply(reply(choice("aXb")).replace(b"X", b"\xff"), 1).choices[0].text == "a\ufffdb"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "an empty body"),
        (b" <!DOCTYPE html><html>", "an HTML page"),
        (b"<html>", "an HTML page"),
        (b"\x00\xff\x01", "3 bytes that are no JSON"),
        (b'{"choices": [{"mess', "19 bytes that are no JSON"),
        (b"[" * 100_000, "100000 bytes that are no JSON"),
        (reply(), "no choices"),
        (reply(choice("x", index=7)), "no choices"),
        (b'{"error": {"message": "out of memory"}}', "an error (out of memory)"),
        (b"[]", "JSON that is no completion"),
        (b"{}", "JSON that is no completion"),
        (reply({"text": "x"}), "JSON that is no completion"),
        (reply(choice("x", index="0")), "JSON that is no completion"),
    ],
)
def test_what_is_no_completion_is_called_by_its_name(body: bytes, what: str) -> None:
    with pytest.raises(BadAnswerError) as caught:
        read_reply(body, 2)
    assert str(caught.value).startswith(what)


@given(st.binary() | JSON.map(lambda tree: json.dumps(tree).encode()))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    for read in (lambda: read_reply(body, 2), lambda: model_ids(body)):
        with contextlib.suppress(BadAnswerError):
            read()
    assert len(complaint(body)) <= LONGEST_COMPLAINT + 3
    assert "\n" not in complaint(body)
    room = room_for_answer(body, 100)
    assert room is None or 0 < room < 100


def test_models_are_listed_by_id() -> None:
    assert model_ids(b'{"data": [{"id": "a"}, {"id": "b", "root": "c"}, {}, 7]}') == ["a", "b"]
    for body in (b"[]", b"{}", b'{"data": {}}', b"<html>"):
        with pytest.raises(BadAnswerError):
            model_ids(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": {"message": "no  such\\nmodel", "code": 404}}', "no such model"),
        (b'{"object": "error", "message": "bad n"}', "bad n"),
        (b'{"error": "bad key"}', "bad key"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
        (b"Internal Server Error", "Internal Server Error"),
        (b"<html><body>Bad gateway", "an HTML page"),
        (b"", "an empty body"),
        (b"x" * 1000, "x" * LONGEST_COMPLAINT + "..."),
    ],
)
def test_an_error_is_what_the_server_says_in_one_line(body: bytes, text: str) -> None:
    assert complaint(body) == text


@pytest.mark.parametrize(
    ("text", "room"),
    [
        ("maximum context length is 4096 tokens and your request has 3000 input tokens", 1096),
        ("maximum context length is 4096 tokens; you requested 5048 (3000 in the messages)", 1096),
        ("maximum context length of 4096 tokens: 3000 tokens from the input messages", 1096),
        ("maximum context length is 16,384 tokens, 15,384 input tokens", 1000),
        ("maximum context length is 4096 tokens, your prompt contains at least 2049 input tokens", 1024),
        ("max_tokens=2048 cannot be greater than max_model_len=max_total_tokens=1024", 1024),
        ("maximum context length is 4096 tokens. Your prompt contains 5000 input tokens", None),
        ("maximum context length is 4096 tokens. The upper bound for 4096 input tokens is", None),
        ("the input (516368 tokens) is longer than the model's context length (262144 tokens)", None),
        ("context_length_exceeded", None),
    ],
)
def test_numbers_of_a_refusal_say_how_much_fits(text: str, room: int | None) -> None:
    body = json.dumps({"error": {"message": text}}).encode()
    assert is_too_long(400, body)
    assert not is_too_long(500, body)
    assert room_for_answer(body, 2048) == room


def test_other_refusals_are_not_about_length() -> None:
    assert not is_too_long(400, b'{"message": "temperature must be positive"}')
