"""Tests whose module level does nothing but import and define: they are inspected without being run.

Most tests are. Everything that is not on the short list here is left to inspection.py, which runs it.
"""

from __future__ import annotations

import ast
import sys
import types
from typing import Any

from .reading import is_main_guard
from .runner import TEST_MODULE
from .solution import SOLUTION_MODULES

__all__ = ["plain_methods"]

_UNITTEST = ("unittest", None)
_TEST_CASE = ("unittest", "TestCase")
_DECORATORS = ("classmethod", "staticmethod")


class _NotPlainError(Exception):
    """Says that the text has to be run."""


def plain_methods(tree: ast.Module, class_name: str | None) -> list[str] | None:
    """Return the `Class.method` names that unittest finds in a test text, of `class_name` if it is given.

    None: its module level does more than define, with names that it may not have, or a decorator could
    change what is found.
    """
    try:
        return _Reader(tree).methods(class_name)
    except (_NotPlainError, RecursionError):
        return None


class _Reader:
    """Reads a text top down, with what its names stand for so far."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._bound: dict[str, Any] = {}
        self._classes: dict[str, list[str]] = {}

    def methods(self, class_name: str | None) -> list[str]:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                _check_import(node)
        for statement in self._tree.body:
            self._statement(statement)
        return [
            f"{name}.{method}"
            for name, methods in self._classes.items()
            if class_name in (None, name)
            for method in methods
        ]

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                self._bind(alias.asname or top, (alias.name if alias.asname else top, None))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name != "*":  # of a solution: it has no names yet
                    self._bind(alias.asname or alias.name, (node.module, alias.name))
        elif isinstance(node, ast.ClassDef):
            self._bind(node.name, "class")
            self._classes[node.name] = self._test_class(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._bind(node.name, "function")
            _check_function(node)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(_constant_name(target, node.value), "constant")
        elif isinstance(node, ast.If) and is_main_guard(node) and not node.orelse:
            return
        elif not _is_idle(node):
            raise _NotPlainError

    def _bind(self, name: str, value: Any) -> None:
        if self._bound.setdefault(name, value) != value or _is_dunder(name) or name in _DECORATORS:
            raise _NotPlainError
        if value == "class" and name in self._classes:
            raise _NotPlainError  # the second one takes the place of the first

    def _test_class(self, node: ast.ClassDef) -> list[str]:
        if node.decorator_list or node.keywords or len(node.bases) != 1 or getattr(node, "type_params", None):
            raise _NotPlainError
        base = node.bases[0]
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
            stands_for = self._bound.get(base.value.id) == _UNITTEST and base.attr == "TestCase"
        else:
            stands_for = isinstance(base, ast.Name) and self._bound.get(base.id) == _TEST_CASE
        if not stands_for:
            raise _NotPlainError
        methods = set()
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                _check_function(statement)
                methods.add(statement.name)
            elif isinstance(statement, ast.Assign):
                names = {_constant_name(target, statement.value) for target in statement.targets}
                if any(name.startswith(("test", *_DECORATORS)) or _is_dunder(name) for name in names):
                    raise _NotPlainError
            elif not _is_idle(statement):
                raise _NotPlainError
        return sorted(name for name in methods if name.startswith("test"))


def _check_import(node: ast.Import | ast.ImportFrom) -> None:
    """Raises _NotPlainError unless the import brings what is there already, or a name of the solution."""
    if isinstance(node, ast.Import):
        here = all(alias.name in SOLUTION_MODULES or _module(alias.name) for alias in node.names)
    elif node.level or node.module is None:
        here = False
    elif node.module in SOLUTION_MODULES:
        here = not any(_is_dunder(alias.name) for alias in node.names)
    else:
        module = _module(node.module)
        here = module is not None and all(alias.name in vars(module) for alias in node.names)
    if not here:
        raise _NotPlainError


def _module(name: str) -> types.ModuleType | None:
    """The module of this name that is there already; an earlier test's may be, but not for this one."""
    return None if name == TEST_MODULE else sys.modules.get(name)


def _check_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Raises _NotPlainError if defining it could do anything else."""
    arguments = node.args
    all_arguments = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    all_arguments += [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    defaults = [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]
    for decorator in node.decorator_list:
        known = isinstance(decorator, ast.Name) and decorator.id in _DECORATORS
        if not known or node.name.startswith("test"):
            raise _NotPlainError
    annotated = node.returns is not None or any(argument.annotation for argument in all_arguments)
    if annotated or _is_dunder(node.name) or node.name in _DECORATORS or getattr(node, "type_params", None):
        raise _NotPlainError
    if not all(map(_is_literal, defaults)):
        raise _NotPlainError


def _constant_name(target: ast.expr, value: ast.expr) -> str:
    """The name that an assignment binds to a literal."""
    if not isinstance(target, ast.Name) or not _is_literal(value):
        raise _NotPlainError
    return target.id


def _is_literal(node: ast.expr) -> bool:
    """Whether evaluating this makes a plain value and cannot fail."""
    if isinstance(node, ast.Tuple | ast.List):
        return all(map(_is_literal, node.elts))
    if isinstance(node, ast.Dict):
        keys = all(isinstance(key, ast.Constant) for key in node.keys)
        return keys and all(map(_is_literal, node.values))
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_number(node.operand)
    return isinstance(node, ast.Constant)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_idle(node: ast.stmt) -> bool:
    """A docstring, or nothing at all."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _is_dunder(name: str) -> bool:
    return name.startswith("__")
