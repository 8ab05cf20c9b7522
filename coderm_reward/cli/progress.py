"""How a model's answers come along, for the terminal."""

from __future__ import annotations

import time
from collections import Counter

from rich.progress import Progress, TaskID

from coderm_reward.generation.completions import Completion
from coderm_reward.types import FAILED

__all__ = ["GenerationProgress"]


class GenerationProgress:
    """Counts what arrives in this run, and keeps a bar up to date once it is shown."""

    def __init__(self) -> None:
        self.responses = 0
        self.tests = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.failures: Counter[str] = Counter()
        """By kind, as in TestSuite.dropped."""
        self._began = time.perf_counter()
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        self._missing: int | None = None

    def show(self, bars: Progress, missing: int | None = None) -> None:
        """Show a bar, for so many responses if that is known, once one arrives; rates count from here on."""
        self._began = time.perf_counter()
        self._bars = bars
        self._missing = missing

    def completed(self, completion: Completion) -> None:
        """Count one completion or failure."""
        if completion.failure is None:
            self.responses += 1
            self.prompt_tokens += completion.prompt_tokens
            self.completion_tokens += completion.completion_tokens
        else:
            self.failures[f"{FAILED}{completion.failure.kind}"] += 1
        if self._bars is not None:
            if self._bar is None:
                self._bar = self._bars.add_task("generating", total=self._missing)
            self._bars.update(self._bar, advance=1, description=f"generating ({self.rates()})")

    def tested(self, tests: int) -> None:
        """Count the usable tests of a prompt that is done."""
        self.tests += tests

    def rates(self) -> str:
        """What a second brings, as in `3.1 tests/s, 812 tokens/s`; responses until a prompt is done."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        what = (
            f"{self.tests / seconds:,.1f} tests/s"
            if self.tests
            else f"{self.responses / seconds:,.1f} responses/s"
        )
        return f"{what}, {self.completion_tokens / seconds:,.0f} tokens/s"
