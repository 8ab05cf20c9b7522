"""Run distinct (solution, test) pairs, except those whose verdict the group or the cache knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from coderm_reward.execution.cache import KnownResult, Pair, VerdictCache, is_lasting
from coderm_reward.execution.group_memory import GroupMemory, given_up
from coderm_reward.execution.pool_seam import Pool
from coderm_sandbox import Job, Outcome, Test, TestResult

__all__ = ["run_pairs"]

_LOOKED_AT = 2
"""Tests by which a solution with a loop that may not end shows whether it hangs."""


async def run_pairs(
    pool: Pool,
    cache: VerdictCache | None,
    codes: Mapping[str, str],
    tests: Mapping[str, Test],
    memory: GroupMemory,
    turn: Callable[[str], AbstractAsyncContextManager[object]],
) -> dict[Pair, TestResult]:
    """Return the results of all `codes` (identity -> source) on all `tests` (key -> test).

    Of a solution whose results are partly known, only the other tests run. What is worth keeping is in
    memory and cache when this returns. `turn` is held while a solution runs: what others find out about it
    meanwhile is known then.
    """
    of: dict[Pair, TestResult] = {}

    async def run(solution: str) -> None:
        async with turn(solution):
            known = memory.known(solution, tests, pool.limits.hang_limit)
            missing = [key for key in tests if key not in known]
            if missing and cache is not None:
                found = await asyncio.to_thread(cache.find, [solution], missing)
                known.update((key, kept.result(tests[key])) for (_, key), kept in found.items())
            plan = _to_run(known, tests, pool.limits.hang_limit)
            if plan:
                answers = await _run_spread(pool, codes[solution], [tests[key] for key in plan])
                plan = plan[: len(answers)]
                ran = {(solution, key): answer for key, answer in zip(plan, answers, strict=True)}
                memory.add(ran)
                lasting = {pair: KnownResult.of(result) for pair, result in ran.items() if is_lasting(result)}
                if cache is not None and lasting:
                    await asyncio.to_thread(cache.add, lasting)
                known = {**{key: ran[solution, key] for key in plan}, **known}
            whole = memory.as_one_run(tests, known, pool.limits.hang_limit)
            of.update(((solution, key), result) for key, result in whole.items())

    await asyncio.gather(*map(run, codes))
    return of


async def _run_spread(pool: Pool, code: str, tests: Sequence[Test]) -> list[TestResult]:
    """Return the results of one solution on the first of these tests: all, or those before it is given up.

    In one job, as a rule. A solution that hangs keeps a worker for the whole limit at each test, so once it
    did, its other tests are jobs of their own, on up to half of the workers (at least two): a group then
    waits seconds less for it. When it is given up stays the same (GroupMemory.as_one_run).
    """
    if pool.size == 1 or len(tests) <= _LOOKED_AT or "while" not in code:
        return await pool.run(Job(code, tuple(tests)))
    results = await pool.run(Job(code, tuple(tests[:_LOOKED_AT])))
    if not any(outcome is Outcome.TIMEOUT for result in results for outcome in result.methods.values()):
        return results + await pool.run(Job(code, tuple(tests[_LOOKED_AT:])))
    limit = pool.limits.hang_limit
    at_once = asyncio.Semaphore(max(2, pool.size // 2))

    async def alone(test: Test) -> TestResult:
        async with at_once:
            (result,) = await pool.run(Job(code, (test,)))
            return result

    while len(results) < len(tests) and given_up(results, limit) is None:
        votes = sum(len(test.methods) for test in tests[: len(results)])
        upto = len(results) + 1
        while upto < len(tests) and votes + len(tests[upto - 1].methods) < limit:
            votes += len(tests[upto - 1].methods)
            upto += 1
        hopeless = all(map(_hung, results))
        results += await asyncio.gather(*map(alone, tests[len(results) : upto if hopeless else None]))
    return results


def _to_run(known: Mapping[str, TestResult], tests: Mapping[str, Test], limit: int) -> list[str]:
    """Return the keys of the tests to run, in order.

    The pool gives up on a solution whose first votes all hang (Limits.hang_limit). So where enough is
    missing for that rule, the first known test on which it did not hang runs again in its place: the solution
    is then given up exactly where it would be if all ran.
    """
    missing = [key for key in tests if key not in known]
    votes = sum(len(tests[key].methods) for key in missing)
    if 0 < limit < votes:
        ended = (key for key in tests if key in known and not _hung(known[key]))
        first = next(ended, None)
        return [key for key in tests if key not in known or key == first]
    return missing


def _hung(result: TestResult) -> bool:
    return all(o in (Outcome.TIMEOUT, Outcome.INVALID_TEST) for o in result.methods.values())
