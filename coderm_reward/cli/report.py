"""`coderm-reward report`: the HTML report of group records that were written before."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from coderm_reward.cli.console import note
from coderm_reward.cli.scored import Scored, Steps, load_scored
from coderm_reward.report import write_report

__all__ = ["report"]


def report(
    scored: Scored,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    steps: Steps = None,
) -> None:
    """Write one self-contained HTML file about recorded groups; nothing is executed or fetched."""
    records = load_scored(scored, steps)
    write_report(
        out,
        records,
        title=f"Rewards of {scored}",
        settings=msgspec.to_builtins(records[0].config),
        generated_at=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
    note(f"wrote {out}")
