"""Group records -> one self-contained HTML file. Nothing is run, nothing is fetched, all text is escaped.

The page's policy forbids everything but its own inline style, `data:` pictures and the one static script
of this package, which is allowed by its hash and knows no data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from markupsafe import Markup

from coderm_reward.data.records import GroupRecord
from coderm_reward.report import plots
from coderm_reward.report.drilldown import group_title, group_view
from coderm_reward.report.numbers import ReportNumbers, report_numbers
from coderm_reward.report.page import assets, data_uri, template, write_page
from coderm_reward.report.steps import step_numbers
from coderm_reward.report.summary import summary_rows
from coderm_reward.report.views import GroupView, ReportLimits
from coderm_reward.types import Verdict, VerdictArray

__all__ = ["render_report", "write_report"]


class HeatMap(msgspec.Struct, frozen=True):
    """A picture of a matrix with the size in CSS pixels that its cells are drawn at."""

    uri: Markup
    rows: int
    columns: int
    width: int
    height: int


def write_report(
    path: Path,
    records: Sequence[GroupRecord],
    *,
    title: str,
    settings: Mapping[str, object],
    generated_at: str,
    summary_extra: Mapping[str, str] | None = None,
    wall_seconds: float | None = None,
    limits: ReportLimits | None = None,
) -> None:
    """Write the report of `records` to `path`, whole or not at all.

    `generated_at`, `settings` (nested mappings become dotted names) and `summary_extra` are shown as given;
    `wall_seconds` is as in `summary_rows`. The same arguments give the same bytes.

    Raises:
        OutputError: `path` cannot be written.
        InputError: a record whose verdicts do not match its tests.
    """
    page = render_report(
        records,
        title=title,
        settings=settings,
        generated_at=generated_at,
        summary_extra=summary_extra,
        wall_seconds=wall_seconds,
        limits=limits,
    )
    write_page(path, page)


def render_report(
    records: Sequence[GroupRecord],
    *,
    title: str,
    settings: Mapping[str, object],
    generated_at: str,
    summary_extra: Mapping[str, str] | None = None,
    wall_seconds: float | None = None,
    limits: ReportLimits | None = None,
) -> str:
    """Return the page that `write_report` writes; groups in the order of their first input row."""
    limits = limits or ReportLimits()
    records = sorted(records, key=lambda r: (min((x.row for x in r.rollouts), default=1 << 62), r.group))
    numbers = report_numbers(records)
    first = dict.fromkeys((*numbers.slowest, *numbers.disputed, *range(len(records))))
    shown = sorted(list(first)[: limits.max_groups])
    text_bytes = limits.max_text_bytes // max(1, len(shown))
    views = {i: group_view(records[i], numbers.groups[i], limits, text_bytes) for i in shown}
    return template("template.html.j2").render(
        title=title,
        generated_at=generated_at,
        records=records,
        numbers=numbers,
        summary=numbers.summary,
        rows=summary_rows(numbers.summary, wall_seconds=wall_seconds) + list((summary_extra or {}).items()),
        settings=list(_flat(settings)),
        steps=step_numbers(records, numbers.groups),
        titles=[group_title(record) for record in records],
        charts=_charts(numbers),
        views=views,
        maps={i: _maps(view) for i, view in views.items()},
        limits=limits,
        colours=plots.VERDICT_COLOURS,
        Verdict=Verdict,
        **assets(),
    )


def _flat(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _charts(numbers: ReportNumbers) -> dict[str, dict[str, Markup]]:
    """Return each chart as data URIs, by theme."""
    groups = numbers.groups
    std, reliability = [g.std for g in groups], [g.reliability for g in groups]
    zero = [g.zero_spread for g in groups]
    charts: dict[str, dict[str, Markup]] = {"scores": {}, "spreads": {}, "reliability": {}}
    for name, theme in (("light", plots.LIGHT), ("dark", plots.DARK)):
        pictures = {
            "scores": plots.histogram_svg(numbers.scores, theme, x_label="reward", y_label="rollouts"),
            "spreads": plots.histogram_svg(
                numbers.spreads, theme, x_label="standard deviation of rewards in a group", y_label="groups"
            ),
            "reliability": plots.scatter_svg(
                std,
                reliability,
                zero,
                theme,
                x_label="standard deviation of rewards in a group",
                y_label="reliability",
            ),
        }
        for chart, svg in pictures.items():
            charts[chart][name] = data_uri("image/svg+xml", svg)
    return charts


def _maps(view: GroupView) -> dict[str, HeatMap | None]:
    """Return the heat maps of one group, drawn in its orders of rollouts and tests."""
    matrix, order = view.record.matrix(), list(view.numbers.rollout_order)
    has_code = [bool(matrix.has_code[i]) for i in order]
    columns = list(view.numbers.test_order)
    by_test = [np.flatnonzero(matrix.method_test == t) for t in columns]
    methods = np.concatenate([*by_test, np.zeros(0, dtype=np.intp)])
    return {
        "class": _heat_map(matrix.class_verdicts[order][:, columns], has_code),
        "method": _heat_map(matrix.method_verdicts[order][:, methods], has_code),
    }


def _heat_map(cells: VerdictArray, has_code: Sequence[bool]) -> HeatMap | None:
    rows, columns = cells.shape
    if not cells.size:
        return None
    width = max(1, min(22, 960 // columns)) * columns
    return HeatMap(
        uri=data_uri("image/png", plots.heat_map_png(cells, has_code)),
        rows=rows,
        columns=columns,
        width=width,
        height=max(2, min(22, 640 // rows)) * rows,
    )
