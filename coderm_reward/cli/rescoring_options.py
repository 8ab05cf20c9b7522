"""Options of the commands that score recorded verdicts again; each is by default as it was scored."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AccThreshold", "Duplicates", "ExcludeJudges", "ExcludeOwnTests", "VoteUnit"]

VoteUnit = Annotated[
    str | None,
    typer.Option(help="method, class, or assertion where it was scored so; by default as it was scored."),
]
Duplicates = Annotated[str | None, typer.Option(help="weight or drop; by default as it was scored.")]
ExcludeJudges = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude-judge",
        help="handle, inline or none: verdicts reached this way are no evidence. May be repeated; by "
        "default as it was scored.",
    ),
]
ExcludeOwnTests = Annotated[
    bool | None,
    typer.Option(
        "--exclude-own-tests/--own-tests",
        help="Whether a test has no vote on the solution that stood in its prompt, nor on any behaving "
        "like it; by default as it was scored.",
        show_default=False,
    ),
]
AccThreshold = Annotated[
    float | None,
    typer.Option(help="Score from which the ensemble accepts (acc); by default as it was scored."),
]
