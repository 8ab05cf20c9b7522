"""What the probe commands share: their options, and the way from prompts to hidden states."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, cast

import typer

from coderm_reward.budget.probe.cache import HiddenStateCache, StateArray
from coderm_reward.budget.probe.reading import (
    HiddenStateReader,
    prompt_text,
    read_hidden_states,
)
from coderm_reward.budget.probe.training import TrainingSet, pooled
from coderm_reward.cli.console import note, progress_bar
from coderm_reward.data.pass_rates import PromptRow
from coderm_reward.errors import ConfigError, InputError

__all__ = [
    "CacheOption",
    "DeviceOption",
    "LayerOption",
    "MaxTokensOption",
    "ModelOption",
    "Prompts",
    "TemplateOption",
    "bar",
    "open_cache",
    "open_model",
    "reading_with",
    "stoppable",
    "training_set",
]

_READING = "Model"

Prompts = Annotated[
    list[Path],
    typer.Argument(
        metavar="PROMPTS...",
        help='Prompts, JSONL or Parquet: {"prompt": text or messages, "pass_rate": 0 to 1, "n": rollouts '
        'behind it (optional)}, or "passed": [0, 1, ...] instead of the last two.',
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="Folder or hub name of a Hugging Face causal language model.", rich_help_panel=_READING
    ),
]
LayerOption = Annotated[
    int | None,
    typer.Option(
        help="Which layer's hidden state to read: 1 is the first block, -1 the last, 0 the embeddings. "
        "\\[default: two thirds of the depth]",
        rich_help_panel=_READING,
        show_default=False,
    ),
]
TemplateOption = Annotated[
    str,
    typer.Option(
        help="chat: prompts are user messages in the model's chat template; plain: bare text; auto: chat "
        "where there is a template.",
        rich_help_panel=_READING,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        help="auto (a GPU in bfloat16 where there is one, else the CPU), cpu, cuda, cuda:1, ...",
        rich_help_panel=_READING,
    ),
]
MaxTokensOption = Annotated[
    int,
    typer.Option(
        min=1, help="Of a longer prompt the last so many tokens are read.", rich_help_panel=_READING
    ),
]
CacheOption = Annotated[
    str | None,
    typer.Option(
        help="File of hidden states read before, or off. \\[default: coderm-reward/hidden_states.db in the "
        "user's cache folder]",
        rich_help_panel=_READING,
        show_default=False,
    ),
]


class _Stopped(KeyboardInterrupt):
    """A signal; its argument is the number."""


@contextmanager
def stoppable(kept: str) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into one sentence and the exit code 128 plus their number."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Stopped as stopped:
        number = signal.Signals(stopped.args[0])
        note(f"stopped by {number.name}; {kept}")
        raise typer.Exit(128 + number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def bar(task: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, as the function that is told (done, total)."""
    with progress_bar() as progress:
        shown = progress.add_task(task, total=None)
        yield lambda done, total: progress.update(shown, completed=done, total=total)


@contextmanager
def open_cache(named: str | None) -> Iterator[HiddenStateCache | None]:
    """The cache that `--cache` names, closed at the end.

    Raises:
        OutputError: it cannot be used.
    """
    if named == "off":
        yield None
        return
    path = Path(named) if named is not None else _default_cache()
    if named is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    cache = HiddenStateCache(path)
    try:
        yield cache
    finally:
        cache.close()


def _default_cache() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(folder) / "coderm-reward" / "hidden_states.db"


def open_model(
    model: str | None, layer: int | None, template: str, device: str, max_tokens: int
) -> HiddenStateReader:
    """Load the model that the options name, and say how it is read.

    Raises:
        ConfigError, InputError: as HiddenStateReader.open; no model or an unknown template.
    """
    if model is None:
        raise ConfigError("Name the language model to read with --model: a folder, or a hub name.")
    if template not in ("auto", "chat", "plain"):
        raise ConfigError(f"--template cannot be {template!r}; choose one of auto, chat, plain.")
    chosen = cast(Literal["auto", "chat", "plain"], template)
    reader = HiddenStateReader.open(model, layer, template=chosen, device=device, max_tokens=max_tokens)
    spec = reader.spec
    note(
        f"reading layer {spec.layer} of {spec.layers} of {model} at the last token: {spec.template} "
        f"template, {spec.dtype}, attention {reader.attention}, device {reader.device}"
    )
    return reader


def training_set(
    rows: Sequence[PromptRow],
    read: Callable[[Sequence[str], Callable[[int, int], None]], StateArray],
    seen: Callable[[str], bool] = lambda text: False,
) -> TrainingSet:
    """Read the hidden states of measured prompts under a progress bar.

    Rows of one prompt are pooled; prompts that were `seen` are left out, and it is said how many.

    Raises:
        InputError: no prompt is left, or one cannot be read.
    """
    texts = [prompt_text(row.problem.question) for row in rows]
    fresh = [i for i, text in enumerate(texts) if not seen(text)]
    if len(fresh) < len(rows):
        note(f"{len(rows) - len(fresh)} of {len(rows)} rows are for prompts it was trained on: left out")
    if not fresh:
        raise InputError("The probe was trained on all of these prompts; evaluate it on others.")
    distinct, rates, trials = pooled(
        [texts[i] for i in fresh],
        [cast(float, rows[i].pass_rate) for i in fresh],
        [rows[i].rollouts for i in fresh],
    )
    if len(distinct) < len(fresh):
        note(f"{len(fresh) - len(distinct)} rows are for prompts of other rows: their pass rates are pooled")
    with bar("reading prompts") as progress:
        states = read(distinct, progress)
    return TrainingSet(distinct, states, rates, trials)


def reading_with(
    reader: HiddenStateReader, cache: HiddenStateCache | None
) -> Callable[[Sequence[str], Callable[[int, int], None]], StateArray]:
    """How `training_set` reads with an open model."""
    return lambda texts, progress: read_hidden_states(
        texts, reader.spec.key(), lambda: reader, cache, progress
    )
