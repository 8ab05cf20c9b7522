"""The top-level statements of a test text, each with its source, its names and its part in the test. Pure."""

from __future__ import annotations

import ast
import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from coderm_reward.generation.placeholders import remove_stand_ins
from coderm_reward.source import FunctionNode, bound_names, free_names

__all__ = ["Part", "Statement", "mentioning", "mentions", "names_read", "statements"]


class Part(enum.Enum):
    """What a top-level statement is for."""

    IMPORT = enum.auto()
    DEFINITION = enum.auto()
    DATA = enum.auto()
    """Binds or fills module-level names; kept where a kept definition reads one of them."""
    CHECK = enum.auto()
    """An assertion outside any function, or a call of a helper that asserts."""
    RUNNER = enum.auto()
    """Runs tests, or depends on such a run; never kept."""
    LOOSE = enum.auto()
    """Prints, reads stdin, calls something, adds test methods to a class; never kept."""


class Statement(msgspec.Struct, frozen=True):
    """A top-level statement; `text` is its source with the comments above it."""

    node: ast.stmt
    text: str
    part: Part
    binds: frozenset[str]
    """Names it binds; for DATA also those of the objects it fills."""
    needs: frozenset[str]


def statements(
    source: str, tree: ast.Module, entry_point: str | None, counts: Counter[str]
) -> list[Statement]:
    """Split a parsed text, without stand-ins for the code under test (see generation.placeholders).

    A statement that had to be changed gets new source, which loses its inner comments. `tree` is consumed.
    """
    texts = _texts(source, tree)
    found: list[Statement] = []
    tainted: set[str] = set()
    checkers = {
        n.name
        for n in tree.body
        if isinstance(n, FunctionNode) and any(isinstance(s, ast.Assert) for s in ast.walk(n))
    }
    left = remove_stand_ins(tree.body, entry_point, counts)
    for text, (nodes, changed) in zip(texts, left, strict=True):
        for node in nodes:
            binds, needs = bound_names(node), free_names(node)
            part = _part(node, needs, tainted, checkers)
            if part is Part.RUNNER:
                tainted |= binds
            elif part is Part.DATA:
                binds |= set(_filled(node))
            source_text = ast.unparse(ast.fix_missing_locations(node)) if changed else text
            found.append(Statement(node, source_text, part, frozenset(binds), frozenset(needs)))
    return found


def mentions(statement: Statement, entry_point: str) -> bool:
    """Whether a statement reads the function under test, as a method of some object too."""
    attributes = (n.attr for n in ast.walk(statement.node) if isinstance(n, ast.Attribute))
    return entry_point in statement.needs or entry_point in attributes


def mentioning(found: Iterable[Statement], entry_point: str) -> set[str]:
    """Return the names bound by statements that mention the function under test, directly or not."""
    found = list(found)
    readers: dict[str, list[Statement]] = {}
    for s in found:
        for name in s.needs:
            readers.setdefault(name, []).append(s)
    names: set[str] = set()
    agenda = [s for s in found if mentions(s, entry_point)]
    while agenda:
        for name in agenda.pop().binds - names:
            names.add(name)
            agenda += readers.get(name, ())
    return names


def names_read(names: Iterable[str], found: Iterable[Statement]) -> set[str]:
    """Return the names that the statements binding `names` read, directly or through others of `found`."""
    binders: dict[str, list[Statement]] = {}
    for s in found:
        for name in s.binds:
            binders.setdefault(name, []).append(s)
    read: set[str] = set()
    agenda = list(names)
    while agenda:
        new = {name for s in binders.pop(agenda.pop(), ()) for name in s.needs} - read
        read |= new
        agenda += new
    return read


def _texts(source: str, tree: ast.Module) -> list[str]:
    """Return the source of each top-level statement; by unparsing where two share a line."""
    lines = source.split("\n")
    texts = []
    end = 0
    starts = [min([n.lineno, *(d.lineno for d in getattr(n, "decorator_list", []))]) for n in tree.body]
    for i, node in enumerate(tree.body):
        last = node.end_lineno or node.lineno
        shared = starts[i] <= end or (i + 1 < len(starts) and starts[i + 1] <= last)
        above = [line for line in lines[end : starts[i] - 1] if line.lstrip().startswith("#")]
        own = [ast.unparse(node)] if shared else lines[starts[i] - 1 : last]
        texts.append("\n".join([*above, *own]))
        end = max(end, last)
    return texts


_RUNNERS = {
    "TextTestRunner",
    "TextTestResult",
    "TestLoader",
    "TestSuite",
    "defaultTestLoader",
    "loadTestsFromModule",
    "loadTestsFromTestCase",
    "makeSuite",
}
_FILLERS = {"add", "append", "extend", "insert", "seed", "setdefault", "setrecursionlimit", "sort", "update"}


def _part(node: ast.stmt, needs: set[str], tainted: set[str], checkers: set[str]) -> Part:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return Part.IMPORT
    if isinstance(node, (*FunctionNode, ast.ClassDef)):
        return Part.DEFINITION
    inner = list(ast.walk(node))
    names = {getattr(n, "attr", getattr(n, "id", "")) for n in inner}
    if "__name__" in needs or needs & tainted or names & _RUNNERS or _calls_main(node):
        return Part.RUNNER
    if "stdin" in names or "input" in needs or _adds_test(inner):
        return Part.LOOSE
    call = getattr(node, "value", None) if isinstance(node, ast.Expr) else None
    called = getattr(getattr(call, "func", None), "id", "")
    if called.startswith("test") and isinstance(call, ast.Call) and not (call.args or call.keywords):
        return Part.RUNNER
    if any(isinstance(n, ast.Assert) for n in inner) or called in checkers:
        return Part.CHECK
    if isinstance(node, ast.Expr):
        return Part.DATA if any(True for _ in _filled(node)) else Part.LOOSE
    binding = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If, ast.Try, ast.For, ast.While, ast.With)
    return Part.DATA if isinstance(node, binding) else Part.LOOSE


def _adds_test(nodes: Sequence[ast.AST]) -> bool:
    """Whether any node gives a class a test method from outside, whose name only running it would tell."""
    return any(
        (isinstance(n, ast.Call) and getattr(n.func, "id", "") == "setattr")
        or (isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and n.attr.startswith("test"))
        for n in nodes
    )


def _calls_main(node: ast.stmt) -> bool:
    func = getattr(getattr(node, "value", None), "func", None)
    return isinstance(func, ast.Attribute) and func.attr == "main"


def _filled(node: ast.stmt) -> Iterator[str]:
    """Yield the names whose objects a statement changes: `x[0] = 1`, `x.append(1)`, `random.seed(0)`."""
    for n in ast.walk(node):
        if isinstance(n, (ast.Subscript, ast.Attribute)) and isinstance(n.ctx, ast.Store):
            owner: ast.AST = n.value
        elif isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in _FILLERS:
            owner = n.func.value
        else:
            continue
        while isinstance(owner, (ast.Attribute, ast.Subscript)):
            owner = owner.value
        if isinstance(owner, ast.Name):
            yield owner.id
