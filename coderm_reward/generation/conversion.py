"""Tests of other styles as unittest classes: pytest classes and functions, and bare assertions. Pure."""

from __future__ import annotations

import ast
import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import msgspec

from coderm_reward.generation.case_classes import base_names, can_run, case_classes, is_fixture, is_test
from coderm_reward.generation.statements import Part, Statement, mentioning, mentions, names_read
from coderm_reward.source import FunctionNode, bound_names, free_names, safe_parse

__all__ = ["with_cases"]


def with_cases(found: Sequence[Statement], entry_point: str | None, counts: Counter[str]) -> list[Statement]:
    """Return the statements with the tests of other styles in unittest classes as well.

    A pytest class becomes a TestCase. Test functions get one method each that calls them, or one for each
    row of a `parametrize`; assertions outside functions one method each. A function that a test class calls
    is its helper and no test of its own. Of classes with the same name only the last is kept, as Python
    would. Counts `repaired_pytest`, `repaired_asserts`, `superseded`, and what cannot be converted:
    `bad_method`, `no_test_method`, `no_mention`.
    """
    last = {s.node.name: s for s in found if isinstance(s.node, ast.ClassDef)}
    kept = [s for s in found if not isinstance(s.node, ast.ClassDef) or last[s.node.name] is s]
    counts["superseded"] += len(found) - len(kept)
    kept = _with_pytest_classes(kept, counts)
    taken = {name for s in kept for name in s.binds | s.needs}
    functions = list(_test_functions(kept, counts))
    if functions:
        counts["repaired_pytest"] += len(functions)
        plain = {f.name: f.statement for f in functions}
        kept = [plain.get(s.node.name, s) if isinstance(s.node, FunctionNode) else s for s in kept]
        kept.append(_statement(_functions_class(functions, _free_name("TestFunctions", taken))))
    checks = list(_checks(kept, entry_point, counts))
    if checks:
        counts["repaired_asserts"] += len(checks)
        kept.append(_statement(_checks_class(checks, _free_name("TestAsserts", taken))))
    return kept


_SETUP = re.compile(r"def (setup|teardown)_method\(self[^)]*\)")


def _with_pytest_classes(found: Sequence[Statement], counts: Counter[str]) -> list[Statement]:
    """Convert pytest classes; one with tests that cannot be converted is `no_test_method`."""
    cases = case_classes(found)
    bases = {base for case in cases.values() for base in base_names(case)}
    kept = [s if cases.keys() & s.binds or bases & s.binds else _from_pytest_class(s) for s in found]
    counts["repaired_pytest"] += sum(new is not old for new, old in zip(kept, found, strict=True))
    cases = case_classes(kept)
    used = bases | names_read(cases, kept)
    for s in kept:
        is_class = isinstance(s.node, ast.ClassDef) and s.node.name not in cases.keys() | used
        counts["no_test_method"] += is_class and is_test(s.node)
    return kept


def _from_pytest_class(statement: Statement) -> Statement:
    """Return a pytest class as a TestCase, changed in its text alone; anything else as it is."""
    node = statement.node
    if not isinstance(node, ast.ClassDef) or not node.name.startswith("Test") or node.keywords:
        return statement
    methods = [n for n in node.body if isinstance(n, FunctionNode)]
    if not any(n.name.startswith("test") and can_run(n, bound=True) for n in methods):
        return statement
    if any(base != "object" for base in base_names(node)) or any(n.name == "__init__" for n in methods):
        return statement
    header = re.compile(rf"^class[ \t]+{node.name}[ \t]*(?:\([ \t\w]*\))?[ \t]*:", re.MULTILINE)
    text, found = header.subn(f"class {node.name}(unittest.TestCase):", statement.text, count=1)
    text = _SETUP.sub(lambda m: f"def {'setUp' if m[1] == 'setup' else 'tearDown'}(self)", text)
    return _statement(text) if found and safe_parse(text) is not None else statement


class _Function(msgspec.Struct, frozen=True):
    """A test function as a statement without `parametrize`, and the calls of it that are its tests."""

    statement: Statement
    name: str
    calls: tuple[str, ...]
    is_async: bool


def _test_functions(found: Sequence[Statement], counts: Counter[str]) -> Iterator[_Function]:
    """Yield the test functions that can be called; others that nothing calls count as `bad_method`."""
    used = names_read(case_classes(found), found)
    readers = Counter(
        name for s in found if s.part in (Part.DEFINITION, Part.CHECK) for name in s.needs - s.binds
    )
    functions: dict[str, Statement] = {}
    for s in found:
        if isinstance(s.node, FunctionNode) and is_test(s.node) and s.node.name not in used:
            counts["superseded"] += s.node.name in functions
            functions[s.node.name] = s
    for name, s in functions.items():
        node = s.node
        assert isinstance(node, FunctionNode)
        is_async = isinstance(node, ast.AsyncFunctionDef)
        if can_run(node, bound=False):
            yield _Function(s, name, (f"{name}()",), is_async)
        elif rows := _rows(node):
            yield _Function(_undecorated(s), name, tuple(f"{name}({row})" for row in rows), is_async)
        else:
            counts["bad_method"] += not readers[name] and not is_fixture(node)


def _rows(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the arguments of each call that a `parametrize` with its rows written out stands for."""
    call = node.decorator_list[0] if len(node.decorator_list) == 1 else None
    if not isinstance(call, ast.Call) or getattr(call.func, "attr", "") != "parametrize":
        return []
    if len(call.args) != 2 or any(keyword.arg != "ids" for keyword in call.keywords):
        return []
    header, table = call.args
    if isinstance(header, ast.Constant) and isinstance(header.value, str):
        names = [name.strip() for name in header.value.split(",")]
    else:
        names = [str(getattr(part, "value", "")) for part in getattr(header, "elts", [])]
    args = [*node.args.args, *node.args.kwonlyargs]
    if sorted(names) != sorted(arg.arg for arg in args) or node.args.posonlyargs:
        return []
    several = len(names) > 1 or not isinstance(header, ast.Constant)
    rows = [_row(entry, several) for entry in getattr(table, "elts", [])]
    if any(len(row) != len(names) for row in rows):
        return []
    return [", ".join(f"{n}={ast.unparse(v)}" for n, v in zip(names, row, strict=True)) for row in rows]


def _row(entry: ast.expr, several: bool) -> list[ast.expr]:
    """Return the values of one row of a `parametrize`; empty where they are not written out, or marked."""
    if isinstance(entry, ast.Call) and getattr(entry.func, "attr", "") == "param":
        values = [] if any(keyword.arg != "id" for keyword in entry.keywords) else entry.args
    else:
        values = getattr(entry, "elts", []) if several else [entry]
    return [] if any(isinstance(value, ast.Starred) for value in values) else values


def _undecorated(statement: Statement) -> Statement:
    """Return a function's statement without its decorators, its text otherwise unchanged."""
    node = ast.parse(statement.text).body[0]
    assert isinstance(node, FunctionNode)
    lines = statement.text.split("\n")
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return _statement("\n".join([*lines[: first - 1], *lines[node.lineno - 1 :]]))


def _functions_class(functions: Sequence[_Function], name: str) -> str:
    """Return a class with one method per call of a test function."""
    base = "IsolatedAsyncioTestCase" if any(f.is_async for f in functions) else "TestCase"
    parts = [f"class {name}(unittest.{base}):"]
    taken = {f.name for f in functions}
    for function in functions:
        prefix, wait = ("async ", "await ") if function.is_async else ("", "")
        width = len(str(len(function.calls)))
        for number, call in enumerate(function.calls, 1):
            method = function.name
            if len(function.calls) > 1:
                method = _free_name(f"{function.name}_{number:0{width}}", taken)
            parts.append(f"    {prefix}def {method}(self):\n        {wait}{call}\n")
    return "\n".join(parts)


def _checks(found: Sequence[Statement], entry_point: str | None, counts: Counter[str]) -> Iterator[str]:
    """Yield the body of a method for each assertion: after the data before it that it reads."""
    bound = (Part.DEFINITION, Part.DATA)
    names = mentioning((s for s in found if s.part in bound), entry_point) if entry_point else set[str]()
    data: list[Statement] = []
    for s in found:
        if s.part is Part.DATA:
            data.append(s)
        if s.part is not Part.CHECK:
            continue
        body, needs = [s], set(s.needs)
        for earlier in reversed(data):
            if earlier.binds & needs:
                body.insert(0, earlier)
                needs |= earlier.needs
        if entry_point is None or needs & names or any(mentions(part, entry_point) for part in body):
            yield "\n".join(ast.unparse(part.node) for part in body)
        else:
            counts["no_mention"] += 1


def _checks_class(bodies: Sequence[str], name: str) -> str:
    """Return a class with one method per assertion."""
    width = len(str(len(bodies)))
    parts = [f"class {name}(unittest.TestCase):"]
    for number, body in enumerate(bodies, 1):
        parts.append(f"    def test_assert_{number:0{width}}(self):\n{textwrap.indent(body, ' ' * 8)}\n")
    return "\n".join(parts)


def _statement(text: str) -> Statement:
    """Make the statement of a definition that is known to parse."""
    node = ast.parse(text).body[0]
    return Statement(
        node, text.rstrip(), Part.DEFINITION, frozenset(bound_names(node)), frozenset(free_names(node))
    )


def _free_name(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name
