"""Measure the client of a model server, against a scripted one in a process of its own, and the store.

    python scripts/bench/generation.py [--json]                              (six minutes)
    python scripts/bench/generation.py --part client --repeat 1 --stall 5    (a quick look)
    python scripts/bench/generation.py --part client --clients               (with other HTTP clients)

The server answers after 0.5 to 1.5 times --latency with a test class of 30 methods; a prompt is 2.7 kB and is
asked for 16 texts, one per HTTP request. Goals: under 1 ms of CPU per request, 256 in flight, and a
connection that stalls for 60 s does not slow the rest. All is measured after four times as many texts as are
in flight (by then their number has grown to the maximum) and until a turn stays empty:

  CPU per request      CPU time of the client's whole process, per text
  in flight, client    texts per second x mean seconds of a text, as the client counts both
  in flight, server    mean of what the server is answering, looked at every 5 ms: less by what is on its way,
                       or waits for a core on either side
  until the last       the same requests twice, without and with one more whose answer takes --stall seconds:
                       seconds from the start to the last of the others. The stalled one must come, too.

Medians of --repeat rounds, with the lowest and the highest; a ratio is the median of the rounds' ratios.

--clients also sends 2,048 of the requests with httpx's own connection pool and, where it is installed, with
the `openai` package; that decided what the client is built on. Negative results of 2026-11-21 (AMD EPYC, 2
cores that other work kept at a load of 10 to 15, Python 3.11, httpx 0.28.1, openai 3.54.0): CPU per request
9.6 to 12.9 ms with httpx's pool, which looks at every connection for every request; 2.1 ms with openai; in
the same run 0.72 ms with ours, which gives every connection a pool of its own. Without the package sniffio,
for which httpx looks in every request, ours took 0.99 ms.

The store is measured by generation_store.py: 10,000 suites, a hit in under 1 ms, open in under 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from figures import percentile, ratios, spread, table
from generation_store import store_figures
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
) -> dict[str, float]:
    """Ask for all texts; returns what that took, the request with STALLED_SEED left out."""
    total = sum(request.n for request in requests if request.seed != STALLED_SEED)
    warm, end = WARM_UP * in_flight, total - in_flight
    result: dict[str, float] = {}
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
                result["in_flight_client"] = sum(seconds[warm:]) / wall
                result["in_flight_server"] = server.mean_in_flight()
            if len(seconds) == total:
                result["wall_s"] = time.perf_counter() - began
    result["latency_p50_s"], result["latency_p95_s"] = (percentile(seconds, share) for share in (50, 95))
    if stalled is not None:
        result["stalled_s"] = stalled.seconds
    return result


def client_figures(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the client, print a table, and return what --json prints of it."""
    plain, beside = rounds(chosen)
    slowdown = ratios([one["wall_s"] for one in beside], [one["wall_s"] for one in plain])
    rows = [
        (label, *(spread([one[key] for one in runs], digits) for runs in (plain, beside)))
        for label, key, digits in (
            ("CPU per request, ms", "cpu_ms_per_request", 3),
            ("in flight, client", "in_flight_client", 1),
            ("in flight, server", "in_flight_server", 1),
            ("requests/s", "requests_per_s", 1),
            ("latency p50, s", "latency_p50_s", 3),
            ("latency p95, s", "latency_p95_s", 3),
            ("until the last, s", "wall_s", 2),
        )
    ]
    rows.append(("the stalled one came after, s", "-", spread([one["stalled_s"] for one in beside])))
    print(table((f"{chosen.requests} requests", "alone", f"beside a {chosen.stall:g} s stall"), rows))
    print(f"until the last, beside a stall / alone: {spread(slowdown, 3)}")
    others: dict[str, float] = {}
    for name in CLIENTS if chosen.clients else ():
        bodies = [body_of(request) for request in prompts(FEW) for _ in range(request.n)]
        with ModelServer(chosen.latency, chosen.stall) as server:
            others[name] = round(asyncio.run(cpu_ms(name, server.url, bodies, chosen.in_flight)), 3)
        print(f"{name}: {others[name]} ms of CPU per request")
    return {
        "requests": chosen.requests,
        "repeat": chosen.repeat,
        "in_flight": chosen.in_flight,
        "mean_latency_s": chosen.latency,
        "stall_s": chosen.stall,
        "client": medians(plain),
        "client_beside_stall": medians(beside),
        "stall_slowdown": round(statistics.median(slowdown), 3),
        "other_clients_cpu_ms": others,
    }


def rounds(chosen: argparse.Namespace) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """(runs alone, runs beside a stall), in pairs whose order alternates; each with a server of its own."""
    requests = prompts(chosen.requests)
    stalled = CompletionRequest("stalled", (Message("user", "Stall."),), STALLED_SEED)
    runs: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for number in range(2 * chosen.repeat):
        with_stall = number % 4 in (1, 2)
        asked = [stalled, *requests] if with_stall else requests
        with ModelServer(chosen.latency, chosen.stall) as server:
            found = asyncio.run(load(server, asked, chosen.in_flight, chosen.stall + 60.0))
        runs[with_stall].append(found)
    return runs


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure over the rounds."""
    return {name: round(statistics.median(one[name] for one in runs), 3) for name in runs[0]}


def body_of(request: CompletionRequest) -> dict[str, Any]:
    """A request as other clients take it."""
    messages = [{"role": one.role, "content": one.content} for one in request.messages]
    return {
        "model": "scripted",
        "messages": messages,
        "seed": request.seed,
        "max_tokens": SAMPLING.max_tokens,
    }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("all", "client", "store"), default="all", help="what to measure")
    parser.add_argument("--requests", type=int, default=4096, help="texts asked for in each run")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are reported")
    parser.add_argument("--in-flight", type=int, default=256, help="requests in flight at most")
    parser.add_argument("--latency", type=float, default=1.0, help="mean seconds until an answer")
    parser.add_argument("--stall", type=float, default=60.0, help="seconds that one connection stalls")
    parser.add_argument("--clients", action="store_true", help="measure other HTTP clients, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    chosen = parser.parse_args()
    if chosen.in_flight < 1 or chosen.repeat < 1 or not chosen.stall > 0 or not chosen.latency > 0:
        parser.error("--in-flight and --repeat must be 1 or more, --stall and --latency above 0")
    if chosen.requests < (WARM_UP + 2) * chosen.in_flight:
        parser.error(f"--requests must be {WARM_UP + 2} times --in-flight, or more")
    return chosen


def main() -> None:
    chosen = options()
    machine, date, python = hardware(), time.strftime("%Y-%m-%d"), platform.python_version()
    print(f"{machine}, Python {python}, {date}, load average {os.getloadavg()[0]:.1f} before the start")
    result: dict[str, Any] = {}
    try:
        if chosen.part != "store":
            result |= client_figures(chosen)
        if chosen.part != "client":
            store = store_figures()
            print(table(("store", ""), [(name, str(value)) for name, value in store.items()]))
            result |= store
    except (BenchError, GenerationError) as error:
        sys.exit(str(error))
    if chosen.json:
        print(json.dumps({**result, "hardware": machine, "python": python, "date": date}))


if __name__ == "__main__":
    main()
