"""Verdicts that need no second run: what a verdict depends on, which verdicts are kept, and for how long.

A verdict is looked up by the solution (its identity, see execution.identity) and by everything else that
decides it: the test's text, class, methods and whether its assertions vote, the limits, the sandbox's version
and isolation, the interpreter. What says more about the machine or the moment than about the program is never
kept: timeouts, memory, missing evidence, votes assumed without a run, tests that had to run twice.

The first verdict stands. So a solution that answers differently from run to run (random, time, id) keeps
what it got first, for all its equal siblings and as long as the cache lives; `--verdict-cache off` runs
each of them anew. Packages of the interpreter are not part of the key: change them, change the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Protocol

import msgspec

from coderm_reward.text import storable
from coderm_sandbox import SANDBOX_VERSION, Limits, Outcome, Test, TestResult

__all__ = [
    "KnownResult",
    "MemoryCache",
    "Pair",
    "VerdictCache",
    "circumstances",
    "decode_known",
    "encode_known",
    "is_lasting",
    "key_of_test",
]

Pair = tuple[str, str]
"""(identity of the solution, key of the test)."""
_ENTRIES_IN_MEMORY = 100_000
_MOMENTARY = frozenset({Outcome.TIMEOUT, Outcome.MEMORY, Outcome.UNKNOWN})


class KnownResult(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a TestResult. The names of its methods are those of its test, so they are left out."""

    outcome: Outcome
    methods: tuple[Outcome, ...]
    judge: str
    seconds: float
    """Wall seconds that it took when it ran."""
    detail: str
    votes: tuple[tuple[Outcome, ...], ...] = ()
    """Those of the assertions of each method, of a test whose assertions vote."""

    @classmethod
    def of(cls, result: TestResult) -> KnownResult:
        """What to keep; lone surrogates, which no file can hold, become U+FFFD in its detail."""
        methods = tuple(result.methods.values())
        votes = tuple(result.votes.values())
        return cls(result.outcome, methods, result.judge, result.seconds, storable(result.detail), votes)

    def result(self, test: Test) -> TestResult:
        """The result that it was kept of, given its test."""
        names = dict.fromkeys(test.methods)
        methods = dict(zip(names, self.methods, strict=True))
        votes = dict(zip(names, self.votes, strict=True)) if test.votes else {}
        return TestResult(self.outcome, methods, self.judge, self.seconds, self.detail, votes=votes)


class VerdictCache(Protocol):
    """A store of results; safe to use from several threads."""

    def find(self, solutions: Collection[str], tests: Collection[str]) -> dict[Pair, KnownResult]:
        """Return what is known of these solutions on these tests."""
        ...

    def add(self, results: Mapping[Pair, KnownResult]) -> None:
        """Keep these results; those that are known already stay as they are."""
        ...

    def close(self) -> None:
        """Let go of what it holds; a second call does nothing."""
        ...


class MemoryCache:
    """A VerdictCache for the life of this process that forgets what was not asked for longest.

    Args:
        entries: how many results it keeps (about 300 bytes each).
    """

    def __init__(self, entries: int = _ENTRIES_IN_MEMORY) -> None:
        self._entries = entries
        self._known: OrderedDict[Pair, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, solutions: Collection[str], tests: Collection[str]) -> dict[Pair, KnownResult]:
        found = {}
        with self._lock:
            for pair in ((solution, test) for solution in solutions for test in tests):
                if pair in self._known:
                    self._known.move_to_end(pair)
                    found[pair] = decode_known(self._known[pair])
        return found

    def add(self, results: Mapping[Pair, KnownResult]) -> None:
        with self._lock:
            for pair, result in results.items():
                self._known.setdefault(pair, encode_known(result))
                self._known.move_to_end(pair)
            while len(self._known) > self._entries:
                self._known.popitem(last=False)

    def close(self) -> None:
        with self._lock:
            self._known.clear()


def is_lasting(result: TestResult) -> bool:
    """Whether a result would be the same on another day on another machine, as far as can be told."""
    outcomes = {result.outcome, *result.methods.values(), *chain.from_iterable(result.votes.values())}
    return not (result.assumed or result.retried or _MOMENTARY & outcomes)


def circumstances(limits: Limits, isolation: str, interpreter: str, version: str = SANDBOX_VERSION) -> str:
    """Return a text of all that decides verdicts besides solution and test.

    `isolation` is the level in force, `interpreter` the path and version of the one that runs solutions.
    """
    facts = {"limits": dataclasses.asdict(limits), "isolation": isolation, "python": interpreter}
    return json.dumps({"sandbox": version, **facts}, sort_keys=True)


def key_of_test(test: Test, circumstances: str) -> str:
    """Return 32 hex digits of the test as it is run, under these circumstances."""
    parts: list[object] = [
        circumstances,
        test.source,
        test.class_name or "",
        list(test.methods),
        list(test.skipped),
    ]
    if test.votes:  # what was kept of a test without votes is still found
        parts.append(list(test.votes))
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()[:32]


encode_known = msgspec.json.Encoder().encode
decode_known = msgspec.json.Decoder(KnownResult).decode
"""Raises msgspec.DecodeError for what `encode_known` did not write."""
