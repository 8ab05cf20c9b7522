"""What planning budgets costs: greedy and uniform over all prompts at once, price one prompt at a time."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from coderm_reward.budget import OBJECTIVES, Bounds, GreedyAllocator, PriceAllocator, UniformAllocator
from coderm_reward.protocols import Demand
from coderm_reward.types import Difficulty, content_hash

__all__ = ["allocation_figures"]

BUDGET = 16
ROLLOUTS = 8


def prompts(count: int, seed: int = 0) -> list[Demand]:
    """So many prompts of all difficulties, known more or less well, in random order."""
    rng = np.random.default_rng(seed)
    means = rng.beta(0.7, 0.9, count)
    stds = np.sqrt(rng.uniform(0.0, 0.6, count) * means * (1.0 - means))
    return [
        Demand(content_hash(str(i)), Difficulty(mean, std, "benchmark"), ROLLOUTS)
        for i, (mean, std) in enumerate(zip(means.tolist(), stds.tolist(), strict=True))
    ]


def seconds(allocate: Callable[[Sequence[Demand]], object], demands: Sequence[Demand], repeat: int) -> float:
    """The median of how long so many calls took."""
    taken = []
    for _ in range(repeat):
        began = time.perf_counter()
        allocate(demands)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def allocation_figures(count: int, repeat: int) -> dict[str, float]:
    """Return the median of each figure over `repeat` runs: seconds for `count` prompts, microseconds for one.

    Memory is the peak of this process, with Python, numpy and the prompts themselves.
    """
    demands = prompts(count)
    figures = {"uniform_s": seconds(UniformAllocator(BUDGET).allocate, demands, repeat)}
    for name, objective in OBJECTIVES.items():
        greedy = GreedyAllocator(Bounds(BUDGET), objective)
        figures[f"greedy_{name}_s"] = seconds(greedy.allocate, demands, repeat)
        price = PriceAllocator(Bounds(BUDGET), objective)
        figures[f"price_{name}_us"] = seconds(price.allocate, demands, repeat) / count * 1e6
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {name: round(value, 4) for name, value in figures.items()}
