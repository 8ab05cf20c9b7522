"""Rows of (solution, unit test) pairs in and verdicts out: what `python -m coderm_sandbox run` does.

Rows are read twice, so that a malformed one is found before anything runs, and worked on in windows,
so that memory stays bounded. Within a window every distinct solution is one job, every distinct test
is inspected once, and every distinct pair is run once.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from coderm_sandbox.pool import SandboxPool
from coderm_sandbox.types import Inspection, Job, Outcome, Test, TestResult

__all__ = ["Pair", "RowError", "check_rows", "read_pairs", "verdicts"]

_WINDOW_ROWS = 4096
_WINDOW_CHARACTERS = 64 << 20
_REMEMBERED_TESTS = 65536
_JOBS_PER_WORKER = 2


class RowError(Exception):
    """A row that is no pair; the text names its line and says what is wrong with it."""


@dataclass(frozen=True)
class Pair:
    """One row of the input."""

    id: str | int
    solution: str
    unit_test: str


def _pair(line: bytes, number: int) -> Pair:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise RowError(f"line {number} is not a JSON object ({text[:200]})") from None
    if not isinstance(row, dict):
        raise RowError(f"line {number} is not a JSON object but {_kind(row)}")
    for name in ("id", "solution", "unit_test"):
        if name not in row:
            raise RowError(f'line {number} has no field "{name}"; a row is {{"id", "solution", "unit_test"}}')
        allowed = (str, int) if name == "id" else (str,)
        if not isinstance(row[name], allowed) or isinstance(row[name], bool):
            wanted = "a string or a whole number" if name == "id" else "a string"
            raise RowError(f'line {number}: "{name}" must be {wanted}, not {_kind(row[name])}')
    return Pair(row["id"], row["solution"], row["unit_test"])


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def read_pairs(file: BinaryIO) -> Iterator[Pair]:
    """The pairs of a JSONL file, blank lines left out. Raises RowError at the first malformed row."""
    for number, line in enumerate(file, 1):
        if not line.isspace():
            yield _pair(line, number)


def check_rows(file: BinaryIO) -> int:
    """Read the whole file; return how many pairs it holds. Raises RowError."""
    return sum(1 for _ in read_pairs(file))


def _windows(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    window: list[Pair] = []
    size = 0
    for pair in pairs:
        window.append(pair)
        size += len(pair.solution) + len(pair.unit_test)
        if len(window) >= _WINDOW_ROWS or size >= _WINDOW_CHARACTERS:
            yield window
            window, size = [], 0
    if window:
        yield window


class _Inspector:
    """Inspects each test text once, by its hash, as long as it is remembered."""

    def __init__(self, pool: SandboxPool) -> None:
        self._pool = pool
        self._known: dict[bytes, Inspection] = {}

    async def inspect(self, texts: Sequence[str]) -> dict[str, Inspection]:
        keys = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts}
        new = [text for text, key in keys.items() if key not in self._known]
        found = await self._pool.inspect([Test(text) for text in new])
        answer = {text: self._known[key] for text, key in keys.items() if key in self._known}
        answer.update(zip(new, found, strict=True))
        self._known.update((keys[text], inspection) for text, inspection in zip(new, found, strict=True))
        while len(self._known) > _REMEMBERED_TESTS:
            del self._known[next(iter(self._known))]
        return answer


async def verdicts(
    pool: SandboxPool, pairs: Iterator[Pair], progress: Callable[[int], None] = lambda done: None
) -> AsyncGenerator[dict[str, Any], None]:
    """One output row per pair, in the order of the pairs. `progress` is told how many are done.

    Raises:
        WorkerDiedError: no worker can be had any more.
    """
    inspector = _Inspector(pool)
    done = 0
    for window in _windows(pairs):
        tests: dict[str, dict[str, None]] = collections.defaultdict(dict)
        for pair in window:
            tests[pair.solution][pair.unit_test] = None
        inspected = await inspector.inspect(list(dict.fromkeys(pair.unit_test for pair in window)))
        results: dict[tuple[str, str], TestResult] = {}
        waiting = iter(tests.items())
        finished = done

        async def work(
            waiting: Iterator[tuple[str, dict[str, None]]] = waiting,
            inspected: dict[str, Inspection] = inspected,
            results: dict[tuple[str, str], TestResult] = results,
        ) -> None:
            nonlocal finished
            for solution, texts in waiting:
                runnable = [text for text in texts if inspected[text].valid]
                job = Job(solution, tuple(_test(text, inspected[text]) for text in runnable))
                for text, result in zip(runnable, await pool.run(job), strict=True):
                    results[solution, text] = result
                finished += len(texts)
                progress(finished)

        await asyncio.gather(*(work() for _ in range(_JOBS_PER_WORKER * pool.size)))
        for pair in window:
            yield _row(pair, inspected[pair.unit_test], results.get((pair.solution, pair.unit_test)))
        done += len(window)
        progress(done)


def _test(text: str, inspection: Inspection) -> Test:
    return Test(text, methods=inspection.methods, skipped=inspection.skipped)


def _row(pair: Pair, inspection: Inspection, result: TestResult | None) -> dict[str, Any]:
    if result is None:
        invalid = Outcome.INVALID_TEST.value
        return {"id": pair.id, "verdict": invalid, "methods": {}, "judge": "apart", "seconds": 0.0}
    classes = {name.rsplit(".", 1)[0] for name in inspection.methods}
    cut = len(next(iter(classes))) + 1 if len(classes) == 1 else 0
    return {
        "id": pair.id,
        "verdict": result.outcome.value,
        "methods": {name[cut:]: outcome.value for name, outcome in result.methods.items()},
        "judge": result.judge,
        "seconds": result.seconds,
    }
