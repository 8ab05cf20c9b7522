"""Objects of this process that the other one holds by number, and what it may do with them.

In the player everything is allowed: what runs there is the solution's own. What the judge allows is in
lending.py.
"""

from __future__ import annotations

import copy
import operator
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .channel import WireError
from .codec import UnencodableError
from .tables import EXCEPTION_MODULES, FIXED_PAYLOADS, FORWARDED, MUTABLE_PAYLOADS, SAFE_NAMES, SAFE_TYPES

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["Owner"]

_MOST = 200_000
_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_SHELLS: tuple[tuple[type, str], ...] = (
    (types.GeneratorType, "G"),
    (types.CoroutineType, "A"),
    (types.AsyncGeneratorType, "AG"),
)
_BASES = (*FIXED_PAYLOADS, *MUTABLE_PAYLOADS, BaseException)
_CAUSES = 3
_CO_COROUTINE = 0x80
_WHOLE = slice(None)
_PLAIN: dict[type, Callable[[Any], Any]] = {
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, _WHOLE),
    tuple: lambda value: tuple.__getitem__(value, _WHOLE),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}
_SPECIAL: dict[str, Callable[..., Any]] = {
    "__call__": lambda o, *a: o(*a),
    "__bool__": bool,
    "__hash__": hash,
    "__str__": str,
    "__repr__": repr,
    "__copy__": copy.copy,
    "__deepcopy__": lambda o, *a: copy.deepcopy(o),
    "__iter__": iter,
    "__next__": next,
    "__len__": len,
    "__getitem__": operator.getitem,
    "__contains__": lambda o, v: v in o,
}


def _arguments(error: BaseException) -> tuple[Any, ...]:
    """What the constructor was given; an OSError keeps its file name elsewhere."""
    if isinstance(error, OSError) and error.filename is not None and len(error.args) == 2:
        return (*error.args, error.filename)
    return error.args


class Owner:
    """Lends objects of this process to the other side."""

    def __init__(self) -> None:
        self._lent: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._described: set[int] = set()
        self._next = 0
        self._kept = 0

    def attach(self, peer: Peer) -> None:
        self._encode, self._shared, self._contents = peer.codec.encode, peer.shared, peer.codec.contents
        self._many = peer.codec.many

    def lend(self, value: Any) -> int:
        """The number of an object; the object lives until `reset`."""
        number = self._numbers.get(id(value))
        if number is None:
            if len(self._lent) >= _MOST:
                raise UnencodableError("more objects than can be followed")
            number, self._next = self._next, self._next + 1
            self._lent[number] = value
            self._numbers[id(value)] = number
        return number

    def keep_all(self) -> None:
        """What is lent by now outlives every reset."""
        self._kept = self._next

    def reset(self) -> None:
        """Take back what was lent since keep_all, and describe every class anew."""
        for number in [n for n in self._lent if n >= self._kept]:
            del self._numbers[id(self._lent.pop(number))]
        self._described.clear()

    def forget(self) -> None:
        """Take back everything, for another solution."""
        self._kept = 0
        self.reset()

    def has_lent(self, value: Any) -> bool:
        """Whether the other side holds this very object by number."""
        return id(value) in self._numbers

    def has_more(self) -> bool:
        """Whether a reset would take something back."""
        return len(self._lent) > self._kept

    def find(self, number: Any) -> Any:
        if type(number) is not int or number not in self._lent:
            raise WireError("named an object that it was not given")
        return self._lent[number]

    def node(self, value: Any) -> list[Any]:
        """The node for an object that travels by number."""
        kind = type(value)
        if issubclass(kind, type):
            return self._class(value)
        if issubclass(kind, _FUNCTIONS):
            texts = [getattr(value, "__name__", None), getattr(value, "__doc__", None)]
            waits = bool(getattr(getattr(value, "__code__", None), "co_flags", 0) & _CO_COROUTINE)
            return ["Fn", self.lend(value), *[text if type(text) is str else None for text in texts], waits]
        if issubclass(kind, BaseException):
            return self.exception(value)
        for shell, tag in _SHELLS:
            if kind is shell:
                return [tag, self.lend(value)]
        for base in FIXED_PAYLOADS:
            if issubclass(kind, base):
                return ["P", self.lend(value), *self._class(kind)[1:], self._encode(_PLAIN[base](value))]
        for base in MUTABLE_PAYLOADS:
            if issubclass(kind, base):
                return self._mutable(value, kind, base)
        return ["H", self.lend(value), *self._class(kind)[1:]]

    def _mutable(self, value: Any, kind: type, base: type) -> list[Any]:
        known = self._shared.number(value)
        number, described = self.lend(value), self._class(kind)[1:]
        if known is not None:
            return ["@", known]
        shared = self._shared.add(value)
        return ["PM", number, *described, base.__name__, shared, self._contents(value)]

    def exception(self, error: BaseException, causes: int = _CAUSES) -> list[Any]:
        """The node for an exception: its type, its arguments and what it was raised from."""
        kind = type(error)
        arguments = self._many(_arguments(error))
        cause = error.__cause__
        why = None if cause is None or not causes else self.exception(cause, causes - 1)
        if SAFE_TYPES.get(kind.__name__) is kind:
            return ["X", kind.__name__, arguments, why, self.lend(error)]
        return ["XH", self.lend(error), *self._class(kind)[1:], arguments, why]

    def _class(self, kind: type) -> list[Any]:
        number = self.lend(kind)
        if number in self._described:
            return ["K", number, None]
        self._described.add(number)
        return ["K", number, self._describe(kind)]

    def _describe(self, kind: type) -> list[Any]:
        """Name, bases, special methods and functions of a class: what the other side needs for a stand-in."""
        if issubclass(kind, BaseException) and kind.__module__ in EXCEPTION_MODULES:
            return [
                kind.__name__,
                kind.__qualname__,
                [["sx", kind.__module__, kind.__name__]],
                [],
                [],
                False,
                None,
            ]
        bases = [
            ["ty", SAFE_NAMES[base]] if base in SAFE_NAMES else self._class(base)
            for base in kind.__bases__
            if base not in SAFE_NAMES or issubclass(base, _BASES)
        ]
        own = dict(vars(kind))
        special = [name for name in FORWARDED if name in own and own[name] is not None]
        unhashable = "__hash__" in own and own["__hash__"] is None
        functions = [n for n, v in own.items() if type(v) is types.FunctionType and not n.startswith("__")]
        text = own.get("__doc__")
        text = text if type(text) is str else None
        return [kind.__name__, kind.__qualname__, bases, special, functions, unhashable, text]

    def perform(self, op: str, arguments: list[Any]) -> Any:
        """Do one operation. Whatever the object raises passes through."""
        if op == "call":
            function, names, *values = arguments
            return self._call(function, names, values)
        if op == "method":
            target, name, names, *values = arguments
            return self._call(self._attribute(target, name), names, values)
        if op == "get":
            return self._attribute(arguments[0], arguments[1])
        if op == "special":
            return self._special(*arguments)
        if op == "set":
            target, name, value = arguments
            self._check_name(target, name)
            return setattr(target, name, value)
        if op == "del":
            self._check_name(arguments[0], arguments[1])
            return delattr(arguments[0], arguments[1])
        if op in ("send", "throw", "close", "asend", "athrow", "aclose"):
            return getattr(arguments[0], op)(*arguments[1:])
        if op == "await":
            return self.wait(arguments[0])
        raise WireError("asked for an operation that there is not")

    def _call(self, function: Any, names: Any, values: list[Any]) -> Any:
        if not names:
            return function(*values)
        keys = names.split("\0")
        place = len(values) - len(keys)
        return function(*values[:place], **dict(zip(keys, values[place:], strict=True)))

    def _attribute(self, target: Any, name: str) -> Any:
        self._check_name(target, name)
        return getattr(target, name)

    def _special(self, target: Any, name: str, *values: Any) -> Any:
        if name not in FORWARDED:
            raise WireError("asked for an operation that there is not")
        direct = _SPECIAL.get(name)
        return direct(target, *values) if direct else getattr(type(target), name)(target, *values)

    def _check_name(self, target: Any, name: str) -> None:
        """Whether the other side may use this attribute; AttributeError if not."""

    def reraise(self, error: BaseException) -> None:
        """Raise an exception that must not become an answer."""
        if isinstance(error, WireError):
            raise error

    def wait(self, awaitable: Any) -> Any:
        """Run an awaitable to its end in this process."""
        waiting = awaitable.__await__()
        try:
            while True:
                if waiting.send(None) is not None:
                    raise RuntimeError("a coroutine of the test waits for more than the solution")
        except StopIteration as stop:
            return stop.value
