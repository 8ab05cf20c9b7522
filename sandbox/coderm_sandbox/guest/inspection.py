"""Judge a test text without any solution: is it a test at all, and which methods does it have?

A text that only imports and defines is read (plaintests.py). Any other is executed, with a stand-in
for every name it does not define. As soon as it touches a stand-in there is contact with a solution,
nothing more can be said without one, and its methods are read from the syntax tree instead.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import types
import unittest
from typing import Any

from . import guard
from .judgedtest import REMEMBERED_CHARACTERS, read_text
from .plaintests import plain_methods
from .runner import TEST_MODULE, test_classes
from .sites import vote_counts
from .solution import SOLUTION_MODULES, UNREADABLE, describe

__all__ = ["inspect_plain_test", "inspect_test"]


class Contact(BaseException):
    """Raised when a test text uses the solution while it is being loaded."""


class _StandIn:
    """What an unknown name is bound to: can be passed around, and nothing else."""

    def _contact(self, *args: Any, **kwargs: Any) -> Any:
        raise Contact

    __call__ = __getattr__ = __getitem__ = __iter__ = __len__ = __bool__ = __eq__ = __ne__ = _contact
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __mro_entries__ = __enter__ = _contact
    __hash__ = object.__hash__


class _SolutionModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn()


def _missing_import(tree: ast.Module) -> str | None:
    """The first module imported outside any `try` that this interpreter does not have."""
    guarded = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            if top in SOLUTION_MODULES or top in sys.modules:
                continue
            try:
                found = importlib.util.find_spec(top)
            except (ImportError, ValueError):
                found = None
            if found is None:
                return name
    return None


def _unknown_names(tree: ast.Module) -> set[str]:
    """Names the text reads and neither binds at any level nor finds among the builtins."""
    read: set[str] = set()
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    return read - bound


def _methods_in_tree(tree: ast.Module, class_name: str | None) -> list[str]:
    """`Class.method` of every class with test methods, from the text alone."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and class_name in (None, node.name):
            names = [
                item.name for item in node.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))
            ]
            found += [f"{node.name}.{name}" for name in sorted(names) if name.startswith("test")]
    return found


def _methods_of_classes(classes: list[type]) -> tuple[list[str], list[str]]:
    """(methods, those among them that a decorator skips), as unittest's own loader orders them."""
    methods: list[str] = []
    skipped: list[str] = []
    for cls in classes:
        for name in unittest.defaultTestLoader.getTestCaseNames(cls):
            key = f"{cls.__name__}.{name}"
            methods.append(key)
            if any(getattr(place, "__unittest_skip__", False) for place in (cls, getattr(cls, name))):
                skipped.append(key)
    return methods, skipped


def inspect_plain_test(source: str, class_name: str | None, votes: bool = False) -> dict[str, Any] | None:
    """Return what `inspect_test` would without running anything; None if that cannot be said."""
    if len(source) > REMEMBERED_CHARACTERS:
        return None
    try:
        tree = ast.parse(source)
        compile(tree, "<test>", "exec", dont_inherit=True)
    except UNREADABLE:
        return None
    methods = plain_methods(tree, class_name)
    return None if methods is None else _found(source, methods, [], votes)


def inspect_test(source: str, class_name: str | None, votes: bool = False) -> dict[str, Any]:
    """Return {ok, why, methods, skipped, votes} for one test text; runs its module level, no method.

    `votes` asks how many votes each method has where its assertions vote; else there are none.
    """
    try:
        tree = ast.parse(source)
        code = compile(source, "<test>", "exec", dont_inherit=True)
    except UNREADABLE as error:
        return _no(f"does not compile ({describe(error)})")
    missing = _missing_import(tree)
    if missing is not None:
        return _no(f"imports {missing}, which the sandbox interpreter does not have")
    namespace: dict[str, Any] = {"__name__": TEST_MODULE}
    namespace.update((name, _StandIn()) for name in _unknown_names(tree))
    for name in SOLUTION_MODULES:
        sys.modules[name] = _SolutionModule(name)
    skipped: list[str] = []
    try:
        exec(code, namespace)
        methods, skipped = _methods_of_classes(test_classes(namespace, class_name))
    except Contact:
        methods = _methods_in_tree(tree, class_name)
    except BaseException as error:  # noqa: BLE001  (a test text can raise anything, SystemExit too)
        return _no(f"cannot be loaded ({describe(error)})")
    if not (guard.unittest_intact() and guard.builtins_intact()):
        return _no("changes unittest or the builtins")
    return _found(source, methods, skipped, votes)


def _no(why: str) -> dict[str, Any]:
    return {"ok": False, "why": why, "methods": [], "skipped": [], "votes": []}


def _found(source: str, methods: list[str], skipped: list[str], votes: bool) -> dict[str, Any]:
    if not methods:
        return _no("has no test method")
    if len(skipped) == len(methods):
        return _no("skips all its test methods")
    counts = _vote_counts(source, methods) if votes else []
    return {"ok": True, "why": "", "methods": methods, "skipped": skipped, "votes": counts}


def _vote_counts(source: str, methods: list[str]) -> list[int]:
    reading = read_text(source, soft=True) if len(source) <= REMEMBERED_CHARACTERS else None
    return vote_counts({} if reading is None else reading.sites, methods)
