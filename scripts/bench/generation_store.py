"""Measure the store of suites: 10,000 suites of 16 responses of about 2 kB each, on this machine's disk.

    python scripts/bench/generation_store.py [--json]

The file is made in a temporary folder (some 400 MB) and removed. It is opened again for every sample, its
pages in the system's cache; a hit is one call of `responses` for all 16 of a random suite, by a store that
was opened shortly before and has not read that suite yet. Times are of the wall clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import percentile

from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.stored import StoredResponse
from coderm_reward.types import Problem

__all__ = ["store_figures"]

GENERATOR = "model=bench"
_SEED = 4


def store_figures(
    suites: int = 10_000, responses: int = 16, text_bytes: int = 2000, samples: int = 200
) -> dict[str, Any]:
    """Fill a store and measure it; keys end in their unit."""
    chance = random.Random(_SEED)
    with tempfile.TemporaryDirectory(prefix="coderm-bench-") as folder:
        path = Path(folder) / "suites.db"
        appends = asyncio.run(_fill(path, suites, responses, text_bytes, chance))
        size = path.stat().st_size
        opens = [_seconds(lambda: SuiteStore.open(path).close()) for _ in range(samples)]
        hits = []
        for _ in range(10):
            with SuiteStore.open(path) as store:
                for number in chance.sample(range(suites), samples // 10):
                    hits.append(_seconds(lambda n=number: _hit(store, n, responses)))  # type: ignore[misc]
        with SuiteStore.open(path) as store:
            verify = _seconds(store.verify)
            alone = asyncio.run(_single_appends(store, suites, text_bytes, samples, chance))
            claims = asyncio.run(_claims(store, suites, samples))
    return {
        "store_suites": suites,
        "store_responses_per_suite": responses,
        "store_file_mb": round(size / 1e6, 1),
        **_spread("store_open", opens),
        **_spread("store_hit", hits),
        **_spread("store_append_suite", appends),
        **_spread("store_append_one", alone),
        **_spread("store_claim_and_release", claims),
        "store_verify_s": round(verify, 2),
    }


def _problem(number: int) -> Problem:
    return Problem(
        f"{number:016x}", f"Write f{number}(x). " + "It adds one. " * 40, f"f{number}", f"t/{number}"
    )


def _text(length: int, chance: random.Random) -> str:
    """Distinct text, in length and entropy like a test class."""
    words = ["self.assertEqual(f(", "), ", "def test_", "(self):\n    ", "# checks ", "[1, 2, 3]"]
    parts: list[str] = []
    while length > 0:
        parts.append(chance.choice(words) + str(chance.randrange(1000)))
        length -= len(parts[-1])
    return "".join(parts)


async def _fill(
    path: Path, suites: int, responses: int, text_bytes: int, chance: random.Random
) -> list[float]:
    times = []
    with SuiteStore.open(path) as store:
        for number in range(suites):
            made = [
                StoredResponse(
                    slot, _text(text_bytes, chance), "stop", "0" * 16, "def f(x): ...", 500, 600, 1.5, slot
                )
                for slot in range(responses)
            ]
            began = time.perf_counter()
            await store.append(_problem(number), GENERATOR, made)
            times.append(time.perf_counter() - began)
    return times


def _hit(store: SuiteStore, number: int, responses: int) -> None:
    found = store.responses(_problem(number).prompt_hash, GENERATOR, responses)
    if len(found) != responses:
        raise AssertionError(f"suite {number} has {len(found)} responses")


async def _single_appends(
    store: SuiteStore, suites: int, text_bytes: int, samples: int, chance: random.Random
) -> list[float]:
    """One response a call, as a generator appends what arrives."""
    times = []
    for slot in range(samples):
        response = StoredResponse(1000 + slot, _text(text_bytes, chance))
        began = time.perf_counter()
        await store.append(_problem(slot % suites), GENERATOR, [response])
        times.append(time.perf_counter() - began)
    return times


async def _claims(store: SuiteStore, suites: int, samples: int) -> list[float]:
    times = []
    for number in range(samples):
        began = time.perf_counter()
        async with store.claim(_problem(suites + number).prompt_hash, GENERATOR, 16) as missing:
            assert len(missing) == 16
        times.append(time.perf_counter() - began)
    return times


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _spread(name: str, seconds: list[float]) -> dict[str, float]:
    return {f"{name}_p{percent}_ms": round(1000 * percentile(seconds, percent), 3) for percent in (50, 95)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    chosen = parser.parse_args()
    figures = store_figures()
    for name, value in figures.items():
        print(f"{name:38} {value}")
    if chosen.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
