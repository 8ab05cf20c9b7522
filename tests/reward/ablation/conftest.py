"""Groups made by a model of noisy tests, with the truth known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from coderm_reward.ablation import AblationGroup
from coderm_reward.types import CodeStatus, Difficulty, ExecutionMatrix, Problem, UnitTest, Verdict


def make_group(
    name: str, rate: float, *, rollouts: int = 12, responses: int = 16, noise: float = 0.15, seed: int = 0
) -> AblationGroup:
    """Rollouts right with chance `rate`, tests of two methods that err with chance `noise`; every fifth
    response gave no test."""
    rng = np.random.default_rng([seed, *name.encode()])
    truth = rng.random(rollouts) < rate
    given = [i for i in range(responses) if i % 5 != 4]
    flips = rng.random((rollouts, 2 * len(given))) < noise
    methods = np.where(truth[:, None] ^ flips, Verdict.PASS, Verdict.FAIL).astype(np.uint8)
    both = (methods[:, 0::2] == Verdict.PASS) & (methods[:, 1::2] == Verdict.PASS)
    tests = tuple(UnitTest(f"t{i}", "", f"T{i}", ("test_a", "test_b"), response=i) for i in given)
    classes = np.where(both, Verdict.PASS, Verdict.FAIL).astype(np.uint8)
    places = {response: i for i, response in enumerate(given)}
    return AblationGroup(
        id=name,
        problem=Problem(prompt_hash=name, question="?", task_id=name),
        difficulty=Difficulty(rate, 0.1, "recorded"),
        statuses=(CodeStatus.OK,) * rollouts,
        matrix=ExecutionMatrix(
            tests=tests,
            class_verdicts=classes,
            method_verdicts=methods,
            method_test=np.repeat(np.arange(len(given)), 2).astype(np.intp),
            has_code=np.ones(rollouts, dtype=np.bool_),
            solution_index=np.arange(rollouts, dtype=np.intp),
            judges=np.zeros(classes.shape, dtype=np.uint8),
            exec_seconds=np.zeros(rollouts),
        ),
        truth=truth,
        identities=("",) * rollouts,
        responses=tuple(
            np.array([places[i]] if i in places else [], dtype=np.intp) for i in range(responses)
        ),
    )


@pytest.fixture(scope="session")
def group() -> Callable[..., AblationGroup]:
    return make_group


@pytest.fixture(scope="session")
def many() -> list[AblationGroup]:
    """Twelve groups from hopeless to easy."""
    return [make_group(f"g{i}", rate) for i, rate in enumerate(np.linspace(0.0, 0.9, 12))]
