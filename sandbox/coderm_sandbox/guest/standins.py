"""The classes that stand for classes of the other side: their members, and how they are put together."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .tables import (
    COMPARISONS,
    FIXED_PAYLOADS,
    FORWARDED,
    MUTABLE_PAYLOADS,
    OPERATORS,
    QUERIES,
    RESTRICTED,
    SAFE_NAMES,
)

if TYPE_CHECKING:
    from .proxies import Proxies

__all__ = ["class_members", "function_members", "new_class", "type_members"]

_ASKED = frozenset({"__bool__", "__len__", "__hash__"})
"""Special methods whose answers can decide an assertion by themselves."""
_OPEN = frozenset(
    {"__annotations__", "__dict__", "__doc__", "__members__", "__name__", "__qualname__", "__wrapped__"}
)
"""Names with underscores that are asked of the other side like any other."""
_TEXTS = frozenset({"__str__", "__repr__", "__format__"})
_ASYNC = frozenset({"__anext__", "__aenter__", "__aexit__"})


def _forward(proxies: Proxies, name: str) -> Callable[..., Any]:
    def special(self: Any, *values: Any) -> Any:
        return proxies.special(self, name, *values)

    return special


def _async_forward(proxies: Proxies, name: str) -> Callable[..., Any]:
    async def special(self: Any, *values: Any) -> Any:
        return proxies.ask("await", proxies.special(self, name, *values))

    return special


def _asked(proxies: Proxies, name: str) -> Callable[..., Any]:
    def special(self: Any) -> Any:
        proxies.by_handle = True
        return proxies.special(self, name)

    return special


def _operator(proxies: Proxies, name: str) -> Callable[..., Any]:
    def operator(self: Any, other: Any, *modulo: Any) -> Any:
        if not proxies.is_handle(other):
            if proxies.strict and (name in COMPARISONS or name in RESTRICTED):
                return NotImplemented
            proxies.by_handle = True
        if name in COMPARISONS:
            proxies.by_handle = True
            answer = proxies.special(self, name, other)
            return answer if answer is NotImplemented else bool(answer)
        return proxies.special(self, name, other, *modulo)

    return operator


def _equal(proxies: Proxies) -> Callable[[Any, Any], Any]:
    def equal(self: Any, other: Any) -> Any:
        if self is other:
            return True
        if proxies.strict and not proxies.is_handle(other):
            return NotImplemented
        proxies.by_handle = True
        answer = proxies.special(self, "__eq__", other)
        return answer if answer is NotImplemented else bool(answer)

    return equal


def _contains(proxies: Proxies, iterable: bool) -> Callable[[Any, Any], bool]:
    def contains(self: Any, value: Any) -> bool:
        if proxies.strict and not proxies.is_handle(value):
            if iterable:
                return any(item is value or item == value for item in self)
            raise TypeError("membership of a plain value in a solution's object that cannot be iterated")
        proxies.by_handle = True
        return bool(proxies.special(self, "__contains__", value))

    return contains


class _Method:
    """A function in a class of the other side; gives way to an attribute that was set on the instance."""

    def __init__(self, proxies: Proxies, name: str) -> None:
        self._proxies = proxies
        self.__name__ = self.__qualname__ = name

    def __call__(self, target: Any, *values: Any, **names: Any) -> Any:
        self._proxies.by_handle = self._proxies.by_handle or self.__name__ in QUERIES
        return self._proxies.method(target, self.__name__, values, names)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        if (id(instance), self.__name__) in self._proxies.assigned:
            return self._proxies.ask("get", instance, self.__name__)
        return types.MethodType(self, instance)


def _await(proxies: Proxies) -> Callable[[Any], Any]:
    def wait(self: Any) -> Any:
        if False:
            yield
        return proxies.ask("await", self)

    return wait


def _attributes(proxies: Proxies) -> dict[str, Any]:
    def get(self: Any, name: str) -> Any:
        if name in QUERIES:
            proxies.by_handle = True
        if name.startswith("__") and name not in _OPEN:
            raise AttributeError(name)
        return proxies.ask("get", self, name)

    def put(self: Any, name: str, value: Any) -> None:
        if isinstance(self, BaseException) and name.startswith("__"):  # __traceback__ and its like
            BaseException.__setattr__(self, name, value)
        else:
            proxies.ask("set", self, name, value)
            proxies.assigned.add((id(self), name))

    return {
        "__getattr__": get,
        "__setattr__": put,
        "__delattr__": lambda self, name: proxies.ask("del", self, name),
    }


def class_members(
    proxies: Proxies, bases: list[Any], special: list[str], functions: list[str], unhashable: bool
) -> dict[str, Any]:
    """The members of a stand-in class; a built-in base's own rules come before the other side's."""
    builtin = next((b for kind in bases for b in kind.__mro__ if b in SAFE_NAMES and b is not object), None)
    members: dict[str, Any] = {}
    wanted = [name for name in special if name in FORWARDED]
    if builtin is not None and not issubclass(builtin, BaseException):
        for name in FORWARDED | {"__ne__"}:
            if hasattr(builtin, name) and name not in _TEXTS:
                members[name] = getattr(builtin, name)
        wanted = [name for name in wanted if name in _TEXTS or not hasattr(builtin, name)]
        fixed = issubclass(builtin, FIXED_PAYLOADS) or not issubclass(builtin, MUTABLE_PAYLOADS)
        functions = [n for n in functions if not hasattr(builtin, n) or not (fixed or n in QUERIES)]
    elif builtin is not None:
        wanted = [name for name in wanted if name in _TEXTS or not hasattr(builtin, name)]
        functions = [name for name in functions if not hasattr(builtin, name)]
    else:
        members["__slots__"] = ()
        members["__dict__"] = property(lambda self: proxies.ask("get", self, "__dict__"))
        members["__copy__"] = _forward(proxies, "__copy__")
        members["__deepcopy__"] = lambda self, memo: proxies.special(self, "__deepcopy__")
    members.update(_attributes(proxies))
    for name in wanted:
        members[name] = _special_method(proxies, name, "__iter__" in special or "__getitem__" in special)
    if "__eq__" in members and builtin is None:
        members["__ne__"] = lambda self, other: not self == other  # noqa: SIM201
        members.setdefault("__hash__", object.__hash__)
    if unhashable and builtin is None:
        members["__hash__"] = None
    for name in functions:
        if not name.startswith("__"):
            members[name] = _Method(proxies, name)
    return members


def _special_method(proxies: Proxies, name: str, iterable: bool) -> Any:
    if name == "__eq__":
        return _equal(proxies)
    if name == "__contains__":
        return _contains(proxies, iterable)
    if name == "__await__":
        return _await(proxies)
    if name in OPERATORS:
        return _operator(proxies, name)
    if name in _ASKED:
        return _asked(proxies, name)
    if name == "__call__":
        return lambda self, *values, **names: proxies.call(self, values, names)
    if name in _ASYNC:
        return _async_forward(proxies, name)
    return _forward(proxies, name)


def function_members(proxies: Proxies) -> dict[str, Any]:
    """What a stand-in for a function does: be called, be bound like one, show attributes."""

    def call(self: Any, *values: Any, **names: Any) -> Any:
        return proxies.call(self, values, names)

    def bound(self: Any, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def shown(self: Any) -> str:
        return f"<function {self.__name__}>"

    return {**_attributes(proxies), "__call__": call, "__get__": bound, "__repr__": shown}


def type_members(proxies: Proxies) -> dict[str, Any]:
    """What a stand-in class does as an object itself: be called, show attributes, be iterated (enums)."""

    def call(cls: Any, *values: Any, **names: Any) -> Any:
        return proxies.call(cls, values, names)

    def get(cls: Any, name: str) -> Any:
        if name.startswith("__") and name not in _OPEN:
            raise AttributeError(name)
        return proxies.ask("get", cls, name)

    def instancecheck(cls: Any, value: Any) -> bool:
        found = type.__instancecheck__(cls, value)
        proxies.by_handle = proxies.by_handle or found
        return found

    def length(cls: Any) -> Any:
        proxies.by_handle = True
        return proxies.special(cls, "__len__")

    def contains(cls: Any, value: Any) -> Any:
        return proxies.is_handle(value) and any(item is value for item in cls)

    return {
        "__call__": call,
        "__getattr__": get,
        "__setattr__": lambda cls, name, value: proxies.ask("set", cls, name, value),
        "__instancecheck__": instancecheck,
        "__iter__": lambda cls: proxies.special(cls, "__iter__"),
        "__len__": length,
        "__bool__": lambda cls: True,
        "__getitem__": lambda cls, key: proxies.special(cls, "__getitem__", key),
        "__contains__": contains,
        "__prepare__": classmethod(_refuse_subclass),
    }


def _refuse_subclass(cls: Any, name: str, bases: tuple[Any, ...], /, **options: Any) -> dict[str, Any]:
    raise TypeError("a class of the solution cannot be a base of a test's class here")


def new_class(name: str, bases: tuple[type, ...], members: dict[str, Any], meta: Any) -> type:
    """Put a stand-in class together; where the bases do not fit each other here, with fewer of them."""
    members = {"__module__": "solution", **members}
    builtin = tuple(base for base in bases if type(base) is type)
    for chosen in (bases, tuple(b for b in bases if b not in builtin), builtin, ()):
        try:
            return type.__new__(meta, name, chosen or (object,), dict(members))  # type: ignore[no-any-return]
        except TypeError:
            continue
    raise TypeError(f"no stand-in for the class {name:.60}")
