"""From runs to figures: rates, ratios, ceilings, tables. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

__all__ = ["ceiling", "disagreements", "flat", "percentile", "ratios", "slope", "spread", "table"]


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least so many percent of the values do not exceed; 0.0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def ceiling(pairs: int, loops: int, limit: float, rate: float) -> float:
    """Pairs per second that one core cannot exceed if so many pairs take the whole limit.

    Args:
        limit: seconds that an endless pair takes.
        rate: pairs per second of those that end, as measured without loops.
    """
    return pairs / (loops * limit + (pairs - loops) / rate)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median and, of several values, the lowest and the highest, as text."""
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, as neighbours in time share the machine's mood."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def disagreements(verdicts: Sequence[str], reference: Sequence[str]) -> list[int]:
    """Where one says pass and the other does not; a verdict that was not reached never agrees."""
    pairs = enumerate(zip(verdicts, reference, strict=True))
    return [i for i, (one, other) in pairs if one == "unknown" or (one == "pass") != (other == "pass")]


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Growth of y per unit of x, by least squares; 0.0 where x does not vary."""
    return statistics.linear_regression(xs, ys).slope if len(set(xs)) > 1 else 0.0


def flat(values: Sequence[float], slack: float) -> bool:
    """Whether the last third exceeds the middle third by no more than the slack, in medians.

    The first third is warm-up: caches fill and the allocator takes what it keeps.
    """
    third = max(1, len(values) // 3)
    before, after = values[-2 * third : -third] or values[:1], values[-third:]
    return statistics.median(after) - statistics.median(before) <= slack


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it also reads well in a terminal."""
    body = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in body) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in body
    ]
    rule = "| " + " | ".join("-" * (w - 1) + ":" if i else "-" * w for i, w in enumerate(widths)) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])
