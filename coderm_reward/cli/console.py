"""What all commands share on the terminal: output to stdout, everything about the work to stderr."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from coderm_reward.report.text import visible

__all__ = ["err", "note", "out", "plain", "progress_bar", "two_column_table"]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """Tell the user something about the work, on stderr: no markup, control characters made visible."""
    err.print(visible(text), markup=False, soft_wrap=True)


def progress_bar() -> Progress:
    """A progress display on stderr that is silent where stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )


def two_column_table(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """A table of names and values; values are text, never markup."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(plain(name), plain(value))
    return table


def plain(text: str) -> str:
    """Return text as a cell of a table shows it: no markup, control characters made visible."""
    return visible(text).replace("[", "\\[")
