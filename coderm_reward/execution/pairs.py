"""Run distinct (solution, test) pairs, except those whose verdict the group or the cache knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from coderm_reward.execution.cache import KnownResult, Pair, VerdictCache, is_lasting
from coderm_reward.execution.group_memory import GroupMemory
from coderm_reward.execution.pool_seam import Pool
from coderm_sandbox import Job, Outcome, Test, TestResult

__all__ = ["run_pairs"]


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
                answers = await pool.run(Job(codes[solution], tuple(tests[key] for key in plan)))
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
