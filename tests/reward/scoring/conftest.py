"""A matrix written as text: one string per rollout, a word per test class, a Verdict letter per method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from coderm_reward.types import CodeStatus, ExecutionMatrix, UnitTest, Verdict

BY_LETTER = {verdict.letter: verdict for verdict in Verdict}
NO_CODE_ROWS = {"-": CodeStatus.NO_CODE, "?": CodeStatus.UNSUPPORTED_FORMAT}


def class_verdict(letters: str) -> Verdict:
    """What a class says, given its methods: the first failure, else UNKNOWN, else PASS."""
    valid = [BY_LETTER[letter] for letter in letters if letter != "I"]
    if not valid:
        return Verdict.INVALID_TEST
    known_bad = [verdict for verdict in valid if verdict not in (Verdict.PASS, Verdict.UNKNOWN)]
    if known_bad:
        return known_bad[0]
    return Verdict.UNKNOWN if Verdict.UNKNOWN in valid else Verdict.PASS


def build_group(
    rows: Sequence[str],
    *,
    copies: Sequence[int] | None = None,
    solutions: Sequence[int] | None = None,
    judges: Sequence[str] | None = None,
) -> tuple[list[CodeStatus], ExecutionMatrix]:
    """`"PP F"`: the rollout passes both methods of the first class and fails the only one of the second;
    `"-"` has no code, `"?"` is a program that reads stdin."""
    widths = next(([len(word) for word in row.split()] for row in rows if row not in NO_CODE_ROWS), [])
    invalid = [set("".join(column)) == {"I"} for column in zip(*_methods(rows, widths), strict=True)]
    words = [_blank(widths, invalid) if row in NO_CODE_ROWS else row.split() for row in rows]
    tests = tuple(
        UnitTest(
            id=f"t{t}",
            source="",
            class_name=f"T{t}",
            methods=tuple(f"test_{m}" for m in range(width)),
            copies=1 if copies is None else copies[t],
        )
        for t, width in enumerate(widths)
    )
    has_code = np.array([row not in NO_CODE_ROWS for row in rows], dtype=np.bool_)
    numbers = np.arange(len(rows)) if solutions is None else np.array(solutions, dtype=np.intp)
    judge_rows = judges or ["A" * len(widths)] * len(rows)
    matrix = ExecutionMatrix(
        tests=tests,
        class_verdicts=np.array([[class_verdict(w) for w in row] for row in words], dtype=np.uint8).reshape(
            len(rows), len(widths)
        ),
        method_verdicts=np.array(
            [[BY_LETTER[letter] for word in row for letter in word] for row in words], dtype=np.uint8
        ).reshape(len(rows), sum(widths)),
        method_test=np.repeat(np.arange(len(widths)), widths).astype(np.intp),
        has_code=has_code,
        solution_index=np.where(has_code, numbers, -1),
        judges=np.array([["AHI".index(j) for j in row] for row in judge_rows], dtype=np.uint8).reshape(
            len(rows), len(widths)
        ),
        exec_seconds=np.full(len(rows), 0.25),
    )
    return [NO_CODE_ROWS.get(row, CodeStatus.OK) for row in rows], matrix


def _methods(rows: Sequence[str], widths: list[int]) -> list[str]:
    coded = [row.replace(" ", "") for row in rows if row not in NO_CODE_ROWS]
    return coded or ["U" * sum(widths)]


def _blank(widths: list[int], invalid: list[bool]) -> list[str]:
    letters = iter("I" if column else "U" for column in invalid)
    return ["".join(next(letters) for _ in range(width)) for width in widths]


@pytest.fixture(scope="session")
def build() -> Callable[..., tuple[list[CodeStatus], ExecutionMatrix]]:
    return build_group
