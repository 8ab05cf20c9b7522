#!/usr/bin/env python3
"""Turn a code dataset into the train.parquet and test.parquet that verl trains on (docs/data.md)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from coderm_reward.data.prepare import Prepared, PrepareOptions, Preparer, split_rows
from coderm_reward.data.prepare_files import check_outputs, read_dataset, write_splits
from coderm_reward.data.prepare_forms import ROLES, parse_map
from coderm_reward.errors import CodermError, InputError
from coderm_reward.online.truth import truth_suite

out_console = Console(highlight=False)
err_console = Console(stderr=True, highlight=False)


def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Files or folders of JSON lines, JSON or Parquet, or names of datasets on the Hugging Face "
            "hub, which need `pip install datasets`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for train.parquet and test.parquet.")],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="Columns that are not found by themselves: role=column, also dotted. "
            + " ".join(f"{role}: {meaning}." for role, meaning in ROLES.items()),
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="The user message: a text, or a file with it, in which {question}, {starter_code} and "
            "{function} (its name and parameters) are replaced. By default the question, the starter code or "
            "the function's name, and how to answer. Prompts that are chats already stay as they are."
        ),
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message in front of each prompt.")] = None,
    data_source: Annotated[
        str | None, typer.Option(help="verl's data_source of rows without one. [default: the source's name]")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split of a hub's dataset to read.")] = "train",
    config: Annotated[str | None, typer.Option(help="Which configuration of a hub's dataset.")] = None,
    test_size: Annotated[
        float,
        typer.Option(min=0, help="Prompts of the test split: a share below 1, or a number; 0 for none."),
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Decides which prompts are the test split.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many prompts.")] = None,
    keep_stdin: Annotated[
        bool, typer.Option("--keep-stdin", help="Keep problems whose tests feed a program through stdin.")
    ] = False,
    require_tests: Annotated[
        bool, typer.Option("--require-tests", help="Leave out rows without a ground truth that can be run.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as one last line of JSON.")
    ] = False,
) -> None:
    """Turn a code dataset into the train.parquet and test.parquet that verl trains on.

    Knows the usual sets by their columns: MBPP, HumanEval, KodCode, APPS, TACO, LeetCodeDataset,
    LiveCodeBench, SYNTHETIC, AceCode, DeepCoder, CodeContests, files of verl itself, and any rows with a
    prompt and tests. Rows with the same prompt are kept once, and no prompt is in both splits. The ground
    truth stays what the dataset has; the table says of how many rows it can be run as tests.

    \b
    python scripts/prepare_data.py mbpp.jsonl --out data/mbpp --test-size 100
    python scripts/prepare_data.py KodCode/KodCode-V1 --out data/kodcode --require-tests --limit 20000
    python scripts/prepare_data.py mine.parquet --map prompt=task,tests=checks --out data/mine
    """
    paths = {name: out / f"{name}.parquet" for name in (["train", "test"] if test_size else ["train"])}
    options = PrepareOptions(
        data_source=data_source,
        template=_template(template),
        system=system,
        keep_stdin=keep_stdin,
        require_tests=require_tests,
    )
    mapped = parse_map(columns or [])
    check_outputs(paths.values(), overwrite=overwrite)
    preparer = Preparer(options, truth_suite)
    with _progress() as bar:
        task = bar.add_task("", total=None)
        for source in sources:
            sentence = read_dataset(
                source,
                preparer,
                mapped,
                config=config,
                split=split,
                limit=limit,
                progress=lambda n: bar.update(task, description=f"{n} rows"),
            )
            err_console.print(sentence, markup=False, soft_wrap=True)
    done = preparer.done
    if not done.rows:
        raise InputError(f"None of the {done.rows_in} rows can be used: {_counts(done.dropped)}.")
    rows = split_rows(done.rows, test_size, seed)
    write_splits({path: (name, rows[name]) for name, path in paths.items()})
    summary = {
        "rows_in": done.rows_in,
        "kept": len(done.rows),
        **{name: len(rows[name]) for name in paths},
        "dropped": dict(done.dropped),
        "tests": dict(done.tests),
        "files": [str(path) for path in paths.values()],
    }
    _show(summary, done)
    if as_json:
        print(json.dumps(summary))


def _template(text: str | None) -> str | None:
    """Return a template, from its file where the text is the name of one."""
    if text is None or "{question}" in text:
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"--template {text!r} has no {{question}}, and is no file that can be read ({error}); "
            "put {question} where the problem's text belongs."
        ) from None


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=err_console,
        disable=not err_console.is_terminal,
        transient=True,
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items(), key=lambda item: -item[1]))


def _show(summary: dict[str, Any], done: Prepared) -> None:
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows read", str(summary["rows_in"]))
    for reason, n in done.dropped.most_common():
        table.add_row(f"  left out: {reason}".replace("[", "\\["), str(n))
    for name in ("train", "test"):
        if name in summary:
            table.add_row(f"{name} prompts", str(summary[name]))
    for form, n in done.tests.most_common():
        label = form if form.startswith("not run") else f"run: {form}"
        table.add_row(f"  ground truth {label}", str(n))
    out_console.print(table)
    for file in summary["files"]:
        out_console.print(f"wrote {file}", markup=False, soft_wrap=True)


def main() -> int:
    """Run the command line; an error of the user is one sentence on stderr."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(prepare)
    try:
        app()
    except CodermError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
