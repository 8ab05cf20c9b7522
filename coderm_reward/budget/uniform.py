"""The allocator that treats every prompt alike: the baseline of all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coderm_reward.errors import ConfigError
from coderm_reward.protocols import Demand

__all__ = ["UniformAllocator"]


@dataclass(frozen=True)
class UniformAllocator:
    """Gives each group `budget` generator responses, or all there are if `budget` is None.

    Raises:
        ConfigError: budget is below 1.
    """

    budget: int | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < 1:
            raise ConfigError(f"The setting budget must be at least 1 response, not {self.budget}.")

    def allocate(self, demands: Sequence[Demand]) -> list[int | None]:
        """Return the same number for each group; the demands only say how many there are."""
        return [self.budget] * len(demands)
