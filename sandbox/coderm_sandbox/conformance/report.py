"""Run the properties at a level and say what came of it, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from coderm_sandbox.conformance.bystanders import Bystanders
from coderm_sandbox.conformance.properties import PROPERTIES, Property
from coderm_sandbox.conformance.trial import LIMITS, Trial
from coderm_sandbox.errors import SandboxUnavailableError, WorkerDiedError
from coderm_sandbox.pool import SandboxPool

__all__ = ["LevelReport", "Result", "as_json", "as_table", "check_level"]

PASS, FAIL, NOT_COVERED = "pass", "FAIL", "not covered"


@dataclass(frozen=True)
class Result:
    """What came of one property at one level: pass, FAIL, or not covered (and then not tried)."""

    id: str
    result: str
    detail: str = ""
    """What was seen instead, where it failed."""


@dataclass(frozen=True)
class LevelReport:
    """What came of a level. `how` says how workers were isolated, or why the level cannot be had here."""

    level: str
    available: bool
    how: str
    results: tuple[Result, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no property that the level claims failed."""
        return all(result.result != FAIL for result in self.results)


async def check_level(
    level: str, python: str | None = None, progress: Callable[[Property], None] = lambda one: None
) -> LevelReport:
    """Try every property that a level claims, in one pool of one worker."""
    results = []
    with Bystanders() as around:
        pool = SandboxPool(workers=1, limits=LIMITS, isolation=level, python=python)
        try:
            await pool.__aenter__()
        except SandboxUnavailableError as error:
            return LevelReport(level, False, str(error))
        try:
            trial = Trial(pool, level, around)
            for one in PROPERTIES:
                progress(one)
                results.append(await _check(one, trial))
        finally:
            pool.close()
        return LevelReport(level, True, pool.description, tuple(results))


async def _check(one: Property, trial: Trial) -> Result:
    if trial.level not in one.levels:
        return Result(one.id, NOT_COVERED)
    try:
        seen = await one.check(trial)
    except WorkerDiedError as error:
        seen = str(error)
    return Result(one.id, FAIL, seen) if seen else Result(one.id, PASS)


def as_table(reports: Sequence[LevelReport]) -> str:
    """Properties by levels, then how each level was had, then what failed."""
    rows = [["property", *(report.level for report in reports)]]
    found = [{result.id: result.result for result in report.results} for report in reports]
    rows += [[one.id, *(results.get(one.id, "-") for results in found)] for one in PROPERTIES]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines += ["", *(f"{one.level}: {'' if one.available else 'not available: '}{one.how}" for one in reports)]
    sentences = {one.id: one.sentence for one in PROPERTIES}
    for report in reports:
        for result in report.results:
            if result.result == FAIL:
                lines.append(f"FAIL {report.level} {result.id} ({sentences[result.id]}): {result.detail}")
    return "\n".join(lines)


def as_json(reports: Sequence[LevelReport]) -> dict[str, Any]:
    """The same as one JSON object: `ok`, and by level `available`, `how` and `properties`."""
    return {
        "ok": all(report.holds for report in reports),
        "levels": {
            report.level: {
                "available": report.available,
                "how": report.how,
                "properties": {
                    one.id: {"result": one.result, "detail": one.detail} for one in report.results
                },
            }
            for report in reports
        },
    }
