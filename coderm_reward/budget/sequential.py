"""The allocator that looks: in rounds, the next tests go where they can still change a decision."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from coderm_reward.budget.bounds import Bounds
from coderm_reward.errors import ConfigError
from coderm_reward.protocols import Demand, Evidence

__all__ = ["SequentialAllocator", "value_of_more"]


def value_of_more(evidence: Evidence) -> float:
    """Return (1.1 - alpha) / ((t + 1)(1 + 0.2 z)): what the next test is worth to a group.

    alpha is the reliability of its rewards over test classes, t the classes so far, z how many of them
    failed to split the group. So a test is worth more where the ranking of the rollouts would still change
    with other tests, less after many tests, and less in groups that tests do not tell apart. The constants
    were fitted on measured groups; 1.1 keeps a little value where alpha is 1, and alpha is 0 for one
    rollout, for none and before two classes.
    """
    doubt = 1.1 - evidence.reliability
    return doubt / ((evidence.tests + 1) * (1.0 + 0.2 * evidence.unsplit))


@dataclass(frozen=True)
class SequentialAllocator:
    """Plans in rounds, with an exact total over the groups that it is given together (RoundAllocator).

    Every group starts with the minimum or one chunk, whichever is more. Then, each round, the groups are
    ordered by `value_of_more`, ties by the lower prompt hash, and the better half of those that can still
    grow gets a chunk, until nothing is left of the total. Half, because values fall as tests come: with all
    at once the order of the first round would decide everything, and one by one the sandbox would wait for
    a single group. A group that got fewer responses than planned has no more to get; what it did not spend
    goes to the others.

    Args:
        bounds: the total is `bounds.budget` times the number of groups.
        chunk: generator responses handed out at a time.
    """

    bounds: Bounds
    chunk: int = 4

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ConfigError(f"The setting chunk must be at least 1 response, not {self.chunk}.")

    def allocate(self, demands: Sequence[Demand]) -> list[int | None]:
        """Return the first round."""
        first = min(max(self.bounds.minimum, self.chunk), self.bounds.budget)
        return [first if demand.planned is None else demand.planned for demand in demands]

    def grow(
        self, demands: Sequence[Demand], planned: Sequence[int], evidence: Sequence[Evidence]
    ) -> list[int]:
        """Return the next totals; the same as `planned` once the budget or the groups' room is used up.

        Args:
            planned: the totals of the last round.
            evidence: what each group showed with them.
        """
        plan = list(planned)
        waiting = [i for i, demand in enumerate(demands) if demand.planned is None]
        spent = sum(min(plan[i], evidence[i].responses) for i in waiting)
        left = self.bounds.total(demands) - spent
        able = [i for i in waiting if evidence[i].responses >= plan[i] and plan[i] < self.bounds.most]
        served = heapq.nsmallest(
            (len(able) + 1) // 2, able, key=lambda i: (-value_of_more(evidence[i]), demands[i].prompt)
        )
        for i in served:
            more = min(self.chunk, self.bounds.most - plan[i], left)
            plan[i] += max(more, 0)
            left -= max(more, 0)
        return plan
