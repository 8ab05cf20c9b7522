"""Options that several commands take, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BaseUrl",
    "ColumnMaps",
    "ConfigFile",
    "Engine",
    "MaxTokens",
    "Model",
    "RequestTimeout",
    "Seed",
    "StoreFile",
    "Temperature",
    "Template",
    "TopP",
]

_INPUT, _MODEL = "Input and output", "Model"

ColumnMaps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="Which columns to read: prompt=COL,response=COL,id=COL,solutions=COL (a list of responses "
        "a row),step=COL,uid=COL,entry_point=COL,reference=COL (a right solution),pass_rate=COL (0 to 1, "
        "for --difficulty dataset). What is left out is found by common names; pass_rate is not.",
        rich_help_panel=_INPUT,
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="YAML settings; options given here win.", rich_help_panel=_INPUT)
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Name of the model, as server or engine know it. \\[default: KAKA22/CodeRM-8B]",
        rich_help_panel=_MODEL,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="An OpenAI-compatible server (vLLM, SGLang, verl's router, a hosted one): http://host:port/v1. "
        "Its key, if it wants one, comes from CODERM_API_KEY or OPENAI_API_KEY.",
        rich_help_panel=_MODEL,
    ),
]
Engine = Annotated[
    str | None, typer.Option(help="vllm: run the model in this process.", rich_help_panel=_MODEL)
]
StoreFile = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Keep every response in this file: what is there is never asked for again. \\[default: memory]",
        rich_help_panel=_MODEL,
    ),
]
Template = Annotated[
    str | None,
    typer.Option(
        help="How the model is asked: coderm (CodeRM-8B's own format), instruct (any instruct model), or "
        "auto by its name. \\[default: auto]",
        rich_help_panel=_MODEL,
    ),
]
Temperature = Annotated[float | None, typer.Option(help="\\[default: 0.8]", rich_help_panel=_MODEL)]
TopP = Annotated[float | None, typer.Option(help="\\[default: 0.95]", rich_help_panel=_MODEL)]
MaxTokens = Annotated[
    int | None, typer.Option(help="New tokens of one response. \\[default: 2048]", rich_help_panel=_MODEL)
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="Other seeds draw other responses. \\[default: 0]", rich_help_panel=_MODEL),
]
RequestTimeout = Annotated[
    float | None,
    typer.Option(help="Seconds one request may take in all. \\[default: 300]", rich_help_panel=_MODEL),
]
