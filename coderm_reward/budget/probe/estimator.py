"""The probe as a DifficultyEstimator: prompts in, pass-rate distributions out (DESIGN section 7)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from coderm_reward.budget.probe.cache import HiddenStateCache, StateArray
from coderm_reward.budget.probe.file import Probe, load_probe
from coderm_reward.budget.probe.models import precision_on
from coderm_reward.budget.probe.reading import (
    HiddenStateReader,
    ReadingSpec,
    prompt_text,
    read_hidden_states,
)
from coderm_reward.errors import ConfigError
from coderm_reward.types import Difficulty, Problem

__all__ = ["ProbeEstimator"]


class ProbeEstimator:
    """Says of a prompt what a trained probe says of its hidden state.

    The mean is that of the probe's members. The standard deviation is calibrated and not their disagreement,
    which is far too small: sqrt(spread p (1 - p)), where the spread was measured on prompts that the members
    had not seen (forecasts.fit_spread). The model is loaded when the first prompt has to be read; a prompt is
    read once. Call `prepare` first where there are many: it reads them in batches.

    Args:
        probe: a trained probe.
        model: where its model lies on this machine; by default where it lay when the probe was trained.
        device: auto (a GPU where there is one), cpu, cuda, cuda:1, ...
        cache: hidden states of earlier runs.
        name: what sentences call the probe.

    Raises:
        ConfigError: on reading, if the model is not the one that the probe was trained on.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        model: str | None = None,
        device: str = "auto",
        cache: HiddenStateCache | None = None,
        name: str = "The probe",
    ) -> None:
        self.probe = probe
        self._model = model or probe.facts.reading.model
        self._device = device
        self._cache = cache
        self._name = name
        self._reader: HiddenStateReader | None = None
        self._known: dict[str, Difficulty] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        model: str | None = None,
        layer: int | None = None,
        device: str = "auto",
        cache: HiddenStateCache | None = None,
    ) -> ProbeEstimator:
        """Return the estimator of a probe file; `layer` is what it is expected to read.

        Raises:
            InputError: there is no such file, or it is not a probe.
            ConfigError: it is a probe of another layer, or the extra `probe` is not installed.
        """
        probe = load_probe(Path(path))
        reading = probe.facts.reading
        if layer is not None and layer not in (reading.layer, reading.layer - reading.layers - 1):
            raise ConfigError(
                f"The probe {path} reads layer {reading.layer} of {reading.model}, not layer {layer}; leave "
                f"--layer out, or train a probe of layer {layer}."
            )
        return cls(probe, model=model, device=device, cache=cache, name=f"The probe {path}")

    def prepare(
        self,
        problems: Sequence[Problem],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Read all prompts that are not known yet, in batches of like length; `estimate` is instant for them.

        Raises:
            ConfigError: the model is not the one that the probe was trained on, or the extra is missing.
            InputError: the model cannot be loaded, or a prompt has no text.
        """
        with self._lock:
            texts = dict.fromkeys(prompt_text(problem.question) for problem in problems)
            fresh = [text for text in texts if text not in self._known]
            if not fresh:
                progress(len(texts), len(texts))
                return
            rates = self.probe.predict(self.read(fresh, progress))
            for text, rate, deviation in zip(fresh, rates, self.probe.deviation(rates), strict=True):
                self._known[text] = Difficulty(float(rate), float(deviation), "probe")

    def read(self, texts: Sequence[str], progress: Callable[[int, int], None]) -> StateArray:
        """Return the hidden states [P, width] of texts (reading.prompt_text), from the cache where it has
        them.

        Raises:
            ConfigError, InputError: as `prepare`.
        """
        here = msgspec.structs.replace(self.probe.facts.reading, dtype=precision_on(self._device))
        return read_hidden_states(texts, here.key(), self._open, self._cache, progress)

    def estimate(self, problem: Problem) -> Difficulty:
        """Return the distribution of one prompt's pass rate; safe to call from several threads.

        Raises:
            ConfigError, InputError: as `prepare`.
        """
        text = prompt_text(problem.question)
        if text not in self._known:
            self.prepare([problem])
        return self._known[text]

    def close(self) -> None:
        """Give back the model; what was estimated stays known."""
        with self._lock:
            self._reader = None

    def _open(self) -> HiddenStateReader:
        if self._reader is None:
            wanted = self.probe.facts.reading
            reader = HiddenStateReader.open(
                self._model,
                template="plain" if wanted.template == "plain" else "auto",
                device=self._device,
                max_tokens=wanted.max_tokens,
            )
            self._check(wanted, reader.spec)
            self._reader = reader.at_layer(wanted.layer)
        return self._reader

    def _check(self, wanted: ReadingSpec, found: ReadingSpec) -> None:
        """Refuse a model that gives other hidden states than the probe was trained on."""
        if wanted.fingerprint != found.fingerprint:
            raise ConfigError(
                f"{self._name} was trained on {wanted.model} ({wanted.fingerprint}), and {found.model} is "
                f"another model ({found.fingerprint}); name the right one with --model, or train a probe for "
                "this one."
            )
        if wanted.identity() != msgspec.structs.replace(found, layer=wanted.layer).identity():
            raise ConfigError(
                f"{self._name} was trained on prompts in another chat template than {found.model} has now; "
                "restore its tokenizer files, or train the probe again."
            )
