"""Options of `score` on budgets and on the sandbox."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "Allocator",
    "Budget",
    "Difficulty",
    "HangLimit",
    "History",
    "Isolation",
    "MaxBudget",
    "Memory",
    "MinBudget",
    "Objective",
    "Probe",
    "ProbeModel",
    "SandboxPython",
    "Timeout",
    "VerdictCacheFile",
    "Workers",
]

_BUDGET, _RUN = "Budget", "Sandbox"

Budget = Annotated[
    int | None,
    typer.Option(
        "--budget",
        "--n",
        help="Test responses used per prompt, or on average where --allocator shares them out. "
        "\\[default: all that are there; 16 of a model]",
        rich_help_panel=_BUDGET,
    ),
]
Allocator = Annotated[
    str | None,
    typer.Option(
        help="Who gets more and who less. uniform: nobody; greedy: all prompts planned together; price: "
        "prompt by prompt, as they come; sequential: in rounds, after looking at what ran. "
        "\\[default: uniform]",
        rich_help_panel=_BUDGET,
    ),
]
Difficulty = Annotated[
    str | None,
    typer.Option(
        help="How hard prompts are taken to be. constant: all alike; dataset: by --map pass_rate=COL; "
        "history: by their earlier groups; pilot: by their first few tests; probe: by a trained --probe. "
        "\\[default: constant]",
        rich_help_panel=_BUDGET,
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        help="What greedy and price count as gain: best_of_n (the paper's), or advantage (for GRPO: less "
        "noise in the group's advantages). \\[default: best_of_n]",
        rich_help_panel=_BUDGET,
    ),
]
History = Annotated[
    str | None,
    typer.Option(
        help="File in which --difficulty history keeps what it learns. \\[default: memory, for this run]",
        rich_help_panel=_BUDGET,
    ),
]
Probe = Annotated[
    str | None,
    typer.Option(
        help="Probe file of --difficulty probe, from `coderm-reward probe train`.", rich_help_panel=_BUDGET
    ),
]
ProbeModel = Annotated[
    str | None,
    typer.Option(
        help="Folder or name of the model that the probe reads. \\[default: as in its training]",
        rich_help_panel=_BUDGET,
    ),
]
MinBudget = Annotated[
    int | None,
    typer.Option(help="Responses that every prompt gets. \\[default: 1]", rich_help_panel=_BUDGET),
]
MaxBudget = Annotated[
    int | None,
    typer.Option(
        help="Responses that no prompt gets more than. \\[default: four times the budget]",
        rich_help_panel=_BUDGET,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Sandbox workers; one per usable core by default.", rich_help_panel=_RUN),
]
Isolation = Annotated[
    str | None,
    typer.Option(
        help="auto: bubblewrap, or landlock on a host that forbids namespaces; bubblewrap; landlock; "
        "none (unsafe, by name only). \\[default: auto]",
        rich_help_panel=_RUN,
    ),
]
SandboxPython = Annotated[
    str | None,
    typer.Option(help="Interpreter whose packages candidate code may import.", rich_help_panel=_RUN),
]
Timeout = Annotated[
    float | None, typer.Option(help="Seconds per test method. \\[default: 1.0]", rich_help_panel=_RUN)
]
Memory = Annotated[int | None, typer.Option(help="MiB per solution. \\[default: 1024]", rich_help_panel=_RUN)]
HangLimit = Annotated[
    int | None,
    typer.Option(
        help="A solution whose first votes all time out, so many and in two classes or more, is not run "
        "further: the rest count as timeouts. 0: never. \\[default: 8]",
        rich_help_panel=_RUN,
    ),
]
VerdictCacheFile = Annotated[
    str | None,
    typer.Option(
        "--verdict-cache",
        help="Keep verdicts in memory for this run, in a file that steps and runs share, or off. "
        "\\[default: memory]",
        rich_help_panel=_RUN,
    ),
]
