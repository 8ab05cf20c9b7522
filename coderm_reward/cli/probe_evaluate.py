"""`coderm-reward probe evaluate`: whether a probe forecasts held-out prompts better than simpler means do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from coderm_reward.budget.probe import ProbeEstimator
from coderm_reward.budget.probe.evaluation import (
    ProbeEvaluation,
    cross_validate,
    evaluate_held_out,
    held_out,
)
from coderm_reward.budget.probe.file import TrainingSettings
from coderm_reward.budget.probe.reading import text_key
from coderm_reward.cli.console import note, out
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
from coderm_reward.data.pass_rates import read_prompts
from coderm_reward.data.writers import check_place, write_file
from coderm_reward.errors import ConfigError
from coderm_reward.report.plots import LIGHT, reliability_svg

__all__ = ["evaluate"]


def evaluate(
    prompts: Prompts,
    probe_file: Annotated[
        Path | None,
        typer.Option("--probe", help="Evaluate this probe, on the prompts that it was not trained on."),
    ] = None,
    model: ModelOption = None,
    layer: LayerOption = None,
    k_fold: Annotated[
        int, typer.Option(help="Without --probe: train on all but one of so many folds, forecast the rest.")
    ] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Without --probe: so many splits, averaged.")] = 1,
    template: TemplateOption = "auto",
    device: DeviceOption = "auto",
    max_tokens: MaxTokensOption = 2048,
    cache: CacheOption = None,
    seed: Annotated[int, typer.Option(help="Decides splits and training.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write the reliability diagram as SVG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Compare a probe with the constant and with the prompt's length, on prompts that none of them has seen.

    For example: coderm-reward probe evaluate new_prompts.jsonl --probe probe.safetensors

    or, by cross-validation: coderm-reward probe evaluate prompts.jsonl --model M --layer 20 --k-fold 10

    Brier score and log loss are means over rollouts, less is better; the last line of the table is what a
    forecaster that knows every pass rate pays. Intervals are 95 %, over prompts: one that holds 0 shows no
    difference.
    """
    if plot is not None:
        check_place(plot, "--plot")
    rows = read_prompts(prompts, measured=True)
    with stoppable("hidden states read so far are in the cache"):
        with open_cache(cache) as known:
            if probe_file is not None:
                estimator = ProbeEstimator.load(
                    probe_file, model=model, layer=layer, device=device, cache=known
                )
                measured = training_set(
                    rows, estimator.read, lambda text: estimator.probe.has_seen(text_key(text))
                )
                held = held_out(estimator.probe, measured)
            else:
                if model is None:
                    raise ConfigError("Give --probe to evaluate a probe, or --model to cross-validate one.")
                reader = open_model(model, layer, template, device, max_tokens)
                measured = training_set(rows, reading_with(reader, known))
                with bar("training") as progress:
                    held = cross_validate(
                        reader.spec,
                        measured,
                        TrainingSettings(seed=seed),
                        k=k_fold,
                        repeats=repeats,
                        device=str(reader.device),
                        progress=progress,
                    )
        evaluation = evaluate_held_out(held, seed=seed)
    _print(evaluation)
    if plot is not None:
        bins = [found for found in evaluation.bins if found.prompts]
        forecast, rate = ([getattr(b, name) for b in bins] for name in ("forecast", "measured"))
        write_file(plot, reliability_svg(forecast, rate, [b.prompts for b in bins], LIGHT), "--plot")
        note(f"wrote {plot}")
    if as_json:
        out.print(msgspec.json.encode(evaluation).decode(), markup=False, soft_wrap=True)


def _print(evaluation: ProbeEvaluation) -> None:
    splits = f", mean of {evaluation.repeats} splits" if evaluation.repeats > 1 else ""
    title = f"{evaluation.prompts} held-out prompts{splits}"
    quality = Table(title=title, title_justify="left")
    for name in ("forecast", "Brier", "log loss", "Spearman"):
        quality.add_column(name, justify="left" if name == "forecast" else "right")
    for row in evaluation.forecasts:
        rank = "-" if row.spearman is None else f"{row.spearman:.3f}"
        quality.add_row(row.forecast, f"{row.brier:.4f}", f"{row.log_loss:.4f}", rank)
    out.print(quality)
    less = Table(title="The probe less a baseline", title_justify="left")
    for name in ("baseline", "measure", "difference", "95 % interval", "the probe is"):
        less.add_column(name, justify="right" if name in ("difference", "95 % interval") else "left")
    for pair in evaluation.comparisons:
        kinds = (("Brier", pair.brier, -1), ("log loss", pair.log_loss, -1), ("Spearman", pair.spearman, 1))
        for name, (mean, low, high), sign in kinds:
            interval = f"{low:+.4f} to {high:+.4f}"
            less.add_row(pair.against, name, f"{mean:+.4f}", interval, _verdict(sign * low, sign * high))
        less.add_section()
    out.print(less)
    shares = ", ".join(f"{float(level):.0%}: {share:.0%}" for level, share in evaluation.coverage.items())
    ratio = "-" if evaluation.squared_z is None else f"{evaluation.squared_z:.2f}"
    out.print(
        f"uncertainty: measured rates inside the interval of {shares}; squared errors over expected: {ratio}"
    )
    diagram = Table(title="Reliability of the probe", title_justify="left")
    for name in ("forecast", "prompts", "mean forecast", "mean measured"):
        diagram.add_column(name, justify="right")
    for b in evaluation.bins:
        if b.prompts:
            diagram.add_row(
                f"{b.low:.1f} to {b.high:.1f}", str(b.prompts), f"{b.forecast:.3f}", f"{b.measured:.3f}"
            )
    out.print(diagram)


def _verdict(*ends: float) -> str:
    """What an interval of gains says."""
    if min(ends) > 0.0:
        return "better"
    return "worse" if max(ends) < 0.0 else "no different"
