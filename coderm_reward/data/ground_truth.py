"""What a dataset's ground truth is: tests of a function that can be run, or something else. Pure.

verl hands every row's `reward_model.ground_truth` over as it found it, in whatever form the dataset was
written: text, a list, an object, numpy arrays of these, JSON text, JSON text in JSON text. Nothing is run or
unpickled here, and no value makes it raise. Forms that can be run:

- `asserts`: a list or text of assertions (MBPP, AceCode), `check(candidate)` (HumanEval, LeetCodeDataset),
  unittest or pytest text (KodCode, BigCodeBench), also under the usual keys of an object, such as
  `assert_case` and `functional`
- `cases`: inputs and outputs of a named function (APPS, TACO, SYNTHETIC-1, LiveCodeBench; see truth_cases)

All others are named for the one line that says why they are ignored: `stdin` (no function is named),
`number`, `text` (an answer, or code without tests), `list`, `object`, `none`, `unreadable`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from coderm_reward.data.entry_points import entry_point_from_prompt
from coderm_reward.data.plain_values import json_inside, plain
from coderm_reward.data.truth_cases import Case, case_sources, function_case
from coderm_reward.data.truth_text import test_sources, with_promises
from coderm_reward.types import Problem

__all__ = ["GroundTruth", "read_ground_truth"]


class GroundTruth(msgspec.Struct, frozen=True):
    """What was found; `sources` are Python files with tests, empty where there is nothing to run."""

    form: str
    sources: tuple[str, ...] = ()
    function: str | None = None
    """The function under test as far as it is known."""
    dropped: dict[str, int] = {}
    """Parts that were left out, by reason."""
    reason: str = ""
    """Why it cannot be read, where the form is `unreadable`."""


def read_ground_truth(value: object, problem: Problem) -> GroundTruth:
    """Return what a ground truth holds for this problem."""
    try:
        return _Reader(problem).read(plain(value))
    except (ValueError, RecursionError, MemoryError) as error:
        return GroundTruth("unreadable", reason=str(error) or type(error).__name__)


_MAX_NESTING = 6
_TESTS = (
    "assert_case",
    "functional",
    "test_list",
    "ground_truth_test",
    "unittest",
    "unit_tests",
    "test_code",
    "test",
    "tests",
    "test_cases",
    "testcases",
    "input_output",
    "private_test_cases",
    "public_test_cases",
    "verification_info",
    "ground_truth",
)
"""Where tests stand in an object, first match wins."""
_SETUP = ("test_imports", "test_setup_code", "setup_code", "import_prefix")
_FUNCTION = ("fn_name", "func_name", "function_name", "entry_point")
_INPUTS = (("inputs", "outputs"), ("input", "output"))


class _Reader:
    """Reads one value; what is found on the way down an object holds below it."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._named = _name(problem.entry_point)
        self._dropped: Counter[str] = Counter()

    def read(self, value: Any) -> GroundTruth:
        found = self._read(value, None, "", 0)
        known = found.function or self._named
        question = self._problem.question
        sources = tuple(with_promises(source, question, known) for source in found.sources)
        counts = {reason: n for reason, n in sorted(self._dropped.items()) if n}
        return msgspec.structs.replace(found, sources=sources, function=known, dropped=counts)

    def _read(self, value: Any, function: str | None, setup: str, depth: int) -> GroundTruth:
        if depth > _MAX_NESTING:
            return GroundTruth("object")
        if isinstance(value, str):
            if not value.strip():
                return GroundTruth("none")
            inside = json_inside(value)
            if inside is not None and inside != value:
                return self._read(inside, function, setup, depth + 1)
            return self._texts([value], function, setup, "text")
        if isinstance(value, list):
            return self._list(value, function, setup, depth)
        if isinstance(value, dict):
            return self._object(value, function, setup, depth)
        return GroundTruth("none" if value is None else "number")

    def _list(self, value: list[Any], function: str | None, setup: str, depth: int) -> GroundTruth:
        objects = [json_inside(item) if isinstance(item, str) else item for item in value]
        if objects and all(isinstance(item, dict) for item in objects):
            if all(_pair(item) is not None for item in objects):
                return self._case_list(objects, function)
            if len(objects) == 1:
                return self._object(objects[0], function, setup, depth + 1)
        if value and all(isinstance(item, str) for item in value):
            return self._texts(value, function, setup, "list")
        if len(value) == 1 and isinstance(value[0], list):
            return self._read(value[0], function, setup, depth + 1)
        return GroundTruth("list" if value else "none")

    def _object(self, value: dict[Any, Any], function: str | None, setup: str, depth: int) -> GroundTruth:
        function = _function_of(value) or function
        setup = "\n".join(part for part in (setup, *(_text(value.get(key)) for key in _SETUP)) if part)
        best = GroundTruth("object")
        for key in _TESTS:
            if not value.get(key):
                continue
            found = self._read(value[key], function, setup, depth + 1)
            if found.sources:
                return found
            best = found if best.form == "object" else best
        for inputs, outputs in _INPUTS:
            if value.get(inputs) is not None and outputs in value:  # Arrow fills absent fields with null
                return self._columns(value, inputs, outputs, function)
        return best

    def _texts(self, texts: list[str], function: str | None, setup: str, otherwise: str) -> GroundTruth:
        function = function or self._named or entry_point_from_prompt(self._problem.question)
        sources = test_sources(texts, setup, function, self._dropped)
        return GroundTruth("asserts" if sources else otherwise, sources, function)

    def _columns(
        self, value: Mapping[Any, Any], inputs: str, outputs: str, function: str | None
    ) -> GroundTruth:
        """Read inputs and outputs that stand in a list each, or a single pair of them."""
        given, expected = (_listed(value[name]) for name in (inputs, outputs))
        if _is_stdin(value) or not (_function_of(value) or function):
            return GroundTruth("stdin")
        if inputs == "input" or not (isinstance(given, list) and isinstance(expected, list)):
            given, expected = [value[inputs]], [value[outputs]]
        if len(given) != len(expected):
            raise ValueError(f"it has {len(given)} inputs for {len(expected)} outputs")
        return self._cases(given, expected, _function_of(value) or function)

    def _case_list(self, items: Sequence[Mapping[Any, Any]], function: str | None) -> GroundTruth:
        """Read a list of objects, each of which holds a case; those of programs are left out."""
        functional = [item for item in items if not _is_stdin(item)]
        function = next((name for item in functional if (name := _function_of(item))), function)
        if function is None and any("functional" in _kind(item) for item in functional):
            function = self._named or entry_point_from_prompt(self._problem.question)
        if function is None or not functional:
            return GroundTruth("stdin")
        self._dropped["bad_case"] += len(items) - len(functional)
        pairs = [pair for item in functional if (pair := _pair(item)) is not None]
        given = [item[pair[0]] for item, pair in zip(functional, pairs, strict=True)]
        expected = [item.get(pair[1]) for item, pair in zip(functional, pairs, strict=True)]
        return self._cases(given, expected, function)

    def _cases(self, given: Sequence[Any], expected: Sequence[Any], function: str | None) -> GroundTruth:
        cases: list[Case] = []
        for arguments, output in zip(given, expected, strict=True):
            try:
                cases.append(function_case(arguments, output))
            except (ValueError, RecursionError):
                self._dropped["bad_case"] += 1
        name = _name(function)
        if name is None:
            raise ValueError(f"{function!r} is no name of a function")
        sources = case_sources([_bounded(case) for case in cases], name, self._dropped)
        return GroundTruth("cases" if sources else "list", sources, name)


def _bounded(case: Case) -> Case:
    """Check the values that JSON lines held, as the rest has been."""
    return Case(plain(case.args), plain(case.kwargs), plain(case.output))


def _name(text: object) -> str | None:
    """Return the last part of a function's name, as in `Solution().f`."""
    name = text.strip().removesuffix("()").rpartition(".")[2] if isinstance(text, str) else ""
    return name if name.isidentifier() else None


def _function_of(value: Mapping[Any, Any]) -> str | None:
    """Return the function that an object, or the metadata in it, names."""
    inner = value.get("metadata")
    inner = json_inside(inner) if isinstance(inner, str) else inner
    places = [value, inner] if isinstance(inner, Mapping) else [value]
    names = (_name(place.get(key)) for place in places for key in _FUNCTION)
    return next((name for name in names if name is not None), None)


def _pair(value: Mapping[Any, Any]) -> tuple[str, str] | None:
    """Return the names of the input and the output of a case; of two that are there the one with a value."""
    there = [pair for pair in _INPUTS if pair[0] in value]
    return next((pair for pair in there if value[pair[0]] is not None), there[0] if there else None)


def _kind(value: Mapping[Any, Any]) -> str:
    return _text(value.get("type")) + _text(value.get("testtype"))


def _is_stdin(value: Mapping[Any, Any]) -> bool:
    return "stdin" in _kind(value)


def _text(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return value if isinstance(value, str) else ""


def _listed(value: Any) -> Any:
    """Return a column that may be JSON text as what it holds."""
    inside = json_inside(value) if isinstance(value, str) else None
    return value if inside is None else inside
