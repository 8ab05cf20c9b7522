"""May all tests of a solution share one process? Read from its syntax tree; `False` is only slower.

A solution is stateless where no call can change anything that outlives it: its module and its classes
hold constants and functions, attributes are set on new instances only, and what it uses of the
standard library keeps nothing.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from typing import Any

from .caching import flags_are_plain
from .known import (
    BASES,
    DECORATORS,
    HIDDEN_ATTRIBUTES,
    MEMBERS,
    METHODS,
    READING_METHODS,
    REFUSED_BUILTINS,
    STARS,
)
from .lasting import Lasting
from .reading import Reading, Scope, Use
from .traceless import test_is_traceless

__all__ = ["solution_is_stateless", "test_is_traceless"]

_MARKS = {"property", "staticmethod", "classmethod"}
_BUILTIN_BASES = {"object", "list", "dict", "set"} | {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
_MODULE_DUNDERS = {"__all__", "__author__", "__version__", "__date__", "__license__"}
_KNOWN_NAMES = {"__name__", "__debug__", "__doc__"}
_RESERVED = REFUSED_BUILTINS | _MARKS | {"type", "super"}
_TYPING_ROLES = ("annotation", "base", "decorator", "class")
_GIVING_CLASSES = {"obj", "mro"}  # AttributeError.obj, type.mro


def solution_is_stateless(tree: ast.Module) -> bool:
    """Whether no number of calls, in any order, can change what a later call answers. Never raises.

    Calls are taken to be those of tests that `test_is_traceless` accepts.
    """
    try:
        return next(_Solution(tree).objections(), None) is None
    except RecursionError:
        return False


class _Solution:
    def __init__(self, tree: ast.Module) -> None:
        self.reading = Reading(tree)
        self.module = self.reading.module
        self.lasting = Lasting(tree, self.reading)
        self.escapes = self.lasting.nested_classes  # a class may become a value
        self.changers: set[str] = set()  # methods that would change whatever they were given as self
        self.members: list[tuple[str, bool]] = []  # attributes of classes, and whether given an instance
        self.flat_in_calls: set[str] = set()
        self.flat_handed_on: set[str] = set()
        self.class_parameters: dict[Scope, str] = {}
        self.modules: set[str] = set()  # standard modules that are used

    def objections(self) -> Iterator[str]:
        yield from self.lasting.refusals
        yield from self.reading.odd
        yield from self._scopes()
        for use in self.reading.uses:
            reason = self._use(use)
            if reason:
                yield reason
        yield from self._afterwards()

    def _scopes(self) -> Iterator[str]:
        yield from (f"takes everything from {name}" for name in self.reading.stars if name not in STARS)
        yield from (f"holds the text {text[:20]!r}" for text in self.reading.dunder_texts)
        for scope in self.reading.scopes:
            if scope.kind in ("class", "module"):
                known = METHODS | {"__slots__"} if scope.kind == "class" else _MODULE_DUNDERS
                yield from (
                    f"defines {name}" for name in scope.bound if _is_dunder(name) and name not in known
                )
            if scope.kind == "class" and (scope.runtime or "__exit__" in scope.bound):
                self.escapes = True  # made by a call, or handed the class of an exception
            if scope.kind == "function" and _is_class_method(scope.node):
                places = [*scope.node.args.posonlyargs, *scope.node.args.args]
                self.class_parameters[scope] = places[0].arg if places else ""
                self.escapes = self.escapes or not places
            for name, found in scope.imported.items():  # a test may call what a solution only imports
                for module, member in found:
                    if member and scope is self.module and member not in MEMBERS.get(module, ()):
                        yield f"takes {name} from {module}"
            if scope.runtime:
                modules = {module for found in scope.imported.values() for module, _ in found}
                yield from (f"imports {name} when called" for name in modules if name not in MEMBERS)

    def _afterwards(self) -> Iterator[str]:
        everywhere = {name for scope in self.reading.scopes for name in scope.bound}
        # A name that the module binds only perhaps is the builtin where it does not.
        yield from (f"rebinds {name}" for name in self.module.bound & _RESERVED)
        if "super" in everywhere:
            yield "rebinds super"
        if self.changers:
            if self.escapes:
                yield "uses a class as a value, and a method of a class sets attributes"
            if everywhere & {"isinstance", "issubclass"}:
                yield "rebinds isinstance"
            yield from (
                f"takes {name} off its class"
                for name, bound in self.members
                if name in self.changers and not bound
            )
        if self.flat_in_calls & self.flat_handed_on:
            yield f"hands on {min(self.flat_in_calls & self.flat_handed_on)}, which can be changed"
        if "re" in self.modules and "__and__" in everywhere:
            yield "could leave an object of its own in the cache of re"
        has_classes = any(scope.kind == "class" for scope in self.reading.scopes)
        if "copy" in self.modules and (has_classes or "namedtuple" in self.modules):
            yield "copies instances, which leaves a mark on their class"

    def _use(self, use: Use) -> str:
        name, attributes, role, node, scope = use
        owner = self.reading.owner(name, scope)
        if name[:2] == "__" and name not in _KNOWN_NAMES:  # in a class it is another name than it seems
            return f"uses {name}"
        around = owner.parent if owner is not None and owner.kind == "class" else None
        if around is not None and (name in _RESERVED or self.reading.owner(name, around) is not None):
            return f"uses {name} of a class or from around it"  # which one depends on the moment
        for place, attribute in enumerate(attributes):
            if attribute[0] == "_" or attribute in HIDDEN_ATTRIBUTES or attribute in _GIVING_CLASSES:
                reason = self._attribute(place, use, owner)
                if reason:
                    return reason
            if attribute in self.lasting.flat_attributes and not self._only_reads(
                attributes[place + 1 :], use
            ):
                return f"hands on {attribute}, which can be changed"
        if role == "store":
            return (
                "" if self._is_new(name, attributes, owner) else f"sets an attribute of {name or 'a value'}"
            )
        if name in ("", "super()"):
            return ""
        if owner is None:
            return self._builtin(use)
        if name in owner.imported:
            return self._imported(use, owner)
        if role == "decorator" and scope.kind != "function":
            accessor = owner.kind == "class" and attributes in (("setter",), ("getter",), ("deleter",))
            return "" if accessor else f"is decorated by {name}"
        if role == "base" and (
            name not in owner.classes or name in owner.opaque or attributes or not _is_named(node)
        ):
            return f"inherits from {name}"
        if owner is self.module:
            return self._global(use)
        if role == "annotation" and owner.runtime and name not in owner.classes:
            return f"annotates with {name}"
        if self.class_parameters.get(owner) == name:
            self._class_used(use)
        return ""

    def _attribute(self, place: int, use: Use, owner: Scope | None) -> str:
        name, attributes, role, node, scope = use
        attribute, rest = attributes[place], attributes[place + 1 :]
        if attribute in _GIVING_CLASSES:
            own = place == 0 and self._is_self(name, owner)
            self.escapes = self.escapes or not own
            return ""
        if attribute in HIDDEN_ATTRIBUTES or (attribute.endswith("_") and not _is_dunder(attribute)):
            return f"uses .{attribute}"
        if not _is_dunder(attribute):
            mangled = not attribute.startswith("__") and "__" in attribute
            return f"uses .{attribute}" if mangled else ""
        if attribute in ("__name__", "__doc__", "__qualname__") or (attribute, rest) == (
            "__class__",
            ("__name__",),
        ):
            return ""
        if len(attributes) == 1 and role == "call":
            if attribute == "__class__" and self._is_self(name, owner):
                self._note_changer(owner)  # with a class for self it would be a call of type
                return ""
            bare = not node.args and not node.keywords  # on a class it would lack its self
            if attribute in METHODS and (bare or name == "super()" or self._on_self(node, role, scope)):
                return ""
        return f"uses .{attribute}"

    def _is_self(self, name: str, owner: Scope | None) -> bool:
        if owner is None or owner.first != name or not name:
            return False
        return name not in owner.opaque and name not in self.reading.rebound

    def _on_self(self, node: Any, role: str, scope: Scope) -> bool:
        """Whether a call hands on self as its first argument, as in `Base.method(self)`."""
        if role != "call" or not node.args or not isinstance(node.args[0], ast.Name):
            return False
        name = node.args[0].id
        return self._is_self(name, self.reading.owner(name, scope))

    def _note_changer(self, owner: Any) -> None:
        method = owner.node
        marks = {getattr(mark, "id", getattr(mark, "attr", "")) for mark in method.decorator_list}
        if _is_dunder(method.name) or marks & {"property", "setter", "getter", "deleter"}:
            return  # such are never had without an instance: other rules see to that
        self.changers.add(method.name)

    def _is_new(self, name: str, attributes: tuple[str, ...], owner: Scope | None) -> bool:
        """Whether `name` is self, or a local name for nothing but new instances of the solution's classes."""
        if len(attributes) != 1 or owner is None:
            return False
        if self._is_self(name, owner):
            self._note_changer(owner)
            return True
        made = owner.made.get(name, ())
        if not owner.runtime or not made or name in owner.opaque or name in self.reading.rebound:
            return False
        inner = {bound for scope in self.reading.scopes[1:] for bound in scope.bound}
        names = {func.id if isinstance(func, ast.Name) else "" for func in made}
        return names <= self.module.classes - inner - set(vars(builtins))

    def _builtin(self, use: Use) -> str:
        name, attributes, role, node, scope = use
        if name in REFUSED_BUILTINS or (
            _is_dunder(name) and name not in ("__name__", "__debug__", "__doc__")
        ):
            return f"uses {name}"
        if name == "type" and not (role == "typecheck" and len(node.args) == 1 and not node.keywords):
            return "uses type as a value"
        if name == "super":
            plain = role == "call" and self._is_self(scope.first, scope) and not node.keywords
            given = [getattr(arg, "id", "") for arg in node.args] if plain else []
            fits = not given or (given[0] in self.module.classes and given[1:] == [scope.first])
            return "" if plain and fits else "uses super outside a plain method"
        if role == "base":
            return "" if name in _BUILTIN_BASES and not attributes else f"inherits from {name}"
        if name in _MARKS:
            return "" if role == "decorator" and not attributes else f"uses {name} as a value"
        return f"is decorated by {name}" if role == "decorator" and scope.kind != "function" else ""

    def _imported(self, use: Use, owner: Scope) -> str:
        name, attributes, role, node, scope = use
        if name in owner.opaque or name in self.reading.rebound:
            return f"binds {name} in two ways"
        if role == "substore":
            return f"changes {name}"
        for module, member in owner.imported[name]:
            path = (member, *attributes) if member else attributes
            if module == "collections" and path[:1] == ("abc",):
                module, path = "collections.abc", path[1:]
            if not path or path[0] not in MEMBERS.get(module, ()):
                return f"uses {'.'.join((module, *path))}"
            full = f"{module}.{path[0]}"
            if full == "sys.setrecursionlimit" and (scope.runtime or role != "call" or member):
                return "could set the recursion limit when called"
            if module == "typing" and scope.runtime and role not in _TYPING_ROLES:
                return "uses typing when called, which caches what it is given"
            if module == "re" and not flags_are_plain(path[0], role, node, scope, self.reading):
                return f"uses {full} with flags that are not written out"
            base = "collections.namedtuple" if isinstance(node, ast.Call) else full
            if role == "base" and (len(path) > 1 or full != base or (_is_named(node) and full not in BASES)):
                return f"inherits from {full}"
            if full in DECORATORS and role != "decorator":
                return f"calls {full} for something that is there already"
            if role == "decorator" and full not in DECORATORS and scope.kind != "function":
                return f"is decorated by {full}"
            self.modules.add("namedtuple" if full == "collections.namedtuple" else module)
        return ""

    def _global(self, use: Use) -> str:
        name, attributes, role, _, scope = use
        kind = self.lasting.kinds.get(name, "")
        if scope.runtime and name in self.lasting.forms and role not in (*_TYPING_ROLES, "call"):
            return f"uses {name} when called, which is typing's"
        if role == "substore":
            return f"changes {name}"
        if kind == "class":
            self._class_used(use)
        elif kind in ("flat", "nested"):
            if kind == "nested" and scope.runtime:
                return f"uses {name}, which can be changed"
            if scope.runtime:
                self.flat_in_calls.add(name)
            if not self._only_reads(attributes, use):
                self.flat_handed_on.add(name)
        return ""

    def _only_reads(self, attributes: tuple[str, ...], use: Use) -> bool:
        """Whether what is done with a list or dict neither changes it nor gives it a second name."""
        _, _, role, node, scope = use
        if attributes:
            return len(attributes) == 1 and attributes[0] in READING_METHODS and role in ("load", "call")
        reader = node.func if isinstance(node, ast.Call) else None
        rebound = isinstance(reader, ast.Name) and self.reading.owner(reader.id, scope) is not None
        return role == "read" and not rebound

    def _class_used(self, use: Use) -> None:
        _, attributes, role, node, scope = use
        if attributes:
            self.members.append((attributes[0], self._on_self(node, role, scope)))
        elif role not in ("call", "class", "base", "annotation"):
            self.escapes = True


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_named(node: Any) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute))


def _is_class_method(node: Any) -> bool:
    marks = getattr(node, "decorator_list", ())
    return any(isinstance(mark, ast.Name) and mark.id == "classmethod" for mark in marks)
