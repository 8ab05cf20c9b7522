"""Hidden states and a probe made by hand: what is done with states needs no language model."""

from __future__ import annotations

import numpy as np
import pytest

from coderm_reward.budget.forecasts import LengthBaseline
from coderm_reward.budget.probe.file import Probe, ProbeFacts, TrainingSettings
from coderm_reward.budget.probe.reading import ReadingSpec, text_key

WIDTH, HIDDEN, MEMBERS = 6, 4, 3
TRAINED_ON = ("one", "two", "three")


@pytest.fixture
def spec() -> ReadingSpec:
    return ReadingSpec(
        model="some/model",
        fingerprint="0123456789abcdef",
        layer=2,
        layers=3,
        width=WIDTH,
        template="chat",
        template_hash="fedcba9876543210",
        max_tokens=100,
        dtype="float32",
    )


@pytest.fixture
def probe(spec: ReadingSpec) -> Probe:
    random = np.random.default_rng(5)

    def numbers(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    facts = ProbeFacts(
        reading=spec,
        prompts=len(TRAINED_ON),
        base_rate=0.4,
        length=LengthBaseline(1.0, -0.5),
        spread=0.25,
        epoch=7,
        left_out_loss=0.5,
        constant_loss=0.6,
        settings=TrainingSettings(hidden=HIDDEN, members=MEMBERS),
    )
    return Probe(
        facts,
        centre=numbers(WIDTH),
        scale=np.abs(numbers(WIDTH)) + np.float32(0.5),
        hidden_weight=numbers(MEMBERS, WIDTH, HIDDEN),
        hidden_bias=numbers(MEMBERS, HIDDEN),
        output_weight=numbers(MEMBERS, HIDDEN),
        output_bias=numbers(MEMBERS),
        trained_on=np.array(sorted(int(text_key(text), 16) for text in TRAINED_ON), dtype=np.uint64),
    )
