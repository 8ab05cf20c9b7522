"""The fake server does what its script says, seen with plain sockets and with httpx."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from coderm_reward.generation.scripted_server import Act, Asked, Script, ScriptedServer


def with_server(
    work: Callable[[ScriptedServer, httpx.AsyncClient], Awaitable[None]], script: Script = (), **options: Any
) -> None:
    async def run() -> None:
        async with (
            ScriptedServer(script, **options) as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client,
        ):
            await work(server, client)

    asyncio.run(run())


def chat(text: str = "hello there", **more: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], **more}


def test_it_answers_like_a_server_of_that_kind() -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/v1/models")).json()["data"] == [{"id": "scripted", "object": "model"}]
        assert (await client.get("/v2")).status_code == 404
        answer = (await client.post("/v1/chat/completions", json=chat(n=2, seed=7))).json()
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        assert "TestSeed7(" in texts[0]
        assert "TestSeed8(" in texts[1]
        assert answer["usage"]["prompt_tokens"] == 2
        assert [choice["index"] for choice in answer["choices"]] == [0, 1]
        (asked,) = server.asked
        assert (asked.prompt, asked.n, asked.seed, asked.number) == ("hello there", 2, 7, 0)
        assert (server.in_flight, server.most_in_flight, server.disconnects) == (0, 1, 0)

    with_server(work)


def test_a_list_is_played_in_order_and_then_all_is_well() -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        script = [await client.post("/v1/chat/completions", json=chat()) for _ in range(3)]
        assert [answer.status_code for answer in script] == [503, 429, 200]
        assert script[1].headers["Retry-After"] == "3"
        assert script[0].json()["error"]["message"] == "tired"

    with_server(work, [Act(status=503, message="tired"), Act(status=429, headers={"Retry-After": "3"})])


def test_a_function_may_answer_by_what_was_asked() -> None:
    def script(asked: Asked) -> Act:
        return Act(texts=(asked.prompt.upper(), "other"), finish_reason="content_filter")

    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        answer = (await client.post("/v1/chat/completions", json=chat("hi", n=3))).json()
        assert [choice["message"]["content"] for choice in answer["choices"]] == ["HI", "other", "HI"]
        assert answer["choices"][0]["finish_reason"] == "content_filter"

    with_server(work, script)


def test_texts_are_cut_off_at_max_tokens() -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        answer = (await client.post("/v1/chat/completions", json=chat(max_tokens=2))).json()
        assert answer["choices"][0]["message"]["content"] == "a b"
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 2

    with_server(work, Act(texts=("a b c",)))


@pytest.mark.parametrize(
    ("body", "options", "status"),
    [
        (chat(), {"api_key": "k"}, 401),
        ({**chat(), "model": "other"}, {}, 404),
        (chat("one two three", max_tokens=8), {"context": 10}, 400),
        ({"model": "scripted"}, {}, 400),
        (chat(n="many"), {}, 400),
    ],
)
def test_it_refuses_what_a_server_refuses(body: Any, options: dict[str, Any], status: int) -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/chat/completions", json=body)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]

    with_server(work, **options)


def test_the_key_opens_it() -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/models")).status_code == 401
        client.headers["Authorization"] = "Bearer k"
        assert (await client.get("/v1/models")).status_code == 200

    with_server(work, api_key="k")


async def raw(server: ScriptedServer) -> bytes:
    """All that one chat request brings, byte by byte, until the server closes or the answer is whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    body = json.dumps(chat()).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    got = b""
    try:
        for piece in (head[:30], head[30:] + body[:5], body[5:]):  # requests may come in any pieces
            writer.write(piece)
            await asyncio.sleep(0)
        while data := await reader.read(100):
            got += data
            if got.endswith(b"}") or len(got) > 10_000:
                break
    except ConnectionResetError:
        pass  # that is one way to be dropped
    finally:
        writer.close()
    return got


@pytest.mark.parametrize(
    ("act", "start", "end"),
    [
        (Act(), b"HTTP/1.1 200 OK\r\n", b"}"),
        (Act(delay=0.01, trickle=0.0001, body=b'{"a": 1}'), b"HTTP/1.1 200 OK\r\n", b'{"a": 1}'),
        (Act(drop="before"), b"", b""),
        (Act(drop="after_head"), b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"),
        (Act(drop="in_body", body=b"0123456789"), b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n01234"),
        (Act(endless=True, body=b"rubbish"), b"HTTP/1.1 200 OK\r\n", b""),
    ],
)
def test_it_can_speak_badly(act: Act, start: bytes, end: bytes) -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        got = await raw(server)
        assert got.startswith(start)
        assert got.endswith(end)
        assert bool(got) == bool(start)
        assert (len(got) > 10_000) == act.endless
        await server.until(lambda: server.in_flight == 0)

    with_server(work, act)


def test_a_client_that_goes_away_is_noticed() -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        tasks = [asyncio.create_task(client.post("/v1/chat/completions", json=chat())) for _ in range(3)]
        await server.until(lambda: server.in_flight == 3)
        assert server.most_in_flight == 3
        for task in tasks:
            task.cancel()
        await server.until(lambda: server.disconnects == 3)
        assert server.in_flight == 0

    with_server(work, Act(stall=True))


def test_stopping_it_breaks_all_connections_and_starting_it_keeps_the_port() -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        url = server.url
        task = asyncio.create_task(client.post("/v1/chat/completions", json=chat()))
        await server.until(lambda: server.in_flight == 1)
        await server.stop()
        with pytest.raises(httpx.TransportError):
            await task
        with pytest.raises(httpx.ConnectError):
            await client.get("/health")
        await server.start()
        assert server.url == url
        assert (await client.get("/health")).status_code == 200
        assert server.disconnects == 0

    with_server(work, Act(stall=True))


def test_a_listing_may_be_anything() -> None:
    async def work(server: ScriptedServer, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/models")
        assert (answer.text, answer.headers["Content-Type"]) == ("<html>", "text/html")

    with_server(work, listing=Act(body=b"<html>", headers={"Content-Type": "text/html"}))
