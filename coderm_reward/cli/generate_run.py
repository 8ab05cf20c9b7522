"""The run behind `coderm-reward generate`: prompts at once, responses as they come, a file at the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from coderm_reward.cli.console import note, out, progress_bar, two_column_table
from coderm_reward.cli.progress import GenerationProgress
from coderm_reward.cli.sources import ModelSource
from coderm_reward.cli.stopping import until_stopped
from coderm_reward.errors import GenerationError
from coderm_reward.exchange import export_recorded
from coderm_reward.generation.model_generator import ModelGenerator
from coderm_reward.group_run import problem_and_solutions
from coderm_reward.types import FAILED, Problem, RolloutGroup, Solution

__all__ = ["GenerateRun"]

_ERRORS_SHOWN = 5


class GenerateRun:
    """Tests for the prompts of these groups; groups of one prompt give their solutions to one suite.

    Args:
        groups: with or without rollouts.
        source: the model, and where its responses are kept.
        out: JSONL of the recorded form, written whole when all is done.
    """

    def __init__(self, groups: Sequence[RolloutGroup], source: ModelSource, out: Path) -> None:
        self._source = source
        self._out = out
        self._prompts: dict[str, tuple[Problem, list[Solution]]] = {}
        for group in groups:
            problem, solutions = problem_and_solutions(group)
            self._prompts.setdefault(problem.prompt_hash, (problem, []))[1].extend(solutions)
        self._progress = GenerationProgress()
        self._dropped: Counter[str] = Counter()
        self._errors: dict[str, str] = {}
        """Prompt hash -> why it got no response at all."""

    @property
    def arrived(self) -> int:
        """Responses that arrived in this run."""
        return self._progress.responses

    def execute(self) -> None:
        """Generate what is missing, write the file, print the table.

        Raises:
            GenerationError: the model cannot be used, or responses are missing that another try might give;
                what there is has been written all the same.
            StoppedError: SIGINT or SIGTERM.
        """
        began = time.perf_counter()
        asyncio.run(until_stopped(self._generate()))
        seconds = time.perf_counter() - began
        rows = [
            ("prompts", f"{len(self._prompts):,}"),
            ("responses", f"{self._progress.responses:,} new"),
            ("tests", f"{self._progress.tests:,} with those that were there already"),
            ("dropped", _counted(self._dropped)),
            (
                "tokens",
                f"{self._progress.completion_tokens:,} written, {self._progress.prompt_tokens:,} read",
            ),
            ("seconds", f"{seconds:,.1f} ({self._progress.rates()})"),
        ]
        out.print(two_column_table("Generated", rows))
        self._say_what_is_missing()

    async def _generate(self) -> None:
        problems = [problem for problem, _ in self._prompts.values()]
        with progress_bar() as bars:
            async with self._source.open(problems, on_completion=self._progress.completed) as generator:
                self._progress.show(bars, sum(generator.missing(problem) for problem in problems))
                at_once = asyncio.Semaphore(self._source.prompts_at_once)
                asking = [self._ask(generator, at_once, *prompt) for prompt in self._prompts.values()]
                try:
                    await asyncio.gather(*asking)
                finally:
                    self._write(generator)

    def _write(self, generator: ModelGenerator) -> None:
        """Write what is there, also of a run that was stopped."""
        if generator.identity in generator.store.generators():
            written = export_recorded(
                generator.store, self._out, generator.identity, prompts=self._prompts.keys()
            )
            note(f"wrote {self._out} ({written:,} of {len(self._prompts):,} prompts)")

    async def _ask(
        self,
        generator: ModelGenerator,
        at_once: asyncio.Semaphore,
        problem: Problem,
        solutions: list[Solution],
    ) -> None:
        async with at_once:
            try:
                suite = await generator.generate(problem, solutions, None)
            except GenerationError as error:
                self._errors[problem.prompt_hash] = str(error)
                return
        self._progress.tested(len(suite.tests))
        self._dropped.update(suite.dropped)

    def _say_what_is_missing(self) -> None:
        """Say which prompts failed, and end with an error if another try might help."""
        for error, count in Counter(self._errors.values()).most_common(_ERRORS_SHOWN):
            note(f"{count:,} of {len(self._prompts):,} prompts got no response: {error}")
        failures = {kind: n for kind, n in self._progress.failures.items() if kind != f"{FAILED}too_long"}
        if failures or self._errors:
            kept = self._source.config.store
            where = f"in {kept}: give the same command again" if kept != "memory" else "in the output alone"
            raise GenerationError(
                f"{sum(failures.values()):,} responses are missing ({_counted(failures)}); what arrived is "
                f"kept {where}."
            )


def _counted(counts: Mapping[str, int]) -> str:
    listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n:,} {reason}" for reason, n in listed if n) or "none"
