"""`coderm-reward ablate`: what budgets, aggregators and vote units are worth, measured on scored records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import msgspec
import typer

from coderm_reward.ablation import (
    AblationGroup,
    AblationResult,
    AblationSettings,
    DifficultySource,
    ablation_group,
    policies,
    run_ablation,
    steps,
)
from coderm_reward.ablation.table import (
    AGGREGATOR_HEADER,
    POLICY_HEADER,
    RATIO_HEADER,
    aggregator_rows,
    markdown,
    policy_rows,
    ratio_rows,
    to_csv,
)
from coderm_reward.cli.console import note, out, progress_bar
from coderm_reward.cli.scored import Scored, load_scored
from coderm_reward.cli.stopping import StoppedError, stoppable
from coderm_reward.config import (
    AggregatorName,
    AllocatorName,
    ObjectiveName,
    ScoringConfig,
    VoteUnit,
    load_config,
)
from coderm_reward.data.records import GroupRecord
from coderm_reward.data.truth import read_truth
from coderm_reward.data.writers import check_place, write_text
from coderm_reward.errors import ConfigError, InputError, OutputError

__all__ = ["ablate"]

_WHAT, _HOW, _OUT = "What is compared", "How it is measured", "Output"
T = TypeVar("T", bound=str)


def ablate(
    scored: Scored,
    truth: Annotated[Path, typer.Option(help="As for `evaluate`.")],
    difficulty: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(get_args(DifficultySource))}: may be repeated. oracle knows the "
            "true pass rate; recorded is what was estimated when the groups were scored. "
            "\\[default: oracle, pilot]",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    allocator: Annotated[
        list[str] | None,
        typer.Option(
            help="greedy, price or sequential: may be repeated; uniform is always there. \\[default: all]",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="best_of_n or advantage: may be repeated. \\[default: both]", rich_help_panel=_WHAT
        ),
    ] = None,
    aggregator: Annotated[
        list[str] | None,
        typer.Option(
            help="May be repeated; the others are compared with the first. \\[default: majority, bayes]",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    vote_unit: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated. \\[default: as it was scored]", rich_help_panel=_WHAT),
    ] = None,
    budgets: Annotated[
        str, typer.Option(help="Mean generator responses per group.", rich_help_panel=_WHAT)
    ] = "2,4,8,16",
    reliability_rule: Annotated[
        str | None,
        typer.Option(help="none, shrink or filter. \\[default: as it was scored]", rich_help_panel=_WHAT),
    ] = None,
    min_reliability: Annotated[
        float | None, typer.Option(help="The threshold of rule filter.", rich_help_panel=_WHAT)
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Only groups whose task id (or prompt hash) this regular expression finds.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    pass_rate: Annotated[
        float | None,
        typer.Option(help="Weigh the groups so that their mean pass rate is this.", rich_help_panel=_WHAT),
    ] = None,
    rollouts: Annotated[
        int | None,
        typer.Option(
            help="Drawn per group. \\[default: 16, or half of the smallest group]", rich_help_panel=_HOW
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Draws of rollouts and tests, per group.", rich_help_panel=_HOW)
    ] = 20,
    replicates: Annotated[int, typer.Option(help="Of the bootstrap.", rich_help_panel=_HOW)] = 1000,
    seed: Annotated[int, typer.Option(rich_help_panel=_HOW)] = 0,
    csv: Annotated[
        Path | None, typer.Option(help="Write every figure with its interval.", rich_help_panel=_OUT)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a self-contained HTML report.", rich_help_panel=_OUT)
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object as the last line.", rich_help_panel=_OUT),
    ] = False,
) -> None:
    """Compare rules for budgets with uniform ones, and aggregators with each other, on recorded verdicts.

    Nothing is executed. Each draw takes some of a group's rollouts and its recorded responses in a random
    order, of which a budget spends the first. Intervals are 95 %, by a bootstrap over problems, and over the
    draws of rollouts and tests within each; differences are paired. An interval that includes zero is no
    difference.
    """
    records = load_scored(scored)
    settings = AblationSettings(
        policies=policies(
            _names(difficulty, DifficultySource, "--difficulty", ("oracle", "pilot")),
            _names(allocator, AllocatorName, "--allocator", ("greedy", "price", "sequential")),
            _names(objective, ObjectiveName, "--objective", ("best_of_n", "advantage")),
        ),
        aggregators=_names(aggregator, AggregatorName, "--aggregator", ("majority", "bayes")),
        vote_units=_names(vote_unit, VoteUnit, "--vote-unit", (records[0].config.scoring.vote_unit,)),
        budgets=_budgets(budgets),
        rollouts=rollouts,
        pass_rate=pass_rate,
        draws=draws,
        replicates=replicates,
        seed=seed,
        scoring=_scoring(records, reliability_rule, min_reliability),
    )
    groups = _groups(records, truth, only)
    _check_outputs((scored, truth), csv, report)
    try:
        with stoppable() as check, progress_bar() as progress:
            bar = progress.add_task("ablating", total=steps(settings))

            def advance(done: int) -> None:
                check()
                progress.advance(bar, done)

            result = run_ablation(groups, settings, advance)
    except StoppedError as stop:
        note(f"stopped by {stop}; nothing was written")
        raise typer.Exit(stop.exit_code) from None
    _show(result)
    if csv is not None:
        write_text(csv, to_csv(result), "--csv")
        note(f"wrote {csv}")
    if report is not None:
        from coderm_reward.report import write_ablation

        when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        write_ablation(report, result, title=f"Ablation of {scored}", generated_at=when)
        note(f"wrote {report}")
    if as_json:
        out.print(msgspec.json.encode(result).decode(), markup=False, soft_wrap=True)


def _check_outputs(inputs: Sequence[Path], csv: Path | None, report: Path | None) -> None:
    """Refuse to write over an input or one output over the other, before anything is computed."""
    taken = {path.resolve() for path in inputs}
    for path, option in ((csv, "--csv"), (report, "--report")):
        if path is None:
            continue
        if path.resolve() in taken:
            raise OutputError(f"{path} is an input or another output; choose another place with {option}.")
        taken.add(path.resolve())
        check_place(path, option)


def _groups(records: Sequence[GroupRecord], truth: Path, only: str | None) -> list[AblationGroup]:
    if only is not None:
        try:
            pattern = re.compile(only)
        except re.error as error:
            raise ConfigError(f"--only {only!r} is not a regular expression ({error}); correct it.") from None
        records = [r for r in records if pattern.search(r.task_id or r.prompt_hash)]
        if not records:
            raise InputError(f"--only {only!r} finds none of the task ids; choose another expression.")
    truths = read_truth(truth, records)
    groups = [ablation_group(r, t) for r, t in zip(records, truths, strict=True) if t is not None]
    if len(groups) < len(records):
        note(f"{len(records) - len(groups)} of {len(records)} groups have no truth and are left out")
    return groups


def _scoring(records: Sequence[GroupRecord], rule: str | None, minimum: float | None) -> ScoringConfig:
    as_scored = {"scoring": msgspec.to_builtins(records[0].config.scoring)}
    return load_config(as_scored, reliability_rule=rule, min_reliability=minimum).scoring


def _budgets(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise ConfigError(
            f"--budgets {text!r} must be whole numbers separated by commas, such as 2,4,8."
        ) from None


def _names(given: Sequence[str] | None, kind: Any, option: str, default: tuple[T, ...]) -> tuple[T, ...]:
    """The names that an option was given, each once, checked against the literal type `kind`."""
    for name in given or ():
        if name not in get_args(kind):
            raise ConfigError(f"{option} cannot be {name!r}; choose one of {', '.join(get_args(kind))}.")
    return tuple(dict.fromkeys(given)) if given else default  # type: ignore[arg-type]


def _show(result: AblationResult) -> None:
    settings = result.settings
    weighed = "" if settings.pass_rate is None else ", weighted"
    out.print(
        f"{result.groups} groups of {result.rollouts} rollouts drawn {settings.draws} times, pass rate "
        f"{result.pass_rate:.3f}{weighed}, oracle {result.oracle:.3f}; {result.mixed_groups} mixed groups, "
        f"{result.all_wrong_groups} all wrong; {result.responses:.1f} responses recorded per group; "
        f"reliability rule {settings.scoring.reliability_rule}",
        soft_wrap=True,
    )
    tables = [
        ("Aggregators, uniform budgets", AGGREGATOR_HEADER, aggregator_rows(result)),
        ("Rules for budgets", POLICY_HEADER, policy_rows(result)),
        ("Budget at which a rule matches uniform", RATIO_HEADER, ratio_rows(result)),
    ]
    for title, header, rows in tables:
        out.print(f"\n{title}\n\n{markdown(header, rows)}", markup=False, soft_wrap=True)
