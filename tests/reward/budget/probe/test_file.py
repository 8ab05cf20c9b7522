"""A probe's file: it comes back the same, and what is no probe is refused with one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from coderm_reward.budget import make_estimator
from coderm_reward.budget.probe import ProbeEstimator
from coderm_reward.budget.probe.file import (
    FORMAT_VERSION,
    Probe,
    TrainingSettings,
    encode_probe,
    load_probe,
)
from coderm_reward.budget.probe.reading import text_key
from coderm_reward.config import BudgetConfig
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.protocols import PreparingEstimator

KEY = "coderm_reward.difficulty_probe"


def test_a_probe_comes_back_as_it_was(probe: Probe, tmp_path: Path) -> None:
    data = encode_probe(probe)
    (tmp_path / "p").write_bytes(data)
    again = load_probe(tmp_path / "p")
    assert again.facts == probe.facts
    assert encode_probe(again) == data
    states = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    assert (again.predict(states) == probe.predict(states)).all()


def test_the_forecast_is_the_mean_of_two_layer_networks(probe: Probe) -> None:
    state = np.arange(6, dtype=np.float32)
    x = (state - probe.centre) / probe.scale
    members = []
    for k in range(3):
        hidden = [
            max(0.0, float(x @ probe.hidden_weight[k][:, h]) + float(probe.hidden_bias[k][h]))
            for h in range(4)
        ]
        logit = float(np.dot(hidden, probe.output_weight[k])) + float(probe.output_bias[k])
        members.append(1 / (1 + np.exp(-logit)))
    assert probe.predict(state[None]) == pytest.approx(np.mean(members), abs=1e-6)
    with pytest.raises(ValueError, match=r"shape \(1, 5\)"):
        probe.predict(state[None, :5])


def test_the_deviation_is_the_spread_of_the_largest(probe: Probe) -> None:
    assert probe.deviation(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.0, 0.25, 0.0])


def test_it_knows_what_it_was_trained_on(probe: Probe) -> None:
    assert [probe.has_seen(text_key(text)) for text in ("one", "three", "four", "")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_settings_name_its_file(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(encode_probe(probe))
    made = make_estimator(BudgetConfig(difficulty="probe", probe=str(tmp_path / "p")))
    assert isinstance(made, ProbeEstimator)
    assert isinstance(made, PreparingEstimator)
    assert made.probe.facts == probe.facts
    with pytest.raises(ConfigError, match="--probe"):
        make_estimator(BudgetConfig(difficulty="probe"))


def changed(probe: Probe, **facts: object) -> bytes:
    tensors = {name: getattr(probe, name) for name in vars(probe) if name != "facts"}
    text = json.dumps({**msgspec.to_builtins(probe.facts), **facts})
    return safetensors.numpy.save(tensors, metadata={KEY: text})


BAD: dict[str, tuple[Callable[[Probe], bytes], str]] = {
    "empty": (lambda probe: b"", "is not a difficulty probe"),
    "text": (lambda probe: b"# a readme\n", "is not a difficulty probe"),
    "another safetensors": (
        lambda probe: safetensors.numpy.save({"w": np.zeros(3)}, metadata={"format": "pt"}),
        "is not a difficulty probe",
    ),
    "cut off": (lambda probe: encode_probe(probe)[:-9], "is damaged"),
    "newer": (lambda probe: changed(probe, version=FORMAT_VERSION + 1), "newer version of coderm-reward"),
    "other facts": (lambda probe: changed(probe, spread="much"), "is damaged"),
    "impossible spread": (lambda probe: changed(probe, spread=1.5), "is damaged"),
    "a seen prompt more": (lambda probe: changed(probe, prompts=4), "is damaged"),
    "a tensor less": (
        lambda probe: safetensors.numpy.save(
            {"centre": probe.centre}, metadata={KEY: msgspec.json.encode(probe.facts).decode()}
        ),
        "is damaged",
    ),
    "not finite": (
        lambda probe: changed(with_tensor(probe, "scale", np.full(6, np.nan, dtype=np.float32))),
        "is damaged",
    ),
}


def with_tensor(probe: Probe, name: str, value: np.ndarray) -> Probe:
    return Probe(**{**vars(probe), name: value})


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_probe_is_refused_with_one_sentence(name: str, probe: Probe, tmp_path: Path) -> None:
    make, why = BAD[name]
    path = tmp_path / "file"
    path.write_bytes(make(probe))
    with pytest.raises(InputError, match=why) as refused:
        load_probe(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no probe"):
        load_probe(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read"):
        load_probe(tmp_path)


@pytest.mark.parametrize(
    "bad", [{"hidden": 0}, {"members": 1}, {"epochs": 0}, {"learning_rate": float("nan")}]
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TrainingSettings(**bad)
