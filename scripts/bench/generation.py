"""Measure the client of a model server against a scripted one in a process of its own.

    python scripts/bench/generation.py [--json]                    (about two minutes)
    python scripts/bench/generation.py --requests 2048 --stall 5   (a quick look)
    python scripts/bench/generation.py --clients                   (with other HTTP clients beside ours)

The server answers after 0.5 to 1.5 times --latency with a test class of 30 methods; a prompt is 2.7 kB and is
asked for 16 texts, one per HTTP request. Goals: under 1 ms of CPU per request, 256 in flight, and a connection that stalls
for 60 s does not slow the rest.

  client CPU     CPU time of the client's whole process per text, after four times as many texts as are in
                 flight (by then their number has grown to the maximum) and until a turn stays empty
  in flight      mean of what the server sees in that time, looked at every 5 ms
  stalled        the same requests twice, without and with one more whose answer takes --stall seconds:
                 seconds from the start to the last of the others. It must come in the end, too.

--clients also sends 2,048 of the requests with httpx's own connection pool and, where it is installed, with
the `openai` package. That decided what the client is built on. Negative results of 2026-11-21:
TO BE FILLED
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from typing import Any

from figures import percentile, table
from http_clients import CLIENTS, cpu_ms
from machine import hardware
from model_server import STALLED_SEED, ModelServer

from coderm_reward.errors import GenerationError
from coderm_reward.generation.completions import Completion, CompletionRequest, Sampling
from coderm_reward.generation.openai_backend import OpenAIBackend
from coderm_reward.types import Message

__all__ = ["client_figures", "main"]

WARM_UP = 4
PER_PROMPT = 16
FEW = 2048
SAMPLING = Sampling()


class BenchError(Exception):
    """A figure that cannot be had; the text is one sentence."""


def prompts(count: int) -> list[CompletionRequest]:
    """So many texts to ask for, PER_PROMPT for each prompt."""
    return [
        CompletionRequest(
            f"prompt {number}",
            (
                Message(
                    "user", f"Write tests for function {number}.\n" + "def solve(x): return x * x\n" * 100
                ),
            ),
            seed=number * PER_PROMPT,
            n=min(PER_PROMPT, count - number * PER_PROMPT),
        )
        for number in range(-(-count // PER_PROMPT))
    ]


async def load(
    server: ModelServer, requests: Sequence[CompletionRequest], in_flight: int, deadline: float
) -> dict[str, Any]:
    """Ask for all texts; returns what that took, the request with STALLED_SEED left out."""
    total = sum(request.n for request in requests if request.seed != STALLED_SEED)
    warm, end = WARM_UP * in_flight, total - in_flight
    result: dict[str, Any] = {}
    seconds: list[float] = []
    stalled: Completion | None = None
    async with OpenAIBackend(server.url, "scripted", max_concurrency=in_flight, deadline=deadline) as backend:
        await backend.check()
        began = time.perf_counter()
        async for completion in backend.complete(requests, SAMPLING):
            if completion.failure is not None:
                raise BenchError(f"A text is missing: {completion.failure.message}")
            if completion.key == "stalled":
                stalled = completion
                continue
            seconds.append(completion.seconds)
            if len(seconds) == warm:
                server.watch()
                cpu, clock = time.process_time(), time.perf_counter()
            elif len(seconds) == end:
                wall = time.perf_counter() - clock
                count = end - warm
                result["cpu_ms_per_request"] = (time.process_time() - cpu) / count * 1e3
                result["requests_per_s"] = count / wall
                result["mean_in_flight"] = server.mean_in_flight()
            if len(seconds) == total:
                result["wall_s"] = time.perf_counter() - began
    result["latency_p50_s"], result["latency_p95_s"] = (percentile(seconds, share) for share in (50, 95))
    if stalled is not None:
        result["stalled_s"] = stalled.seconds
    return result


def client_figures(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the client, print a table, and return what --json prints of it."""
    requests = prompts(chosen.requests)
    deadline = chosen.stall + 60.0
    stalled = CompletionRequest("stalled", (Message("user", "Stall."),), STALLED_SEED)
    others: dict[str, float] = {}
    with ModelServer(chosen.latency, chosen.stall) as server:
        plain = asyncio.run(load(server, requests, chosen.in_flight, deadline))
        beside = asyncio.run(load(server, [stalled, *requests], chosen.in_flight, deadline))
        for name in CLIENTS if chosen.clients else ():
            bodies = [body_of(request) for request in prompts(FEW) for _ in range(request.n)]
            others[name] = asyncio.run(cpu_ms(name, server.url, bodies, chosen.in_flight))
    rows = [
        ("requests, in flight at most", str(chosen.requests), str(chosen.in_flight)),
        *[
            (label, f"{plain[key]:.{digits}f}", f"{beside[key]:.{digits}f}")
            for label, key, digits in (
                ("client CPU per request, ms", "cpu_ms_per_request", 3),
                ("mean in flight at the server", "mean_in_flight", 1),
                ("requests/s", "requests_per_s", 1),
                ("latency p50, s", "latency_p50_s", 3),
                ("latency p95, s", "latency_p95_s", 3),
                ("until the last of the others, s", "wall_s", 2),
            )
        ],
        ("the stalled one came after, s", "-", f"{beside['stalled_s']:.1f}"),
    ]
    print(table(("client", "alone", f"beside a {chosen.stall:g} s stall"), rows))
    for name, cost in others.items():
        print(f"{name}: {cost:.3f} ms of CPU per request")
    return {
        "requests": chosen.requests,
        "in_flight": chosen.in_flight,
        "mean_latency_s": chosen.latency,
        "client": rounded(plain),
        "client_beside_stall": rounded(beside),
        "stall_s": chosen.stall,
        "stall_slowdown": round(beside["wall_s"] / plain["wall_s"], 3),
        "other_clients_cpu_ms": rounded(others),
    }


def body_of(request: CompletionRequest) -> dict[str, Any]:
    """A request as other clients take it."""
    messages = [{"role": one.role, "content": one.content} for one in request.messages]
    return {
        "model": "scripted",
        "messages": messages,
        "seed": request.seed,
        "max_tokens": SAMPLING.max_tokens,
    }


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """For --json."""
    return {name: round(value, 3) for name, value in figures.items()}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=8192, help="texts asked for in each run")
    parser.add_argument("--in-flight", type=int, default=256, help="requests in flight at most")
    parser.add_argument("--latency", type=float, default=1.0, help="mean seconds until an answer")
    parser.add_argument("--stall", type=float, default=60.0, help="seconds that one connection stalls")
    parser.add_argument("--clients", action="store_true", help="measure other HTTP clients, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    chosen = parser.parse_args()
    if chosen.in_flight < 1 or not chosen.stall > 0 or not chosen.latency > 0:
        parser.error("--in-flight must be 1 or more, --stall and --latency above 0")
    if chosen.requests < (WARM_UP + 2) * chosen.in_flight:
        parser.error(f"--requests must be {WARM_UP + 2} times --in-flight, or more")
    return chosen


def main() -> None:
    chosen = options()
    machine, date, python = hardware(), time.strftime("%Y-%m-%d"), platform.python_version()
    print(f"{machine}, Python {python}, {date}, load average {os.getloadavg()[0]:.1f} before the start")
    try:
        result = client_figures(chosen)
    except (BenchError, GenerationError) as error:
        sys.exit(str(error))
    if chosen.json:
        print(json.dumps({**result, "hardware": machine, "python": python, "date": date}))


if __name__ == "__main__":
    main()
