"""What the judge lends to the player: what a test passes to a solution, and nothing that lies behind it.

Callbacks can be called and instances of a test's own classes show their attributes; nobody reaches
through them to the test: no special attributes, no frames, no modules.
"""

from __future__ import annotations

import functools
import sys
import types
import unittest
from typing import Any

from .channel import WireError
from .exports import Owner

__all__ = ["JudgeOwner"]

_CLOSED = (
    types.FrameType,
    types.CodeType,
    types.TracebackType,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    functools.partial,
    unittest.TestCase,
)


class JudgeOwner(Owner):
    """Lends what a test passes to the solution, and nothing that lies behind it."""

    def _check_name(self, target: Any, name: str) -> None:
        if type(name) is not str or name.startswith("__") or _is_closed(target):
            raise AttributeError(f"an object of the test shows no attribute {name!r:.60} to the solution")

    def perform(self, op: str, arguments: list[Any]) -> Any:
        """Refuse what reaches behind the test's objects, or puts the solution's code in their place.

        Only what was lent can be asked for anything: a text of the solution's own has a method `format`,
        which would read any attribute of a test's object.
        """
        if not arguments or not self.has_lent(arguments[0]):
            raise WireError("asked for something of an object that it was not given")
        if op == "special" and _is_closed(arguments[0]) and arguments[1:2] != ["__call__"]:
            raise AttributeError("an object of the test shows nothing of itself to the solution")
        if op in ("set", "del"):
            target, name, *value = arguments
            hidden = getattr(type(target), name, None) if type(name) is str else None
            if isinstance(target, type) or any(map(callable, value)) or callable(hidden):
                raise AttributeError(f"the solution may not replace {name!r:.60} in an object of the test")
        return super().perform(op, arguments)

    def node(self, value: Any) -> list[Any]:
        if isinstance(value, types.BuiltinFunctionType | type):
            named = _standard_name(value)
            if named is not None:
                return ["g", *named]
        if isinstance(value, functools.partial):  # what it holds is the test's
            return ["Fn", self.lend(value), None, None, False]
        node = super().node(value)
        if node[0] == "Fn" and _is_closed(getattr(value, "__self__", None)):
            return [*node[:2], None, None, node[4]]
        return node

    def _describe(self, kind: type) -> list[Any]:
        """Without what tells of the test: where the class stands, its docstring, a test case's methods."""
        name, _, bases, special, functions, unhashable, _ = super()._describe(kind)
        return [name, name, bases, special, [] if _is_closed(kind) else functions, unhashable, None]


def _is_closed(value: Any) -> bool:
    return isinstance(value, _CLOSED) or (isinstance(value, type) and issubclass(value, unittest.TestCase))


def _standard_name(value: Any) -> tuple[str, str] | None:
    """Where the other side finds its own copy of a function or class of the standard library."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)) or module in ("test_solution", "__main__"):
        return None
    root = module.partition(".")[0]
    if root not in sys.stdlib_module_names:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is value else None
