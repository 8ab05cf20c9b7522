"""Demands written as numbers, as fixtures so that every test file of the folder has the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from coderm_reward.protocols import Demand
from coderm_reward.types import Difficulty, content_hash

MakeDemand = Callable[..., Demand]


def make_demand(
    name: object, mean: float = 0.5, spread: float = 0.0, rollouts: int = 8, planned: int | None = None
) -> Demand:
    """`spread` is the share of the largest variance for this mean: see budget.beta."""
    std = (spread * mean * (1.0 - mean)) ** 0.5
    return Demand(content_hash(str(name)), Difficulty(mean, std, "test"), rollouts, planned)


@pytest.fixture(scope="session")
def demand() -> MakeDemand:
    return make_demand


@pytest.fixture(scope="session")
def stream() -> Callable[[int, int], Sequence[Demand]]:
    """So many prompts of all kinds, in an order that the seed decides."""

    def make(count: int, seed: int) -> list[Demand]:
        rng = np.random.default_rng(seed)
        means, spreads = rng.beta(0.7, 0.9, count), rng.uniform(0.0, 0.6, count)
        return [
            make_demand(i, m, s)
            for i, (m, s) in enumerate(zip(means.tolist(), spreads.tolist(), strict=True))
        ]

    return make
