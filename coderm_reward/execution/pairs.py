"""Run distinct (solution, test) pairs, except those whose verdict the cache knows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coderm_reward.execution.cache import KnownResult, Pair, VerdictCache, is_lasting
from coderm_reward.execution.pool_seam import Pool
from coderm_sandbox import Job, Test, TestResult

__all__ = ["PairResults", "run_pairs"]


@dataclass(frozen=True)
class PairResults:
    """The result of every pair asked for."""

    of: dict[Pair, TestResult]
    fresh: dict[Pair, TestResult]
    """What was executed now; the other pairs came from the cache."""


async def run_pairs(
    pool: Pool, cache: VerdictCache | None, codes: Mapping[str, str], tests: Mapping[str, Test]
) -> PairResults:
    """Return the results of all `codes` (identity -> source) on all `tests` (key -> test).

    Of a solution whose results are partly known, only the other tests run. What is worth keeping is in the
    cache when this returns.
    """
    known: dict[Pair, TestResult] = {}
    if cache is not None and codes and tests:
        found = await asyncio.to_thread(cache.find, codes.keys(), tests.keys())
        known = {pair: kept.result(tests[pair[1]]) for pair, kept in found.items()}
    plans = {
        solution: _to_run([(solution, key) in known for key in tests], list(tests.values()), pool)
        for solution in codes
    }
    keys, jobs = list(tests), list(tests.values())
    busy = {solution: plan for solution, plan in plans.items() if plan}
    answers = await asyncio.gather(
        *(pool.run(Job(codes[solution], tuple(jobs[t] for t in plan))) for solution, plan in busy.items())
    )
    fresh = {
        (solution, keys[t]): result
        for (solution, plan), row in zip(busy.items(), answers, strict=True)
        for t, result in zip(plan, row, strict=True)
    }
    if cache is not None:
        lasting = {pair: KnownResult.of(result) for pair, result in fresh.items() if is_lasting(result)}
        await asyncio.to_thread(cache.add, lasting)
    return PairResults({**fresh, **known}, fresh)


def _to_run(known: Sequence[bool], tests: Sequence[Test], pool: Pool) -> list[int]:
    """Return the indices of the tests to run, in order.

    The pool gives up on a solution whose first votes all hang (Limits.hang_limit). What is known never hung,
    so where enough is missing for that rule, the first known test runs again in its place: the solution is
    then given up exactly where it would be without a cache.
    """
    missing = [t for t, is_known in enumerate(known) if not is_known]
    limit = pool.limits.hang_limit
    votes = sum(len(tests[t].methods) for t in missing)
    if 0 < limit < votes and len(missing) < len(tests):
        return sorted([*missing, next(t for t, is_known in enumerate(known) if is_known)])
    return missing
