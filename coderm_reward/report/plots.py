"""Numbers -> pictures: PNG heat maps of one pixel per cell, and SVG charts in a light and a dark dress.

The same numbers give the same bytes; matplotlib is loaded on first use.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from coderm_reward.report.numbers import Histogram
from coderm_reward.types import Verdict, VerdictArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DARK",
    "LIGHT",
    "VERDICT_COLOURS",
    "Theme",
    "chart",
    "heat_map_png",
    "histogram_svg",
    "reliability_svg",
    "scatter_svg",
    "to_svg",
]

VERDICT_COLOURS: dict[Verdict, str] = {
    Verdict.PASS: "#4a9be0",
    Verdict.FAIL: "#d55e00",
    Verdict.ERROR: "#f5d33f",
    Verdict.TIMEOUT: "#4b2384",
    Verdict.MEMORY: "#c0399f",
    Verdict.OUTPUT: "#0f6b4a",
    Verdict.TAMPERED: "#000000",
    Verdict.INVALID_TEST: "#d8dce1",
    Verdict.UNKNOWN: "#8a8f98",
}
"""In the order of legends; any two differ also to colour-blind eyes (a test holds that)."""


class Theme(msgspec.Struct, frozen=True):
    """Colours of a chart; its background is transparent."""

    text: str
    grid: str
    main: str
    marked: str


LIGHT = Theme(text="#3d4550", grid="#e3e6ea", main="#2f7fc8", marked="#d98324")
DARK = Theme(text="#b6bec9", grid="#333a44", main="#5aa9ee", marked="#e59a3f")

_SIZE = (4.6, 2.7)
"""Inches; the page scales it."""


def heat_map_png(cells: VerdictArray, has_code: Sequence[bool]) -> bytes:
    """Return `cells` (uint8 [R, C] of Verdict values, R and C above 0) as a PNG of C x R pixels.

    Rows without code are transparent.
    """
    from matplotlib.image import imsave

    palette = np.zeros((len(Verdict), 4), dtype=np.uint8)
    for verdict, colour in VERDICT_COLOURS.items():
        palette[verdict] = [*bytes.fromhex(colour[1:]), 255]
    pixels = palette[cells]
    pixels[~np.array(has_code, dtype=np.bool_)] = 0
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", pil_kwargs={"pnginfo": None})
    return buffer.getvalue()


def histogram_svg(histogram: Histogram, theme: Theme, *, x_label: str, y_label: str) -> bytes:
    """Return stacked bars, the marked part on top of the rest."""
    from matplotlib.ticker import MaxNLocator

    with chart(theme, x_label, y_label) as (figure, axes):
        edges = np.array(histogram.edges)
        width, counts = np.diff(edges), np.array(histogram.counts)
        axes.bar(edges[:-1], counts, width * 0.92, align="edge", color=theme.main)
        axes.bar(edges[:-1], histogram.marked, width * 0.92, counts, align="edge", color=theme.marked)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, max(1.0, 1.08 * float((counts + histogram.marked).max())))
        axes.yaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
        axes.grid(axis="x", visible=False)
        return to_svg(figure)


def scatter_svg(
    x: Sequence[float],
    y: Sequence[float],
    marked: Sequence[bool],
    theme: Theme,
    *,
    x_label: str,
    y_label: str,
) -> bytes:
    """Return one dot per pair; beyond 1,000 dots they are drawn as pixels, which keeps the file small."""
    with chart(theme, x_label, y_label) as (figure, axes):
        for colour, flag in ((theme.main, False), (theme.marked, True)):
            chosen = [i for i, mark in enumerate(marked) if mark is flag]
            axes.scatter(
                [x[i] for i in chosen],
                [y[i] for i in chosen],
                s=22,
                color=colour,
                alpha=0.75,
                linewidths=0,
                rasterized=len(x) > 1000,
            )
        axes.set_xlim(-0.02 * max(0.5, *x, 0.5), 1.05 * max(0.5, *x, 0.5))
        axes.set_ylim(-0.04, 1.04)
        return to_svg(figure)


def reliability_svg(
    forecast: Sequence[float], measured: Sequence[float], prompts: Sequence[int], theme: Theme
) -> bytes:
    """Return a reliability diagram: a dot per bin, its area by its prompts, on the diagonal if it is
    reliable."""
    with chart(theme, "forecast pass rate", "measured pass rate") as (figure, axes):
        axes.plot([0, 1], [0, 1], color=theme.marked, linewidth=1)
        areas = [20.0 + 220.0 * count / max(prompts, default=1) for count in prompts]
        axes.scatter(forecast, measured, s=areas, color=theme.main, alpha=0.75, linewidths=0)
        for x, y, count in zip(forecast, measured, prompts, strict=True):
            axes.annotate(str(count), (x, y), ha="center", va="center", fontsize=6, color=theme.text)
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(-0.04, 1.04)
        return to_svg(figure)


@contextmanager
def chart(theme: Theme, x_label: str, y_label: str) -> Iterator[tuple[Figure, Axes]]:
    """An empty chart under matplotlib's own defaults, whatever the user's matplotlibrc says."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.hashsalt": "coderm-reward",
                "svg.fonttype": "path",
                "font.size": 9,
                "text.color": theme.text,
                "axes.labelcolor": theme.text,
                "axes.edgecolor": theme.grid,
                "axes.grid": True,
                "axes.axisbelow": True,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.spines.left": False,
                "grid.color": theme.grid,
                "xtick.color": theme.text,
                "ytick.color": theme.text,
                "xtick.major.size": 0,
                "ytick.major.size": 0,
            }
        )
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        yield figure, axes


def to_svg(figure: Figure) -> bytes:
    """Return a drawn chart as SVG, the same bytes for the same chart."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
