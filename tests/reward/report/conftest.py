"""A small hand-made group whose numbers can be worked out on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from coderm_reward.config import RewardConfig
from coderm_reward.data.records import BudgetRecord, GroupRecord, RolloutRecord
from coderm_reward.types import Difficulty, ExecutionStats, RewardOutput, UnitTest

_ZERO = RewardOutput(**dict.fromkeys(RewardOutput.__struct_fields__, 0.0))


def _rollout(row: int, solution: int, classes: str, methods: str, **reward: float) -> RolloutRecord:
    return RolloutRecord(
        row=row,
        status="ok" if solution >= 0 else "no_code",
        code=f"def f(x):\n    return x + {solution}\n" if solution >= 0 else "",
        solution=solution,
        classes=classes,
        methods=methods,
        judges="A" * len(classes),
        reward=msgspec.structs.replace(_ZERO, **reward),
    )


@pytest.fixture
def make_rollout() -> Callable[..., RolloutRecord]:
    """(row, solution, class letters, method letters, **reward) -> a rollout; solution -1 has no code."""
    return _rollout


@pytest.fixture
def record() -> GroupRecord:
    """Four rollouts (two alike, one partly known, one without code) on three tests (one invalid)."""
    tests = (
        UnitTest(id="a", source="class TestA: ...", class_name="TestA", methods=("test_a1", "test_a2")),
        UnitTest(id="b", source="class TestB: ...", class_name="TestB", methods=("test_b",), response=1),
        UnitTest(id="c", source="class TestC: ...", class_name="TestC", methods=("test_c",), copies=2),
    )
    right: dict[str, float] = {"score": 1.0, "acc": 1.0, "pass_fraction": 1.0, "tests_run": 3.0}
    return GroupRecord(
        group="group-1",
        content="content",
        settings="fingerprint",
        config=RewardConfig(),
        run="run-1",
        step="3",
        uid=None,
        prompt_hash="prompt-1",
        question="Add one.",
        entry_point="f",
        task_id="add/1",
        generator="recorded",
        tests=tests,
        invalid={"c": "it has no test method"},
        dropped={"truncated": 2},
        budget=BudgetRecord(Difficulty(0.5, 0.5, "constant"), planned=None, spent=4, why="uniform"),
        rollouts=(
            _rollout(10, 0, "PPI", "PPPI", exec_seconds=0.3, reliability=0.6, **right),
            _rollout(11, 0, "PPI", "PPPI", exec_seconds=0.3, reliability=0.6, **right),
            _rollout(12, 1, "FUI", "PFUI", score=0.5, pass_fraction=0.5, tests_run=2.0, exec_seconds=0.5),
            _rollout(13, -1, "UUU", "UUUU", no_code=1.0),
        ),
        details={1: {"a": "test_a2: AssertionError: 1 != 2"}},
        stats=ExecutionStats(pairs=6, pairs_run=4, assumed_timeouts=1, retried=2, seconds=1.5),
        gen_seconds=2.0,
    )


@pytest.fixture
def edit() -> Callable[..., Any]:
    """`replace` for records and for their dataclass parts."""

    def edit(value: Any, **changes: Any) -> Any:
        return (
            msgspec.structs.replace(value, **changes)
            if isinstance(value, msgspec.Struct)
            else replace(value, **changes)
        )

    return edit
