"""An ablation as text: rows for the terminal and for Markdown, and everything as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from coderm_reward.ablation.bootstrap import Interval
from coderm_reward.ablation.measure import FIGURES
from coderm_reward.ablation.results import AblationResult, Cell

__all__ = [
    "AGGREGATOR_HEADER",
    "POLICY_HEADER",
    "RATIO_HEADER",
    "SAME",
    "aggregator_rows",
    "markdown",
    "policy_rows",
    "ratio_rows",
    "to_csv",
    "verdict",
]

SAME = "no difference"

AGGREGATOR_HEADER = (
    "unit", "aggregator", "budget", "best of n", "AUC", "corr.", "all-wrong with gradient", "Brier",
    "best of n against first", "AUC against first",
)  # fmt: skip
POLICY_HEADER = (
    "unit", "aggregator", "budget", "rule", "spent", "best of n", "AUC",
    "best of n against uniform", "AUC against uniform",
)  # fmt: skip
RATIO_HEADER = ("unit", "aggregator", "rule", "figure", "share of uniform's budget")


_SHOWN = ("best_of_n", "auc", "correlation", "gradient", "brier")


def verdict(interval: Interval, null: float = 0.0) -> str:
    """Return what a difference (or, with null 1, a ratio) comes to, with its interval."""
    if math.isnan(interval.value) or math.isnan(interval.low):
        return "-"
    sign = "+" if null == 0.0 else ""
    numbers = f"{interval.value:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
    return numbers if interval.excludes(null) else f"{SAME} {numbers}"


def aggregator_rows(result: AblationResult) -> list[tuple[str, ...]]:
    """Return a row per vote unit, aggregator and budget under the uniform rule (see AGGREGATOR_HEADER)."""
    return [
        (
            cell.vote_unit,
            cell.aggregator,
            str(cell.budget),
            *(
                _plain(cell.figures[name])
                for name in ("best_of_n", "auc", "correlation", "gradient", "brier")
            ),
            *(
                verdict(cell.against_first[name]) if cell.against_first else ""
                for name in ("best_of_n", "auc")
            ),
        )
        for cell in result.cells
        if cell.policy == "uniform"
    ]


def policy_rows(result: AblationResult) -> list[tuple[str, ...]]:
    """Return a row per scoring, budget and rule (see POLICY_HEADER), uniform first."""
    return [
        (
            cell.vote_unit,
            cell.aggregator,
            str(cell.budget),
            cell.policy,
            f"{cell.figures['spent'].value:.2f}",
            *(_plain(cell.figures[name]) for name in ("best_of_n", "auc")),
            *(verdict(cell.gain[name]) if cell.gain else "" for name in ("best_of_n", "auc")),
        )
        for cell in sorted(result.cells, key=lambda cell: _place(result, cell))
    ]


def ratio_rows(result: AblationResult) -> list[tuple[str, ...]]:
    """Return a row per scoring, rule and figure (see RATIO_HEADER)."""
    return [
        (r.vote_unit, r.aggregator, r.policy, r.figure.replace("_", " "), verdict(r.ratio, 1.0))
        for r in result.ratios
    ]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, aligned so that it also reads well in a terminal."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def to_csv(result: AblationResult) -> str:
    """Return every cell with all its figures, gains and intervals, one row each; empty where undefined."""
    kinds = ("", "gain_", "against_first_")
    fields = [f"{kind}{name}{end}" for kind in kinds for name in FIGURES for end in ("", "_low", "_high")]
    ratios = {(r.vote_unit, r.aggregator, r.policy, r.figure): r.ratio for r in result.ratios}
    ends = [f"ratio_{figure}{end}" for figure in ("best_of_n", "auc") for end in ("", "_low", "_high")]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["vote_unit", "aggregator", "rule", "budget", *fields, *ends])
    for cell in result.cells:
        row: list[str] = [cell.vote_unit, cell.aggregator, cell.policy, str(cell.budget)]
        for group in (cell.figures, cell.gain, cell.against_first):
            for name in FIGURES:
                row += _three(group.get(name))
        for figure in ("best_of_n", "auc"):
            row += _three(ratios.get((cell.vote_unit, cell.aggregator, cell.policy, figure)))
        writer.writerow(row)
    return buffer.getvalue()


def _place(result: AblationResult, cell: Cell) -> tuple[int, int, int]:
    settings = result.settings
    return (
        settings.vote_units.index(cell.vote_unit),
        settings.aggregators.index(cell.aggregator),
        settings.budgets.index(cell.budget),
    )


def _plain(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "-"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _three(interval: Interval | None) -> list[str]:
    numbers = (interval.value, interval.low, interval.high) if interval else (math.nan,) * 3
    return ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
