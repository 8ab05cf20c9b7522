"""`coderm-reward replay`: recorded groups under other scoring settings, and what that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from coderm_reward.cli import rescoring_options
from coderm_reward.cli.console import note, out, plain, two_column_table
from coderm_reward.cli.inputs import check_distinct_files, listed, number_or_text
from coderm_reward.cli.scored import Scored, Steps, read_scored, record_file
from coderm_reward.cli.stopping import StoppedError, stoppable
from coderm_reward.config import RewardConfig, load_config
from coderm_reward.data.records import GroupRecord
from coderm_reward.data.sidecar import write_records
from coderm_reward.data.writers import check_place
from coderm_reward.errors import InputError, OutputError
from coderm_reward.replay import Difference, GroupDifference, compared, group_difference
from coderm_reward.rescoring import rescored

__all__ = ["replay"]

_SHOWN = 10


def replay(
    records: Scored,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML settings to score by, as `score --config` takes them; options given here win. "
            "\\[default: those that each group was scored with]",
            show_default=False,
        ),
    ] = None,
    steps: Steps = None,
    aggregator: Annotated[
        str | None,
        typer.Option(help="majority, majority_consensus, dual_agreement, combined or bayes."),
    ] = None,
    vote_unit: rescoring_options.VoteUnit = None,
    shape: Annotated[str | None, typer.Option(help="fraction, binary or vote_share.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Score from which shape binary gives 1.")] = None,
    acc_threshold: rescoring_options.AccThreshold = None,
    neutral: Annotated[
        str | None, typer.Option(help="Reward without evidence: group_mean or a number.")
    ] = None,
    reliability_rule: Annotated[str | None, typer.Option(help="none, shrink or filter.")] = None,
    min_reliability: Annotated[float | None, typer.Option(help="The threshold of rule filter.")] = None,
    duplicates: rescoring_options.Duplicates = None,
    exclude_judge: rescoring_options.ExcludeJudges = None,
    exclude_own_tests: rescoring_options.ExcludeOwnTests = None,
    ground_truth_weight: Annotated[
        float | None,
        typer.Option(help="Share of acc_true in the reward, for rollouts that have one; 0 to 1."),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the records with their new rewards, for report, evaluate or another replay; its name "
            "must end in groups.jsonl.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Score recorded groups again from their verdicts, under other scoring settings, and print what changes.

    For example: coderm-reward replay coderm_records --aggregator bayes --out replayed.groups.jsonl
    or: coderm-reward replay coderm_records/groups.jsonl --config new.yaml --steps 100-120

    Nothing is generated or executed: tests and verdicts are the recorded ones, so settings of the model, the
    budget and the sandbox change nothing here, and those that differ in --config are named. Without
    --config, every group keeps the settings it was scored with, but for the options given.

    An advantage is a reward minus the mean of its group, what GRPO trains on; where its sign flips, a
    rollout that was made more likely would have been made less likely.
    """
    given = {
        "aggregator": aggregator,
        "vote_unit": vote_unit,
        "shape": shape,
        "threshold": threshold,
        "acc_threshold": acc_threshold,
        "neutral": number_or_text(neutral),
        "reliability_rule": reliability_rule,
        "min_reliability": min_reliability,
        "duplicates": duplicates,
        "exclude_judges": listed(exclude_judge),
        "exclude_own_tests": exclude_own_tests,
        "ground_truth_weight": ground_truth_weight,
    }
    settings = _Settings(config, given)
    if out_file is not None:
        if not out_file.name.endswith("groups.jsonl"):
            raise OutputError(
                f"{out_file} would not be found as group records; let --out end in groups.jsonl."
            )
        check_distinct_files([record_file(records), *([config] if config else [])], [out_file])
        check_place(out_file)
    changes: list[GroupDifference] = []
    try:
        with stoppable() as check:
            replayed = _replayed(records, steps, settings, changes, check)
            if out_file is not None:
                write_records(out_file, replayed)
            else:
                for _ in replayed:
                    pass
    except StoppedError as stop:
        note(f"stopped by {stop}; nothing was written")
        raise typer.Exit(stop.exit_code) from None
    if settings.unchanged:
        note(
            "unchanged, as tests and verdicts are the recorded ones, although --config says otherwise: "
            + ", ".join(sorted(settings.unchanged))
        )
    if settings.unscored:
        note(f"{settings.unscored} groups could not be scored when they were recorded, and stay as they are")
    difference = compared(changes, _SHOWN)
    _print(difference)
    if out_file is not None:
        note(f"wrote {out_file}")
    if as_json:
        out.print(msgspec.json.encode(difference).decode(), markup=False, soft_wrap=True)


class _Settings:
    """The settings to score a record with; and what a replay cannot follow: those of --config that are not
    of scoring, and groups that were never scored."""

    def __init__(self, config: Path | None, given: Mapping[str, object]) -> None:
        self._given = given
        self._file = None if config is None else load_config(config, **given)
        self._own: dict[RewardConfig, RewardConfig] = {}
        self.unchanged: set[str] = set()
        self.unscored = 0
        load_config(None, **given)

    def of(self, record: GroupRecord) -> RewardConfig:
        known = self._own.get(record.config)
        if known is None:
            as_scored = {
                "scoring": msgspec.to_builtins(record.config.scoring),
                "ground_truth_weight": record.config.training.ground_truth_weight,
            }
            known = self._file or load_config(as_scored, **self._given)
            self._own[record.config] = known
            if self._file is not None:
                self.unchanged |= _differing(record.config, self._file)
        return known


def _replayed(
    path: Path,
    steps: str | None,
    settings: _Settings,
    changes: list[GroupDifference],
    check: Callable[[], None],
) -> Iterator[GroupRecord]:
    """Yield the records with their new rewards and note what changed; InputError if there are none."""
    for record in read_scored(path, steps):
        check()
        after = rescored(record, settings.of(record))
        settings.unscored += not record.settings
        if record.rollouts:
            changes.append(group_difference(record, after))
        yield after
    if not changes:
        of_steps = "" if steps is None else f" of steps {steps}"
        raise InputError(f"{record_file(path)} holds no group with rollouts{of_steps} to replay.")


def _differing(recorded: RewardConfig, wanted: RewardConfig) -> set[str]:
    """Names of the settings, but those of scoring, that are not what was recorded."""
    old, new = msgspec.to_builtins(recorded), msgspec.to_builtins(wanted)
    return {
        f"{section}.{name}"
        for section in old.keys() - {"scoring", "training"}
        for name, value in old[section].items()
        if new[section][name] != value
    }


def _print(found: Difference) -> None:
    ranked = "none" if found.rank_correlation is None else f"{found.rank_correlation:.3f}"
    rows = [
        ("groups", f"{found.groups:,} ({found.rollouts:,} rollouts)"),
        ("mean reward", _from_to(found.mean_reward_before, found.mean_reward_after)),
        ("mean acc", _from_to(found.mean_acc_before, found.mean_acc_after)),
        ("rewards changed", f"{found.changed_share:.1%} of rollouts, in {found.groups_changed:,} groups"),
        ("rank correlation within groups", f"{ranked} (mean over {found.ranked_groups:,} groups)"),
        ("advantages with another sign", f"{found.flips:,} ({found.flip_share:.1%} of rollouts)"),
        ("groups that lose their gradient", f"{found.gradient_lost:,}"),
        ("groups that gain one", f"{found.gradient_gained:,}"),
    ]
    out.print(two_column_table("Replayed", rows))
    if not found.largest:
        return
    shown = Table(title="Groups that change most", title_justify="left")
    shown.add_column("prompt")
    shown.add_column("step", justify="right")
    for name in ("rollouts", "mean reward", "largest change", "rank corr.", "sign flips"):
        shown.add_column(name, justify="right")
    for group in found.largest:
        shown.add_row(
            plain(group.prompt),
            plain(group.step or ""),
            str(group.rollouts),
            f"{group.mean_before:.3f} -> {group.mean_after:.3f}",
            f"{group.largest:+.3f}",
            "-" if group.rank_correlation is None else f"{group.rank_correlation:.3f}",
            str(group.flips),
        )
    out.print(shown)


def _from_to(before: float, after: float) -> str:
    return f"{before:.3f} -> {after:.3f} ({after - before:+.3f})"
