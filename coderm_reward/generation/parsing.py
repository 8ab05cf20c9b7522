"""From model responses to unit tests. Pure: nothing is executed, and no text makes it raise.

The steps, one module each: the Python source of a response (response_code), its statements without
stand-ins for the code under test (placeholders, statements), its test classes (case_classes), with those
made of other styles (conversion), and here one UnitTest per class with what it needs. The runner at the end
of a text (`unittest.main()`, the loader and runner lines of CodeRM's published artefacts), prints, other
loose code and imports that nothing reads (a package that is missing would make the test invalid) are left
out; comments stay.

Counters. A response gives a test, or has exactly one of the first three, or tests that are all counted as
`no_test_method`, `bad_method` or `no_mention`. These say that something was thrown away:

- `no_code` (a response): prose, or a block in another language
- `does_not_parse` (a response): not even one whole function of it
- `no_test_class` (a response): code without any test
- `no_test_method` (a class): nothing in it that can run, e.g. only parametrised methods
- `bad_method` (a method, or a test function): takes arguments that nothing gives it, such as a fixture, or
  rows that are not written out; the others are kept
- `no_mention` (a class, or an assertion outside one): never mentions the function under test
- `superseded` (a class, or a test function): the response defines one of the same name further down
- `duplicate` (a class): equal to an earlier one up to formatting and comments; its vote is in `copies`

Those with the prefix `repaired_` count responses whose tests were kept but changed:

- `repaired_truncated`, `repaired_syntax`: methods or statements that do not parse were cut out
- `repaired_import`: an import of a made-up module such as `your_module` was dropped
- `repaired_redefinition`: a copy of the function under test was dropped; the test would have judged that
- `repaired_runner`: a statement that runs tests was left out, a call of a test function too
- `repaired_loose_code`: a statement was left out that prints, calls something, or adds methods to a class
- `repaired_pytest`, `repaired_asserts`: test functions and classes of pytest, or assertions outside
  functions, became methods; of a `parametrize` with its rows written out, one for each row
- `repaired_missing_import`: `import unittest` was added
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import msgspec

from coderm_reward.generation.case_classes import case_classes, case_methods, is_test
from coderm_reward.generation.conversion import with_cases
from coderm_reward.generation.response_code import response_code
from coderm_reward.generation.statements import Part, Statement, mentioning, statements
from coderm_reward.source import FunctionNode, likely_entry_point, normalised_id, safe_parse
from coderm_reward.types import TestSuite, UnitTest, content_hash

__all__ = ["REPAIRED", "parse_responses", "parse_sources"]

REPAIRED = "repaired_"
"""Prefix of the counters that count changes to kept tests instead of what was thrown away."""


def parse_responses(
    responses: Sequence[str],
    entry_point: str | None,
    prompt_hash: str = "",
    *,
    prompted_by: Sequence[str] = (),
) -> TestSuite:
    """Return the suite of the unit tests in these responses, with counters (see above).

    Without an entry point it is taken to be the function that most of the tests call and none defines.
    Tests come in the order of the responses; of equal ones the first is kept, with the number of its copies.
    `prompted_by` says for each response whose code stood in its prompt; "" for nobody's.
    """
    tests, counts, sources = _parse_all(responses, entry_point, response_code)
    if prompted_by:
        tests = [
            msgspec.structs.replace(
                test, prompted_by=tuple(dict.fromkeys(p for r in sources[test.id] if (p := prompted_by[r])))
            )
            for test in tests
        ]
    return _suite(prompt_hash, tests, len(responses), counts)


def parse_sources(sources: Sequence[str], entry_point: str | None, prompt_hash: str = "") -> TestSuite:
    """Return the suite of the unit tests in these Python files, as parse_responses does of model responses.

    A file is read as it stands: no fences, thoughts or cut ends; one that does not parse is `does_not_parse`.
    """
    tests, counts, _ = _parse_all(sources, entry_point, _whole)
    return _suite(prompt_hash, tests, len(sources), counts)


def _whole(source: str, counts: Counter[str]) -> str | None:
    if safe_parse(source) is not None:
        return source
    counts["does_not_parse"] += 1
    return None


def _suite(prompt_hash: str, tests: Sequence[UnitTest], responses: int, counts: Counter[str]) -> TestSuite:
    dropped = {reason: counts[reason] for reason in sorted(counts) if counts[reason]}
    return TestSuite(prompt_hash=prompt_hash, tests=tuple(tests), responses=responses, dropped=dropped)


_Parsed = tuple[list[UnitTest], Counter[str], dict[str, list[int]]]
"""The tests, the counters, and the responses that each test came from."""
_Reader = Callable[[str, Counter[str]], "str | None"]


def _parse_all(responses: Sequence[str], entry_point: str | None, read: _Reader) -> _Parsed:
    """Parse all responses; without an entry point once more with the one that their tests call."""
    found = _parse_each(responses, entry_point, read)
    if entry_point is None:
        trees = (safe_parse(test.source) for test in found[0])
        entry_point = likely_entry_point(tree for tree in trees if tree is not None)
        if entry_point is not None:
            return _parse_each(responses, entry_point, read)
    return found


def _parse_each(responses: Sequence[str], entry_point: str | None, read: _Reader) -> _Parsed:
    counts: Counter[str] = Counter()
    tests: dict[str, UnitTest] = {}
    sources: dict[str, list[int]] = {}
    for index, response in enumerate(responses):
        found, own = _parsed(response, entry_point, read)
        for reason, n in own:
            counts[reason] += (n > 0 and bool(found)) if reason.startswith(REPAIRED) else n
        for test in found:
            first = tests.setdefault(test.id, msgspec.structs.replace(test, response=index, copies=0))
            tests[test.id] = msgspec.structs.replace(first, copies=first.copies + 1)
            counts["duplicate"] += first.copies > 0
            sources.setdefault(test.id, []).append(index)
    return list(tests.values()), counts, sources


@lru_cache(maxsize=2048)
def _parsed(
    response: str, entry_point: str | None, read: _Reader
) -> tuple[tuple[UnitTest, ...], tuple[tuple[str, int], ...]]:
    """The tests of one response and its counters; a suite that grows is parsed again and again."""
    own: Counter[str] = Counter()
    try:
        found = tuple(_parse_one(read(response, own), entry_point, own))
    except RecursionError:  # a tree too deep to walk or to print
        return (), (("does_not_parse", 1),)
    return found, tuple(own.items())


def _parse_one(source: str | None, entry_point: str | None, counts: Counter[str]) -> Iterator[UnitTest]:
    """Yield the tests of one source: one per class that no other test class of it inherits from."""
    tree = None if source is None else safe_parse(source)
    if source is None or tree is None:
        return
    found = statements(source, tree, entry_point, counts)
    found = with_cases(found, entry_point, counts)
    classes = {s.node.name: s.node for s in found if isinstance(s.node, ast.ClassDef)}
    cases = case_classes(found)
    inherited = {getattr(base, "id", "") for node in cases.values() for base in node.bases}
    targets = [name for name in cases if name not in inherited]
    if not targets:
        counts["no_test_class"] += not (
            counts["no_mention"] + counts["bad_method"] + counts["no_test_method"]
        )
        return
    counts["repaired_runner"] += sum(s.part is Part.RUNNER for s in found)
    counts["repaired_loose_code"] += sum(s.part is Part.LOOSE and not _is_docstring(s.node) for s in found)
    for name in targets:
        methods = case_methods(name, classes)
        runnable = sorted(method for method, can_run in methods.items() if can_run)
        if not runnable:
            counts["no_test_method"] += 1
            continue
        counts["bad_method"] += len(methods) - len(runnable)
        kept = _needed(name, found, cases)
        if entry_point is not None and name not in mentioning(kept, entry_point):
            counts["no_mention"] += 1
            continue
        text = _source(kept, counts)
        test_id = content_hash(normalised_id(text), name)
        yield UnitTest(id=test_id, source=text, class_name=name, methods=tuple(runnable))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _needed(target: str, found: Sequence[Statement], cases: dict[str, ast.ClassDef]) -> list[Statement]:
    """Return the statements of a target's test: all helpers, and of the rest what is read."""

    tests = cases.keys() | {name for s in found if is_test(s.node) for name in s.binds}

    def is_helper(s: Statement) -> bool:
        runs_tests = isinstance(s.node, FunctionNode) and bool(s.needs & tests)
        return s.part is Part.DEFINITION and not (s.binds & tests) and not runs_tests

    kept = [target in s.binds or is_helper(s) for s in found]
    pending = [s for s, keep in zip(found, kept, strict=True) if keep]
    needed: set[str] = set()
    while pending:
        needed |= {name for s in pending for name in s.needs}
        pending = []
        for i, s in enumerate(found):
            usable = s.part in (Part.IMPORT, Part.DEFINITION, Part.DATA)
            if not kept[i] and usable and (s.binds & needed or _always(s.node)):
                kept[i] = True
                pending.append(s)
    return [s for s, keep in zip(found, kept, strict=True) if keep]


def _always(node: ast.stmt) -> bool:
    """Whether an import is kept even if nothing reads its names."""
    return isinstance(node, ast.ImportFrom) and (node.module == "__future__" or node.names[0].name == "*")


def _source(kept: Sequence[Statement], counts: Counter[str]) -> str:
    """Return the text of a test: its imports first, with those from unittest that it forgot."""
    imports = [s for s in kept if s.part is Part.IMPORT]
    future = [s.text for s in imports if isinstance(s.node, ast.ImportFrom) and s.node.module == "__future__"]
    bound = {name for s in kept for name in s.binds}
    missing = {name for s in kept for name in s.needs} - bound
    added = ["import unittest"] if "unittest" in missing else []
    added += [
        f"from unittest import {name}" for name in ("TestCase", "IsolatedAsyncioTestCase") if name in missing
    ]
    counts["repaired_missing_import"] += len(added)
    head = [*future, *added, *(s.text for s in imports if s.text not in future)]
    parts = ["\n".join(dict.fromkeys(head))]
    previous: Part | None = None
    for s in kept:
        if s.part is Part.IMPORT:
            continue
        separator = "\n" if s.part is Part.DATA and previous is Part.DATA else "\n\n"
        parts.append(separator + s.text)
        previous = s.part
    return "\n".join(parts).strip("\n") + "\n"
