"""What a program uses each name for, noted expression by expression.

`Reading` adds the statements that bind names; `stateless` and `modes` judge what was noted. Nothing
is executed or imported here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

__all__ = ["Scope", "Use", "Uses", "calls"]

_NAMED = (ast.Name, ast.Attribute)
_SKIPPED = {"ctx", "op", "ops", "type_comment", "kind", "conversion", "is_async", "simple", "type_ignores"}
_CHILDREN = {
    kind: tuple(field for field in kind._fields if field not in _SKIPPED)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}
# Builtins that read an argument and keep nothing of it.
_READ_FIRST = {
    *("len", "sorted", "sum", "any", "all", "set", "list", "tuple", "dict", "frozenset", "iter", "str"),
    *("reversed", "repr", "enumerate", "isinstance"),
}
_READ_ALL = {"zip", "print"}
_READ_REST = {"map", "filter"}
_TYPES = {"int", "float", "str", "bool", "bytes", "complex", "list", "tuple", "dict", "set", "frozenset"}


class Scope:
    """The names bound in one module, class, function or comprehension."""

    __slots__ = (
        *("kind", "parent", "runtime", "node", "bound", "opaque", "imported", "made", "classes"),
        *("elsewhere", "first", "held"),
    )

    def __init__(self, kind: str, parent: Scope | None, node: Any = None) -> None:
        self.kind = kind
        self.parent = parent
        self.node = node
        self.runtime: bool = kind == "function" or (parent is not None and parent.runtime)
        self.bound: set[str] = set()
        self.opaque: set[str] = set()  # bound to something that has no name
        self.imported: dict[str, list[tuple[str, str]]] = {}  # name -> (module, member or "")
        self.made: dict[str, list[ast.expr]] = {}  # name -> what was called for its value
        self.classes: set[str] = set()
        self.elsewhere: set[str] = set()  # declared global or nonlocal
        self.first = ""  # the first parameter, in a plain method
        self.held = 0  # depth of try and with blocks


Use = tuple[str, tuple[str, ...], str, Any, Scope]
"""`a.b.c` is (a, (b, c), role, node, scope); a chain that starts with no name has the name "".

Roles: load, store, substore (an item is set or deleted), call, with, decorator (in these three the
node is the call), read (its items or length are looked at, by syntax or by the call that is the node),
class (asked about as a class), base, annotation, typecheck (`type(x)` compared, named or printed).
"""


class Uses:
    """Visits expressions; `handlers` says how, and all other nodes are passed through."""

    handlers: ClassVar[dict[type, Callable[[Any, Any, Scope], None]]] = {}

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.dunder_texts: list[str] = []
        self.odd: list[str] = []  # constructs that only some judges put up with

    def visit(self, node: Any, scope: Scope) -> None:
        handler = self.handlers.get(node.__class__)
        if handler is not None:
            handler(self, node, scope)
        else:
            self.visit_children(node, scope)

    def visit_children(self, node: Any, scope: Scope) -> None:
        for field in _CHILDREN[node.__class__]:
            value = getattr(node, field)
            if value.__class__ is list:
                for item in value:
                    if isinstance(item, ast.AST):
                        self.visit(item, scope)
            elif isinstance(value, ast.AST):
                self.visit(value, scope)

    def visit_all(self, nodes: Iterable[Any], scope: Scope) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node, scope)

    def chain(self, node: Any, scope: Scope, role: str, noted: Any = None) -> None:
        """Note the use of a name or a chain of attributes; anything else is visited."""
        attributes: tuple[str, ...] = ()
        base = node
        while base.__class__ is ast.Attribute:
            attributes = (base.attr, *attributes)
            base = base.value
        if base.__class__ is ast.Name:
            self.uses.append((base.id, attributes, role, noted or node, scope))
            return
        if attributes:
            name = "super()" if calls(base, "super") else ""
            self.uses.append((name, attributes, role, noted or node, scope))
        if attributes[:1] == ("__name__",) and calls(base, "type"):
            self.typecheck(base, scope)
        else:
            self.visit(base, scope)

    def typecheck(self, node: ast.Call, scope: Scope) -> None:
        self.uses.append(("type", (), "typecheck", node, scope))
        self.visit_all(node.args, scope)
        self.visit_all([keyword.value for keyword in node.keywords], scope)

    def call(self, node: ast.Call, scope: Scope, role: str = "call") -> None:
        func: Any = node.func
        self.chain(func, scope, role, node)
        name = func.id if func.__class__ is ast.Name else ""
        if name in ("isinstance", "issubclass") and len(node.args) == 2:
            self.read(node.args[0], scope, node)
            self.classes(node.args[1], scope)
        else:
            for place, arg in enumerate(node.args):
                if arg.__class__ in _NAMED and _is_only_read(func, name, place, len(node.args)):
                    self.chain(arg, scope, "read", node)
                elif _is_method_of_text(func, "format"):
                    self._shown(arg, scope)
                else:
                    self.visit(arg, scope)
        for keyword in node.keywords:
            self.visit(keyword.value, scope)

    def read(self, node: Any, scope: Scope, noted: Any = None) -> None:
        if node.__class__ in _NAMED:
            self.chain(node, scope, "read", noted)
        else:
            self.visit(node, scope)

    def classes(self, node: Any, scope: Scope) -> None:
        if node.__class__ is ast.Tuple:
            for item in node.elts:
                self.classes(item, scope)
        elif node.__class__ in _NAMED:
            self.chain(node, scope, "class")
        elif node is not None:
            self.visit(node, scope)

    def annotation(self, node: Any, scope: Scope) -> None:
        kind = node.__class__
        if kind in _NAMED:
            self.chain(node, scope, "annotation")
        elif kind in (ast.Subscript, ast.Tuple, ast.List, ast.BinOp):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.annotation(child, scope)
        elif kind is not ast.Constant:
            self.odd.append("computed annotation")
            self.visit(node, scope)

    def _name(self, node: ast.Name, scope: Scope) -> None:
        self.uses.append((node.id, (), "load", node, scope))

    def _attribute(self, node: ast.Attribute, scope: Scope) -> None:
        self.chain(node, scope, "load" if node.ctx.__class__ is ast.Load else "store")

    def _constant(self, node: ast.Constant, scope: Scope) -> None:
        if node.value.__class__ is str and node.value[:2] == "__" and node.value[2:3].isalpha():
            self.dunder_texts.append(node.value)

    def _subscript(self, node: ast.Subscript, scope: Scope) -> None:
        role = "read" if node.ctx.__class__ is ast.Load else "substore"
        if node.value.__class__ in _NAMED:
            self.chain(node.value, scope, role)
        else:
            self.visit(node.value, scope)
        self.visit(node.slice, scope)

    def _starred(self, node: ast.Starred, scope: Scope) -> None:
        self.read(node.value, scope) if node.ctx.__class__ is ast.Load else self.visit(node.value, scope)

    def _compare(self, node: ast.Compare, scope: Scope) -> None:
        operands = [node.left, *node.comparators]
        identity = all(op.__class__ in (ast.Is, ast.IsNot) for op in node.ops)
        if identity or all(map(_is_type, operands)):
            for operand in operands:
                self._shown(operand, scope) if calls(operand, "type") else self.classes(operand, scope)
            return
        self.visit(node.left, scope)
        for op, operand in zip(node.ops, node.comparators, strict=True):
            contained = op.__class__ in (ast.In, ast.NotIn)
            self.read(operand, scope) if contained else self.visit(operand, scope)

    def _shown(self, node: Any, scope: Scope) -> None:
        if calls(node, "type"):
            self.typecheck(node, scope)
        else:
            self.visit(node, scope)

    def _formatted(self, node: ast.FormattedValue, scope: Scope) -> None:
        self._shown(node.value, scope)
        self.visit_all([node.format_spec], scope)

    def _operation(self, node: ast.BinOp, scope: Scope) -> None:
        self.visit(node.left, scope)
        right = node.right
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            for item in right.elts if isinstance(right, ast.Tuple) else [right]:
                self._shown(item, scope)
        else:
            self.visit(right, scope)

    def _suspend(self, node: Any, scope: Scope) -> None:
        self.suspended(scope)
        self.visit_children(node, scope)

    def suspended(self, scope: Scope) -> None:
        """Note a frame that may be closed long after it stopped here, and then runs what is left of it."""
        if scope.held:
            self.odd.append("suspended in a block")


def calls(node: Any, name: str) -> bool:
    """Whether a node is a call of this very name."""
    return node.__class__ is ast.Call and node.func.__class__ is ast.Name and node.func.id == name


def _is_method_of_text(func: Any, name: str) -> bool:
    return isinstance(func, ast.Attribute) and func.attr == name and isinstance(func.value, ast.Constant)


def _is_only_read(func: Any, name: str, place: int, count: int) -> bool:
    if not name:
        return (
            func.attr == "join" and func.value.__class__ is ast.Constant if hasattr(func, "attr") else False
        )
    if place == 0:
        return name in _READ_FIRST or name in _READ_ALL or (count == 1 and name in ("min", "max"))
    return name in _READ_ALL or name in _READ_REST


def _is_type(node: Any) -> bool:
    """`type(x)`, the name of a builtin type, or a display of such."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return all(map(_is_type, node.elts))
    return calls(node, "type") or (isinstance(node, ast.Name) and node.id in _TYPES)


Uses.handlers = {
    ast.Name: Uses._name,
    ast.Attribute: Uses._attribute,
    ast.Constant: Uses._constant,
    ast.Call: Uses.call,
    ast.Subscript: Uses._subscript,
    ast.Starred: Uses._starred,
    ast.Compare: Uses._compare,
    ast.FormattedValue: Uses._formatted,
    ast.BinOp: Uses._operation,
    ast.Yield: Uses._suspend,
    ast.YieldFrom: Uses._suspend,
    ast.Await: Uses._suspend,
}
