"""The unittest classes of a text, and which of their methods can run. Pure."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from coderm_reward.generation.statements import Statement
from coderm_reward.source import FunctionNode

__all__ = ["base_names", "can_run", "case_classes", "case_methods", "is_fixture", "is_test"]

_CASES = ("TestCase", "IsolatedAsyncioTestCase", "FunctionTestCase")


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
            bases = base_names(node)
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
                found.setdefault(node.name, can_run(node, bound=True))
        agenda += base_names(classes[current])
    return found


def base_names(node: ast.ClassDef) -> list[str]:
    """Return the last parts of the names of a class's bases."""
    return [getattr(base, "attr", getattr(base, "id", "")) for base in node.bases]


def _decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    called = [getattr(decorator, "func", decorator) for decorator in node.decorator_list]
    return {getattr(f, "attr", getattr(f, "id", "")) for f in called}


_MULTIPLIERS = {"data", "expand", "file_data", "fixture", "parameterized", "parametrize", "unpack"}


def is_test(node: ast.stmt) -> bool:
    """Whether pytest would take a definition for a test function or a class of tests, by its names."""
    if isinstance(node, ast.ClassDef):
        return node.name.startswith("Test") and any(
            is_test(n) for n in node.body if isinstance(n, FunctionNode)
        )
    return isinstance(node, FunctionNode) and node.name.startswith("test")


def is_fixture(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is a pytest fixture, whatever its name."""
    return "fixture" in _decorators(node)


def can_run(node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> bool:
    """Whether a test function, or with `bound` a method, can be called without arguments."""
    if _decorators(node) & _MULTIPLIERS:
        return False
    args = node.args
    required = len(args.posonlyargs) + len(args.args) - len(args.defaults)
    optional = args.vararg is not None or len(args.defaults) > 0
    if node.decorator_list:
        return True  # patch, given and their like bring arguments
    return required == bound or (bound and required == 0 and optional)
