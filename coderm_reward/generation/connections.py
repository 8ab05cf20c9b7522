"""HTTP to one server over httpx, one connection per lane.

httpx's own pool looks at every connection for every request, which at 256 in flight cost 12 ms of CPU a
request (scripts/bench/generation.py tells what was compared). A lane is a pool of one connection, taken from
a stack of idle ones.
"""

from __future__ import annotations

import ipaddress
import urllib.request
from types import TracebackType
from typing import NamedTuple

import anyio
import httpx

from coderm_reward.errors import GenerationError

__all__ = ["Answer", "Connections", "proxy_for"]

MAX_BODY = 64 * 1024 * 1024
KEEP_ALIVE = 4.0
"""Seconds that an idle connection is used again; vLLM closes after 5."""


class Answer(NamedTuple):
    """What came back; `body` is whole, or cut off after MAX_BODY bytes."""

    status: int
    headers: httpx.Headers
    body: bytes


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for this server; never one for a loopback address."""
    try:
        loopback = ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        loopback = url.host == "localhost" or url.host.endswith(".localhost")
    if loopback or urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


class Connections:
    """Sends requests to the server at `root`; its lanes belong to one event loop.

    Args:
        root: URL that paths are appended to.
        connect_timeout: seconds to make a connection. How long an answer may take is the caller's to say, by
            cancelling: a request that is cancelled closes its connection, so that the server stops work.

    Raises:
        GenerationError: the environment names a proxy that cannot be used.
    """

    def __init__(self, root: httpx.URL, *, headers: dict[str, str], connect_timeout: float) -> None:
        self._root = root
        self._urls: dict[str, httpx.URL] = {}
        host = root.netloc.decode("ascii")
        self._headers = httpx.Headers(
            {"Host": host, "User-Agent": "coderm-reward", "Accept": "*/*", **headers}
        )
        self._timeout = {"connect": connect_timeout, "read": None, "write": None, "pool": None}
        self._proxy = proxy_for(root)
        self._verify = httpx.create_ssl_context() if root.scheme == "https" or self._proxy else False
        self._idle: list[httpx.AsyncHTTPTransport] = []
        try:
            self._idle.append(self._new_lane())
        except (ImportError, ValueError) as error:
            raise GenerationError(
                f"The environment's proxy for {root.host} cannot be used ({error}); unset it, or name the "
                "host in NO_PROXY."
            ) from None

    async def send(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Send one request and read its answer.

        Raises:
            httpx.RequestError: there was none, or not a whole one.
        """
        url = self._urls.get(path) or self._urls.setdefault(path, httpx.URL(f"{self._root}{path}"))
        request = httpx.Request(
            method, url, headers=self._headers, content=body, extensions={"timeout": self._timeout}
        )
        lane = self._idle.pop() if self._idle else self._new_lane()
        try:
            response = await lane.handle_async_request(request)
            answer = Answer(response.status_code, response.headers, await _read(response))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await lane.aclose()
            raise
        self._idle.append(lane)
        return answer

    async def aclose(self) -> None:
        """Close the idle connections; those in use are their users' to cancel."""
        while self._idle:
            await self._idle.pop().aclose()

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _new_lane(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)
        return httpx.AsyncHTTPTransport(
            verify=self._verify, limits=limits, proxy=self._proxy, trust_env=False
        )


async def _read(response: httpx.Response) -> bytes:
    """Read the body and close the response; a body without end is left after MAX_BODY bytes."""
    parts, size = [], 0
    try:
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                break
    finally:
        await response.aclose()
    return b"".join(parts)
