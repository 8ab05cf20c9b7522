"""One walk over a program: who binds each name, and what it is used for.

The body under `if __name__ == "__main__"` is left out: neither solutions nor tests run as scripts.
"""

from __future__ import annotations

import ast
from typing import Any

from .uses import Scope, Use, Uses

__all__ = ["Reading", "Scope", "Use", "is_main_guard"]

# Values that are new and plain, so that attributes of what holds them can be set without harm.
_PLAIN = (ast.Constant, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.JoinedStr)


class Reading(Uses):
    """All uses of names in a program, with the scopes that bind them.

    `made_attributes` maps attributes to what was called for their values; `kept_attributes` holds
    those set to anything that is neither made by a call nor plain.
    """

    def __init__(self, tree: ast.Module) -> None:
        super().__init__()
        self.module = Scope("module", None)
        self.scopes = [self.module]
        self.stars: list[str] = []
        self.rebound: set[str] = set()  # declared global or nonlocal somewhere
        self.made_attributes: dict[str, list[ast.expr]] = {}
        self.kept_attributes: set[str] = set()
        self.visit_all(tree.body, self.module)

    def owner(self, name: str, scope: Scope) -> Scope | None:
        """The scope that binds a name used in `scope`; None for builtins and names from elsewhere."""
        at: Scope | None = scope
        while at is not None:
            if name in at.bound and (at.kind != "class" or at is scope):
                return at
            at = at.parent
        return None

    def import_of(self, name: str, owner: Scope | None) -> tuple[str, str] | None:
        """(module, member or "") where the name stands for one import and for nothing else."""
        if owner is None or name not in owner.imported or name in owner.opaque or name in self.rebound:
            return None
        return owner.imported[name][0]

    def _open(self, kind: str, parent: Scope, node: Any = None) -> Scope:
        scope = Scope(kind, parent, node)
        self.scopes.append(scope)
        return scope

    def _bind(self, name: str, scope: Scope) -> None:
        if name not in scope.elsewhere:
            scope.bound.add(name)
            scope.opaque.add(name)

    def _name(self, node: ast.Name, scope: Scope) -> None:
        if node.ctx.__class__ is ast.Load:
            self.uses.append((node.id, (), "load", node, scope))
        else:
            self._bind(node.id, scope)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> None:
        if node.ctx.__class__ is not ast.Load:
            self.kept_attributes.add(node.attr)
        super()._attribute(node, scope)

    def _expression(self, node: ast.Expr, scope: Scope) -> None:
        if node.value.__class__ is not ast.Constant:  # a docstring says nothing
            self.visit(node.value, scope)

    def _lambda(self, node: ast.Lambda, scope: Scope) -> None:
        self.visit(node.body, self._parameters(node, scope))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        for decorator in node.decorator_list:
            self._decorator(decorator, scope)
        if node.returns is not None:
            self.annotation(node.returns, scope)
        inner = self._parameters(node, scope)
        places = [*node.args.posonlyargs, *node.args.args]
        if scope.kind == "class" and len(places) > len(node.args.defaults):  # self has no default
            names = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
            if not names & {"staticmethod", "classmethod"}:
                inner.first = places[0].arg
                inner.opaque.discard(inner.first)  # until the body binds it again
        if getattr(node, "type_params", None):
            self.odd.append("type parameters")
        self._bind(node.name, scope)
        self.visit_all(node.body, inner)

    def _parameters(self, node: Any, scope: Scope) -> Scope:
        arguments = node.args
        self.visit_all(arguments.defaults, scope)
        self.visit_all(arguments.kw_defaults, scope)
        inner = self._open("function", scope, node)
        for argument in (
            *(*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs),
            *(arguments.vararg, arguments.kwarg),
        ):
            if argument is not None:
                self._bind(argument.arg, inner)
                if argument.annotation is not None:
                    self.annotation(argument.annotation, scope)
        return inner

    def _decorator(self, node: Any, scope: Scope) -> None:
        if node.__class__ is ast.Call:
            self.call(node, scope, "decorator")
        else:
            if node.__class__ not in (ast.Name, ast.Attribute):
                self.odd.append("computed decorator")
            self.chain(node, scope, "decorator")

    def _class(self, node: ast.ClassDef, scope: Scope) -> None:
        for decorator in node.decorator_list:
            self._decorator(decorator, scope)
        for base in node.bases:
            root = base.value if isinstance(base, ast.Subscript) else base
            if root.__class__ not in (ast.Name, ast.Attribute, ast.Call):
                self.odd.append("computed base")
            if isinstance(root, ast.Call):
                self.call(root, scope, "base")
            else:
                self.chain(root, scope, "base")
            if isinstance(base, ast.Subscript):
                self.annotation(base.slice, scope)
        if node.keywords or getattr(node, "type_params", None):
            self.odd.append("class keyword")
            self.visit_all([keyword.value for keyword in node.keywords], scope)
        if node.name not in scope.elsewhere:
            scope.bound.add(node.name)
            scope.classes.add(node.name)
        self.visit_all(node.body, self._open("class", scope, node))

    def _comprehension(self, node: Any, scope: Scope) -> None:
        inner = self._open("comprehension", scope, node)
        outer = scope  # the first iterable is evaluated in the scope around
        for generator in node.generators:
            if generator.is_async:
                self.suspended(scope)
            self.read(generator.iter, outer)
            outer = inner
            self.visit(generator.target, inner)
            self.visit_all(generator.ifs, inner)
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        self.visit_all(parts, inner)

    def _walrus(self, node: ast.NamedExpr, scope: Scope) -> None:
        self.visit(node.value, scope)
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        self.visit(node.target, scope)

    def _assign(self, node: ast.Assign, scope: Scope) -> None:
        target, value = node.targets[0], node.value
        self.visit(value, scope)
        if len(node.targets) == 1 and isinstance(value, ast.Call):
            if isinstance(target, ast.Name) and target.id not in scope.elsewhere:
                scope.bound.add(target.id)
                scope.made.setdefault(target.id, []).append(value.func)
                return
            if isinstance(target, ast.Attribute):
                self.made_attributes.setdefault(target.attr, []).append(value.func)
                self.chain(target, scope, "store")
                return
        if len(node.targets) == 1 and isinstance(target, ast.Attribute) and isinstance(value, _PLAIN):
            self.chain(target, scope, "store")
            return
        self.visit_all(node.targets, scope)

    def _annotated(self, node: ast.AnnAssign, scope: Scope) -> None:
        if not scope.runtime or scope.kind == "class":  # in a function it is never evaluated
            self.annotation(node.annotation, scope)
        if node.value is not None:
            self.visit(node.value, scope)
        self.visit(node.target, scope)

    def _import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            top = alias.name.split(".")[0]
            self._imported(alias.asname or top, alias.name if alias.asname else top, "", scope)

    def _import_from(self, node: ast.ImportFrom, scope: Scope) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                self._imported(alias.asname or alias.name, module, alias.name, scope)

    def _imported(self, name: str, module: str, member: str, scope: Scope) -> None:
        if name not in scope.elsewhere:
            scope.bound.add(name)
            scope.imported.setdefault(name, []).append((module, member))

    def _elsewhere(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        scope.elsewhere.update(node.names)
        self.rebound.update(node.names)
        if node.__class__ is ast.Global:
            self.odd.append("global")
            self.module.bound.update(node.names)

    def _for(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        if node.__class__ is ast.AsyncFor:
            self.suspended(scope)
        self.read(node.iter, scope)
        self.visit_all([node.target, *node.body, *node.orelse], scope)

    def _try(self, node: Any, scope: Scope) -> None:
        scope.held += 1
        self.visit_children(node, scope)
        scope.held -= 1

    def _handler(self, node: ast.ExceptHandler, scope: Scope) -> None:
        self.classes(node.type, scope)
        if node.name:
            self._bind(node.name, scope)
        self.visit_all(node.body, scope)

    def _raise(self, node: ast.Raise, scope: Scope) -> None:
        self.classes(node.exc, scope)
        self.classes(node.cause, scope)

    def _with(self, node: ast.With | ast.AsyncWith, scope: Scope) -> None:
        scope.held += 1
        if node.__class__ is ast.AsyncWith:
            self.suspended(scope)
        for item in node.items:
            if isinstance(item.context_expr, ast.Call):
                self.call(item.context_expr, scope, "with")
            else:
                self.visit(item.context_expr, scope)
            self.visit_all([item.optional_vars], scope)
        self.visit_all(node.body, scope)
        scope.held -= 1

    def _if(self, node: ast.If, scope: Scope) -> None:
        if scope is self.module and is_main_guard(node):
            self.visit_all(node.orelse, scope)
        else:
            self.visit_children(node, scope)

    def _capture(self, node: Any, scope: Scope) -> None:
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name is not None:
            self._bind(name, scope)
        self.visit_children(node, scope)

    def _match_class(self, node: ast.MatchClass, scope: Scope) -> None:
        self.classes(node.cls, scope)
        for attribute in node.kwd_attrs:
            self.uses.append(("", (attribute,), "load", node, scope))
        self.visit_all([*node.patterns, *node.kwd_patterns], scope)


def is_main_guard(node: ast.If) -> bool:
    """Whether this is `if __name__ == "__main__"`, either way round."""
    test = node.test
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, test.comparators[0]]
    names = [side.id for side in sides if isinstance(side, ast.Name)]
    texts = [side.value for side in sides if isinstance(side, ast.Constant)]
    return names == ["__name__"] and texts == ["__main__"]


Reading.handlers = {
    **Uses.handlers,
    ast.Name: Reading._name,
    ast.Attribute: Reading._attribute,
    ast.Expr: Reading._expression,
    ast.Lambda: Reading._lambda,
    ast.FunctionDef: Reading._function,
    ast.AsyncFunctionDef: Reading._function,
    ast.ClassDef: Reading._class,
    ast.ListComp: Reading._comprehension,
    ast.SetComp: Reading._comprehension,
    ast.DictComp: Reading._comprehension,
    ast.GeneratorExp: Reading._comprehension,
    ast.NamedExpr: Reading._walrus,
    ast.Assign: Reading._assign,
    ast.AnnAssign: Reading._annotated,
    ast.Import: Reading._import,
    ast.ImportFrom: Reading._import_from,
    ast.Global: Reading._elsewhere,
    ast.Nonlocal: Reading._elsewhere,
    ast.For: Reading._for,
    ast.AsyncFor: Reading._for,
    ast.Try: Reading._try,
    ast.ExceptHandler: Reading._handler,
    ast.Raise: Reading._raise,
    ast.With: Reading._with,
    ast.AsyncWith: Reading._with,
    ast.If: Reading._if,
    ast.MatchAs: Reading._capture,
    ast.MatchStar: Reading._capture,
    ast.MatchMapping: Reading._capture,
    ast.MatchClass: Reading._match_class,
}
if hasattr(ast, "TryStar"):
    Reading.handlers[ast.TryStar] = Reading._try
