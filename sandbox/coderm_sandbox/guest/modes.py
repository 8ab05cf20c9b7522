"""Can a test be judged with the solution in another process? Decided from the test's text alone.

Apart, the solution's functions and classes are proxies and plain values are copies. What a test does
to its own process then does not reach the solution, and what it finds there is not the solution's.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from typing import Any

from .known import INLINE_MEMBERS, INLINE_MODULES, SOLUTIONS, words
from .reading import Reading, Scope, Use

__all__ = ["inline_reason"]

_LENGTH = 60
_BUILTINS = frozenset(vars(builtins))
_CALLED = ("call", "with", "decorator")

# What the apart judge hands on to the solution whenever it is patched or set.
_HANDED_ON = {"builtins.print", "builtins.input", "sys.stdout", "sys.stdin", "sys.argv"}
# Lists of sys that only tell the judge where to import from, and the one it hands on.
_OWN_LISTS = {"sys.path", "sys.argv"}

_OS = words("path linesep sep pathsep name getcwd getenv getpid cpu_count fspath PathLike urandom")
_OS_PATH = words("join basename dirname abspath realpath normpath split splitext sep relpath")
_DUNDERS = words(
    "__code__ __globals__ __closure__ __defaults__ __kwdefaults__ __annotations__ __dict__ __mro__ __bases__ "
    "__base__ __subclasses__"
)
# Methods that change a list, set or dict in place.
_CHANGES = words(
    "append extend insert remove pop clear update setdefault popitem add discard sort reverse appendleft "
    "popleft extendleft"
)
_LIBRARIES = words("numpy pytest mock parameterized hypothesis ddt six typing_extensions")
# What `from unittest import *` and its like bring along.
_STAR_BASES = words("TestCase IsolatedAsyncioTestCase Enum IntEnum ABC Protocol NamedTuple Generic")
_STAR_MEMBERS = INLINE_MEMBERS.keys() | {"unittest.mock.patch"}


def inline_reason(tree: ast.Module) -> str:
    """Why judge and player apart would give another verdict than one process; "" if they would not.

    At most 60 characters, in words. Never raises.
    """
    try:
        return next(_Text(tree).reasons(), "")[:_LENGTH]
    except RecursionError:
        return "is nested too deeply to be read"


class _Text:
    def __init__(self, tree: ast.Module) -> None:
        self.reading = Reading(tree)

    def reasons(self) -> Iterator[str]:
        for use in self.reading.uses:
            yield from filter(None, self._use(use))

    def _use(self, use: Use) -> Iterator[str]:
        name, attributes, role, node, scope = use
        for attribute in attributes:
            if attribute in _DUNDERS:
                yield f"reads {attribute}"
            elif attribute in ("assertLogs", "assertNoLogs"):
                yield "captures log records"
        kind, path = self._resolve(name, attributes, scope)
        if kind == "module":
            yield from self._module(path, use)
        elif kind == "solution":
            yield from self._solution(path, use)
        elif kind == "own":
            yield self._instance(use)
        elif kind == "builtin":
            yield self._builtin(name, role, node, scope)

    def _resolve(self, name: str, attributes: tuple[str, ...], scope: Scope) -> tuple[str, tuple[str, ...]]:
        """(module, solution, builtin, own or "", dotted path); the solution's path is without its name."""
        if not name or name == "super()":
            return "", ()
        owner = self.reading.owner(name, scope)
        if owner is None:
            if name in _BUILTINS:
                return "builtin", ()
            for module in self.reading.stars:
                if module not in SOLUTIONS and (
                    f"{module}.{name}" in _STAR_MEMBERS or module in INLINE_MODULES
                ):
                    return "module", (*module.split("."), name, *attributes)
            return "solution", (name, *attributes)
        found = self.reading.import_of(name, owner)
        if found is None:
            return "own", ()
        module, member = found
        path = (*module.split("."), *filter(None, (member,)), *attributes)
        if path[0] in SOLUTIONS or module.startswith("."):
            path = path[1:]
            if path[:1] and path[0] in sys.stdlib_module_names and len(path) > 1:
                return "module", path  # solution.random is random
            return "solution", path
        return "module", ("unittest", *path) if path[0] == "mock" else path

    def _dotted(self, node: Any, scope: Scope) -> tuple[str, str]:
        """What `_resolve` says of an expression, with the path in one string."""
        rest: tuple[str, ...] = ()
        while isinstance(node, ast.Attribute):
            rest = (node.attr, *rest)
            node = node.value
        kind, path = self._resolve(node.id, rest, scope) if isinstance(node, ast.Name) else ("", ())
        return kind, ".".join(path)

    def _module(self, path: tuple[str, ...], use: Use) -> Iterator[str]:
        _, _, role, node, scope = use
        dotted = ".".join(path)
        if path[:3] == ("unittest", "mock", "patch"):
            yield self._patch(path[3:], role, node, scope)
            return
        for length in range(1, len(path) + 1):
            start = ".".join(path[:length])
            yield INLINE_MODULES.get(start, "") or INLINE_MEMBERS.get(start, "")
        if role == "store" and dotted not in _HANDED_ON and path[0] != "unittest":
            yield f"sets {dotted}"
        elif role == "substore" and dotted not in _OWN_LISTS:
            yield f"changes {dotted}"
        elif path[0] == "sys" and path[-1] in _CHANGES and ".".join(path[:2]) not in _OWN_LISTS:
            yield f"changes {'.'.join(path[:-1])}"
        elif path[0] == "os" and len(path) > 1:
            yield self._os(path, role)
        elif path[:2] == ("warnings", "simplefilter") or path[:2] == ("warnings", "filterwarnings"):
            first = node.args[0] if isinstance(node, ast.Call) and node.args else None
            if not isinstance(first, ast.Constant) or first.value == "error":
                yield "turns warnings into errors"
        elif path[0] not in sys.stdlib_module_names and path[0] not in _LIBRARIES:
            yield f"uses {path[0]}"
        if path[:2] == ("unittest", "mock") and role == "call":
            yield from self._specified(node, scope)

    def _os(self, path: tuple[str, ...], role: str) -> str:
        if path[1] == "environ":
            reads = (path[2:] == () and role == "read") or (path[2:] == ("get",) and role == "call")
            return "" if reads else "changes os.environ"
        known = path[1] in _OS if path[1] != "path" else len(path) > 2 and path[2] in _OS_PATH
        return "" if known else f"uses {'.'.join(path[:3])}"

    def _patch(self, rest: tuple[str, ...], role: str, node: Any, scope: Scope) -> str:
        if rest == ("stopall",):
            return ""
        if not (isinstance(node, ast.Call) and role in _CALLED) or rest not in ((), ("object",), ("dict",)):
            return "patches more than one name" if rest == ("multiple",) else "uses patch in an unusual way"
        given: dict[str | None, Any] = {keyword.arg: keyword.value for keyword in node.keywords}
        given.update(zip(("target", "attribute"), node.args, strict=False))
        target = given.get("target", given.get("in_dict"))
        if rest and self._is_of_the_text(target, scope, rest == ("dict",)):
            return ""
        kind, dotted = self._dotted(target, scope)
        if rest == ("object",):
            dotted += f".{_text(given.get('attribute'))}" if kind else "an object it was given"
        elif not rest or not dotted:
            dotted = _text(target)
        return "" if dotted in _HANDED_ON and rest != ("dict",) else f"patches {dotted}"

    def _is_of_the_text(self, node: Any, scope: Scope, plain: bool) -> bool:
        """Whether this is self, a class of the text or, where `plain`, a value that no call made."""
        owner = self.reading.owner(node.id, scope) if isinstance(node, ast.Name) else None
        if owner is None or self.reading.import_of(node.id, owner):
            return False
        return node.id == owner.first or node.id in owner.classes or (plain and node.id not in owner.made)

    def _specified(self, node: Any, scope: Scope) -> Iterator[str]:
        for keyword in node.keywords:
            if keyword.arg in ("spec", "spec_set") and self._dotted(keyword.value, scope)[0] == "solution":
                yield "copies the solution's interface"

    def _solution(self, path: tuple[str, ...], use: Use) -> Iterator[str]:
        _, _, role, _, _ = use
        dotted = ".".join(path)
        if role == "base" and not (self.reading.stars and dotted in _STAR_BASES):
            yield f"inherits from {dotted} of the solution"
        elif role == "substore" and path:
            yield f"changes {dotted} in place"
        elif role == "call" and path and path[-1] in _CHANGES and len(path) > 1:
            container = path[-2]
            if len(path) > 2 or container.isupper() or not container[:1].isupper():
                yield f"changes {'.'.join(path[:-1])} in place"

    def _instance(self, use: Use) -> str:
        """Lists and dicts read from an instance are copies, so that changing one changes nothing."""
        name, attributes, role, _, scope = use
        chain = attributes
        owner = self.reading.owner(name, scope)
        if not attributes or owner is None or (role == "call" and attributes[-1] not in _CHANGES):
            return ""
        if role not in ("call", "substore"):
            return ""
        if role == "call":
            chain = attributes[:-1]
        made = owner.made.get(name, []) if name not in owner.opaque else []
        if name == owner.first:
            made, chain = self.reading.made_attributes.get(attributes[0], []), chain[1:]
            owner = self.reading.module
        if chain and any(self._dotted(func, owner)[0] == "solution" for func in made):
            return f"changes {'.'.join((name, *attributes[: len(attributes) - (role == 'call')]))} in place"
        return ""

    def _builtin(self, name: str, role: str, node: Any, scope: Scope) -> str:
        if name in ("open", "globals"):
            return "opens files" if name == "open" else "reads globals()"
        if role != "call":
            return ""
        if name == "vars" and node.args:
            return "reads vars()"
        if name == "type" and len(node.args) == 3:
            bases = getattr(node.args[1], "elts", [node.args[1]])
            if any(self._dotted(base, scope)[0] == "solution" for base in bases):
                return "inherits from a class of the solution"
        if name in ("setattr", "delattr") and len(node.args) > 1:
            kind, dotted = self._dotted(node.args[0], scope)
            if kind == "module":
                dotted += f".{_text(node.args[1])}"
                return "" if dotted in _HANDED_ON else f"sets {dotted}"
        return ""


def _text(node: Any) -> str:
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if constant else "a computed name"
