"""The seams of the main path: what each stage must offer, and nothing about how it does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from coderm_reward.types import Difficulty, ExecutionMatrix, Problem, Solution, TestSuite

__all__ = [
    "BudgetAllocator",
    "Demand",
    "DifficultyEstimator",
    "Evidence",
    "Executor",
    "GroupExecutor",
    "GrowingGenerator",
    "LearningEstimator",
    "PilotingEstimator",
    "PreparingEstimator",
    "RoundAllocator",
    "UnitTestGenerator",
]


class Demand(msgspec.Struct, frozen=True):
    """What an allocator knows of one group before it plans."""

    prompt: str
    """Prompt hash: it breaks ties, so the order of the groups does not matter."""
    difficulty: Difficulty
    rollouts: int
    """Rollouts that tests could tell apart: distinct programs where the objective asks for them, else all."""
    planned: int | None = None
    """Responses decided earlier (by the run that this one resumes): counted, and left as it is."""


class Evidence(msgspec.Struct, frozen=True):
    """What a group's rollouts have shown so far.

    A group without rollouts, or without any vote on them, is all zeros and teaches nobody anything.
    """

    rollouts: int = 0
    """Rollouts about which something is known: scored from votes, without code, or caught tampering."""
    right: float = 0.0
    """How many of them have `acc` 1: that is what success means where nobody knows the truth."""
    tests: int = 0
    """Valid test classes so far."""
    unsplit: int = 0
    """How many of these gave the same score to every rollout."""
    reliability: float = 0.0
    """Cronbach's alpha of the scores over test classes, in [0, 1]; 0.0 where undefined."""
    responses: int = 0
    """Generator responses spent."""

    @property
    def trials(self) -> float:
        """How many independent observations of the pass rate this is worth: R T / (R + T).

        R rollouts judged by the same T tests share the tests' mistakes, so the variance of their mean is
        about p (1 - p) (1/R + 1/T) and not p (1 - p) / R. 0.0 without rollouts or tests.
        """
        return self.rollouts * self.tests / (self.rollouts + self.tests) if self.tests else 0.0

    @property
    def successes(self) -> float:
        """The share of `trials` that succeeded."""
        return self.trials * self.right / self.rollouts if self.rollouts else 0.0


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


@runtime_checkable
class GroupExecutor(Executor, Protocol):
    """An executor that can remember what it ran for a group."""

    def remembering(self) -> Executor:
        """Return an executor for one group: asked in steps, it runs no pair twice, not even what hangs.

        The matrix of everything is the same as without such steps, and its stats count all of them.
        """
        ...


class DifficultyEstimator(Protocol):
    """Says how likely a rollout of this prompt is to be right (DESIGN section 7)."""

    def estimate(self, problem: Problem) -> Difficulty:
        """Return what is known before any test of this group has run."""
        ...


@runtime_checkable
class LearningEstimator(DifficultyEstimator, Protocol):
    """An estimator that learns from groups once they are scored."""

    def observe(self, problem: Problem, observation: str, evidence: Evidence) -> None:
        """Take in what a group showed; `observation` identifies it, so that a second time replaces the
        first."""
        ...

    def close(self) -> None:
        """Let go of what it holds; a second call does nothing."""
        ...


@runtime_checkable
class PreparingEstimator(DifficultyEstimator, Protocol):
    """An estimator that is much quicker with many prompts at once, such as one that asks a model."""

    def prepare(self, problems: Sequence[Problem]) -> None:
        """Get ready to estimate these; called in a thread of its own, which may take its time."""
        ...

    def close(self) -> None:
        """Let go of what it holds; a second call does nothing."""
        ...


@runtime_checkable
class PilotingEstimator(DifficultyEstimator, Protocol):
    """An estimator that wants to see this very group on a few tests first."""

    @property
    def pilot(self) -> int:
        """Generator responses that every prompt gets before anything is allocated."""
        ...

    def estimate_after(self, problem: Problem, evidence: Evidence) -> Difficulty:
        """Return what is known once they have run."""
        ...


class BudgetAllocator(Protocol):
    """Splits a total of generator responses over prompts (DESIGN section 7)."""

    def allocate(self, demands: Sequence[Demand]) -> list[int | None]:
        """Return the number of responses for each group, in order; None means all there are."""
        ...


@runtime_checkable
class RoundAllocator(BudgetAllocator, Protocol):
    """An allocator that plans in rounds and looks at the tests that have run in between."""

    def grow(
        self, demands: Sequence[Demand], planned: Sequence[int], evidence: Sequence[Evidence]
    ) -> list[int]:
        """Return the next totals, none below `planned`; equal to it: there is nothing more to give."""
        ...
