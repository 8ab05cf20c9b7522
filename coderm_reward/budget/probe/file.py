"""A trained probe: its numbers, what it says of hidden states, and the file that it is kept in.

The file is safetensors: the members' weights as tensors, all else as JSON under one metadata key. Using a
probe on hidden states needs numpy alone; reading and writing its file needs safetensors (extra `probe`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from coderm_reward.budget.forecasts import FloatArray, LengthBaseline
from coderm_reward.budget.probe.cache import StateArray
from coderm_reward.budget.probe.reading import ReadingSpec
from coderm_reward.errors import ConfigError, InputError

__all__ = ["FORMAT_VERSION", "Probe", "ProbeFacts", "TrainingSettings", "encode_probe", "load_probe"]

FORMAT_VERSION = 1
_KEY = "coderm_reward.difficulty_probe"
_TENSORS = ("centre", "scale", "hidden_weight", "hidden_bias", "output_weight", "output_bias", "trained_on")


class TrainingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a probe is trained; with the same prompts in any order and the same settings it comes out the same.

    Raises:
        ConfigError: a number that is out of range.
    """

    hidden: int = 128
    """Width of the layer between hidden state and pass rate."""
    members: int = 5
    """Networks whose mean is the forecast; each is trained without one of so many folds of the prompts."""
    epochs: int = 200
    """At most so many passes over the prompts; what the left-out folds say decides which one is kept."""
    patience: int = 20
    """Stop once so many epochs brought nothing to the left-out folds."""
    batch: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("hidden", 1), ("members", 2), ("epochs", 1), ("patience", 1), ("batch", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"The probe's {name} must be at least {least}, not {getattr(self, name)}; give more."
                )
        for name in ("learning_rate", "weight_decay"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"The probe's {name} must lie in [0, 1), not be {getattr(self, name)}.")


class ProbeFacts(msgspec.Struct, frozen=True):
    """What a probe's file says besides its weights."""

    reading: ReadingSpec
    """The hidden states that it was trained on, and the only ones that it understands."""
    prompts: int
    base_rate: float
    """Mean pass rate of the training prompts: the forecast of `constant`, to compare with."""
    length: LengthBaseline
    """The prompt-length baseline of the same prompts, to compare with."""
    spread: float
    """Of true pass rates around forecasts, measured on left-out folds: forecasts.fit_spread."""
    epoch: int
    """Epochs that were kept; 0: nothing was learnt that held on left-out prompts, all get the base rate."""
    left_out_loss: float
    """Mean log loss of the kept epoch on left-out folds..."""
    constant_loss: float
    """...and that of the constant there."""
    settings: TrainingSettings
    version: int = FORMAT_VERSION


@dataclass(frozen=True, eq=False)
class Probe:
    """A two-layer feed-forward network on hidden states, K members of it. Shapes: width D, hidden H."""

    facts: ProbeFacts
    centre: StateArray
    """[D] mean of the training states; `scale` [D] their deviation."""
    scale: StateArray
    hidden_weight: StateArray
    """[K, D, H]"""
    hidden_bias: StateArray
    """[K, H]"""
    output_weight: StateArray
    """[K, H]"""
    output_bias: StateArray
    """[K]"""
    trained_on: npt.NDArray[np.uint64]
    """Sorted keys (reading.text_key) of the training prompts: what it must not be evaluated on."""

    def predict(self, states: StateArray) -> FloatArray:
        """Return the pass rates of [P, D] hidden states: the mean of the members' sigmoids.

        Raises:
            ValueError: states of another width.
        """
        if states.ndim != 2 or states.shape[1] != self.centre.size:
            raise ValueError(f"Hidden states of shape {states.shape} where [P, {self.centre.size}] is read.")
        x = (states - self.centre) / self.scale
        total = np.zeros(states.shape[0], dtype=np.float64)
        members = zip(self.hidden_weight, self.hidden_bias, self.output_weight, self.output_bias, strict=True)
        for weight, bias, out, out_bias in members:
            logits = np.maximum(x @ weight + bias, 0.0) @ out + out_bias
            total += 0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))
        return total / len(self.output_bias)

    def deviation(self, pass_rate: FloatArray) -> FloatArray:
        """Return the standard deviation of the true pass rate around forecasts: sqrt(spread p (1 - p))."""
        result: FloatArray = np.sqrt(self.facts.spread * pass_rate * (1.0 - pass_rate))
        return result

    def has_seen(self, key: str) -> bool:
        """Whether the prompt of this key was trained on."""
        value = np.uint64(int(key, 16))
        place = int(np.searchsorted(self.trained_on, value))
        return place < self.trained_on.size and bool(self.trained_on[place] == value)


def encode_probe(probe: Probe) -> bytes:
    """Return the bytes of a probe's file: the same for the same probe.

    Raises:
        ConfigError: the extra `probe` is not installed.
    """
    tensors = {name: np.ascontiguousarray(getattr(probe, name)) for name in _TENSORS}
    data: bytes = _safetensors().save(tensors, metadata={_KEY: msgspec.json.encode(probe.facts).decode()})
    return data


def load_probe(path: Path) -> Probe:
    """Read a probe; nothing in the file is executed.

    Raises:
        InputError: there is no such file, or it is not a probe, damaged or of a newer version.
        ConfigError: the extra `probe` is not installed.
    """
    framework = _safetensors()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"There is no probe {path}; train one with `coderm-reward probe train PROMPTS --out {path}`."
        ) from None
    except OSError as error:
        raise InputError(f"The probe {path} cannot be read ({error.strerror or error}).") from None
    try:
        tensors, text = _contents(framework, data)
        if text is None:
            raise InputError(
                f"{path} is not a difficulty probe; name a file that `coderm-reward probe train` wrote."
            )
        version = msgspec.json.decode(text, type=dict[str, Any]).get("version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise InputError(
                f"The probe {path} was written by a newer version of coderm-reward (format {version}); "
                "update coderm-reward, or train the probe again."
            )
        probe = Probe(
            msgspec.json.decode(text, type=ProbeFacts), **{name: tensors[name] for name in _TENSORS}
        )
        _check_shapes(probe)
    except (msgspec.DecodeError, KeyError, ValueError, ConfigError) as error:
        raise InputError(f"The probe {path} is damaged ({error}); train it again.") from None
    return probe


def _contents(framework: Any, data: bytes) -> tuple[dict[str, Any], str | None]:
    """(the tensors, our metadata); no metadata for a file of another kind.

    Raises:
        ValueError: a file of ours whose tensors cannot be read.
    """
    from safetensors import SafetensorError

    size = int.from_bytes(data[:8], "little")
    try:
        header = msgspec.json.decode(data[8 : 8 + size], type=dict[str, Any])
    except msgspec.DecodeError:
        return {}, None
    metadata = header.get("__metadata__")
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        return {}, None
    try:
        return framework.load(data), text
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _check_shapes(probe: Probe) -> None:
    """ValueError where the weights do not belong together."""
    width, hidden = probe.facts.reading.width, probe.facts.settings.hidden
    members = probe.facts.settings.members
    wanted = {
        "centre": (width,),
        "scale": (width,),
        "hidden_weight": (members, width, hidden),
        "hidden_bias": (members, hidden),
        "output_weight": (members, hidden),
        "output_bias": (members,),
        "trained_on": (probe.facts.prompts,),
    }
    for name, shape in wanted.items():
        tensor = getattr(probe, name)
        kind = np.uint64 if name == "trained_on" else np.float32
        if tensor.shape != shape or tensor.dtype != kind:
            raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)} and not {list(shape)}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if not (0.0 <= probe.facts.spread <= 1.0 and 0.0 <= probe.facts.base_rate <= 1.0):
        raise ValueError("its spread or base rate is not in [0, 1]")


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ConfigError(
            "A probe's file needs safetensors; install it with pip install 'coderm-reward[probe]'."
        ) from None
    return safetensors.numpy
