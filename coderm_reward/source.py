"""Pure tools on Python source text that several stages share: safe parsing, identity up to formatting, names.

Nothing here executes anything. All of it works on text that a model wrote to break it.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator

from coderm_reward.types import content_hash

__all__ = [
    "MAX_SOURCE_CHARS",
    "FunctionNode",
    "bound_names",
    "free_calls",
    "free_names",
    "likely_entry_point",
    "normalised_id",
    "parse_or_line",
    "safe_parse",
    "strip_docstrings",
]

MAX_SOURCE_CHARS = 200_000
"""Longer source is never parsed in this process; it is treated as source that does not parse."""

FunctionNode = (ast.FunctionDef, ast.AsyncFunctionDef)


def parse_or_line(source: str) -> ast.Module | int:
    """Parse `source`, or return the 1-based line where Python gave up (1 where it does not say)."""
    if len(source) > MAX_SOURCE_CHARS:
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        return max(1, error.lineno or 1)
    except (ValueError, RecursionError, MemoryError, UnicodeError):
        return 1


def safe_parse(source: str) -> ast.Module | None:
    """Parse `source`; None for whatever Python cannot parse (also null bytes, surrogates, too deep)."""
    tree = parse_or_line(source)
    return tree if isinstance(tree, ast.Module) else None


def normalised_id(source: str) -> str:
    """Return a content hash that formatting and comments cannot change, nor docstrings unless read.

    Docstrings count where the source mentions `__doc__` or `getdoc`; source that does not parse is
    hashed as text.
    """
    tree = safe_parse(source)
    if tree is None:
        return content_hash("text", source)
    if "__doc__" not in source and "getdoc" not in source:
        strip_docstrings(tree)
    try:
        return content_hash("ast", ast.dump(tree))
    except (RecursionError, ValueError):  # nested too deep, or an integer too long to be written in decimal
        return content_hash("text", source)


def strip_docstrings(tree: ast.Module) -> None:
    """Remove docstrings in place; a body left empty gets `pass`."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body[:1] = [] if len(node.body) > 1 or isinstance(node, ast.Module) else [ast.Pass()]


def bound_names(*nodes: ast.AST) -> set[str]:
    """Return the names that these statements bind in their own scope (not inside functions and classes)."""
    return {name for node in _same_scope(nodes) for name in _binds(node)}


def free_names(*nodes: ast.AST) -> set[str]:
    """Return the names that these statements read from the scope they stand in, or from outside it.

    A name that a function or class binds for itself is not free. Statements nested too deep to follow
    give every name they read.
    """
    try:
        loads, _, inner = _scope(nodes)
        return loads | inner
    except RecursionError:
        return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def free_calls(tree: ast.Module) -> Counter[str]:
    """Count the calls of names that the module neither binds nor finds among the builtins."""
    free = free_names(*tree.body) - bound_names(*tree.body) - set(dir(builtins))
    calls = (n.func for n in ast.walk(tree) if isinstance(n, ast.Call))
    return Counter(f.id for f in calls if isinstance(f, ast.Name) and f.id in free)


def likely_entry_point(tests: Iterable[ast.Module]) -> str | None:
    """Return the free name that most test modules call, then the most often called; None without any.

    Where that is `Solution`, it is the method that the tests call most on its instances.
    """
    modules: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    methods: Counter[str] = Counter()
    for tree in tests:
        found = free_calls(tree)
        calls.update(found)
        modules.update(found.keys())
        if "Solution" in found:
            methods.update(_solution_calls(tree))
    if not calls:
        return None
    name = max(calls, key=lambda n: (modules[n], calls[n], n))
    if name == "Solution" and methods:
        return max(methods, key=lambda n: (methods[n], n))
    return name


def _solution_calls(tree: ast.Module) -> Iterator[str]:
    """Yield the methods called on `Solution()`, directly or through a variable or attribute holding it."""

    def is_instance(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Solution"

    def holder(node: ast.AST) -> str:
        return getattr(node, "id", "") or getattr(node, "attr", "")

    holders = {
        holder(target)
        for n in ast.walk(tree)
        if isinstance(n, ast.Assign) and is_instance(n.value)
        for target in n.targets
    }
    for n in ast.walk(tree):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute):
            owner = n.func.value
            if is_instance(owner) or (holder(owner) and holder(owner) in holders):
                yield n.func.attr


def _binds(node: ast.AST) -> Iterator[str]:
    """Yield the names that this one node binds, its children apart."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, (*FunctionNode, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.alias) and node.name != "*":
        yield node.asname or node.name.split(".")[0]
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def _same_scope(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Walk what is evaluated in the scope of `nodes`: of a function its decorators and defaults, no body."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, FunctionNode):
            stack += [*node.decorator_list, *_outer_parts(node.args), *filter(None, [node.returns])]
        elif isinstance(node, ast.Lambda):
            stack += _outer_parts(node.args)
        elif isinstance(node, ast.ClassDef):
            stack += [*node.decorator_list, *node.bases, *node.keywords]
        else:
            stack += ast.iter_child_nodes(node)


def _all_args(args: ast.arguments) -> list[ast.arg]:
    return [
        *args.posonlyargs,
        *args.args,
        *args.kwonlyargs,
        *filter(None, [args.vararg, args.kwarg]),
    ]


def _outer_parts(args: ast.arguments) -> list[ast.AST]:
    annotations = (arg.annotation for arg in _all_args(args))
    return [part for part in (*args.defaults, *args.kw_defaults, *annotations) if part is not None]


def _scope(nodes: Iterable[ast.AST]) -> tuple[set[str], set[str], set[str]]:
    """Return what this scope reads itself, what it binds, and what the scopes within it leave free."""
    loads: set[str] = set()
    stores: set[str] = set()
    shared: set[str] = set()
    inner: set[str] = set()
    for node in _same_scope(nodes):
        stores.update(_binds(node))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            loads.add(node.id)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            shared.update(node.names)
        elif isinstance(node, ast.ClassDef):
            own, bound, below = _scope(node.body)
            inner |= (own - bound) | below
        elif isinstance(node, (*FunctionNode, ast.Lambda)):
            body = [node.body] if isinstance(node, ast.Lambda) else node.body
            own, bound, below = _scope(body)
            inner |= (own | below) - bound - {arg.arg for arg in _all_args(node.args)}
    return loads, stores - shared, inner
