"""Records -> numbers -> one self-contained HTML file; never runs anything and escapes everything."""

from __future__ import annotations

from coderm_reward.report.ablation import render_ablation, write_ablation
from coderm_reward.report.html import render_report, write_report
from coderm_reward.report.numbers import Summary, summarise
from coderm_reward.report.summary import summary_rows
from coderm_reward.report.views import ReportLimits

__all__ = [
    "ReportLimits",
    "Summary",
    "render_ablation",
    "render_report",
    "summarise",
    "summary_rows",
    "write_ablation",
    "write_report",
]
