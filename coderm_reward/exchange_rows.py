"""One row of a file of suites, from and to a suite of a store. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, TypeVar

import msgspec

from coderm_reward.data.recorded_tests import RecordedRow, malformed_row
from coderm_reward.generation.parsing import parse_responses
from coderm_reward.generation.stored import NEXT_SLOT, StoredResponse, StoredSuite
from coderm_reward.text import prompt_key
from coderm_reward.types import Problem

__all__ = ["KnownProblems", "joined", "published_row", "recorded_row", "suite_of_row"]

_T = TypeVar("_T")
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a recorded response does not say itself."""

    slot: _Count | None = None
    finish_reason: str = "stop"
    solution: int | None = None
    """Index into the row's `solutions`."""
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0
    seconds: float = 0.0
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None


def _names(problem: Problem, shared: AbstractSet[str]) -> dict[str, str]:
    return {} if problem.task_id is None or problem.task_id in shared else {"task_id": problem.task_id}


def recorded_row(suite: StoredSuite, shared: AbstractSet[str]) -> dict[str, Any]:
    """The row of the recorded format; task ids in `shared` are left out, as they name several prompts."""
    problem = suite.problem
    solutions = {(r.solution, r.solution_source): None for r in suite.responses}
    index = {solution: i for i, solution in enumerate(solutions)}
    details = [
        _Detail(
            r.slot,
            r.finish_reason,
            index[r.solution, r.solution_source],
            r.prompt_tokens,
            r.completion_tokens,
            r.seconds,
            r.seed,
        )
        for r in suite.responses
    ]
    return {
        "prompt_hash": problem.prompt_hash,
        **_names(problem, shared),
        "question": problem.question,
        **({} if problem.entry_point is None else {"entry_point": problem.entry_point}),
        "generator": suite.generator,
        "description": suite.description,
        "responses": [r.text for r in suite.responses],
        "details": msgspec.to_builtins(details),
        "solutions": [{"id": name, "source": source} for name, source in solutions],
        **({"marks": suite.marks} if suite.marks else {}),
    }


def published_row(suite: StoredSuite, shared: AbstractSet[str]) -> dict[str, Any]:
    """The row of the published form, with a class for every response that gave it; `shared` as above."""
    problem = suite.problem
    texts = [response.text for response in suite.responses]
    tests = parse_responses(texts, problem.entry_point, problem.prompt_hash).tests
    sources = [{"unittest": test.source} for test in tests for _ in range(test.copies)]
    return {**(_names(problem, shared) or {"prompt_hash": problem.prompt_hash}), "unit_tests": sources}


class KnownProblems:
    """Known prompts by hash, text and task id; what two of them share finds neither."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._by_hash: dict[str, Problem] = {}
        self._by_text: dict[str, Problem | None] = {}
        self._by_task: dict[str, Problem | None] = {}
        for problem in problems:
            if problem.prompt_hash in self._by_hash:
                continue
            self._by_hash[problem.prompt_hash] = problem
            for table, key in (
                (self._by_text, prompt_key(problem.question)),
                (self._by_task, problem.task_id),
            ):
                if key:
                    table[key] = None if key in table else problem

    def find(self, row: RecordedRow) -> Problem | None:
        """The prompt of a row: what is given of it, else what the row says itself; None if neither does."""
        if row.prompt_hash is None:
            by_text = self._by_text.get(prompt_key(row.question))
            return by_text or self._by_task.get(row.task_id or "")
        if row.prompt_hash in self._by_hash:
            return self._by_hash[row.prompt_hash]
        entry_point = row.columns.get("entry_point")
        return Problem(
            row.prompt_hash,
            row.question,
            entry_point=entry_point if isinstance(entry_point, str) and entry_point else None,
            task_id=row.task_id,
        )


def suite_of_row(row: RecordedRow, problem: Problem, generator: str | None) -> StoredSuite:
    """What a row says about the suite of its prompt; `generator` made it where the row names none.

    Raises:
        InputError: a malformed row, or a group record: its tests are no responses.
    """
    if row.tests:
        raise malformed_row(row.where, "it is a group record, which holds no responses")
    identity = _read(row, "generator", str, generator)
    if not identity:
        raise malformed_row(row.where, "it names no generator, and none was named for the import")
    details = _read(row, "details", list[_Detail], [_Detail()] * len(row.responses))
    if len(details) != len(row.responses):
        raise malformed_row(row.where, f"it has {len(row.responses)} responses and {len(details)} details")
    none: list[dict[str, str]] = []
    solutions = _read(row, "solutions", list[dict[str, str]], none)
    if any(d.solution is not None and not 0 <= d.solution < len(solutions) for d in details):
        raise malformed_row(row.where, "a detail names a solution that is not among its solutions")
    responses = [
        StoredResponse(
            slot=NEXT_SLOT if d.slot is None else d.slot,
            text=text,
            finish_reason=d.finish_reason,
            solution=_of(solutions, d.solution).get("id", ""),
            solution_source=_of(solutions, d.solution).get("source", ""),
            prompt_tokens=d.prompt_tokens,
            completion_tokens=d.completion_tokens,
            seconds=d.seconds,
            seed=d.seed,
        )
        for text, d in zip(row.responses, details, strict=True)
    ]
    return StoredSuite(
        problem=problem,
        generator=identity,
        description=_read(row, "description", dict[str, Any], {}),
        responses=tuple(responses),
        marks=_read(row, "marks", dict[str, dict[str, str]], {}),
    )


def _of(solutions: Sequence[dict[str, str]], index: int | None) -> dict[str, str]:
    return {} if index is None else solutions[index]


def _read(row: RecordedRow, name: str, kind: Any, default: _T) -> _T:
    value = row.columns.get(name)
    if value is None:
        return default
    try:
        converted: _T = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise malformed_row(row.where, f"its {name} cannot be read ({error})") from None
    return converted


def joined(one: StoredSuite, other: StoredSuite) -> StoredSuite:
    """Two rows of one prompt and generator, in order."""
    tests = dict.fromkeys((*one.marks, *other.marks))
    return msgspec.structs.replace(
        one,
        description=one.description or other.description,
        responses=one.responses + other.responses,
        marks={test: other.marks.get(test, {}) | one.marks.get(test, {}) for test in tests},
    )
