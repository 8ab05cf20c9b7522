"""Imports of the code under test by a made-up name, and copies of it in the test: both go. Pure.

A test must judge the rollout's function. Models import it from `your_module`, or paste a solution beside
the test; kept, the first would fail on every rollout and the second would pass on every one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from coderm_reward.source import FunctionNode

__all__ = ["remove_stand_ins"]

_NOUN = r"(?:module|solution|function|code|file|script|implementation|submission)s?"
_MADE_UP = re.compile(
    rf"(?:your|my|the|our|some)_\w+|your\w*|(?:my|\w+_)?{_NOUN}(?:_?name|_to_test|_under_test)?"
    r"|main|__main__|answer|candidate|program|src|app",
    re.IGNORECASE,
)
_PACKAGE = re.compile(
    r"absl|aiohttp|attrs?|bs4|cachetools|click|cryptography|dateutil|ddt|django|faker|flask|freezegun|gmpy2|httpx"
    r"|hypothesis|jax|jsonschema|lxml|matplotlib|mock|more_itertools|mpmath|networkx|nltk|nose|numba|numpy|orjson"
    r"|pandas|parameterized|PIL|psutil|pydantic|pytest|pytz|regex|requests|scipy|setuptools|shapely|six|sklearn"
    r"|sortedcontainers|sqlalchemy|statsmodels|sympy|tensorflow|testtools|toolz|torch|tqdm|typing_extensions|yaml"
)
"""Packages whose import is meant; a test that needs one that is missing is found invalid by the sandbox."""


def remove_stand_ins(
    nodes: Sequence[ast.stmt], entry_point: str | None, counts: Counter[str]
) -> list[tuple[list[ast.stmt], bool]]:
    """Return for each top-level statement what is left of it, and whether it was changed (in place).

    `from your_module import f as g` leaves `g = f`, and `your_module.f` becomes `f`. A copy is whatever
    binds the entry point's name, in a function too, and a `class Solution` with a method of that name.
    Counts `repaired_import` and `repaired_redefinition`.
    """
    remover = _Remover(entry_point, nodes)
    left = []
    for node in nodes:
        module = ast.Module([node], [])
        seen = remover.changes
        remover.filter_bodies(module)
        left.append((module, remover.changes > seen))
    counts["repaired_import"] += remover.imports
    counts["repaired_redefinition"] += remover.copies
    return [(module.body, remover.drop_prefixes(module) or changed) for module, changed in left]


class _Remover:
    """Edits statements in place, without recursion, because a model's tree may be deep."""

    def __init__(self, entry_point: str | None, nodes: Sequence[ast.stmt]) -> None:
        self._entry_point = entry_point
        self._nodes = nodes
        self._modules: set[str] = set()
        self.imports = 0
        self.copies = 0

    @property
    def changes(self) -> int:
        return self.imports + self.copies

    def filter_bodies(self, module: ast.Module) -> None:
        """Remove stand-ins from all bodies; one that is left empty, but the module's, gets `pass`."""
        parents: list[ast.AST] = [module]
        while parents:
            parent = parents.pop()
            for field in ("body", "orelse", "finalbody"):
                body = getattr(parent, field, None)
                if not isinstance(body, list):
                    continue
                seen = self.changes
                kept = [new for statement in body for new in self._filtered(statement, parent)]
                if self.changes > seen:
                    setattr(parent, field, kept or ([] if parent is module else [ast.Pass()]))
                parents += kept
            parents += [*getattr(parent, "handlers", []), *getattr(parent, "cases", [])]

    def drop_prefixes(self, module: ast.Module) -> bool:
        """Turn `your_module.f` into `f`; whether there was any."""
        return bool(self._modules) and _replace(
            module, lambda n: n.attr if getattr(n.value, "id", None) in self._modules else None
        )

    def _filtered(self, node: ast.stmt, parent: ast.AST) -> Iterator[ast.stmt]:
        if isinstance(node, ast.Import):
            yield from self._import(node)
        elif isinstance(node, ast.ImportFrom):
            yield from self._import_from(node)
        elif self._is_copy(node, parent):
            self.copies += 1
        else:
            yield node

    def _import(self, node: ast.Import) -> Iterator[ast.stmt]:
        made_up = [
            alias
            for alias in node.names
            if self._is_made_up(alias.name) or (not _is_known(alias.name) and self._owns_entry(alias))
        ]
        self._modules.update(alias.asname or alias.name for alias in made_up)
        self.imports += len(made_up)
        kept = [alias for alias in node.names if alias not in made_up]
        if kept:
            node.names = kept
            yield node

    def _import_from(self, node: ast.ImportFrom) -> Iterator[ast.stmt]:
        entry = self._entry_point
        module = node.module or ""
        imported = {alias.name for alias in node.names}
        named = entry in imported or "*" in imported or self._is_made_up(module)
        if node.level or (named and not _is_known(module)):
            self.imports += 1
            for alias in node.names:
                if alias.asname not in (None, alias.name, entry):
                    yield ast.Assign(
                        [ast.Name(str(alias.asname), ast.Store())], ast.Name(alias.name, ast.Load())
                    )
            return
        kept = [alias for alias in node.names if entry is None or (alias.asname or alias.name) != entry]
        self.copies += len(node.names) - len(kept)
        if kept:
            node.names = kept
            yield node

    def _owns_entry(self, alias: ast.alias) -> bool:
        """Whether the text reads the entry point as an attribute of this imported module."""
        attributes = (n for node in self._nodes for n in ast.walk(node) if isinstance(n, ast.Attribute))
        name = alias.asname or alias.name
        return any(n.attr == self._entry_point and getattr(n.value, "id", "") == name for n in attributes)

    def _is_made_up(self, module: str) -> bool:
        root = module.split(".")[0]
        if _is_known(root):
            return False
        entry = self._entry_point
        return entry is None or root.lower() == entry.lower() or _MADE_UP.fullmatch(root) is not None

    def _is_copy(self, node: ast.stmt, parent: ast.AST) -> bool:
        entry = self._entry_point
        if entry is None:
            return False
        if isinstance(parent, ast.ClassDef):
            own = isinstance(node, FunctionNode) and node.name == entry
            if own and any(isinstance(n, FunctionNode) and n.name.startswith("test") for n in parent.body):
                _replace(parent, lambda n: entry if n.attr == entry and _is_self(n.value, parent) else None)
                return True
            return False
        if isinstance(node, FunctionNode):
            return node.name == entry
        if isinstance(node, ast.ClassDef):
            methods = {n.name for n in node.body if isinstance(n, FunctionNode)}
            return node.name == entry or (node.name == "Solution" and entry in methods)
        if isinstance(node, ast.Assign):
            binds = any(isinstance(t, ast.Name) and t.id == entry for t in node.targets)
            return binds and (isinstance(parent, ast.Module) or isinstance(node.value, ast.Lambda))
        return False


def _is_known(module: str) -> bool:
    root = module.split(".")[0]
    return root in sys.stdlib_module_names or _PACKAGE.fullmatch(root) is not None


def _is_self(node: ast.AST, cls: ast.ClassDef) -> bool:
    return getattr(node, "id", None) in ("self", "cls", cls.name)


def _replace(root: ast.AST, name_for: Callable[[ast.Attribute], str | None]) -> bool:
    """Replace attributes below `root` by plain names where `name_for` gives one; whether any was."""
    replaced = False
    for parent in ast.walk(root):
        for field, value in ast.iter_fields(parent):
            children = value if isinstance(value, list) else [value]
            for i, child in enumerate(children):
                if not isinstance(child, ast.Attribute) or (name := name_for(child)) is None:
                    continue
                new = ast.copy_location(ast.Name(name, child.ctx), child)
                replaced = True
                if isinstance(value, list):
                    value[i] = new
                else:
                    setattr(parent, field, new)
    return replaced
