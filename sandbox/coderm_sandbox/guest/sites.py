"""Where the methods of a test assert: the votes of a soft run, found in the text alone.

A vote is a place in a test method, not one execution of it, so that every solution has the same votes:
- an `assert`, or a call of something named `assert...` or `fail` that stands as a statement of its own;
- such a call of a function of the text that asserts itself (`self.check(1, 2)`);
- a block of `with self.assertRaises(...)` and its like, and a `try` with handlers that asserts, as a whole.
Loops, `if`, `match`, `subTest` and other blocks are looked into; functions inside a method are not. A
method without any such place, or one that is expected to fail, has a single vote: its own verdict.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterable
from typing import Any, NamedTuple

from .solution import UNREADABLE

__all__ = ["RECORDER", "Site", "Softened", "soften", "vote_counts"]

RECORDER = "__vote__"
"""The name under which a rewritten text finds the recorder of its votes."""
_MOST = 256
_SWALLOWS = {"suppress", "raises", "warns"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_TRIES: tuple[type[ast.stmt], ...] = (ast.Try, getattr(ast, "TryStar", ast.Try))
_BLOCKS = (*_LOOPS, *_TRIES, ast.If, ast.With, ast.AsyncWith)


class Site(NamedTuple):
    """A place that votes: its number in the text, and whether a loop may come by it again."""

    number: int
    repeats: bool


class Softened(NamedTuple):
    """A text whose assertions tell the recorder what came of them, and the sites of its methods."""

    code: types.CodeType
    sites: dict[str, tuple[Site, ...]]
    """By `Class.method`, in the order of the text; methods without any are left out."""


def vote_counts(sites: dict[str, tuple[Site, ...]], methods: Iterable[str]) -> list[int]:
    """How many votes each of these methods has: at least one."""
    return [max(1, len(sites.get(method, ()))) for method in methods]


def soften(tree: ast.Module) -> Softened | None:
    """Rewrite the tree, in place, so that it records; None if that cannot be compiled."""
    rewriter = _Rewriter(tree)
    sites = rewriter.classes(tree)
    try:
        return Softened(compile(ast.fix_missing_locations(tree), "<test>", "exec", dont_inherit=True), sites)
    except UNREADABLE:  # nested too deeply now
        return None


class _Rewriter:
    def __init__(self, tree: ast.Module) -> None:
        self._next = 0
        self._helpers = _helpers([node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)])
        self._sites: list[Site] = []

    def classes(self, tree: ast.Module) -> dict[str, tuple[Site, ...]]:
        """Rewrite the test methods of all classes; return their sites, inherited ones included."""
        known: dict[str, dict[str, tuple[Site, ...]]] = {}
        for node in tree.body:
            if not isinstance(node, ast.ClassDef):
                continue
            found: dict[str, tuple[Site, ...]] = {}
            for base in reversed(node.bases):
                found.update(known.get(base.id, {}) if isinstance(base, ast.Name) else {})
            for item in node.body:
                if isinstance(item, _FUNCTIONS) and item.name.startswith("test"):
                    exempt = _expects_failure(node) or _expects_failure(item)
                    found[item.name] = () if exempt else self._method(item)
            known[node.name] = found
        return {f"{name}.{key}": s for name, found in known.items() for key, s in found.items() if s}

    def _method(self, method: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[Site, ...]:
        self._sites = []
        method.body = self._block(method.body, False)
        return tuple(self._sites)

    def _block(self, body: list[Any], repeats: bool) -> list[Any]:
        return [self._statement(node, repeats) for node in body]

    def _statement(self, node: ast.stmt, repeats: bool) -> ast.stmt:
        if self._votes(node):
            return self._recorded(node, repeats)
        if isinstance(node, _TRIES) and getattr(node, "handlers", None):
            return node  # what is caught inside is no vote
        if isinstance(node, (ast.With, ast.AsyncWith)) and _names(node) & _SWALLOWS:
            return node
        if isinstance(node, ast.Match):
            for case in node.cases:
                case.body = self._block(case.body, repeats)
        elif isinstance(node, _BLOCKS):
            again = repeats or isinstance(node, _LOOPS)
            for field, inside in (("body", again), ("orelse", repeats), ("finalbody", repeats)):
                if getattr(node, field, None):
                    setattr(node, field, self._block(getattr(node, field), inside))
        return node

    def _votes(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Expr):
            value = node.value.value if isinstance(node.value, ast.Await) else node.value
            return _asserts(_called(value)) or _called(value) in self._helpers
        if isinstance(node, (ast.With, ast.AsyncWith)):
            names = _names(node)
            return any(map(_asserts, names)) or bool(names & _SWALLOWS and _contains_assertion(node))
        return (
            isinstance(node, _TRIES) and bool(getattr(node, "handlers", None)) and _contains_assertion(node)
        )

    def _recorded(self, node: ast.stmt, repeats: bool) -> ast.stmt:
        if len(self._sites) == _MOST:
            return node
        self._sites.append(Site(self._next, repeats))
        call = ast.Call(ast.Name(RECORDER, ast.Load()), [ast.Constant(self._next)], [])
        self._next += 1
        block = ast.With([ast.withitem(call)], [node])
        ast.copy_location(call, node)
        return ast.copy_location(block, node)


def _helpers(functions: list[Any]) -> set[str]:
    """Names of the functions that assert, by themselves or by a call of another one."""
    called = {node.name: {_called(one) for one in ast.walk(node)} for node in functions}
    found = {node.name for node in functions if _contains_assertion(node)}
    grown = True
    while grown:
        more = {name for name, names in called.items() if names & found} - found
        found |= more
        grown = bool(more)
    return found


def _called(node: Any) -> str:
    """The last name of what is called: `c` of `a.b.c(...)`; "" for anything else."""
    func = node.func if isinstance(node, ast.Call) else None
    if isinstance(func, ast.Attribute):
        return func.attr
    return func.id if isinstance(func, ast.Name) else ""


def _asserts(name: str) -> bool:
    return name.startswith("assert") or name == "fail"


def _names(node: ast.With | ast.AsyncWith) -> set[str]:
    return {_called(item.context_expr) for item in node.items}


def _contains_assertion(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Assert) or _asserts(_called(one)) for one in ast.walk(node))


def _expects_failure(node: Any) -> bool:
    return any("expectedFailure" in ast.dump(decorator) for decorator in node.decorator_list)
