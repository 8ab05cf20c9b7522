"""Which groups belong to which training step, and which steps are due to be written. No I/O."""

from __future__ import annotations

from coderm_reward.online.group_figures import GroupFigures

__all__ = ["STEPS_KEPT", "StepBook"]

STEPS_KEPT = 16
"""Steps whose groups are kept, so that a late one can be counted with its siblings."""


class StepBook:
    """Collects groups by step.

    A loop that names its steps has them under their numbers. One that does not has them counted: each wave
    with training groups in it is a step, and validation belongs to the step before it.

    Args:
        last: the last step of an earlier process in the same folder, from which counting goes on.
    """

    def __init__(self, last: int = 0) -> None:
        self._steps: dict[int, list[GroupFigures]] = {}
        self._due: set[int] = set()
        self._dropped: set[int] = set()
        self._newest = -1
        self._finished = last
        self._training = False

    def add(self, step: str | None, figures: GroupFigures) -> None:
        """Take a group."""
        number = self._number(step, figures.validation)
        self._newest = max(self._newest, number)
        self._steps.setdefault(number, []).append(figures)
        self._due.add(number)

    def end_wave(self) -> None:
        """Where steps are counted: this one has come to its end."""
        self._finished += self._training
        self._training = False

    def due(self, everything: bool = False, whole: int | None = None) -> dict[int, list[GroupFigures]]:
        """Return the groups of the steps that have news and are over, or of all that have news.

        A step is over when a later one has begun, or when it is said to be whole; news of a step that is
        over are due at once.
        """
        over = (number for number in self._due if everything or number < self._newest or number == whole)
        numbers = sorted(over)
        self._due.difference_update(numbers)
        found = {number: list(self._steps[number]) for number in numbers}
        for number in sorted(self._steps)[:-STEPS_KEPT]:
            if number not in self._due:
                del self._steps[number]
                self._dropped.add(number)
        return found

    def incomplete(self, step: int) -> bool:
        """Whether the first groups of a step are kept no longer."""
        return step in self._dropped

    def _number(self, step: str | None, validation: bool) -> int:
        if step is not None:
            try:
                return int(float(step))
            except (ValueError, OverflowError):
                pass
        if not validation:
            self._training = True
        return self._finished + self._training
