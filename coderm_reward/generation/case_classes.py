"""The test classes of a text: recognised, or made of pytest functions and bare assertions. Pure."""

from __future__ import annotations

import ast
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from coderm_reward.generation.statements import Part, Statement
from coderm_reward.source import FunctionNode, free_names, safe_parse

__all__ = ["case_classes", "case_methods", "with_cases"]

_CASES = ("TestCase", "IsolatedAsyncioTestCase", "FunctionTestCase")


def with_cases(found: Sequence[Statement], entry_point: str | None, counts: Counter[str]) -> list[Statement]:
    """Return the statements with a test class in any case where the text holds tests of another style.

    A pytest class becomes a TestCase. Where there is no class at all, test functions get one method each
    that calls them, and assertions outside functions one method each. Of classes with the same name only
    the last is kept, as Python would. Counts `repaired_pytest`, `repaired_asserts`, `superseded` and, for
    such assertions, `no_mention`.
    """
    last = {s.node.name: s for s in found if isinstance(s.node, ast.ClassDef)}
    kept = [s for s in found if not isinstance(s.node, ast.ClassDef) or last[s.node.name] is s]
    counts["superseded"] += len(found) - len(kept)
    if case_classes(kept):
        return kept
    converted = [_from_pytest_class(s) for s in kept]
    changed = sum(new is not old for new, old in zip(converted, kept, strict=True))
    counts["repaired_pytest"] += changed
    if changed:
        return converted
    taken = {name for s in kept for name in s.binds | s.needs}
    functions = [s.node for s in kept if isinstance(s.node, FunctionNode) and _is_test_function(s.node)]
    if functions:
        counts["repaired_pytest"] += len(functions)
        kept.append(_statement(_functions_class(functions, _free_name("TestFunctions", taken))))
    data: list[Statement] = []
    bodies: list[tuple[str, set[str]]] = []
    for s in kept:
        if s.part is Part.CHECK:
            bodies.append(_check_body(s, data))
        elif s.part is Part.DATA:
            data.append(s)
    checks = [code for code, names in bodies if entry_point is None or entry_point in names]
    counts["no_mention"] += len(bodies) - len(checks)
    if checks:
        counts["repaired_asserts"] += len(checks)
        kept.append(_statement(_checks_class(checks, _free_name("TestAsserts", taken))))
    return kept


def case_classes(found: Sequence[Statement]) -> dict[str, ast.ClassDef]:
    """Return the classes that are unittest test cases, through an alias or another class of the text too."""
    names = {
        alias.asname
        for s in found
        if isinstance(s.node, ast.ImportFrom)
        for alias in s.node.names
        if alias.name in _CASES and alias.asname
    }
    classes = {s.node.name: s.node for s in found if isinstance(s.node, ast.ClassDef)}
    cases: dict[str, ast.ClassDef] = {}
    size = -1
    while size < len(cases):
        size = len(cases)
        for name, node in classes.items():
            bases = _base_names(node)
            if any(base in _CASES or base in names or base in cases for base in bases):
                cases[name] = node
    return cases


def case_methods(name: str, classes: Mapping[str, ast.ClassDef]) -> dict[str, bool]:
    """Return a class's test methods, inherited ones within the text included: name -> whether it can run.

    A method cannot run that takes arguments which nothing gives it, or whose real name only a decorator
    such as `parameterized.expand` knows.
    """
    found: dict[str, bool] = {}
    agenda, seen = [name], set[str]()
    while agenda:
        current = agenda.pop(0)
        if current in seen or current not in classes:
            continue
        seen.add(current)
        for node in classes[current].body:
            if isinstance(node, FunctionNode) and node.name.startswith("test"):
                found.setdefault(node.name, _can_run(node, bound=True))
        agenda += _base_names(classes[current])
    return found


def _base_names(node: ast.ClassDef) -> list[str]:
    return [getattr(base, "attr", getattr(base, "id", "")) for base in node.bases]


_MULTIPLIERS = {"data", "expand", "file_data", "fixture", "parameterized", "parametrize", "unpack"}


def _can_run(node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> bool:
    called = [getattr(decorator, "func", decorator) for decorator in node.decorator_list]
    if any(getattr(f, "attr", getattr(f, "id", "")) in _MULTIPLIERS for f in called):
        return False
    args = node.args
    required = len(args.posonlyargs) + len(args.args) - len(args.defaults)
    optional = args.vararg is not None or len(args.defaults) > 0
    if node.decorator_list:
        return True  # patch, given and their like bring arguments
    return required == bound or (bound and required == 0 and optional)


def _is_test_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.name.startswith("test") and _can_run(node, bound=False)


_SETUP = re.compile(r"def (setup|teardown)_method\(self[^)]*\)")


def _from_pytest_class(statement: Statement) -> Statement:
    """Return a pytest class as a TestCase, changed in its text alone; anything else as it is."""
    node = statement.node
    if not isinstance(node, ast.ClassDef) or not node.name.startswith("Test") or node.keywords:
        return statement
    methods = [n for n in node.body if isinstance(n, FunctionNode)]
    if not any(n.name.startswith("test") and _can_run(n, bound=True) for n in methods):
        return statement
    if any(base != "object" for base in _base_names(node)) or any(n.name == "__init__" for n in methods):
        return statement
    header = re.compile(rf"^class[ \t]+{node.name}[ \t]*(?:\([ \t\w]*\))?[ \t]*:", re.MULTILINE)
    text, found = header.subn(f"class {node.name}(unittest.TestCase):", statement.text, count=1)
    text = _SETUP.sub(lambda m: f"def {'setUp' if m[1] == 'setup' else 'tearDown'}(self)", text)
    return _statement(text) if found and safe_parse(text) is not None else statement


def _functions_class(functions: Sequence[ast.FunctionDef | ast.AsyncFunctionDef], name: str) -> str:
    """Return a class with one method per test function that calls it."""
    is_async = any(isinstance(f, ast.AsyncFunctionDef) for f in functions)
    base = "IsolatedAsyncioTestCase" if is_async else "TestCase"
    parts = [f"class {name}(unittest.{base}):"]
    for function in {f.name: f for f in functions}.values():
        prefix, wait = ("async ", "await ") if isinstance(function, ast.AsyncFunctionDef) else ("", "")
        parts.append(f"    {prefix}def {function.name}(self):\n        {wait}{function.name}()\n")
    return "\n".join(parts)


def _check_body(check: Statement, data: Sequence[Statement]) -> tuple[str, set[str]]:
    """Return an assertion after the data before it that it reads, and the names that all this reads."""
    body = [check]
    needs = set(check.needs)
    for earlier in reversed(data):
        if earlier.binds & needs:
            body.insert(0, earlier)
            needs |= earlier.needs
    return "\n".join(ast.unparse(s.node) for s in body), needs


def _checks_class(bodies: Sequence[str], name: str) -> str:
    """Return a class with one method per assertion."""
    width = len(str(len(bodies)))
    parts = [f"class {name}(unittest.TestCase):"]
    for number, body in enumerate(bodies, 1):
        parts.append(f"    def test_assert_{number:0{width}}(self):\n{textwrap.indent(body, ' ' * 8)}\n")
    return "\n".join(parts)


def _statement(text: str) -> Statement:
    """Make the statement of a class definition that is known to parse."""
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.ClassDef)
    return Statement(
        node, text.rstrip(), Part.DEFINITION, frozenset({node.name}), frozenset(free_names(node))
    )


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
