"""The fixed tables of what may cross between judge and player by name."""

from __future__ import annotations

import builtins
import collections
import datetime
import decimal
import fractions

__all__ = [
    "COMPARISONS",
    "EXCEPTION_MODULES",
    "FIXED_PAYLOADS",
    "FORWARDED",
    "MUTABLE_PAYLOADS",
    "OPERATORS",
    "QUERIES",
    "RESTRICTED",
    "SAFE_NAMES",
    "SAFE_TYPES",
    "STANDARD_MODULES",
    "builtin_base",
]

_PLAIN: list[type] = [
    *(object, int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset, range),
    *(slice, type(None), collections.deque, collections.Counter, collections.OrderedDict),
    *(collections.defaultdict, decimal.Decimal, fractions.Fraction),
    *(datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone),
]
SAFE_TYPES: dict[str, type] = {
    **{kind.__name__: kind for kind in _PLAIN},
    **{
        name: kind
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__name__ == name
    },
}
"""Types that mean the same on both sides, and whose constructors do nothing but construct."""
SAFE_NAMES: dict[type, str] = {kind: name for name, kind in SAFE_TYPES.items()}


def builtin_base(kind: type) -> type:
    """The first of a class and its bases that is a type of the table."""
    return kind if kind in SAFE_NAMES else next(base for base in kind.__mro__ if base in SAFE_NAMES)


FIXED_PAYLOADS: tuple[type, ...] = (int, float, complex, str, bytes, tuple, frozenset)
MUTABLE_PAYLOADS: tuple[type, ...] = (list, dict, set, bytearray, collections.deque)
"""Built-in bases whose value travels with an instance of a subclass."""

QUERIES = frozenset(
    {
        *("startswith", "endswith", "isdigit", "isalpha", "isalnum", "isupper", "islower", "isspace"),
        *("istitle", "isnumeric", "isdecimal", "isidentifier", "isascii", "is_integer", "issubset"),
        *("issuperset", "isdisjoint", "index", "rindex", "count", "find", "rfind"),
    }
)
"""Methods by which tests compare built-in values; answered by a player, they make a verdict judge=handle."""

EXCEPTION_MODULES = frozenset(
    {
        *("asyncio.exceptions", "binascii", "concurrent.futures._base", "configparser", "copy", "_csv"),
        *("dataclasses", "decimal", "json.decoder", "queue", "_queue", "re", "statistics", "struct", "zlib"),
        *("subprocess", "string", "shutil", "zipfile", "tarfile", "urllib.error", "socket", "ssl"),
    }
)
"""Modules whose exception classes mean the same on both sides."""

STANDARD_MODULES = frozenset(
    {
        *("abc", "bisect", "cmath", "collections", "collections.abc", "copy", "datetime", "decimal", "enum"),
        *("fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "numpy", "operator"),
        *("re", "statistics", "string", "textwrap", "typing", "dataclasses"),
    }
)
"""Modules of whose public names the judge uses its own where a solution has imported one."""

_ARITHMETIC = ("add", "mul", "pow", "matmul", "lshift", "rshift", "and", "or")
_DIFFERENCES = ("sub", "truediv", "floordiv", "mod", "divmod", "xor")


def _variants(names: tuple[str, ...]) -> list[str]:
    return [
        f"__{prefix}{name}__" for name in names for prefix in ("", "r", "i") if prefix + name != "idivmod"
    ]


RESTRICTED = frozenset(_variants(_DIFFERENCES))
"""Operators that tell how far apart two values are: a player answers them between two handles only."""
COMPARISONS = ("__lt__", "__le__", "__gt__", "__ge__")
OPERATORS = frozenset([*_variants(_ARITHMETIC), *RESTRICTED, *COMPARISONS, "__eq__"])
FORWARDED = frozenset(
    {
        *OPERATORS,
        *("__call__", "__iter__", "__next__", "__len__", "__getitem__", "__setitem__", "__delitem__"),
        *("__reversed__", "__enter__", "__exit__", "__bool__", "__int__", "__float__", "__complex__"),
        *("__index__", "__round__", "__trunc__", "__floor__", "__ceil__", "__abs__", "__neg__", "__pos__"),
        *("__invert__", "__str__", "__repr__", "__format__", "__bytes__", "__hash__", "__contains__"),
        *("__await__", "__aiter__", "__anext__", "__aenter__", "__aexit__", "__copy__", "__deepcopy__"),
    }
)
"""Special methods that a handle passes on to the process that owns the object."""
