"""`coderm-reward evaluate`: how good scored rewards, and the tests behind them, are against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from coderm_reward.cli import rescoring_options
from coderm_reward.cli.console import note, out
from coderm_reward.cli.inputs import listed
from coderm_reward.cli.scored import Scored, load_scored
from coderm_reward.config import load_config
from coderm_reward.data.truth import read_truth
from coderm_reward.scoring import ClassifierMetrics, EvaluationGroup, EvaluationTable, evaluate_groups
from coderm_reward.types import CodeStatus

__all__ = ["evaluate"]


def evaluate(
    scored: Scored,
    truth: Annotated[
        Path,
        typer.Option(
            help='JSONL rows {"task_id" | "prompt" | "prompt_hash", "passed": [0 or 1 per rollout in input '
            'order]}, or one {"passed": 0 or 1} per scored row.'
        ),
    ],
    vote_unit: rescoring_options.VoteUnit = None,
    duplicates: rescoring_options.Duplicates = None,
    exclude_judge: rescoring_options.ExcludeJudges = None,
    exclude_own_tests: rescoring_options.ExcludeOwnTests = None,
    acc_threshold: rescoring_options.AccThreshold = None,
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="Best of N rollouts instead of all of a group.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Print best-of-N accuracy, within-group AUC, and Acc/F1/FAR/FRR per test and for the ensemble.

    Every aggregator is recomputed on the recorded verdicts; nothing is executed. FAR is the share of
    wrong rollouts accepted, FRR the share of correct ones rejected (paper, appendix D).
    """
    records = load_scored(scored)
    as_scored = {"scoring": msgspec.to_builtins(records[0].config.scoring)}
    config = load_config(
        as_scored,
        vote_unit=vote_unit,
        duplicates=duplicates,
        exclude_judges=listed(exclude_judge),
        exclude_own_tests=exclude_own_tests,
        acc_threshold=acc_threshold,
    ).scoring
    truths = read_truth(truth, records)
    groups = [
        EvaluationGroup(
            tuple(CodeStatus(r.status) for r in record.rollouts),
            record.matrix(),
            known,
            record.identities() if config.exclude_own_tests else (),
        )
        for record, known in zip(records, truths, strict=True)
        if known is not None
    ]
    if len(groups) < len(records):
        note(f"{len(records) - len(groups)} of {len(records)} groups have no truth and are left out")
    table = evaluate_groups(groups, config, n=n)
    _print(table)
    if as_json:
        out.print(msgspec.json.encode(msgspec.to_builtins(table)).decode(), markup=False, soft_wrap=True)


def _print(table: EvaluationTable) -> None:
    title = f"{table.groups} groups, {table.rollouts} rollouts, vote unit {table.vote_unit}"
    title += f", without judges {' and '.join(table.exclude_judges)}" if table.exclude_judges else ""
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    n = "all" if table.n is None else str(table.n)
    for name in (f"best of {n}", "AUC", "Acc", "F1", "FAR", "FRR"):
        shown.add_column(name, justify="right")
    shown.add_row("random pick", _number(table.random_pick), *[""] * 5)
    for row in table.aggregators:
        shown.add_row(row.aggregator, _number(row.best_of_n), _number(row.auc), *_quality(row.ensemble))
    shown.add_row("oracle", _number(table.oracle), *[""] * 5)
    shown.add_section()
    shown.add_row("one test class", "", "", *_quality(table.class_tests))
    shown.add_row("one test method", "", "", *_quality(table.method_tests))
    if table.assertion_tests is not None:
        shown.add_row("one assertion", "", "", *_quality(table.assertion_tests))
    out.print(shown)


def _quality(metrics: ClassifierMetrics) -> list[str]:
    return [_number(value) for value in (metrics.acc, metrics.f1, metrics.far, metrics.frr)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
