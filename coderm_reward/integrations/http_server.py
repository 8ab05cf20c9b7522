"""The process around the HTTP service: where it listens, whom it lets in, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from msgspec import Struct

from coderm_reward.config import RewardConfig
from coderm_reward.errors import ConfigError, SandboxUnavailableError
from coderm_reward.execution import make_pool, started
from coderm_reward.generation.openai_backend import OpenAIBackend
from coderm_reward.integrations.http_guard import Guard, is_loopback
from coderm_reward.integrations.http_metrics import ServiceMetrics
from coderm_reward.integrations.http_models import ServiceLimits
from coderm_reward.integrations.http_ready import Readiness
from coderm_reward.integrations.http_service import RewardService
from coderm_reward.online.assembly import open_scorer
from coderm_reward.online.run_log import RunLog
from coderm_reward.online.sample import RewardScorer
from coderm_sandbox import PoolClosedError, SandboxPool, Test, WorkerDiedError

__all__ = ["Access", "listen", "read_token", "run_service"]

_log = logging.getLogger("coderm_reward.http")
TOKEN_VARIABLE = "CODERM_TOKEN"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_LAST_ANSWERS = 5
"""Seconds for answers to be sent when all work has ended."""
_BACKLOG = 1024
_PROBE = "import unittest\n\nclass TestProbe(unittest.TestCase):\n    def test_nothing(self):\n        pass\n"


class Access(Struct, frozen=True, kw_only=True):
    """Who may use the service."""

    token: str | None
    hosts: tuple[str, ...] | None
    """Names that a request's Host may have; None takes all."""

    @classmethod
    def decide(
        cls, host: str, token: str | None, *, allowed_hosts: Sequence[str] = (), insecure: bool = False
    ) -> Access:
        """Return who may come in where `host` is listened on.

        Raises:
            ConfigError: others than this machine's users can reach it, and it has no token.
        """
        local = is_loopback(host)
        if not local and token is None and not insecure:
            raise ConfigError(
                f"Listening on {host} without a token lets everybody who can reach it run code in the "
                f"sandbox; set {TOKEN_VARIABLE} or --token-file, or say --insecure if that is what you want."
            )
        names = (*_LOOPBACK_NAMES, host, *allowed_hosts) if local else tuple(allowed_hosts)
        return cls(token=token, hosts=names or None)


def read_token(file: Path | None) -> str | None:
    """Return the token of a file, else of the environment, else None.

    Raises:
        ConfigError: the file cannot be read, or the token is empty or no plain ASCII.
    """
    if file is not None:
        where = str(file)
        try:
            token = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The token file {file} cannot be read ({error}); give a file with one line."
            ) from None
    elif (given := os.environ.get(TOKEN_VARIABLE)) is not None:
        where, token = TOKEN_VARIABLE, given.strip()
    else:
        return None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{where} holds no token; it must be one line of ASCII without blanks, such as "
            "openssl rand -hex 32 prints."
        )
    return token


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        ConfigError: there is no such address here, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"Cannot listen on {host}:{port} ({reason}); give another --host or --port."
        ) from None


async def run_service(
    config: RewardConfig,
    listener: socket.socket,
    access: Access,
    *,
    limits: ServiceLimits | None = None,
    drain_seconds: float = 30.0,
    run: str = "",
    started: Callable[[str], object] = lambda url: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way within `drain_seconds`.

    A second signal ends at once. `started` hears the address once requests are taken.

    Raises:
        CodermError: sandbox, store or model cannot be used.
    """
    async with _scorer(config, run) as (scorer, readiness, metrics):
        service = RewardService(scorer, config, metrics=metrics, readiness=readiness, limits=limits, run=run)
        app = Guard(
            service.app,
            metrics=metrics,
            routes=service.routes,
            token=access.token,
            hosts=access.hosts,
            max_body=service.limits.max_body,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=_LAST_ANSWERS,
            )
        )
        server.capture_signals = contextlib.nullcontext  # its own way would end the process before ours

        async def end() -> None:
            _log.info("stopping: %g s for what is under way", drain_seconds)
            await service.drain(drain_seconds)
            server.should_exit = True

        with _ends_by_signal(end, service.hurry):
            host, port = listener.getsockname()[:2]
            started(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
            await server.serve(sockets=[listener])


@contextlib.contextmanager
def _ends_by_signal(
    end: Callable[[], Coroutine[Any, Any, None]], hurry: Callable[[], None]
) -> Iterator[None]:
    """Within it the first SIGINT or SIGTERM starts `end`, and every further one calls `hurry`."""
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []

    def told() -> None:
        if ending:
            hurry()
        else:
            ending.append(asyncio.ensure_future(end()))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        for task in ending:
            task.cancel()


@contextlib.asynccontextmanager
async def _scorer(
    config: RewardConfig, run: str
) -> AsyncIterator[tuple[RewardScorer, Readiness, ServiceMetrics]]:
    """A scorer, what tells whether it can work (its pool, and the server that has the model), its metrics."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(started(make_pool(config.sandbox)))
        _log.info("isolation: %s, %d workers", pool.description, pool.size)
        checks: dict[str, Callable[[], Awaitable[object]]] = {"the sandbox": partial(_check_pool, pool)}
        generation = config.generation
        if generation.base_url is not None:
            backend = OpenAIBackend(generation.base_url, generation.model)
            checks["the model"] = (await stack.enter_async_context(backend)).check
        records: RunLog | None = None
        if config.training.records is not None:
            records = RunLog(config.training.records, loggers=config.training.loggers or (), run=run)
            stack.push_async_callback(asyncio.to_thread, records.close)
        metrics = ServiceMetrics(records)
        scorer = await stack.enter_async_context(open_scorer(config, sink=metrics, pool=pool, run=run))
        yield scorer, Readiness(checks), metrics


async def _check_pool(pool: SandboxPool) -> None:
    """Raise SandboxUnavailableError unless a worker lives, or one can be started."""
    if pool.worker_pids():
        return
    try:
        await pool.inspect([Test(_PROBE)])
    except (WorkerDiedError, PoolClosedError) as error:
        raise SandboxUnavailableError(
            f"No sandbox worker can be started ({error}); restart the service."
        ) from None
