"""Training a probe: soft-label cross-entropy to measured pass rates (arXiv 2501.01054), in PyTorch.

The members are trained side by side, each without one fold of the prompts. The loss on the left-out folds
decides how many epochs are kept, and the errors there say how far true pass rates lie from forecasts. A
member starts as the constant (its output weights are zero, its bias the base rate), so epoch 0 is the
constant and is kept where nothing better was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from coderm_reward.budget.forecasts import (
    BoolArray,
    FloatArray,
    fit_length_baseline,
    fit_spread,
    log_loss,
)
from coderm_reward.budget.probe.cache import StateArray
from coderm_reward.budget.probe.file import Probe, ProbeFacts, TrainingSettings
from coderm_reward.budget.probe.reading import ReadingSpec, text_key
from coderm_reward.errors import InputError
from coderm_reward.types import content_hash

if TYPE_CHECKING:
    import torch

__all__ = ["TrainingSet", "folds", "pooled", "train_probe"]

_MIN_SCALE = 1e-6
_SMALL = 4_000_000
"""Up to so many numbers one thread trains: more would wait for each other, and sum in another order."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """P prompts with distinct texts, what was measured of them, and their hidden states."""

    texts: Sequence[str]
    """As reading.prompt_text gives them."""
    states: StateArray
    """[P, width]"""
    pass_rates: FloatArray
    """[P] in [0, 1]"""
    trials: FloatArray
    """[P] rollouts behind each pass rate, infinity where unknown."""

    def characters(self) -> FloatArray:
        """[P] lengths of the prompts."""
        return np.array([len(text) for text in self.texts], dtype=np.float64)

    def subset(self, places: npt.NDArray[np.intp]) -> TrainingSet:
        """The prompts at these places, in this order."""
        return TrainingSet(
            [self.texts[i] for i in places], self.states[places], self.pass_rates[places], self.trials[places]
        )


def folds(texts: Sequence[str], count: int, label: str) -> npt.NDArray[np.intp]:
    """Return [P] the fold of each prompt: `count` folds, equal within one, by texts and label alone."""
    order = sorted(range(len(texts)), key=lambda i: content_hash(label, texts[i]))
    found = np.empty(len(texts), dtype=np.intp)
    found[order] = np.arange(len(texts)) % count
    return found


def train_probe(
    reading: ReadingSpec,
    prompts: TrainingSet,
    settings: TrainingSettings,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda epoch, epochs: None,
) -> Probe:
    """Train a probe; the order of the prompts does not matter, and the same prompts and seed give the same
    probe.

    (The same to the last bit on the same machine and versions; PyTorch promises no more.)

    Raises:
        InputError: fewer prompts than two for each member.
    """
    if len(prompts.texts) < 2 * settings.members:
        raise InputError(
            f"A probe of {settings.members} members needs at least {2 * settings.members} prompts with a "
            f"pass rate, and {len(prompts.texts)} are there; measure more prompts."
        )
    prompts = prompts.subset(np.argsort([text_key(text) for text in prompts.texts]))
    fold = folds(prompts.texts, settings.members, f"members {settings.seed}")
    left_out = fold[None, :] == np.arange(settings.members)[:, None]
    centre = prompts.states.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = prompts.states.std(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.where(deviation > _MIN_SCALE, deviation, np.float32(1.0)).astype(np.float32)
    with _threads(prompts.states.size):
        members = _Members((prompts.states - centre) / scale, prompts.pass_rates, ~left_out, settings, device)
        start = members.forecasts()
        best, best_loss, best_forecasts, best_epoch = (
            members.weights(),
            _left_out(start, left_out, prompts),
            start,
            0,
        )
        constant_loss = best_loss
        for epoch in range(1, settings.epochs + 1):
            members.train_epoch()
            forecasts = members.forecasts()
            loss = _left_out(forecasts, left_out, prompts)
            if loss < best_loss:
                best, best_loss, best_forecasts, best_epoch = members.weights(), loss, forecasts, epoch
            progress(epoch, settings.epochs)
            if epoch - best_epoch >= settings.patience:
                break
    unseen = best_forecasts[fold, np.arange(len(prompts.texts))]
    facts = ProbeFacts(
        reading=reading,
        prompts=len(prompts.texts),
        base_rate=float(prompts.pass_rates.mean()),
        length=fit_length_baseline(prompts.characters(), prompts.pass_rates),
        spread=fit_spread(unseen, prompts.pass_rates, prompts.trials),
        epoch=best_epoch,
        left_out_loss=best_loss,
        constant_loss=constant_loss,
        settings=settings,
    )
    seen = np.array(sorted(int(text_key(text), 16) for text in prompts.texts), dtype=np.uint64)
    return Probe(facts, centre, scale, *best, seen)


def pooled(
    texts: Sequence[str], pass_rates: Sequence[float], trials: Sequence[float]
) -> tuple[list[str], FloatArray, FloatArray]:
    """Return (distinct texts, pass rates, trials): what several rows measured of one prompt, put together.

    Rates are weighted by their trials, and evenly where any of them is unknown (infinite).
    """
    rows: dict[str, list[tuple[float, float]]] = {}
    for text, rate, count in zip(texts, pass_rates, trials, strict=True):
        rows.setdefault(text, []).append((rate, count))
    rates, totals = [], []
    for measured in rows.values():
        total = sum(count for _, count in measured)
        known = math.isfinite(total)
        rates.append(sum(rate * (count / total if known else 1 / len(measured)) for rate, count in measured))
        totals.append(total)
    return (
        list(rows),
        np.clip(np.array(rates, dtype=np.float64), 0.0, 1.0),
        np.array(totals, dtype=np.float64),
    )


@contextmanager
def _threads(numbers: int) -> Iterator[None]:
    """One thread for small matrices, as PyTorch likes for others."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if numbers <= _SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _left_out(forecasts: FloatArray, left_out: BoolArray, prompts: TrainingSet) -> float:
    """Mean log loss over all prompts, each judged by the member that has not seen it."""
    return float(log_loss(forecasts, prompts.pass_rates[None, :])[left_out].mean())


class _Members:
    """K networks trained in one sweep; what one learns never touches another."""

    def __init__(
        self, states: StateArray, rates: FloatArray, mine: BoolArray, settings: TrainingSettings, device: str
    ) -> None:
        import torch

        self._settings = settings
        self._random = torch.Generator().manual_seed(settings.seed)
        self._x = torch.from_numpy(states).to(device)
        self._y = torch.from_numpy(rates.astype(np.float32)).to(device)
        self._mine = torch.from_numpy(mine.astype(np.float32)).to(device)
        count, width, hidden = settings.members, states.shape[1], settings.hidden
        bound = width**-0.5
        weight = (2.0 * torch.rand(count, width, hidden, generator=self._random) - 1.0) * bound
        bias = (2.0 * torch.rand(count, hidden, generator=self._random) - 1.0) * bound
        base = (mine * rates).sum(axis=1) / mine.sum(axis=1)
        edge = 0.5 / (rates.size + 1)
        base = np.clip(base, edge, 1.0 - edge)
        start = torch.from_numpy(np.log(base / (1.0 - base)).astype(np.float32))
        made = (weight, bias, torch.zeros(count, hidden), start)
        self._parameters = [tensor.to(device).requires_grad_() for tensor in made]
        weights, biases = self._parameters[::2], self._parameters[1::2]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": settings.weight_decay},
                {"params": biases, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )

    def train_epoch(self) -> None:
        """One pass over the prompts in a new order, the same for all members."""
        import torch

        order = torch.randperm(len(self._y), generator=self._random)
        for batch in order.split(self._settings.batch):
            rows = batch.to(self._y.device)
            y = self._y[rows].expand(self._settings.members, -1)
            mine = self._mine[:, rows]
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                self._logits(self._x[rows]), y, reduction="none"
            )
            # A mean for each member over its own prompts, then a sum: members do not share a gradient.
            loss = ((losses * mine).sum(dim=1) / mine.sum(dim=1).clamp(min=1.0)).sum()
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()

    def forecasts(self) -> FloatArray:
        """[K, P] what each member says of every prompt."""
        import torch

        with torch.no_grad():
            parts = [self._logits(part) for part in self._x.split(8192)]
            result: FloatArray = torch.sigmoid(torch.cat(parts, dim=1).double()).cpu().numpy()
        return result

    def weights(self) -> tuple[StateArray, StateArray, StateArray, StateArray]:
        """Copies of hidden weight, hidden bias, output weight, output bias."""
        weight, bias, out, out_bias = (tensor.detach().cpu().numpy().copy() for tensor in self._parameters)
        return weight, bias, out, out_bias

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        """[K, B] of states [B, width]."""
        import torch

        weight, bias, out, out_bias = self._parameters
        hidden = torch.relu(torch.matmul(x, weight) + bias[:, None, :])
        return torch.einsum("kbh,kh->kb", hidden, out) + out_bias[:, None]
