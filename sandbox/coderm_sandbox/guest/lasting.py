"""What of a solution outlives a call: the names of its module and the attributes of its classes.

Each is graded: constant; flat, a list, set or dict of constants, fine as long as it is only read; nested,
a display of such, fine as long as no function touches it; or refused, which is all else that a call
could change or use up.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from .known import CONSTANT_CALLS
from .reading import Reading, is_main_guard

__all__ = ["Lasting"]

_REFUSED, _CONSTANT, _FLAT, _NESTED = 0, 1, 2, 3
_KINDS = {_CONSTANT: "constant", _FLAT: "flat", _NESTED: "nested"}

_TO_CONSTANT = {
    *("float", "int", "str", "bool", "complex", "bytes", "tuple", "frozenset", "abs", "pow", "round", "len"),
    *("min", "max", "sum", "ord", "chr", "range", "divmod", "slice", "object"),
}
_TO_FLAT = {"list", "set", "dict", "sorted"}
_TEXT_TO_CONSTANT = {"join", "upper", "lower", "title", "strip", "replace", "encode", "decode", "format"}
_TEXT_TO_FLAT = {"split", "rsplit", "splitlines"}
_OPERATIONS = (
    *(ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Subscript, ast.Slice),
    *(ast.JoinedStr, ast.FormattedValue),
)
_DISPLAYS = (ast.List, ast.Set, ast.Dict)


class Lasting:
    """`refusals` names what cannot stay; the rest is sorted into `kinds` and `flat_attributes`."""

    def __init__(self, tree: ast.Module, reading: Reading) -> None:
        self.module = reading.module
        self.reading = reading
        self.kinds: dict[str, str] = {}  # name -> import, function, class, constant, flat or nested
        self.flat_attributes: set[str] = set()
        self.forms: set[str] = set()  # names of what typing made, which caches what it is subscripted with
        self.nested_classes = False
        self._plain = {"object"}  # classes whose attributes can only be reached by their names
        self.refusals = [*self._statements(tree.body)]
        unaccounted = self.module.bound - self.kinds.keys()
        self.refusals += [f"binds {name} at module level in another way" for name in sorted(unaccounted)]

    def _statements(self, body: list[ast.stmt]) -> Iterator[str]:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from self._defaults(node, self.kinds)
                yield from self._note(self.kinds, node.name, "function")
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    if alias.name != "*":
                        yield from self._note(self.kinds, alias.asname or alias.name.split(".")[0], "import")
            elif isinstance(node, ast.ClassDef):
                yield from self._class(node, outermost=True)
                yield from self._note(self.kinds, node.name, "class")
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                yield from self._assigned(node, self.kinds)
            elif isinstance(node, ast.If):
                yield from self._statements([] if is_main_guard(node) else node.body)
                yield from self._statements(node.orelse)
            elif isinstance(node, ast.Try):
                handlers = [statement for handler in node.handlers for statement in handler.body]
                yield from self._statements([*node.body, *handlers, *node.orelse, *node.finalbody])
            elif not isinstance(node, (ast.Expr, ast.Assert, ast.Pass)):
                yield f"has {type(node).__name__} at module level"

    def _note(self, inside: dict[str, str], name: str, kind: str) -> Iterator[str]:
        if inside.setdefault(name, kind) != kind:
            yield f"binds {name} in two ways"

    def _class(self, node: ast.ClassDef, outermost: bool) -> Iterator[str]:
        inside: dict[str, str] = {}
        for item in node.body:
            if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from self._defaults(item, inside)
                yield from self._note(inside, item.name, "function")
            elif isinstance(item, (ast.Assign, ast.AnnAssign)):
                target = item.targets[0] if isinstance(item, ast.Assign) else item.target
                if not (isinstance(target, ast.Name) and target.id == "__slots__"):
                    yield from self._assigned(item, inside)
            elif isinstance(item, ast.ClassDef):
                self.nested_classes = True
                yield from self._class(item, outermost=False)
                yield from self._note(inside, item.name, "class")
            elif not (isinstance(item, ast.Pass) or _is_text(item)):
                yield f"has {type(item).__name__} in class {node.name}"
        for base in node.bases:
            if isinstance(base, ast.Call) and self._grade(base, self.kinds) != _CONSTANT:
                yield f"computes a base of class {node.name}"
        bases = {base.id if isinstance(base, ast.Name) else "" for base in node.bases}
        nested = {name for name, kind in inside.items() if kind == "nested"}
        flat = {name for name, kind in inside.items() if kind == "flat"}
        if nested:
            yield f"class {node.name} holds {min(nested)}, which can be changed"
        elif outermost and not node.decorator_list and bases <= self._plain:
            self._plain.add(node.name)
            self.flat_attributes |= flat
        elif flat:
            yield f"class {node.name} holds {min(flat)}, which can be changed"

    def _defaults(self, node: Any, inside: dict[str, str]) -> Iterator[str]:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None and self._grade(default, inside) != _CONSTANT:
                yield f"{getattr(node, 'name', 'a lambda')} has a default that is no constant"
            elif default is not None and self._has_form(default):
                yield f"{getattr(node, 'name', 'a lambda')} has a default of typing's"

    def _assigned(self, node: Any, inside: dict[str, str]) -> Iterator[str]:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        grade = _CONSTANT if node.value is None else self._grade(node.value, inside)
        if isinstance(node, ast.AugAssign) and inside.get(getattr(node.target, "id", "")) != "constant":
            grade = _REFUSED
        names: list[Any] = []
        for target in targets:
            names += target.elts if isinstance(target, ast.Tuple) else [target]
        if grade not in _KINDS or not all(isinstance(name, ast.Name) for name in names):
            yield f"keeps a value that is no constant (line {node.lineno})"
        elif grade != _CONSTANT and (len(names) > 1 or isinstance(targets[0], ast.Tuple)):
            yield f"keeps one list under two names (line {node.lineno})"
        else:
            if node.value is not None and self._has_form(node.value):
                self.forms |= {name.id for name in names}
                if inside is not self.kinds:
                    yield "a class holds what is typing's"
            for name in names:
                yield from self._note(inside, name.id, _KINDS[grade])

    def _has_form(self, value: ast.expr) -> bool:
        names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
        found = [module for name in names for module, _ in self.module.imported.get(name, ())]
        return "typing" in found or bool(names & self.forms)

    def _grade(self, node: Any, inside: dict[str, str]) -> int:
        if isinstance(node, ast.Constant):
            return _CONSTANT
        if isinstance(node, ast.Name):
            kind = inside.get(node.id) or self.kinds.get(node.id, "")
            in_class = inside is not self.kinds and node.id in inside
            changeable = kind in ("flat", "nested")
            return _CONSTANT if kind == "constant" or not (changeable or in_class) else _REFUSED
        if isinstance(node, ast.Attribute):
            root, _ = _path(node)
            known = root not in inside or inside is self.kinds
            return _CONSTANT if known and self.kinds.get(root) in ("import", "class") else _REFUSED
        if isinstance(node, ast.Lambda):
            return _REFUSED if next(self._defaults(node, inside), None) else _CONSTANT
        if isinstance(node, ast.Call):
            return self._grade_call(node, inside)
        grades = {
            self._grade(part, inside) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)
        }
        if isinstance(node, (*_DISPLAYS, ast.Tuple)) and _REFUSED not in grades:
            if None in getattr(node, "keys", ()):
                return _REFUSED
            top = _CONSTANT if isinstance(node, ast.Tuple) else _FLAT
            return top if grades <= {_CONSTANT} else _NESTED
        if isinstance(node, ast.BinOp) and _FLAT in grades and grades <= {_CONSTANT, _FLAT}:
            return _FLAT
        return _CONSTANT if isinstance(node, _OPERATIONS) and grades <= {_CONSTANT} else _REFUSED

    def _grade_call(self, node: ast.Call, inside: dict[str, str]) -> int:
        grades = [self._grade(part, inside) for part in node.args]
        named = {self._grade(keyword.value, inside) for keyword in node.keywords}
        root, rest = _path(node.func)
        shadowed = inside is not self.kinds and root in inside
        if shadowed or not set(grades) <= {_CONSTANT, _FLAT} or not named <= {_CONSTANT}:
            return _REFUSED
        if root in self.module.bound:  # an import, or a function of the solution
            found = self.reading.import_of(root, self.module)
            path = ".".join((*filter(None, found), *rest)) if found else ""
            field = path == "dataclasses.field" and not grades
            return _CONSTANT if field or path in CONSTANT_CALLS else _REFUSED
        if _FLAT in grades and len(grades) > 1:  # max([1], [2]) is one of the two
            return _REFUSED
        if root and not rest:
            return _CONSTANT if root in _TO_CONSTANT else _FLAT if root in _TO_FLAT else _REFUSED
        if (root, rest) == ("str", ("maketrans",)):
            return _FLAT
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Constant):
            method = node.func.attr
            return (
                _CONSTANT if method in _TEXT_TO_CONSTANT else _FLAT if method in _TEXT_TO_FLAT else _REFUSED
            )
        return _REFUSED


def _path(node: Any) -> tuple[str, tuple[str, ...]]:
    """(root name, attributes) of `a.b.c`; the root is empty where it is no name."""
    rest: tuple[str, ...] = ()
    while isinstance(node, ast.Attribute):
        rest = (node.attr, *rest)
        node = node.value
    return (node.id if isinstance(node, ast.Name) else "", rest)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
