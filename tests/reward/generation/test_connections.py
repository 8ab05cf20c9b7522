"""Lanes: connections are used again, given up when broken, and never go through a proxy to this machine."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from coderm_reward.errors import GenerationError
from coderm_reward.generation.connections import Connections, proxy_for
from coderm_reward.generation.scripted_server import Act, ScriptedServer


def connections(url: str) -> Connections:
    return Connections(httpx.URL(url + "/v1"), headers={}, connect_timeout=5.0)


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with a proxy that nobody runs."""
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    return monkeypatch


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "api.localhost", "[::1]"])
def test_there_is_no_proxy_to_this_machine(host: str, proxies: pytest.MonkeyPatch) -> None:
    assert proxy_for(httpx.URL(f"http://{host}:8000/v1")) is None


def test_other_hosts_are_reached_as_the_environment_says(proxies: pytest.MonkeyPatch) -> None:
    assert proxy_for(httpx.URL("http://model.example/v1")) == "http://127.0.0.1:9"
    assert proxy_for(httpx.URL("https://model.example/v1")) is None
    proxies.setenv("no_proxy", "model.example")
    assert proxy_for(httpx.URL("http://model.example/v1")) is None


def test_a_proxy_of_an_unknown_kind_is_one_sentence(proxies: pytest.MonkeyPatch) -> None:
    proxies.setenv("http_proxy", "gopher://127.0.0.1:9")
    with pytest.raises(GenerationError, match=r"model\.example cannot be used .* NO_PROXY"):
        connections("http://model.example")


def test_the_environments_proxy_does_not_hinder_a_local_server(proxies: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with ScriptedServer() as server, connections(server.url) as lanes:
            assert (await lanes.send("GET", "/models")).status == 200

    asyncio.run(run())


def test_a_connection_is_used_again() -> None:
    async def run() -> None:
        async with ScriptedServer() as server, connections(server.url) as lanes:
            for _ in range(3):
                await lanes.send("GET", "/models")
            assert server.connections == 1
            await asyncio.gather(*(lanes.send("GET", "/models") for _ in range(3)))
            assert server.connections == 3

    asyncio.run(run())


def test_a_broken_connection_is_not() -> None:
    async def run() -> None:
        listing = Act(drop="in_body")
        async with ScriptedServer(listing=listing) as server, connections(server.url) as lanes:
            for _ in range(2):
                with pytest.raises(httpx.RemoteProtocolError):
                    await lanes.send("GET", "/models")
            assert server.connections == 2

    asyncio.run(run())


def test_a_server_that_was_started_again_is_found_again() -> None:
    async def run() -> None:
        async with ScriptedServer() as server, connections(server.url) as lanes:
            await lanes.send("GET", "/models")
            await server.stop()
            await server.start()
            assert (await lanes.send("GET", "/models")).status == 200

    asyncio.run(run())
