"""May a test leave its process to the next one? Read from its syntax tree; `False` is only slower.

A test text runs in a namespace of its own, so what counts is what else the interpreter holds: modules,
builtins, warnings, random state, environment, threads. A test that sets something in the solution, or
hands it a function or class of its own, leaves a trace too, wherever the solution runs.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from typing import Any

from .known import HIDDEN_ATTRIBUTES, METHODS, REFUSED_BUILTINS, SOLUTIONS, STARS, TEST_MEMBERS
from .reading import Reading, Scope, Use

__all__ = ["read_traces", "test_is_traceless"]

_REFUSED = REFUSED_BUILTINS - {"getattr", "id", "memoryview"}
_DUNDERS = METHODS | {"__name__", "__doc__", "__class__", "__qualname__", "__module__", "__annotations__"}
# Context managers that put back what they change; as anything else they may not.
_RESTORING = ("unittest.mock.patch", "contextlib.redirect_stdout", "contextlib.redirect_stderr")
_STREAM_METHODS = {"getvalue", "write", "flush"}
# Called for a value, these give a new object that nothing else holds.
_NEW = {
    *(
        f"unittest.mock.{name}"
        for name in ("Mock", "MagicMock", "AsyncMock", "NonCallableMock", "PropertyMock")
    ),
    *("io.StringIO", "io.BytesIO", "types.SimpleNamespace"),
}
_BUILTINS = frozenset(vars(builtins))
_LOUD_IMPORTS = {"this", "antigravity", "idlelib", "turtle", "__hello__", "__phello__"}


Handed = tuple[tuple[str, ...], ...]
"""Calls that hand the solution something of its own, each as names without which there is no call."""


def test_is_traceless(tree: ast.Module) -> bool:
    """Whether running the text and its test classes leaves the interpreter as it was. Never raises."""
    return read_traces(tree) == (True, ())


def read_traces(tree: ast.Module) -> tuple[bool, Handed]:
    """Return whether the text leaves no trace if the solution lacks a name of each of these calls.

    Never raises.
    """
    try:
        test = _Test(tree)
        clean = next(test.traces(), None) is None
    except RecursionError:
        return False, ()
    return clean, tuple(dict.fromkeys(test.handed)) if clean else ()


class _Test:
    def __init__(self, tree: ast.Module) -> None:
        self.reading = Reading(tree)
        self.handed: list[tuple[str, ...]] = []

    def traces(self) -> Iterator[str]:
        reading = self.reading
        for name in reading.stars:
            if name not in SOLUTIONS | STARS:
                yield f"takes everything from {name}"
        for scope in reading.scopes:
            for found in scope.imported.values():
                yield from (f"imports {module}" for module, _ in found if not _is_silent(module))
            if scope.kind == "class" and "__del__" in scope.bound:
                yield "defines __del__"
        for use in reading.uses:
            reason = self._use(use)
            if reason:
                yield reason

    def _use(self, use: Use) -> str:
        name, attributes, role, node, scope = use
        for attribute in attributes:
            dunder = attribute.startswith("__") and attribute.endswith("__")
            if attribute in HIDDEN_ATTRIBUTES or (dunder and attribute not in _DUNDERS):
                return f"uses .{attribute}"
        owner = self.reading.owner(name, scope) if name else None
        if owner is not None and name in owner.imported:
            return next(filter(None, (self._imported(use, *found) for found in owner.imported[name])), "")
        if role == "store":
            return (
                "" if self._is_own(name, attributes, owner) else f"sets an attribute of {name or 'a value'}"
            )
        if owner is None and name in _REFUSED:
            return f"uses {name}"
        if owner is None and name and role == "substore":
            return f"changes {name}"
        return self._handed_back(name, role, node, scope)

    def _handed_back(self, name: str, role: str, node: Any, scope: Scope) -> str:
        """A function or class of the solution that a call to it is given could be marked by it."""
        if role != "call" or not self._is_foreign(name, scope):
            return ""
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        names = [arg.id for arg in given if isinstance(arg, ast.Name) and self._is_foreign(arg.id, scope)]
        if names and all(self.reading.owner(one, scope) is None for one in (name, *names)):
            self.handed.append((name, *names))
            return ""
        return f"hands {names[0]} back to the solution" if names else ""

    def _imported(self, use: Use, module: str, member: str) -> str:
        name, attributes, role, node, scope = use
        if role in ("store", "substore"):
            return f"sets something in {name}"
        path = (member, *attributes) if member else attributes
        if module in SOLUTIONS:
            return self._handed_back(name, role, node, scope)
        while path and f"{module}.{path[0]}" in TEST_MEMBERS:
            module, path = f"{module}.{path[0]}", path[1:]
        if not path or path[0] not in TEST_MEMBERS.get(module, ()):
            return f"uses {'.'.join((module, *path))}"
        full = f"{module}.{path[0]}"
        if full in _RESTORING and not (role in ("with", "decorator") and isinstance(node, ast.Call)):
            return f"uses {full} other than as a block or decorator"
        if full in ("sys.stdout", "sys.stderr") and path[1:2] and path[1] not in _STREAM_METHODS:
            return f"uses {'.'.join((module, *path))}"
        return ""

    def _is_foreign(self, name: str, scope: Scope) -> bool:
        """Whether a name is the solution's: imported from it, or bound nowhere in the text."""
        if not name or name == "super()":
            return False
        owner = self.reading.owner(name, scope)
        if owner is None:
            return name not in _BUILTINS
        found = self.reading.import_of(name, owner)
        return found is not None and found[0] in SOLUTIONS

    def _is_own(self, name: str, attributes: tuple[str, ...], owner: Scope | None) -> bool:
        """Whether an attribute is set on self, on a class of the text, or on an object it made itself."""
        if owner is None or not name or name in self.reading.rebound:
            return False
        if not all(self._is_new_attribute(attribute) for attribute in attributes[:-1]):
            return False
        if name in owner.opaque:
            return _is_class_parameter(name, owner)
        if name == owner.first or name in owner.classes:
            return True
        made = owner.made.get(name, ())
        return bool(made) and all(self._makes_new(func, owner) for func in made)

    def _is_new_attribute(self, attribute: str) -> bool:
        made = self.reading.made_attributes.get(attribute, ())
        kept = attribute in self.reading.kept_attributes
        return not kept and all(self._makes_new(func, self.reading.module) for func in made)

    def _makes_new(self, func: ast.expr, scope: Scope) -> bool:
        if isinstance(func, ast.Name):
            owner = self.reading.owner(func.id, scope)
            if owner is None:
                return func.id[:1].isupper()
            found = self.reading.import_of(func.id, owner)
            if found is None:
                return func.id in owner.classes and func.id not in owner.opaque
            return func.id[:1].isupper() if found[0] in SOLUTIONS else ".".join(found) in _NEW
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
            found = self.reading.import_of(func.value.id, self.reading.owner(func.value.id, scope))
            if found is None:
                return False
            if found[0] in SOLUTIONS:
                return func.attr[:1].isupper()
            return ".".join((*filter(None, found), func.attr)) in _NEW
        return False


def _is_silent(module: str) -> bool:
    """Whether an import, as such, does nothing but bind a name."""
    top = module.split(".")[0]
    if top in SOLUTIONS or top == "numpy":
        return True
    return top in sys.stdlib_module_names and top not in _LOUD_IMPORTS


def _is_class_parameter(name: str, owner: Scope) -> bool:
    """Whether this is `cls` in a class method of the text."""
    node: Any = owner.node
    if owner.kind != "function" or isinstance(node, ast.Lambda) or owner.parent is None:
        return False
    marks = {mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)}
    first = node.args.args[:1]
    return owner.parent.kind == "class" and "classmethod" in marks and bool(first) and first[0].arg == name
