"""`coderm-reward probe prompts | train | predict | evaluate`: the difficulty probe, trained and used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coderm_reward.budget.probe import ProbeEstimator
from coderm_reward.budget.probe.file import TrainingSettings, encode_probe
from coderm_reward.budget.probe.training import train_probe
from coderm_reward.cli.console import note, out, two_column_table
from coderm_reward.cli.probe_evaluate import evaluate
from coderm_reward.cli.probe_inputs import (
    CacheOption,
    DeviceOption,
    LayerOption,
    MaxTokensOption,
    ModelOption,
    Prompts,
    TemplateOption,
    bar,
    open_cache,
    open_model,
    reading_with,
    stoppable,
    training_set,
)
from coderm_reward.cli.scored import Scored, load_scored
from coderm_reward.data.pass_rates import count_pass_rates, read_prompts
from coderm_reward.data.truth import read_truth
from coderm_reward.data.writers import PREFIX, check_place, write_file, write_json_rows
from coderm_reward.errors import InputError

__all__ = ["probe"]

probe = typer.Typer(
    help="A difficulty probe reads a prompt's expected pass rate off a language model's hidden state. "
    "Measure pass rates (`prompts`), train, see whether it beats simpler forecasts (`evaluate`), then use "
    "it: `predict`, or the setting difficulty: probe of a scoring run. Needs pip install "
    "'coderm-reward\\[probe]'.",
    no_args_is_help=True,
)

_TRAINING = "Training"
_DEFAULTS = TrainingSettings()


@probe.command()
def prompts(
    scored: Scored,
    out_file: Annotated[Path, typer.Option("--out", "-o", help="JSONL to write.")] = Path("prompts.jsonl"),
    truth: Annotated[
        Path | None,
        typer.Option(help="Ground truth as `evaluate` reads it; without it coderm_acc says what passed."),
    ] = None,
) -> None:
    """Count the pass rate of every prompt of scored rollouts: the input of train and evaluate.

    For example: coderm-reward probe prompts scored.parquet --truth truth.jsonl -o prompts.jsonl
    """
    check_place(out_file)
    records = load_scored(scored)
    rows = count_pass_rates(records, read_truth(truth, records) if truth is not None else None)
    if not rows:
        raise InputError(f"No rollout of {scored} has a reward with evidence; score it with tests that fit.")
    write_json_rows(out_file, (row.columns for row in rows))
    by = "the truth" if truth is not None else "their own rewards (coderm_acc), which tests can get wrong"
    note(f"wrote {len(rows)} prompts to {out_file}; what passed was decided by {by}")


@probe.command()
def train(
    prompts: Prompts,
    model: ModelOption = None,
    layer: LayerOption = None,
    out_file: Annotated[Path, typer.Option("--out", "-o", help="The probe to write.")] = Path(
        "probe.safetensors"
    ),
    template: TemplateOption = "auto",
    device: DeviceOption = "auto",
    max_tokens: MaxTokensOption = 2048,
    cache: CacheOption = None,
    hidden: Annotated[
        int, typer.Option(help="Width between hidden state and pass rate.", rich_help_panel=_TRAINING)
    ] = _DEFAULTS.hidden,
    members: Annotated[
        int,
        typer.Option(help="Networks that are averaged; each leaves out one fold.", rich_help_panel=_TRAINING),
    ] = _DEFAULTS.members,
    epochs: Annotated[
        int, typer.Option(help="At most so many passes over the prompts.", rich_help_panel=_TRAINING)
    ] = _DEFAULTS.epochs,
    seed: Annotated[
        int, typer.Option(help="Decides folds, starts and order.", rich_help_panel=_TRAINING)
    ] = 0,
) -> None:
    """Train a probe: a two-layer network on hidden states, by cross-entropy to measured pass rates.

    For example: coderm-reward probe train prompts.jsonl --model MODEL --layer 20 -o probe.safetensors

    The folds that members leave out decide how long to train and how uncertain forecasts are.

    The same prompts and seed give the same probe.
    """
    settings = TrainingSettings(hidden=hidden, members=members, epochs=epochs, seed=seed)
    check_place(out_file)
    rows = read_prompts(prompts, measured=True)
    with stoppable("no probe was written, hidden states read so far are in the cache"):
        with open_cache(cache) as known:
            reader = open_model(model, layer, template, device, max_tokens)
            measured = training_set(rows, reading_with(reader, known))
        with bar("training") as progress:
            made = train_probe(reader.spec, measured, settings, device=str(reader.device), progress=progress)
        write_file(out_file, encode_probe(made))
    facts = made.facts
    table = [
        ("prompts", f"{facts.prompts:,}"),
        ("mean pass rate", f"{facts.base_rate:.3f}"),
        ("epochs kept", str(facts.epoch)),
        ("log loss, left-out folds", f"{facts.left_out_loss:.4f} (the constant: {facts.constant_loss:.4f})"),
        ("spread", f"{facts.spread:.3f} (0: certain of the rate, 1: of nothing but the mean)"),
    ]
    out.print(two_column_table(f"Probe {out_file}", table))
    if facts.epoch == 0:
        note("nothing was learnt that held on left-out prompts: each prompt gets the mean pass rate")
    note("`coderm-reward probe evaluate` says whether it beats the prompt's length, too")


@probe.command()
def predict(
    prompts: Prompts,
    probe_file: Annotated[Path, typer.Option("--probe", help="A probe that `probe train` wrote.")],
    out_file: Annotated[Path, typer.Option("--out", "-o", help="JSONL to write.")] = Path("predicted.jsonl"),
    model: ModelOption = None,
    layer: LayerOption = None,
    device: DeviceOption = "auto",
    cache: CacheOption = None,
) -> None:
    """Forecast pass rates: every row as it came, with coderm_pass_rate and coderm_pass_rate_std.

    For example: coderm-reward probe predict prompts.jsonl --probe probe.safetensors -o predicted.jsonl

    --model says where the probe's model lies here, if not where it lay; another model or layer is refused.
    """
    check_place(out_file)
    rows = read_prompts(prompts, measured=False)
    problems = [row.problem for row in rows]
    with stoppable("nothing was written, hidden states read so far are in the cache"):
        with open_cache(cache) as known:
            estimator = ProbeEstimator.load(probe_file, model=model, layer=layer, device=device, cache=known)
            with bar("reading prompts") as progress:
                estimator.prepare(problems, progress)
        found = [estimator.estimate(problem) for problem in problems]
        said = [
            {**row.columns, f"{PREFIX}pass_rate": one.pass_rate, f"{PREFIX}pass_rate_std": one.std}
            for row, one in zip(rows, found, strict=True)
        ]
        write_json_rows(out_file, said)
    mean = sum(one.pass_rate for one in found) / len(found)
    note(f"wrote {len(rows)} forecasts to {out_file}; their mean pass rate is {mean:.3f}")


probe.command()(evaluate)
