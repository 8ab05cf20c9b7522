"""The streaming allocator: each prompt gets the tests that are worth a price, and the price is steered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from coderm_reward.budget.beta import mean_and_spread
from coderm_reward.budget.bounds import Bounds
from coderm_reward.budget.objectives import Objective, best_of_n
from coderm_reward.protocols import Demand

__all__ = ["PriceAllocator"]

_HORIZON = 300
"""Prompts after which the mean spent is within the tolerance of the budget."""
_TOLERANCE = 0.02
_FREE = math.log(1e-9)
"""At this price, in logarithm, a test is taken to gain nothing: then every prompt gets the mean."""
_PULL = 0.5
"""How much, in logarithm, the price changes where the reserve is empty or twice what it should be."""


class PriceAllocator:
    """Decides prompt by prompt, without knowing those to come (BudgetAllocator).

    A prompt gets tests while the next one gains at least the price, within its bounds. Two controllers
    steer the price, in its logarithm. The slow one integrates what prompts wanted over the mean, in steps
    that shrink as t^-0.6, so that over a shuffled stream the price settles where greedy's last test is. The
    fast one holds a reserve: never more is spent than the mean times the prompts so far, and what is kept
    back for harder prompts to come is steered to 1 % of 300 budgets, growing as the square root of the
    prompts. Where steering does not do, because the prompts come in an unlucky order, a prompt gets fewer or
    more than the price says: the reserve stays between nothing and twice its aim. So in any order the total
    is never exceeded, the mean is within 2 % of the budget from 300 prompts on, and the share held back
    vanishes as the stream goes on.

    The state lives as long as the object: later calls continue the stream. Nothing is random.
    """

    def __init__(self, bounds: Bounds, objective: Objective = best_of_n) -> None:
        self.bounds = bounds
        self.objective = objective
        self._log_price: float | None = None
        self._seen = 0
        self._spent = 0

    @property
    def price(self) -> float:
        """The gain that a test must have at least, before the pull of the reserve; 0.0 before the first
        prompt."""
        return 0.0 if self._log_price is None else math.exp(self._log_price)

    def allocate(self, demands: Sequence[Demand]) -> list[int | None]:
        """Decide about the groups in the order given; plans made before are counted first.

        Raises:
            InputError: a difficulty that is no distribution.
        """
        for demand in demands:
            if demand.planned is not None:
                self._count(demand.planned)
        return [self.decide(demand) if demand.planned is None else demand.planned for demand in demands]

    def decide(self, demand: Demand) -> int:
        """Return the responses of the next group of the stream.

        Raises:
            InputError: a difficulty that is no distribution; the state is as before.
        """
        mean, spread = mean_and_spread(demand.difficulty, demand.prompt)
        gains = self.objective(mean, spread, float(max(demand.rollouts, 1)))
        budget, bounds = self.bounds.budget, self.bounds
        aim = 0.5 * _TOLERANCE * budget * math.sqrt(_HORIZON * max(self._seen + 1, _HORIZON))
        saved = budget * self._seen - self._spent
        if self._log_price is None:
            self._log_price = _log_of(gains, budget)
            wanted = budget
        else:
            price = self._log_price + _PULL * (1.0 - min(max(saved / aim, 0.0), 2.0))
            wanted = self._affordable(gains, price)
            step = max(self._seen, 1) ** -0.6
            change = step * (wanted - budget) / budget
            self._log_price = max(self._log_price + change, _FREE)
        most = min(bounds.most, budget + saved)
        least = max(bounds.minimum, math.ceil(budget + saved - 2.0 * aim))
        planned = max(min(wanted, most), least)
        self._count(planned)
        return planned

    def _affordable(self, gains: Iterator[float], log_price: float) -> int:
        """How many tests gain at least the price; the mean, as far as gains allow, where they are free."""
        bounds = self.bounds
        price = math.exp(log_price)
        tests = 0
        for gain in gains:
            if tests >= bounds.most or gain < price:
                break
            tests += 1
        if log_price <= _FREE + _PULL:
            tests = max(tests, bounds.budget)
        return max(tests, bounds.minimum)

    def _count(self, planned: int) -> None:
        self._seen += 1
        self._spent += planned


def _log_of(gains: Iterator[float], tests: int) -> float:
    """The logarithm of the gain of a prompt's `tests`-th test."""
    gain = next(islice(gains, tests - 1, None))
    return max(math.log(gain), _FREE) if gain > 0.0 else _FREE
