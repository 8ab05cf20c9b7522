"""What `coderm-reward score` reads and where it may write: checked before anything is scored."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from coderm_reward.cli.console import note, progress_bar
from coderm_reward.config import BudgetConfig
from coderm_reward.data.columns import ColumnMap
from coderm_reward.data.dump import Dump, load_dump
from coderm_reward.data.sidecar import sidecar_path
from coderm_reward.errors import ConfigError, InputError, OutputError
from coderm_reward.generation.recorded import RecordedGenerator

__all__ = [
    "OnBadRow",
    "check_coverage",
    "check_distinct",
    "check_distinct_files",
    "check_pass_rates",
    "listed",
    "load",
    "number_or_text",
    "responses_per_prompt",
]

_BAD_ROWS_SHOWN = 20


class OnBadRow(str, Enum):
    """What a malformed input row does."""

    skip = "skip"
    fail = "fail"


def listed(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the setting that a repeated option stands for; `none` is the empty list, None not given."""
    return None if not names else tuple(name for name in names if name != "none")


def number_or_text(value: str | None) -> str | float | None:
    """Return the setting that `--neutral` stands for: a number, or the name of a rule."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


def check_distinct_files(inputs: Sequence[Path], written: Sequence[Path]) -> None:
    """Refuse to write over an input or into one, or two files to one place.

    Raises:
        OutputError: two of them are in one place.
    """
    taken = {path.resolve(): f"the input {path}" for path in inputs}
    for path in written:
        place = path.resolve()
        used = taken.get(place) or next((taken[folder] for folder in place.parents if folder in taken), None)
        if used:
            raise OutputError(f"{path} would be written over or into {used}; choose another place for it.")
        taken[place] = f"another output, {path}"


def check_distinct(inputs: Sequence[Path], outs: Sequence[Path], others: Sequence[Path]) -> None:
    """Refuse to write over an input, or two outputs to one place, before anything is read.

    `outs` are the scored files, the first of which names the sidecar; `others` whatever else is written.

    Raises:
        OutputError: two of them are in one place.
    """
    sidecar = sidecar_path(outs[0])
    check_distinct_files(inputs, [*outs, sidecar, *others])
    siblings = {
        sidecar.with_name(sidecar.name.replace(".groups.jsonl", end)) for end in (".parquet", ".jsonl")
    }
    for other in siblings - set(outs):
        if other.exists() and sidecar.exists():
            raise OutputError(
                f"{sidecar} holds the group records of {other}, which is not written now; "
                "choose another name with --out, or remove both."
            )


def responses_per_prompt(n: int | None, option: str = "--n") -> int | None:
    """Return what the option says.

    Raises:
        ConfigError: it asks for none.
    """
    if n is not None and n < 1:
        raise ConfigError(
            f"{option} {n} asks for no unit tests; give the number of responses per prompt, 1 or more."
        )
    return n


def load(
    paths: Sequence[Path],
    column_map: ColumnMap | None,
    on_bad_row: OnBadRow,
    *,
    needs_responses: bool = True,
) -> Dump:
    """Read the dump under a progress bar and say what was read and what was not.

    Raises:
        InputError: as `load_dump`.
    """
    with progress_bar() as progress:
        bar = progress.add_task("reading rows", total=None)
        dump = load_dump(
            paths,
            column_map,
            on_bad_row.value,
            needs_responses=needs_responses,
            progress=lambda rows: progress.update(bar, completed=rows),
        )
    for line in (*dump.reading, *dump.notes):
        note(line)
    for bad in dump.bad_rows[:_BAD_ROWS_SHOWN]:
        note(f"left out {bad.where}: {bad.reason}")
    if len(dump.bad_rows) > _BAD_ROWS_SHOWN:
        note(f"left out {len(dump.bad_rows) - _BAD_ROWS_SHOWN} more malformed rows")
    return dump


def check_pass_rates(config: BudgetConfig, dump: Dump) -> None:
    """Say how many prompts estimator dataset knows nothing of.

    Raises:
        InputError: it knows nothing of any.
    """
    if config.difficulty != "dataset":
        return
    problems = {group.problem.prompt_hash: group.problem for group in dump.groups}
    without = sum(problem.pass_rate is None for problem in problems.values())
    if without == len(problems):
        raise InputError(
            "No prompt has a pass rate, which is what --difficulty dataset goes by; name the column that has "
            "them with --map pass_rate=COLUMN."
        )
    if without:
        note(f"{without} of {len(problems)} prompts have no pass rate: the prior of {config.pass_rate:g}")


def check_coverage(generator: RecordedGenerator, dump: Dump, tests: Sequence[Path]) -> None:
    """Say how many prompts have no tests.

    Raises:
        InputError: none has any.
    """
    problems = list({group.problem.prompt_hash: group.problem for group in dump.groups}.values())
    matched = generator.coverage(problems)
    if matched == 0:
        raise InputError(
            f"The tests in {', '.join(map(str, tests))} are for other prompts than the dump's: none of its "
            f"{len(problems)} prompts has any; check --tests, or join by id with --map id=COLUMN."
        )
    if matched < len(problems):
        note(f"{len(problems) - matched} of {len(problems)} prompts have no tests: neutral rewards")
