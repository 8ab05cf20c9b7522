"""The seams of the main path: what each stage must offer, and nothing about how it does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

from coderm_reward.types import Difficulty, ExecutionMatrix, Problem, Solution, TestSuite

__all__ = ["BudgetAllocator", "DifficultyEstimator", "Executor", "GrowingGenerator", "UnitTestGenerator"]


class UnitTestGenerator(Protocol):
    """Gives a prompt its suite of unit tests (DESIGN section 6)."""

    @property
    def identity(self) -> str:
        """What made the tests (backend, model, template, sampling): part of every record."""
        ...

    def fingerprint(self, problem: Problem) -> str:
        """Return what, besides the settings, decides this prompt's suite: equal means the same tests."""
        ...

    async def generate(self, problem: Problem, solutions: Sequence[Solution], n: int | None) -> TestSuite:
        """Return the suite made of the first `n` responses for this prompt (None: all there are).

        A prompt without usable tests gets an empty suite. Raises GenerationError if the
        infrastructure failed, never for what a model wrote.
        """
        ...


@runtime_checkable
class GrowingGenerator(UnitTestGenerator, Protocol):
    """A generator that takes its time, and shows what it has so far, so that this can run meanwhile."""

    def growing(
        self, problem: Problem, solutions: Sequence[Solution], n: int | None
    ) -> AsyncGenerator[TestSuite, None]:
        """Yield the suite so far (`complete` False) whenever asked and there is more, the whole one last.

        Closing the iterator stops the generation; what has arrived is kept. Raises as `generate` does.
        """
        ...


class Executor(Protocol):
    """Runs every solution of a group against every test of a suite (DESIGN section 5)."""

    async def execute(self, solutions: Sequence[Solution], suite: TestSuite) -> ExecutionMatrix:
        """Return the R x T matrix in the order given. Infrastructure failures become UNKNOWN cells."""
        ...


class DifficultyEstimator(Protocol):
    """Says how likely a rollout of this prompt is to be right (DESIGN section 7)."""

    def estimate(self, problem: Problem) -> Difficulty: ...


class BudgetAllocator(Protocol):
    """Splits a total of generator responses over prompts (DESIGN section 7)."""

    def allocate(self, difficulties: Sequence[Difficulty]) -> list[int | None]:
        """Return the number of responses for each prompt, in order; None means all there are."""
        ...
