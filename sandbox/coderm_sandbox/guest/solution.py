"""The solution as a test sees it: a module, and names bound into the test's own namespace."""

from __future__ import annotations

import builtins
import importlib
import types
from typing import TYPE_CHECKING, Any, NamedTuple

from .tables import STANDARD_MODULES

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["SOLUTION_MODULES", "UNREADABLE", "SolutionModule", "Standard", "bind", "describe", "names_in"]

SOLUTION_MODULES = ("solution", "your_module", "your_solution", "my_module")
"""Names under which a test may import the solution."""
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
"""What parsing or compiling a text raises that is no program, or one nested too deeply."""
_DETAIL = 240
_PLAIN = (bool, int, float, str)
_ALIASES = {"np": "numpy"}


def describe(error: BaseException) -> str:
    """One line on an exception, cut to a fixed length; formatting it must not raise either."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except BaseException as failure:  # noqa: BLE001  (str() of candidate code may raise anything)
        text = f"<str() raised {type(failure).__name__}>"
    return (f"{name}: {text}" if text else name)[:_DETAIL]


class Standard(NamedTuple):
    """A name that the solution says it imported from a module."""

    module: str
    name: str | None


class SolutionModule(types.ModuleType):
    """What `import solution` gives: attributes are asked of the player where they are not known yet."""

    def __init__(self, peer: Peer, names: dict[str, Any]) -> None:
        super().__init__("solution")
        vars(self)["_peer"], vars(self)["_names"] = peer, names

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return [n for n in self._names if not n.startswith("_")]
        found = self._names.get(name)
        if name.startswith("__") or found is None or type(found) in _PLAIN:
            # It may have come into being or changed since; the player says so or raises AttributeError.
            return self._peer.proxies.ask("module get", name)
        return value_of(self, name, found)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            super().__setattr__(name, value)
        else:
            self._names.pop(name, None)
            self._peer.proxies.ask("module set", name, value)

    def __delattr__(self, name: str) -> None:
        self._names.pop(name, None)
        self._peer.proxies.ask("module del", name)


_ANY_NAME = {"eval", "exec", "globals", "locals", "vars", "__import__"}


def names_in(code: types.CodeType) -> frozenset[str] | None:
    """Names that a text may look up in its module; None where it may make them up as it runs."""
    names: set[str] = set()
    codes = [code]
    while codes:
        one = codes.pop()
        names.update(one.co_names)
        codes += [constant for constant in one.co_consts if isinstance(constant, types.CodeType)]
    return None if names & _ANY_NAME else frozenset(names)


def value_of(module: SolutionModule, name: str, value: Any) -> Any:
    """What a name stands for: the judge's own where the standard library is meant, else the player's."""
    if type(value) is not Standard:
        return value
    if value.module in STANDARD_MODULES:
        if value.name is None and value.module == _ALIASES.get(name, name):
            return importlib.import_module(value.module)
        if value.name == name and not name.startswith("_"):
            return getattr(importlib.import_module(value.module), name, None)
    return vars(module)["_peer"].proxies.ask("module get", name)


def bind(names: dict[str, Any], used: frozenset[str] | None, module: SolutionModule) -> dict[str, Any]:
    """The names that a test finds in its namespace; only those that it uses, where that is known.

    A solution's `abs` or `all` is not what a test means that does not import it.
    """
    return {
        name: value_of(module, name, value)
        for name, value in names.items()
        if (used is None or name in used) and not (hasattr(builtins, name) or name.startswith("__"))
    }
