"""Who may come in, decided before a service listens."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from coderm_reward.cli.app import app
from coderm_reward.errors import ConfigError
from coderm_reward.integrations.http_guard import is_loopback
from coderm_reward.integrations.http_server import Access, listen, read_token

TOKEN = "0123456789abcdef"


def serve(*options: object) -> BaseException | None:
    """What ends `coderm-reward serve` before it listens."""
    return CliRunner().invoke(app, ["serve", *map(str, options)]).exception


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)
    access = Access.decide(host, None, allowed_hosts=["tunnel"])
    assert access.token is None
    assert access.hosts is not None
    assert {"localhost", "127.0.0.1", host, "tunnel"} <= set(access.hosts)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "localhost.example.org"])
def test_other_addresses_need_a_token_or_a_word(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="without a token lets everybody"):
        Access.decide(host, None)
    assert Access.decide(host, TOKEN).hosts is None
    assert Access.decide(host, TOKEN, allowed_hosts=["a"]).hosts == ("a",)
    assert Access.decide(host, None, insecure=True).token is None


def test_the_command_says_so_before_it_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CODERM_TOKEN", raising=False)
    refused = serve("--host", "0.0.0.0", "--store", tmp_path / "store.db")
    assert isinstance(refused, ConfigError)
    assert "--insecure" in str(refused)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = serve("--port", taken.getsockname()[1], "--store", tmp_path / "store.db")
    assert isinstance(refused, ConfigError)
    assert "Cannot listen on 127.0.0.1" in str(refused)


def test_a_host_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"Cannot listen on no\.such\.host\.invalid:1"):
        listen("no.such.host.invalid", 1)


def test_nobody_to_write_tests_ends_it_at_once() -> None:
    refused = serve()
    assert isinstance(refused, ConfigError)
    assert "base_url" in str(refused) or "--base-url" in str(refused)


def test_where_the_token_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f" {TOKEN}\n", "utf-8")
    monkeypatch.delenv("CODERM_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("CODERM_TOKEN", "of-the-environment")
    assert read_token(None) == "of-the-environment"
    assert read_token(file) == TOKEN


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "schl\u00fcssel", "a\tb"])
def test_what_is_no_token(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match="holds no token"):
        read_token(file)
    monkeypatch.setenv("CODERM_TOKEN", text)
    with pytest.raises(ConfigError, match="CODERM_TOKEN holds no token"):
        read_token(None)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_on_all_addresses_any_name_does(start_service: Any, tmp_path: Path) -> None:
    """A token file, and a Host as another machine would send it."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n", "utf-8")
    service = start_service("--host", "0.0.0.0", "--token-file", file)
    port = service.url.rpartition(":")[2]
    headers = {"Host": "gpu-node-7:8400", "Authorization": f"bearer {TOKEN}"}
    assert httpx.get(f"http://127.0.0.1:{port}/v1/config", headers=headers).status_code == 200
    del headers["Authorization"]
    assert httpx.get(f"http://127.0.0.1:{port}/v1/config", headers=headers).status_code == 401
