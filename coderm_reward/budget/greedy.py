"""The paper's allocator: under a fixed total, always the test that gains most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from coderm_reward.budget.beta import FloatArray, IntArray, as_arrays
from coderm_reward.budget.bounds import Bounds
from coderm_reward.budget.objectives import Objective, best_of_n
from coderm_reward.protocols import Demand

__all__ = ["GreedyAllocator", "largest_gains"]


@dataclass(frozen=True)
class GreedyAllocator:
    """Plans for all groups at once, with an exact total (BudgetAllocator).

    Args:
        bounds: the total is `bounds.budget` times the number of groups.
        objective: what a test gains; it never rises with the number of tests, so greedy is optimal.
    """

    bounds: Bounds
    objective: Objective = field(default=best_of_n)

    def allocate(self, demands: Sequence[Demand]) -> list[int | None]:
        """Return the plan; groups in another order get the same.

        Raises:
            InputError: a difficulty that is no distribution.
        """
        plan: list[int | None] = [demand.planned for demand in demands]
        chosen = [i for i, planned in enumerate(plan) if planned is None]
        waiting = [demands[i] for i in chosen]
        mean, spread, rollouts = as_arrays(waiting)
        extra = largest_gains(
            self.objective(mean, spread, np.maximum(rollouts, 1.0)),
            [demand.prompt for demand in waiting],
            self.bounds.total(demands),
            self.bounds.minimum,
            self.bounds.most,
        )
        for i, planned in zip(chosen, extra.tolist(), strict=True):
            plan[i] = planned
        return plan


def largest_gains(
    gains: Iterable[FloatArray], keys: Sequence[str], total: int, minimum: int, maximum: int
) -> IntArray:
    """Return [P] how many tests each prompt gets: `minimum`, and of all further tests those that gain most.

    What a heap gives that is popped once per test, in O(total log P), but taken in bulk: a column of gains
    at a time, of which no more than about twice the total is kept, down to the gain of the last test that
    is affordable. Time and memory are O(total + P maximum), whatever the gains.

    Args:
        gains: yields [P] the gains of test 1, 2, ... of each prompt, none above the one before.
        keys: tell prompts apart; of equal gains the prompt with fewer tests comes first, then the lower key.
        total: tests to give to all prompts together, exactly, as far as `maximum` per prompt lets them be
            given; at least P times `minimum`.
    """
    count = len(keys)
    plan = np.full(count, minimum, dtype=np.int64)
    left = min(total, maximum * count) - minimum * count
    if left <= 0:
        return plan
    pool: list[tuple[FloatArray, IntArray]] = []  # one entry per column: gains and whose they are
    size, level = 0, -1.0
    for tests, column in enumerate(gains, start=1):
        if tests <= minimum:
            continue
        better = np.flatnonzero(column > level)
        if tests > maximum or not better.size:
            break
        pool.append((column[better], better))
        size += better.size
        if size >= 2 * left + count:
            level, pool = _cut(pool, left)
            size = sum(gain.size for gain, _ in pool)
    level, pool = _cut(pool, left)
    for gain, owner in pool:
        plan[owner[gain > level]] += 1
    left -= int(plan.sum()) - minimum * count
    for gain, owner in pool:
        tied = owner[gain == level]
        if left == 0:
            break
        if tied.size > left:
            tied = np.array(sorted(tied.tolist(), key=keys.__getitem__)[:left], dtype=np.int64)
        plan[tied] += 1
        left -= tied.size
    return plan


def _cut(
    pool: Sequence[tuple[FloatArray, IntArray]], left: int
) -> tuple[float, list[tuple[FloatArray, IntArray]]]:
    """(the `left`-th largest gain of the pool, the pool without what gains less).

    Ties stay: of these the earlier columns are wanted first, and no later column can add to them.
    """
    every = np.concatenate([gain for gain, _ in pool])
    place = every.size - left
    every.partition(place)
    level = float(every[place])
    kept = [(gain[gain >= level], owner[gain >= level]) for gain, owner in pool]
    return level, [(gain, owner) for gain, owner in kept if gain.size]
