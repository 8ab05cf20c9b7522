"""What an ablation compares: rules that spend a budget, ways to score, and how it resamples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import msgspec

from coderm_reward.config import (
    AggregatorName,
    AllocatorName,
    ObjectiveName,
    ScoringConfig,
    VoteUnit,
)
from coderm_reward.errors import ConfigError

__all__ = ["INDEPENDENT", "UNIFORM", "AblationSettings", "DifficultySource", "Policy", "policies"]

DifficultySource = Literal["constant", "oracle", "recorded", "history", "pilot"]
"""oracle: the true pass rate, as no estimator knows it. recorded: what was estimated when the groups were
scored (a dataset's column, a probe). history: an epoch before, of the rollouts that a draw leaves out."""


class Policy(msgspec.Struct, frozen=True):
    """One rule for spending a mean budget."""

    allocator: AllocatorName
    difficulty: DifficultySource = "constant"
    objective: ObjectiveName = "best_of_n"
    independent: bool = False
    """Whether it sees draws of its own: uniform against this one measures the noise of the comparison."""

    @property
    def label(self) -> str:
        """Its name in tables: estimator:allocator/objective, without what it does not depend on."""
        if self.independent:
            return "uniform, other draws"
        if self.allocator in ("uniform", "sequential"):
            return self.allocator
        short = "" if self.objective == "best_of_n" else f"/{self.objective}"
        return f"{self.difficulty}:{self.allocator}{short}"


UNIFORM = Policy("uniform")
INDEPENDENT = Policy("uniform", independent=True)


class AblationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides an ablation, but for the groups.

    Raises:
        ConfigError: a value that makes no ablation.
    """

    policies: tuple[Policy, ...] = (UNIFORM, INDEPENDENT)
    """The first is uniform: all others are compared with it."""
    aggregators: tuple[AggregatorName, ...] = ("majority",)
    """The first is what the others are compared with."""
    vote_units: tuple[VoteUnit, ...] = ("method",)
    budgets: tuple[int, ...] = (2, 4, 8, 16)
    """Mean generator responses per group, ascending."""
    rollouts: int | None = None
    """Drawn per group; None is 16, or half of the smallest group."""
    pass_rate: float | None = None
    """Weigh the groups so that their mean pass rate is this; None: all the same."""
    draws: int = 20
    """Of rollouts and tests, per group."""
    replicates: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    pilot: int = 2
    """Responses that estimator pilot looks at first, where the budget has so many."""
    chunk: int = 2
    """Responses that allocator sequential hands out at a time."""
    scoring: ScoringConfig = ScoringConfig()
    """Everything else about scoring: shape, duplicates, reliability rule, ..."""

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("replicates", 10), ("pilot", 1), ("chunk", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, not {getattr(self, name)}.")
        if self.rollouts is not None and self.rollouts < 1:
            raise ConfigError(f"rollouts must be at least 1, not {self.rollouts}.")
        if not self.budgets or min(self.budgets) < 1 or list(self.budgets) != sorted(set(self.budgets)):
            raise ConfigError(
                f"budgets must be different whole numbers of at least 1, ascending, not {self.budgets}."
            )
        if not self.policies or self.policies[0] != UNIFORM:
            raise ConfigError(
                "The first policy of an ablation must be uniform: the others are compared with it."
            )
        for name in ("aggregators", "vote_units"):
            if not getattr(self, name):
                raise ConfigError(f"An ablation needs at least one of {name}.")

    @property
    def scorings(self) -> list[ScoringConfig]:
        """One per vote unit and aggregator, in order."""
        return [
            msgspec.structs.replace(self.scoring, vote_unit=unit, aggregator=aggregator)
            for unit, aggregator in product(self.vote_units, self.aggregators)
        ]


def policies(
    difficulties: Sequence[DifficultySource],
    allocators: Sequence[AllocatorName],
    objectives: Sequence[ObjectiveName],
) -> tuple[Policy, ...]:
    """Return uniform, uniform on other draws, and every combination asked for, each rule once."""
    found = [UNIFORM, INDEPENDENT]
    for allocator, difficulty, objective in product(allocators, difficulties, objectives):
        if allocator == "uniform":
            continue
        if allocator == "sequential":  # it looks at the group itself, and knows its own gain
            found.append(Policy(allocator))
        else:
            found.append(Policy(allocator, difficulty, objective))
    return tuple(dict.fromkeys(found))
