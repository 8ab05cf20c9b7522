"""The scoring run behind `coderm-reward score`: inputs in, records as they come, outputs at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import msgspec
from rich.progress import Progress

from coderm_reward.activity import Activity
from coderm_reward.cli.console import note, out, progress_bar, two_column_table
from coderm_reward.cli.progress import GenerationProgress
from coderm_reward.cli.resume import RunRecords
from coderm_reward.cli.sources import TestSource
from coderm_reward.cli.stopping import until_stopped
from coderm_reward.config import RewardConfig
from coderm_reward.data.dump import Dump
from coderm_reward.data.records import GroupRecord
from coderm_reward.data.writers import write_scored
from coderm_reward.errors import GenerationError, InputError
from coderm_reward.execution import (
    VerdictCache,
    importable_modules,
    make_executor,
    make_pool,
    open_cache,
    started,
)
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.protocols import UnitTestGenerator
from coderm_sandbox import SandboxPool

__all__ = ["ScoreRun"]

_WARNINGS_SHOWN = 10


@dataclass(frozen=True)
class ScoreRun:
    """One run over a loaded dump. `outs` are the scored files, the first of which names the sidecar."""

    dump: Dump
    tests: TestSource
    config: RewardConfig
    outs: Sequence[Path]
    report: Path | None
    records: RunRecords
    title: str
    activity: Activity = field(default_factory=Activity)

    def execute(self) -> None:
        """Score what is missing, write all outputs, print the table.

        Raises:
            OutputError: the verdict cache, or the store, is a file that cannot be used.
            GenerationError: the model that is to write tests cannot be reached; or it failed to give some,
                and everything has been written without them.
            StoppedError: SIGINT or SIGTERM; the groups scored so far are recorded.
            SandboxUnavailableError: the isolation asked for cannot start here.
        """
        began = time.perf_counter()
        cache = open_cache(self.config.execution.verdict_cache)
        try:
            kept, fresh = asyncio.run(until_stopped(self._score(cache)))
        finally:
            self.records.close()
            if cache is not None:
                cache.close()
        scored = {record.group: record for record in [*kept, *fresh]}
        ordered = [scored[group.id] for group in self.dump.groups]
        wall = time.perf_counter() - began
        self._write(ordered, wall_seconds=None if kept else wall)

    async def _score(self, cache: VerdictCache | None) -> tuple[list[GroupRecord], list[GroupRecord]]:
        """(records taken over, records of this run)."""
        problems = list({group.problem.prompt_hash: group.problem for group in self.dump.groups}.values())
        arrived = GenerationProgress()
        source = self.tests.open(problems, activity=self.activity, on_completion=arrived.completed)
        async with source as generator:
            return await self._score_groups(cache, generator, arrived)

    async def _score_groups(
        self, cache: VerdictCache | None, generator: UnitTestGenerator, arrived: GenerationProgress
    ) -> tuple[list[GroupRecord], list[GroupRecord]]:
        pool = make_pool(self.config.sandbox)
        executor = make_executor(pool, self.config, cache)
        pipeline = RewardPipeline(
            generator,
            executor,
            self.config,
            groups_at_once=self.tests.groups_at_once(pool.size),
            modules=importable_modules(self.config.sandbox.sandbox_python),
            activity=self.activity,
        )
        with closing(pipeline):
            return await self._score_missing(pipeline, pool, arrived)

    async def _score_missing(
        self, pipeline: RewardPipeline, pool: SandboxPool, arrived: GenerationProgress
    ) -> tuple[list[GroupRecord], list[GroupRecord]]:
        if self.dump.groups and all(len(group.rollouts) == 1 for group in self.dump.groups):
            note("every group has one rollout only: siblings are found by uid, or by prompt within a step")
        kept = self.records.open(
            self.dump.groups, lambda group: pipeline.settings(group.problem), retry=self.tests.asks
        )
        if self.records.resuming:
            note(f"resuming: {len(kept)} of {len(self.dump.groups)} groups are recorded already")
        if len(kept) == len(self.dump.groups):
            return list(kept.values()), []
        fresh: list[GroupRecord] = []
        with progress_bar() as progress:
            arrived.show(progress)
            async with started(pool):
                note(f"isolation: {pool.description}, {pool.size} workers")
                await self._consume(pipeline, kept, fresh, progress)
                stats = pool.stats
                if stats.audited:
                    note(
                        f"audit: {stats.audited:,} tests of stateless solutions run again, each in a "
                        f"process of its own, {stats.audit_disagreements:,} methods with another outcome"
                    )
        return list(kept.values()), fresh

    async def _consume(
        self,
        pipeline: RewardPipeline,
        kept: Mapping[str, GroupRecord],
        fresh: list[GroupRecord],
        progress: Progress,
    ) -> None:
        groups = self.dump.groups
        bar = progress.add_task("scoring groups", total=len(groups) - len(kept))
        async for record in pipeline.score(groups, kept):
            self.records.add(record)
            fresh.append(record)
            progress.advance(bar)

    def _write(self, records: list[GroupRecord], wall_seconds: float | None) -> None:
        """Everything after scoring: files first, so that a failing report loses nothing."""
        from coderm_reward.report import summarise, summary_rows, write_report

        rewards = {rollout.row: rollout.reward for record in records for rollout in record.rollouts}
        for path in self.outs:
            for remark in write_scored(path, self.dump.rows, rewards, self.dump.column_types):
                note(f"{path}: {remark}")
        self.records.finish(records)
        extra = {"rows in": f"{self.dump.rows_in:,} ({len(self.dump.bad_rows):,} malformed, left out)"}
        if self.report is not None:
            write_report(
                self.report,
                records,
                title=self.title,
                settings=msgspec.to_builtins(self.config),
                generated_at=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
                summary_extra=extra,
                wall_seconds=wall_seconds,
            )
        _print_warnings(records)
        programs = [reward for reward in rewards.values() if reward.unsupported_format > 0]
        if programs:
            wrong = sum(reward.neutral == 0 for reward in programs)
            note(
                f"{len(programs)} rollouts are programs that read stdin, which is outside the function "
                f"format that these unit tests need: {wrong} got 0.0, as their prompt asks for a function, "
                f"and {len(programs) - wrong} the neutral reward"
            )
        rows = [
            *summary_rows(summarise(records), wall_seconds=wall_seconds),
            *self._times(),
            *extra.items(),
        ]
        out.print(two_column_table("Scored", rows))
        for written in [*self.outs, self.records.path, *([self.report] if self.report else [])]:
            note(f"wrote {written}")
        self._complain(records)

    def _complain(self, records: Sequence[GroupRecord]) -> None:
        """Raise what makes this run a failure although everything has been written."""
        lacking = [record for record in records if record.lacks_responses] if self.tests.asks else []
        if lacking:
            raise GenerationError(
                f"{len(lacking):,} of {len(records):,} groups lack unit tests that could not be had; all is "
                "written without them: go on with --resume to generate them and score those groups again."
            )
        if not any(len(record.invalid) < len(record.tests) for record in records):
            raise InputError(
                "No prompt has a usable test, so every reward is neutral; the table says what parsing "
                "dropped and the group records why the sandbox found tests invalid."
            )

    def _times(self) -> list[tuple[str, str]]:
        """How long this run generated and executed, where it did both."""
        if not self.tests.asks:
            return []
        generating, executing, both = (
            self.activity.seconds(*kinds)
            for kinds in (("generating",), ("executing",), ("generating", "executing"))
        )
        return [
            ("seconds generating", f"{generating:,.1f}"),
            ("seconds executing", f"{executing:,.1f}"),
            ("seconds both at once", f"{both:,.1f}"),
        ]


def _print_warnings(records: Sequence[GroupRecord]) -> None:
    told = [(record, warning) for record in records for warning in record.warnings]
    for record, warning in told[:_WARNINGS_SHOWN]:
        note(f"warning: group {record.group} (prompt {record.task_id or record.prompt_hash}): {warning}")
    if len(told) > _WARNINGS_SHOWN:
        note(f"warning: and {len(told) - _WARNINGS_SHOWN} more groups like these; see the group records")
