"""Recorded groups as something to experiment on: draws of their rollouts and of their generator responses.
Pure.

A draw is what a run with fewer rollouts and fewer tests would have seen: N of the R rollouts, and the
responses in a random order, of which a budget b spends the first b. Both without replacement, as a group in
which rollouts repeat would look more agreed than any real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import InputError
from coderm_reward.scoring.votes import BoolArray, IntArray
from coderm_reward.source import normalised_id
from coderm_reward.types import CodeStatus, Difficulty, ExecutionMatrix, Problem

__all__ = ["AblationGroup", "Draw", "ablation_group", "default_rollouts", "make_draw", "take"]

_MOST_ROLLOUTS = 16


@dataclass(frozen=True, eq=False)
class AblationGroup:
    """One recorded group with the truth about its R rollouts."""

    id: str
    """Of the group: it seeds the draws, so that other groups do not change them."""
    problem: Problem
    difficulty: Difficulty
    """What the estimator said when the group was scored."""
    statuses: tuple[CodeStatus, ...]
    matrix: ExecutionMatrix
    truth: BoolArray
    """[R]"""
    identities: tuple[str, ...]
    """[R] of their code (source.normalised_id), as `exclude_own_tests` needs them; "" without code."""
    responses: tuple[IntArray, ...]
    """For each generator response the indices of the test classes that it gave; empty where it gave none."""


@dataclass(frozen=True, eq=False)
class Draw:
    """N rollouts of a group, and all its responses in the order in which a budget spends them."""

    rows: IntArray
    others: IntArray
    """The rollouts that were not drawn: another epoch's, for an estimator that learns from history."""
    order: IntArray


def ablation_group(record: GroupRecord, truth: BoolArray) -> AblationGroup:
    """Return the group of one record.

    A class that k responses gave is recorded once, with the first of them. Its other copies take the places
    of responses that gave nothing, as far as there are any; which ones does not matter to a random order.

    Raises:
        InputError: truth of another length, or no rollouts.
    """
    if not record.rollouts or truth.shape != (len(record.rollouts),):
        raise InputError(
            f"Group {record.group} has {len(record.rollouts)} rollouts and truth for {truth.size}; there "
            "must be one for each, and at least one."
        )
    given: dict[int, list[int]] = {}
    for index, test in enumerate(record.tests):
        given.setdefault(test.response, []).append(index)
    copies = [index for index, test in enumerate(record.tests) for _ in range(test.copies - 1)]
    spent = max(record.budget.spent, len(given) + len(copies), max(given, default=-1) + 1)
    free = (number for number in range(spent) if number not in given)
    for index in copies:
        given.setdefault(next(free, 0), []).append(index)
    return AblationGroup(
        id=record.group,
        problem=Problem(record.prompt_hash, record.question, record.entry_point, record.task_id),
        difficulty=record.budget.difficulty,
        statuses=tuple(CodeStatus(rollout.status) for rollout in record.rollouts),
        matrix=record.matrix(),
        truth=truth,
        identities=tuple(normalised_id(r.code) if r.status == "ok" else "" for r in record.rollouts),
        responses=tuple(np.array(given.get(number, []), dtype=np.intp) for number in range(spent)),
    )


def default_rollouts(groups: Sequence[AblationGroup]) -> int:
    """Return how many rollouts to draw: 16, or half of the smallest group, as then draws differ."""
    smallest = min(group.truth.size for group in groups)
    return max(1, min(_MOST_ROLLOUTS, smallest // 2))


def make_draw(group: AblationGroup, rollouts: int, seed: int, number: int) -> Draw:
    """Return draw `number` of a group; the same arguments give the same draw, whatever else is drawn.

    A group with fewer rollouts is taken whole.
    """
    rng = np.random.default_rng([seed, number, *group.id.encode()])
    shuffled = rng.permutation(group.truth.size)
    return Draw(
        rows=np.sort(shuffled[:rollouts]).astype(np.intp),
        others=np.sort(shuffled[rollouts:]).astype(np.intp),
        order=rng.permutation(len(group.responses)).astype(np.intp),
    )


def take(
    group: AblationGroup, rows: IntArray, responses: IntArray
) -> tuple[tuple[CodeStatus, ...], ExecutionMatrix]:
    """Return what scoring would see of these rollouts with only these responses' tests."""
    matrix = group.matrix
    copies = np.zeros(len(matrix.tests), dtype=np.intp)
    for response in responses:
        np.add.at(copies, group.responses[response], 1)
    classes = np.flatnonzero(copies)
    methods = np.flatnonzero(copies[matrix.method_test] > 0)
    place = np.cumsum(copies > 0) - 1
    assertions, assertion_method = matrix.assertion_verdicts, matrix.assertion_method
    if assertions is not None and assertion_method is not None:
        kept = np.isin(assertion_method, methods)
        assertions = assertions[np.ix_(rows, np.flatnonzero(kept))]
        assertion_method = np.searchsorted(methods, assertion_method[kept]).astype(np.intp)
    sub = replace(
        matrix,
        tests=tuple(msgspec.structs.replace(matrix.tests[t], copies=int(copies[t])) for t in classes),
        class_verdicts=matrix.class_verdicts[np.ix_(rows, classes)],
        method_verdicts=matrix.method_verdicts[np.ix_(rows, methods)],
        method_test=place[matrix.method_test[methods]].astype(np.intp),
        has_code=matrix.has_code[rows],
        solution_index=matrix.solution_index[rows],
        judges=matrix.judges[np.ix_(rows, classes)],
        exec_seconds=matrix.exec_seconds[rows],
        assertion_verdicts=assertions,
        assertion_method=assertion_method,
    )
    return tuple(group.statuses[row] for row in rows), sub
