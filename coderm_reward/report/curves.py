"""Lines with bands, and clouds of points, of several series each: the charts of an ablation."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coderm_reward.report.plots import Theme, chart, to_svg

__all__ = ["COLOURS", "Series", "curves_svg", "points_svg"]

COLOURS = ("#2f7fc8", "#d98324", "#1a9a6c", "#c0399f", "#8a63d2", "#b8901f", "#5b6b7d", "#cc4b37")
"""One per series, in order; they read on light and on dark. A ninth series starts over with dashes."""


class Series(msgspec.Struct, frozen=True):
    """Points in order, with the ends of their intervals where there are any."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def curves_svg(series: Sequence[Series], theme: Theme, *, x_label: str, y_label: str) -> bytes:
    """Return lines over a logarithmic axis, each with its band."""
    with chart(theme, x_label, y_label) as (figure, axes):
        for i, line in enumerate(series):
            colour, style = COLOURS[i % len(COLOURS)], ("-", "--", ":")[i // len(COLOURS) % 3]
            if line.low:
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.10, linewidth=0)
            axes.plot(line.x, line.y, style, color=colour, marker="o", markersize=3, linewidth=1.4)
        axes.set_xscale("log", base=2)
        ticks = sorted({round(x) for line in series for x in line.x if x >= 1.0})
        axes.set_xticks(ticks[:12], [str(tick) for tick in ticks[:12]])
        axes.minorticks_off()
        return to_svg(figure)


def points_svg(series: Sequence[Series], theme: Theme, *, x_label: str, y_label: str) -> bytes:
    """Return one dot per point."""
    with chart(theme, x_label, y_label) as (figure, axes):
        for i, cloud in enumerate(series):
            axes.scatter(
                cloud.x,
                cloud.y,
                s=14,
                color=COLOURS[i % len(COLOURS)],
                alpha=0.7,
                linewidths=0,
                rasterized=sum(len(s.x) for s in series) > 2000,
            )
        axes.set_ylim(bottom=0)
        return to_svg(figure)
