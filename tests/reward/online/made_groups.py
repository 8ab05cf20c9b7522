"""Scored groups as a training hands them over, made of verdict letters; rewards are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.data.records import BudgetRecord, GroupRecord, RolloutRecord
from coderm_reward.online.sample import GroupOutcome
from coderm_reward.rescoring import rescored
from coderm_reward.types import Difficulty, ExecutionStats, RewardOutput, UnitTest

__all__ = ["made_group", "made_record"]

_ZERO = RewardOutput(**dict.fromkeys(RewardOutput.__struct_fields__, 0.0))


def made_record(
    votes: Sequence[str],
    *,
    group: str = "g",
    step: str | None = "1",
    truth: Sequence[int | None] = (),
    judges: Sequence[str] = (),
    first_row: int = 0,
    settings: Mapping[str, object] | None = None,
    pass_rate: float = 0.5,
    stats: ExecutionStats | None = None,
) -> GroupRecord:
    """A group with one rollout per string of verdict letters (a test class of one method each).

    "" is a rollout without code. Rollouts with equal letters are the same program. `truth` says which pass
    the dataset's own tests, None that nobody knows.
    """
    config = load_config(settings) if settings else RewardConfig()
    tests = max((len(letters) for letters in votes), default=0)
    programs = {letters: number for number, letters in enumerate(dict.fromkeys(v for v in votes if v))}
    known = [*truth, *[None] * len(votes)][: len(votes)]
    invalid = {f"t{i}": "no test method" for i in range(tests) if any(v[i : i + 1] == "I" for v in votes)}
    rollouts = tuple(
        RolloutRecord(
            row=first_row + row,
            status="ok" if letters else "no_code",
            code=f"def f():\n    return {letters!r}\n" if letters else "",
            solution=programs[letters] if letters else -1,
            classes=letters or "U" * tests,
            methods=letters or "U" * tests,
            judges=judges[row] if judges else "A" * tests,
            reward=msgspec.structs.replace(
                _ZERO, has_truth=float(passes is not None), acc_true=float(passes or 0)
            ),
        )
        for row, (letters, passes) in enumerate(zip(votes, known, strict=True))
    )
    record = GroupRecord(
        group=group,
        content=f"content of {group}",
        settings="settings",
        config=config,
        run="run",
        step=step,
        uid=f"uid of {group}",
        prompt_hash=f"prompt of {group}",
        question=f"Write f, for {group}.",
        entry_point="f",
        task_id=None,
        generator="made",
        tests=tuple(
            UnitTest(f"t{i}", f"class T{i}: ...", f"T{i}", ("test_a",), response=i) for i in range(tests)
        ),
        invalid=invalid,
        dropped={},
        budget=BudgetRecord(Difficulty(pass_rate, 0.1, "made"), planned=tests + 1, spent=tests, why="made"),
        rollouts=rollouts,
        details={},
        stats=stats or ExecutionStats(pairs=8, pairs_run=3, cache_hits=1, seconds=2.0),
        gen_seconds=1.5,
        prompt_tokens=100,
        completion_tokens=40,
    )
    return rescored(record, config)


def made_group(
    votes: Sequence[str],
    *,
    validation: bool = False,
    siblings: int | None = None,
    late: int = 0,
    waited: Sequence[float] = (),
    answered: Sequence[float] = (),
    **record: object,
) -> GroupOutcome:
    """The same as the outcome that a sink hears of."""
    return GroupOutcome(
        record=made_record(votes, **record),  # type: ignore[arg-type]
        validation=validation,
        siblings=siblings,
        late=late,
        waited=tuple(waited),
        answered=tuple(answered),
    )
