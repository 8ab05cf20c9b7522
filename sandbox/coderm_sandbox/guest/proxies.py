"""Stand-ins in this process for objects that live in the other one.

A class of the other side becomes a real class here, so that `isinstance`, `except` and `type(x).__name__`
work; its instances forward what is asked of them. Instances of built-in subclasses carry their base
value and behave by the base's rules. No stand-in ever compares itself with a plain value on the
other side's word: a handle equals a plain value never, and operators that measure a difference are
refused (DESIGN section 5.3).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import shells
from .channel import WireError
from .standins import class_members, function_members, new_class, type_members
from .tables import EXCEPTION_MODULES, FIXED_PAYLOADS, MUTABLE_PAYLOADS, SAFE_TYPES, builtin_base

if TYPE_CHECKING:
    from .ahead import AheadAnswers
    from .peer import Peer

__all__ = ["Proxies"]

_FIXED = {kind.__name__: kind for kind in FIXED_PAYLOADS}
_MUTABLE = {kind.__name__: kind for kind in MUTABLE_PAYLOADS}
_MOST = 200_000
_ITERATE = frozenset({"send", "throw", "close", "await"})


def _marks() -> dict[str, Any]:
    """What asyncio and inspect recognise a coroutine function by that is no plain function."""
    marks = {"_is_coroutine": ("asyncio.coroutines", "_is_coroutine")}
    marks["_is_coroutine_marker"] = ("inspect", "_is_coroutine_mark")
    found = {key: getattr(sys.modules.get(module), name, None) for key, (module, name) in marks.items()}
    return {key: mark for key, mark in found.items() if mark is not None}


class Proxies:
    """All stand-ins of one side, each made once, so that identity means what it means over there."""

    def __init__(self, peer: Peer, strict: bool) -> None:
        self._peer = peer
        self.strict = strict
        """Whether the other side may not compare its objects with our plain values."""
        self._meta = type("type", (type,), type_members(self))
        self._functions = type("function", (), function_members(self))
        self._made: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._handles: set[int] = set()
        self._raised: dict[int, BaseException] = {}
        self._kept: tuple[dict[int, Any], dict[int, int], set[int]] = ({}, {}, set())
        self.assigned: set[tuple[int, str]] = set()
        """(id, name) of the attributes that were set on stand-ins here."""
        self.ahead: AheadAnswers | None = None
        """What calls of a harmless solution's functions give."""
        self.by_handle = False
        """Whether something of what happened since the last reset rests on the other side's word."""

    def keep_all(self) -> None:
        """What there is by now outlives every reset."""
        self._kept = (dict(self._made), dict(self._numbers), set(self._handles))

    def reset(self) -> None:
        """Forget every stand-in made since keep_all."""
        made, numbers, handles = self._kept
        self._numbers, self._handles = dict(numbers), set(handles)
        self._made = dict(made)  # last: what ends with it, generators say, must find itself unknown
        self._raised.clear()
        self.assigned.clear()
        self.by_handle = False

    def forget(self) -> None:
        """Forget every stand-in."""
        self._kept = ({}, {}, set())
        self.ahead = None
        self.reset()

    def has_more(self) -> bool:
        """Whether there are stand-ins that a reset would forget."""
        return len(self._made) > len(self._kept[0]) or bool(self._raised)

    def node(self, value: Any) -> list[Any] | None:
        """The node that gives the other side its own object back; None for everything else."""
        number = self._numbers.get(id(value))
        return None if number is None else ["h", number]

    def is_handle(self, value: Any) -> bool:
        """Whether this is an instance of the other side's that has no plain value."""
        return id(value) in self._handles

    def is_function(self, value: Any) -> bool:
        """Whether this stands for a function of the other side's."""
        return type(value) is self._functions

    def raised(self, error: BaseException) -> None:
        self._raised[id(error)] = error

    def was_raised(self, error: BaseException) -> bool:
        """Whether an exception came from the other side."""
        return id(error) in self._raised

    # What stand-ins call

    def call(self, proxy: Any, values: tuple[Any, ...], names: dict[str, Any]) -> Any:
        known = None if names or self.ahead is None else self.ahead.find(proxy, values)
        if known is not None:
            return known[0]
        return self.ask("call", proxy, "\0".join(names), *values, *names.values())

    def method(self, proxy: Any, name: str, values: tuple[Any, ...], names: dict[str, Any]) -> Any:
        return self.ask("method", proxy, name, "\0".join(names), *values, *names.values())

    def special(self, proxy: Any, name: str, *values: Any) -> Any:
        return self.ask("special", proxy, name, *values)

    def ask(self, op: str, *values: Any) -> Any:
        try:
            return self._peer.ask(op, *values)
        except StopIteration as error:
            # Out of anything but an iterator it would end a loop over the checks, and nobody would notice.
            if not self.strict or op in _ITERATE or (op == "special" and values[1] == "__next__"):
                raise
            raise RuntimeError(f"{op} raised StopIteration") from error

    # Decoding

    def decoders(self) -> dict[str, Callable[[list[Any]], Any]]:
        return {
            "Fn": self._function,
            "K": self._class,
            "H": self._instance,
            "P": self._fixed,
            "PM": self._mutable,
            "G": lambda n: self._shell(n, shells.generator),
            "A": lambda n: self._shell(n, shells.coroutine),
            "AG": lambda n: self._shell(n, shells.async_generator),
            "X": self._exception,
            "sx": self._standard_exception,
            "XH": self._own_exception,
        }

    def _keep(self, number: int, proxy: Any, handle: bool = False) -> Any:
        if len(self._made) > _MOST:
            raise WireError("sent too many objects")
        if number in self._made:
            raise WireError("sent two objects with one number")
        self._made[number] = proxy
        self._numbers[id(proxy)] = number
        if handle:
            self._handles.add(id(proxy))
        return proxy

    def keep_number(self, name: Any, number: int) -> None:
        """Let an object of ours stand for one of the other side's in requests, and for nothing else."""
        self._keep(-number - 1, name)
        self._numbers[id(name)] = number

    def _known(self, number: Any) -> Any:
        if type(number) is not int or number < 0:
            raise WireError("sent an object with a wrong number")
        return self._made.get(number)

    def _function(self, node: list[Any]) -> Any:
        known = self._known(node[1])
        if known is not None:
            return known
        name, text = node[2:4]
        if not all(one is None or type(one) is str for one in (name, text)):
            raise WireError("sent a malformed function")
        proxy: Any = object.__new__(self._functions)
        members = object.__getattribute__(proxy, "__dict__")
        members.update({"__name__": name, "__qualname__": name, "__doc__": text})
        if node[4] is True and "asyncio" in sys.modules:
            members.update(_marks())
        return self._keep(node[1], proxy)

    def _standard_exception(self, node: list[Any]) -> type:
        _, module, name = node
        if module not in EXCEPTION_MODULES:
            raise WireError("sent an exception of an unknown module")
        kind = getattr(importlib.import_module(module), name)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise WireError("sent an exception that is none")
        return kind

    def _shell(self, node: list[Any], make: Callable[[Proxies, int], Any]) -> Any:
        known = self._known(node[1])
        return known if known is not None else self._keep(node[1], make(self, node[1]))

    def _class(self, node: list[Any]) -> Any:
        known = self._known(node[1])
        if known is not None:
            return known
        name, qualname, bases, special, functions, unhashable, text = node[2]
        named = all(type(n) is str and "\0" not in n for n in (name, qualname, *special, *functions))
        if not named or any(n.startswith("__") for n in functions):  # `special` are the ones that have rules
            raise WireError("sent a malformed class")
        kinds = [self._peer.codec.decode(base) for base in bases]
        if not all(isinstance(kind, type) for kind in kinds):
            raise WireError("sent a class whose base is none")
        members = class_members(self, kinds, special, functions, unhashable is True)
        members["__doc__"] = text if type(text) is str else None
        proxy = new_class(name, tuple(kinds), members, self._meta)
        type.__setattr__(proxy, "__qualname__", qualname)
        return self._keep(node[1], proxy)

    def _kind(self, node: list[Any]) -> Any:
        """The class of an instance node: [tag, number, class number, description, ...]."""
        kind = self._class(["K", node[2], node[3]])
        if not isinstance(kind, type):
            raise WireError("sent an instance of what is no class")
        return kind

    def _instance(self, node: list[Any]) -> Any:
        known = self._known(node[1])
        if known is not None:
            return known
        kind = self._kind(node)
        return self._keep(node[1], object.__new__(kind), handle=True)

    def _fixed(self, node: list[Any]) -> Any:
        kind = self._kind(node)
        value = self._peer.codec.decode(node[4])  # also where we know it: containers get their numbers here
        known = self._known(node[1])
        if known is not None:
            return known
        base = type(value)
        if base not in _FIXED.values():
            raise WireError("sent a wrong base value")
        if not issubclass(kind, base):
            return self._keep(node[1], value)
        return self._keep(node[1], base.__new__(kind, value))

    def _mutable(self, node: list[Any]) -> Any:
        known = self._known(node[1])
        if known is not None:
            raise WireError("sent a container twice")
        kind, base = self._kind(node), _MUTABLE[node[4]]
        builtin: Any = builtin_base(kind)
        value = builtin.__new__(kind) if issubclass(kind, base) else base()
        self._keep(node[1], value)
        shared = self._peer.shared
        shared.add(value, node[5])
        self._peer.codec.fill(value, node[6])
        shared.note(node[5])
        return value

    def _arguments(self, node: Any) -> list[Any]:
        if type(node) is not list:
            raise WireError("sent an exception without arguments")
        return [self._peer.codec.decode(part) for part in node]

    def _exception(self, node: list[Any]) -> BaseException:
        error = _make_exception(SAFE_TYPES[node[1]], self._arguments(node[2]))
        cause = None if node[3] is None else self._peer.codec.decode(node[3])
        known = self._known(node[4])
        return known if known is not None else self._with_cause(self._keep(node[4], error), cause)

    def _own_exception(self, node: list[Any]) -> BaseException:
        error = _make_exception(self._kind(node), self._arguments(node[4]))
        cause = None if node[5] is None else self._peer.codec.decode(node[5])
        known = self._known(node[1])
        return known if known is not None else self._with_cause(self._keep(node[1], error), cause)

    def _with_cause(self, error: BaseException, cause: Any) -> BaseException:
        if cause is not None:
            if not isinstance(cause, BaseException):
                raise WireError("sent a cause that is no exception")
            BaseException.__setattr__(error, "__cause__", cause)
        return error


def _make_exception(kind: type, arguments: list[Any]) -> BaseException:
    """An instance by the built-in constructor; no initialiser of anybody's runs."""
    if not issubclass(kind, BaseException):
        raise WireError("sent an exception of a type that is none")
    builtin: Any = builtin_base(kind)
    try:
        error = builtin.__new__(kind, *arguments)
        if kind is builtin:
            builtin.__init__(error, *arguments)
    except TypeError:  # the constructor wants other arguments than the ones it left behind
        error = builtin.__new__(kind)
    BaseException.__setattr__(error, "args", tuple(arguments))
    return error  # type: ignore[no-any-return]
