"""How many responses one prompt may get, and what that leaves to allocate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coderm_reward.errors import ConfigError
from coderm_reward.protocols import Demand

__all__ = ["Bounds"]

_TIMES_THE_MEAN = 4


@dataclass(frozen=True)
class Bounds:
    """The mean budget of a prompt and the least and most that any prompt gets, in generator responses.

    `maximum` None is four times the mean: a prompt that takes more holds up its whole step, and a test
    after so many adds little.

    Raises:
        ConfigError: not 0 <= minimum <= budget <= maximum, or a budget below 1.
    """

    budget: int
    minimum: int = 1
    maximum: int | None = None

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ConfigError(f"The setting budget must be at least 1 response, not {self.budget}.")
        if self.minimum < 0:
            raise ConfigError(f"The setting min_budget must be at least 0, not {self.minimum}.")
        if self.budget < self.minimum:
            raise ConfigError(
                f"A budget of {self.budget} responses per prompt is below the {self.minimum} that every "
                "prompt gets; raise budget or lower min_budget (for estimator pilot: the setting pilot)."
            )
        if self.most < self.budget:
            raise ConfigError(
                f"A budget of {self.budget} responses per prompt cannot be spent where none may get more "
                f"than {self.most}; raise max_budget or lower budget."
            )

    @property
    def most(self) -> int:
        """The most that one prompt gets."""
        return _TIMES_THE_MEAN * self.budget if self.maximum is None else self.maximum

    def total(self, demands: Sequence[Demand]) -> int:
        """Return the responses that are left for demands without a plan.

        That is the mean times all demands less what is planned already, but at least the minimum for each,
        for a prompt that the resumed run did not know yet.
        """
        planned = [demand.planned for demand in demands if demand.planned is not None]
        open_demands = len(demands) - len(planned)
        return max(self.budget * len(demands) - sum(planned), self.minimum * open_demands)
