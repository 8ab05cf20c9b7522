"""What each rule would spend on each group of a draw, with the estimators and allocators of
coderm_reward.budget."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from coderm_reward.ablation.bench import Bench
from coderm_reward.ablation.settings import AblationSettings, Policy
from coderm_reward.budget import (
    ConstantEstimator,
    DatasetEstimator,
    HistoryEstimator,
    PilotEstimator,
    make_allocator,
)
from coderm_reward.config import BudgetConfig
from coderm_reward.protocols import Demand, RoundAllocator
from coderm_reward.types import Difficulty

__all__ = ["difficulties", "plan"]


def plan(policy: Policy, bench: Bench, budget: int, number: int, settings: AblationSettings) -> list[int]:
    """Return [G] the responses that a rule gives each group of draw `number` under a mean budget.

    All groups are planned together, as one step of training; `price` sees them one by one, in an order drawn
    at random. What a group's record has no responses for stays unspent.
    """
    groups = len(bench.groups)
    if policy.allocator == "uniform":
        return [budget] * groups
    config = BudgetConfig(
        budget=budget,
        allocator=policy.allocator,
        objective=policy.objective,
        difficulty="pilot" if policy.difficulty == "pilot" else "constant",
        pilot=min(settings.pilot, budget),
        chunk=settings.chunk,
    )
    allocator = make_allocator(config)
    known = difficulties(policy, bench, budget, number, settings)
    demands = [
        Demand(
            prompt=group.problem.prompt_hash,
            difficulty=difficulty,
            rollouts=bench.programs(number, i),
        )
        for i, (group, difficulty) in enumerate(zip(bench.groups, known, strict=True))
    ]
    order = np.random.default_rng([settings.seed, number]).permutation(groups)
    shuffled = allocator.allocate([demands[i] for i in order])
    planned = [0] * groups
    for place, i in enumerate(order):
        planned[i] = shuffled[place] or 0
    if isinstance(allocator, RoundAllocator):
        planned = _grown(allocator, demands, planned, bench, number)
    return planned


def difficulties(
    policy: Policy, bench: Bench, budget: int, number: int, settings: AblationSettings
) -> list[Difficulty]:
    """Return [G] what a rule's estimator says of each group before it is planned."""
    problems = [group.problem for group in bench.groups]
    if policy.difficulty == "constant":
        return [ConstantEstimator().estimate(problem) for problem in problems]
    if policy.difficulty == "recorded":
        return [group.difficulty for group in bench.groups]
    if policy.difficulty == "oracle":
        return [
            DatasetEstimator(trials=group.truth.size).estimate(
                msgspec.structs.replace(group.problem, pass_rate=float(group.truth.mean()))
            )
            for group in bench.groups
        ]
    if policy.difficulty == "pilot":
        pilot = PilotEstimator(min(settings.pilot, budget))
        return [
            pilot.estimate_after(problem, bench.evidence(number, i, pilot.pilot))
            for i, problem in enumerate(problems)
        ]
    history = HistoryEstimator()
    for i, group in enumerate(bench.groups):
        if bench.draws[number][i].others.size:
            history.observe(group.problem, group.id, bench.evidence(number, i, budget, others=True))
    estimated = [history.estimate(problem) for problem in problems]
    history.close()
    return estimated


def _grown(
    allocator: RoundAllocator, demands: Sequence[Demand], planned: list[int], bench: Bench, number: int
) -> list[int]:
    """Let an allocator look and give until it has nothing more to give."""
    while True:
        evidence = [bench.evidence(number, i, responses) for i, responses in enumerate(planned)]
        grown = allocator.grow(demands, planned, evidence)
        if grown == planned:
            return planned
        planned = grown
