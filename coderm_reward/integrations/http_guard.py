"""What stands before the HTTP service: host names, bearer token, size of the body, one log line a request.

Plain ASGI, so that a refused request is refused before its body is read.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import msgspec

from coderm_reward.integrations.http_metrics import ServiceMetrics
from coderm_reward.integrations.http_models import RequestError

__all__ = ["Guard", "error_body", "is_loopback"]

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("coderm_reward.http")
OPEN = frozenset({"/healthz", "/readyz"})
"""What needs no token: they say nothing but yes or no, and probes have none."""
CLIENT_GONE = 499
"""The status that is counted and logged where nobody is left to be answered."""


def error_body(message: str) -> bytes:
    """The JSON of every refusal, in one line whatever names of the request it repeats."""
    return msgspec.json.encode({"error": " ".join(message.splitlines())})


def is_loopback(host: str) -> bool:
    """Whether a name or address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """ASGI middleware around the service.

    Args:
        app: what is guarded.
        metrics: counts every request.
        routes: the paths that may be told apart in logs and metrics.
        token: the bearer token; None lets everybody in.
        hosts: the names that a request's Host may have, without port; None takes all. For a listener on
            the loopback device it keeps web pages out that have their own name resolved to it.
        max_body: bytes that a request may have.
    """

    def __init__(
        self,
        app: App,
        *,
        metrics: ServiceMetrics,
        routes: Collection[str],
        token: str | None,
        hosts: Collection[str] | None,
        max_body: int,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = frozenset(routes)
        self._token = None if token is None else token.encode()
        self._hosts = None if hosts is None else {host.lower().strip("[]") for host in hosts}
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self._routes else "other"
        began = time.perf_counter()
        status = CLIENT_GONE

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                self._check(scope)
            except RequestError as refusal:
                await _refuse(sending, refusal)
            else:
                await self._app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.answered(route, status, seconds)
            rollouts = scope.get("coderm_rollouts", 0)
            _log.info("%s %s %d, %d rollouts, %.3f s", scope["method"], route, status, rollouts, seconds)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if self._hosts is not None:
            host = _without_port(headers.get(b"host", b"").decode("latin-1")).lower()
            if host not in self._hosts:
                raise RequestError(
                    421, "This service is not known by the name in Host; allow it with --allowed-host."
                )
        if self._token is not None and scope["path"] not in OPEN:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            right = hmac.compare_digest(given.strip(), self._token)
            if scheme.lower() != b"bearer" or not right:
                raise RequestError(
                    401,
                    "A bearer token is needed; send the header Authorization: Bearer TOKEN.",
                    {"WWW-Authenticate": "Bearer"},
                )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > self._max_body:
            raise too_large(self._max_body)


def too_large(max_body: int) -> RequestError:
    """The refusal of a body that is too long."""
    return RequestError(413, f"A request may have {max_body:,} bytes; send fewer groups at a time.")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def _refuse(send: Send, refusal: RequestError) -> None:
    body = error_body(str(refusal))
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
