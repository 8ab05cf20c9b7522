"""`coderm-reward generate`: prompts in, unit tests by a model out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coderm_reward.cli import options
from coderm_reward.cli.console import note
from coderm_reward.cli.generate_run import GenerateRun
from coderm_reward.cli.inputs import OnBadRow, check_distinct_files, load, responses_per_prompt
from coderm_reward.cli.sources import ModelSource
from coderm_reward.cli.stopping import StoppedError
from coderm_reward.config import load_config
from coderm_reward.data.columns import ColumnMap
from coderm_reward.data.writers import check_place
from coderm_reward.errors import ConfigError
from coderm_reward.generation.sources import check_source

__all__ = ["generate"]

_INPUT = "Input and output"


def generate(
    prompts: Annotated[
        list[Path],
        typer.Argument(
            metavar="PROMPTS|DUMP...",
            help="Prompts, JSONL or Parquet, with or without solutions; or a rollout dump as for `score`.",
            show_default=False,
        ),
    ],
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    engine: options.Engine = None,
    n: Annotated[
        int | None,
        typer.Option("--n", help="Responses per prompt. \\[default: 16]", rich_help_panel="Model"),
    ] = None,
    store: options.StoreFile = None,
    template: options.Template = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
    seed: options.Seed = None,
    request_timeout: options.RequestTimeout = None,
    out: Annotated[
        Path,
        typer.Option(help="The tests, as `score --tests` takes them.", rich_help_panel=_INPUT),
    ] = Path("tests.jsonl"),
    column_map: options.ColumnMaps = None,
    on_bad_row: Annotated[
        OnBadRow,
        typer.Option(
            help="A malformed row ends the run, or is reported and left out.", rich_help_panel=_INPUT
        ),
    ] = OnBadRow.fail,
    config: options.ConfigFile = None,
) -> None:
    """Let a model write unit tests for prompts, and keep every response.

    For example: coderm-reward generate rollouts/ --base-url http://localhost:8000/v1 --store suites.db

    With a --store a run that was stopped, killed or left by its server goes on where it was: give the same
    command again. Ends with 4 if responses are missing that another try might give.
    """
    settings = load_config(
        config,
        model=model,
        base_url=base_url,
        engine=engine,
        responses=responses_per_prompt(n),
        store=store,
        template=template,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        generation_seed=seed,
        request_timeout=request_timeout,
    ).generation
    source = ModelSource(settings, settings.responses)
    check_source(settings)
    if not source.asks:
        raise ConfigError(
            "There is nobody to write unit tests; name a server with --base-url, or --engine vllm."
        )
    check_place(out, "--out")
    kept_in = [] if settings.store == "memory" else [Path(settings.store)]
    check_distinct_files([*prompts, *([config] if config else [])], [out, *kept_in])
    columns = ColumnMap.parse(*column_map) if column_map else None
    dump = load(prompts, columns, on_bad_row, needs_responses=False)
    run = GenerateRun(dump.groups, source, out)
    try:
        run.execute()
    except StoppedError as stop:
        kept = f"{settings.store}: go on with the same command" if kept_in else f"{out} alone"
        note(f"stopped by {stop}; the {run.arrived:,} responses that arrived in this run are kept in {kept}")
        raise typer.Exit(stop.exit_code) from None
