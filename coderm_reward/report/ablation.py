"""An ablation -> one self-contained HTML file: what budgets, rules and aggregators are worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from markupsafe import Markup

from coderm_reward.ablation.results import AblationResult, Cell
from coderm_reward.ablation.table import (
    AGGREGATOR_HEADER,
    POLICY_HEADER,
    RATIO_HEADER,
    aggregator_rows,
    policy_rows,
    ratio_rows,
)
from coderm_reward.report import plots
from coderm_reward.report.curves import COLOURS, Series, curves_svg, points_svg
from coderm_reward.report.page import assets, data_uri, template, write_page

__all__ = ["render_ablation", "write_ablation"]

_ACCURACY = (("best_of_n", "accuracy of the best"), ("auc", "AUC within groups"))


class Chart(msgspec.Struct, frozen=True):
    """A picture in both dresses, with the names of what it shows."""

    title: str
    note: str
    light: Markup
    dark: Markup
    legend: tuple[tuple[str, str], ...]
    """(name, colour)."""


def write_ablation(path: Path, result: AblationResult, *, title: str, generated_at: str) -> None:
    """Write the page of `result` to `path`, whole or not at all.

    Raises:
        OutputError: `path` cannot be written.
    """
    write_page(path, render_ablation(result, title=title, generated_at=generated_at))


def render_ablation(result: AblationResult, *, title: str, generated_at: str) -> str:
    """Return the page that `write_ablation` writes."""
    tables = [
        (
            "Aggregators, uniform budgets",
            "Against the first aggregator at the same budget, on the same draws.",
            AGGREGATOR_HEADER,
            aggregator_rows(result),
        ),
        (
            "Rules for budgets",
            'Against uniform where it spends as much, on the same draws. "uniform, other draws" is uniform '
            "against itself: what it shows is noise.",
            POLICY_HEADER,
            policy_rows(result),
        ),
        (
            "Budget at which a rule matches uniform",
            "Below 1 a rule is cheaper than uniform. An interval that includes 1 is no difference; one that "
            "runs from 0.250 to 4.000 says that the curves are too flat to tell.",
            RATIO_HEADER,
            ratio_rows(result),
        ),
    ]
    return template("ablation.html.j2").render(
        title=title,
        generated_at=generated_at,
        result=result,
        settings=[(name, _setting(value)) for name, value in msgspec.structs.asdict(result.settings).items()],
        sections=[
            ("Accuracy against budget", "accuracy", _by_policy(result)),
            ("Aggregators against budget", "aggregators", _by_aggregator(result)),
            ("Allocation against difficulty", "allocation", [_allocation(result)]),
            ("Tests by difficulty", "quintiles", _by_quintile(result)),
        ],
        tables=tables,
        **assets(),
    )


def _by_policy(result: AblationResult) -> list[Chart]:
    """One chart per scoring and figure: a line per rule."""
    charts = []
    for unit in result.settings.vote_units:
        for aggregator in result.settings.aggregators:
            cells = [c for c in result.cells if (c.vote_unit, c.aggregator) == (unit, aggregator)]
            for figure, label in _ACCURACY:
                series = [
                    _line(policy, [c for c in cells if c.policy == policy], figure)
                    for policy in dict.fromkeys(c.policy for c in cells if "other draws" not in c.policy)
                ]
                charts.append(_curves(f"{aggregator}, {unit} votes", label, series))
    return charts


def _by_aggregator(result: AblationResult) -> list[Chart]:
    charts = []
    for figure, label in (*_ACCURACY, ("gradient", "all-wrong groups with a gradient")):
        series = [
            _line(
                f"{aggregator}, {unit}",
                [
                    c
                    for c in result.cells
                    if (c.vote_unit, c.aggregator, c.policy) == (unit, aggregator, "uniform")
                ],
                figure,
            )
            for unit in result.settings.vote_units
            for aggregator in result.settings.aggregators
        ]
        charts.append(_curves("Uniform budgets", label, series))
    return charts


def _by_quintile(result: AblationResult) -> list[Chart]:
    """The first scoring, a line per fifth of the groups."""
    unit, aggregator = result.settings.vote_units[0], result.settings.aggregators[0]
    points = [p for p in result.quintiles if (p.vote_unit, p.aggregator) == (unit, aggregator)]
    charts = []
    for figure, label in _ACCURACY:
        series = []
        for number in dict.fromkeys(p.quintile for p in points):
            own = [p for p in points if p.quintile == number and not math.isnan(p.figures[figure].value)]
            if own:
                series.append(
                    Series(
                        f"pass rate {own[0].pass_rate:.2f}",
                        tuple(float(p.budget) for p in own),
                        tuple(p.figures[figure].value for p in own),
                        tuple(p.figures[figure].low for p in own),
                        tuple(p.figures[figure].high for p in own),
                    )
                )
        charts.append(_curves(f"{aggregator}, {unit} votes, groups from hard to easy", label, series))
    return charts


def _allocation(result: AblationResult) -> Chart:
    series = [
        Series(policy, tuple(1.0 - rate for rate in result.pass_rates), spent)
        for policy, spent in result.allocations.items()
    ]
    return _chart(
        f"Responses given at a mean budget of {result.allocation_budget}",
        "a dot per group and rule, mean over draws",
        series,
        lambda theme: points_svg(series, theme, x_label="share of wrong rollouts", y_label="responses"),
    )


def _line(name: str, cells: Sequence[Cell], figure: str) -> Series:
    known = [c for c in cells if not math.isnan(c.figures[figure].low)]
    return Series(
        name,
        tuple(c.figures["spent"].value for c in known),
        tuple(c.figures[figure].value for c in known),
        tuple(c.figures[figure].low for c in known),
        tuple(c.figures[figure].high for c in known),
    )


def _curves(title: str, label: str, series: Sequence[Series]) -> Chart:
    return _chart(
        title,
        f"{label}; bands are 95 % intervals",
        series,
        lambda theme: curves_svg(series, theme, x_label="responses spent per group", y_label=label),
    )


def _chart(title: str, note: str, series: Sequence[Series], draw: Callable[[plots.Theme], bytes]) -> Chart:
    light, dark = (data_uri("image/svg+xml", draw(theme)) for theme in (plots.LIGHT, plots.DARK))
    legend = tuple((s.name, COLOURS[i % len(COLOURS)]) for i, s in enumerate(series))
    return Chart(title, note, light, dark, legend)


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(getattr(item, "label", item)) for item in value)
    if isinstance(value, msgspec.Struct):
        return ", ".join(f"{name} {item}" for name, item in msgspec.structs.asdict(value).items())
    return str(value)
