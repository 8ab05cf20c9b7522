"""`coderm-reward score`: rollouts and unit tests in, rewards out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coderm_reward.cli import options, score_options
from coderm_reward.cli.console import note
from coderm_reward.cli.inputs import (
    OnBadRow,
    check_coverage,
    check_distinct,
    check_pass_rates,
    listed,
    load,
    number_or_text,
    responses_per_prompt,
)
from coderm_reward.cli.resume import RunRecords
from coderm_reward.cli.run import ScoreRun
from coderm_reward.cli.sources import ModelSource, RecordedSource, TestSource
from coderm_reward.cli.stopping import StoppedError
from coderm_reward.config import load_config
from coderm_reward.data.columns import ColumnMap
from coderm_reward.data.recorded_tests import read_recorded_tests
from coderm_reward.data.writers import check_place, check_writable
from coderm_reward.errors import ConfigError
from coderm_reward.generation.recorded import RecordedGenerator
from coderm_reward.generation.sources import check_source

__all__ = ["score"]

_INPUT, _REWARD = "Input and output", "Reward"


def score(
    dumps: Annotated[
        list[Path],
        typer.Argument(
            metavar="DUMP...",
            help="Rollouts: a verl dump (a {step}.jsonl file or a directory of them), JSONL or Parquet.",
            show_default=False,
        ),
    ],
    tests: Annotated[
        list[Path] | None,
        typer.Option(
            help="Unit tests: JSONL with model responses or ready tests per prompt, or the group records "
            "of an earlier run. May be repeated. Instead of it, --base-url or --engine let a model write "
            "them, and a --store alone gives what is in it.",
            rich_help_panel=_INPUT,
            show_default=False,
        ),
    ] = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    engine: options.Engine = None,
    store: options.StoreFile = None,
    template: options.Template = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
    seed: options.Seed = None,
    request_timeout: options.RequestTimeout = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Scored rows, .parquet or .jsonl; may be repeated. The first names the sidecar of group "
            "records (scored.groups.jsonl). \\[default: scored.parquet]",
            rich_help_panel=_INPUT,
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a self-contained HTML report.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    column_map: options.ColumnMaps = None,
    on_bad_row: Annotated[
        OnBadRow,
        typer.Option(
            help="A malformed row ends the run, or is reported and left out.", rich_help_panel=_INPUT
        ),
    ] = OnBadRow.fail,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run stopped.", rich_help_panel=_INPUT)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again over an unfinished run.", rich_help_panel=_INPUT)
    ] = False,
    config: options.ConfigFile = None,
    aggregator: Annotated[
        str | None,
        typer.Option(
            help="majority, majority_consensus, dual_agreement, combined or bayes. \\[default: majority]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    vote_unit: Annotated[
        str | None,
        typer.Option(
            help="Who votes: each test method, each class as a whole (the paper's), or each assertion, after "
            "which its method goes on. \\[default: method]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="fraction, binary or vote_share. \\[default: fraction]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Score from which shape binary gives 1. \\[default: 0.5]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    acc_threshold: Annotated[
        float | None,
        typer.Option(
            help="Score from which acc is 1. \\[default: 0.5]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    neutral: Annotated[
        str | None,
        typer.Option(
            help="Reward without evidence: group_mean or a number. \\[default: group_mean]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    duplicates: Annotated[
        str | None,
        typer.Option(
            help="Copies of tests and solutions keep their weight: weight, or drop. \\[default: weight]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    exclude_judge: Annotated[
        list[str] | None,
        typer.Option(
            help="handle or inline: verdicts reached this way are no evidence. May be repeated; none takes "
            "back what --config says. \\[default: none]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    exclude_own_tests: Annotated[
        bool | None,
        typer.Option(
            "--exclude-own-tests",
            help="A test has no vote on the solution that stood in its prompt, nor on any behaving like it.",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    screen: Annotated[
        list[str] | None,
        typer.Option(
            help="imports, network, files: throw such tests away unrun. reference: no vote for tests that "
            "the reference solution fails. May be repeated; what is given replaces the default; none. "
            "\\[default: imports, network, files]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    budget: score_options.Budget = None,
    allocator: score_options.Allocator = None,
    difficulty: score_options.Difficulty = None,
    objective: score_options.Objective = None,
    history: score_options.History = None,
    probe: score_options.Probe = None,
    probe_model: score_options.ProbeModel = None,
    min_budget: score_options.MinBudget = None,
    max_budget: score_options.MaxBudget = None,
    workers: score_options.Workers = None,
    isolation: score_options.Isolation = None,
    sandbox_python: score_options.SandboxPython = None,
    timeout: score_options.Timeout = None,
    memory: score_options.Memory = None,
    hang_limit: score_options.HangLimit = None,
    verdict_cache: score_options.VerdictCacheFile = None,
) -> None:
    """Score a rollout dump: run every rollout against its prompt's unit tests and turn votes into rewards.

    For example: coderm-reward score rollouts/ --tests tests.jsonl --out scored.parquet --report report.html
    or, from a model: coderm-reward score rollouts/ --base-url http://localhost:8000/v1 --store suites.db

    Every input column is kept; ours are added as coderm_score, coderm_acc and so on. A run that was
    stopped or killed goes on with --resume.
    """
    settings = load_config(
        config,
        aggregator=aggregator,
        vote_unit=vote_unit,
        shape=shape,
        threshold=threshold,
        acc_threshold=acc_threshold,
        neutral=number_or_text(neutral),
        duplicates=duplicates,
        exclude_judges=listed(exclude_judge),
        exclude_own_tests=exclude_own_tests,
        screen=listed(screen),
        budget=responses_per_prompt(budget, "--budget/--n"),
        allocator=allocator,
        difficulty=difficulty,
        objective=objective,
        history=history,
        probe=probe,
        probe_model=probe_model,
        min_budget=min_budget,
        max_budget=max_budget,
        model=model,
        base_url=base_url,
        engine=engine,
        store=store,
        template=template,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        generation_seed=seed,
        request_timeout=request_timeout,
        workers=workers,
        isolation=isolation,
        sandbox_python=sandbox_python,
        timeout=timeout,
        memory=memory,
        hang_limit=hang_limit,
        verdict_cache=verdict_cache,
    )
    if tests and (base_url or engine or store):
        raise ConfigError(
            "--tests gives unit tests, and --base-url, --engine and --store do; give one of them."
        )
    if resume and overwrite:
        raise ConfigError("--resume goes on with an unfinished run, --overwrite discards it; give one.")
    outs = out or [Path("scored.parquet")]
    for path in outs:
        check_writable(path)
    if report is not None:
        check_place(report, "--report")
    cache = settings.execution.verdict_cache
    others = [*([report] if report else []), *([] if cache in ("memory", "off") else [Path(cache)])]
    kept_in = settings.generation.store
    others += [] if tests or kept_in == "memory" else [Path(kept_in)]
    others += [] if settings.budget.history == "memory" else [Path(settings.budget.history)]
    given = [Path(file) for file in (config, settings.budget.probe) if file is not None]
    check_distinct([*dumps, *(tests or []), *given], outs, others)
    records = RunRecords(outs[0], resume=resume, overwrite=overwrite)
    count = settings.budget.budget or settings.generation.responses
    written = ModelSource(settings.generation, count, model_named=model is not None)
    if not tests:
        check_source(settings.generation)
    dump = load(dumps, ColumnMap.parse(*column_map) if column_map else None, on_bad_row)
    check_pass_rates(settings.budget, dump)
    source: TestSource = written
    if tests:
        generator = RecordedGenerator(read_recorded_tests(tests))
        check_coverage(generator, dump, tests)
        source = RecordedSource(generator)
    run = ScoreRun(
        dump=dump,
        tests=source,
        config=settings,
        outs=outs,
        report=report,
        records=records,
        title="Rewards of " + ", ".join(str(path) for path in dumps),
    )
    try:
        run.execute()
    except StoppedError as stop:
        also = f", and all responses in {kept_in}" if source.asks and kept_in != "memory" else ""
        note(f"stopped by {stop}; the groups scored so far are kept{also}: go on with --resume")
        raise typer.Exit(stop.exit_code) from None
