"""The same chat requests through other HTTP clients, bare: no deadline, no retries, nothing adaptive."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

__all__ = ["CLIENTS", "cpu_ms"]

Send = Callable[[dict[str, Any]], Awaitable[None]]


@asynccontextmanager
async def _httpx_pool(url: str, in_flight: int) -> AsyncIterator[Send]:
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def send(body: dict[str, Any]) -> None:
            (await client.post(f"{url}/v1/chat/completions", json=body)).json()

        yield send


@asynccontextmanager
async def _openai(url: str, in_flight: int) -> AsyncIterator[Send]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client:

        async def send(body: dict[str, Any]) -> None:
            await client.chat.completions.create(**body)

        yield send


CLIENTS = {"httpx, its own pool": _httpx_pool}
if importlib.util.find_spec("openai") is not None:
    CLIENTS["openai"] = _openai


async def cpu_ms(name: str, url: str, bodies: list[dict[str, Any]], in_flight: int) -> float:
    """CPU milliseconds of this process per request, after as many requests as are in flight to warm up."""
    turns = asyncio.Semaphore(in_flight)
    async with CLIENTS[name](url, in_flight) as send:

        async def one(body: dict[str, Any]) -> None:
            async with turns:
                await send(body)

        await asyncio.gather(*(one(body) for body in bodies[:in_flight]))
        before = time.process_time()
        await asyncio.gather(*(one(body) for body in bodies))
        return (time.process_time() - before) / len(bodies) * 1e3
