"""May a solution run in a process that runs others after it? Read from its syntax tree; no is only slower.

A list of what is allowed, not of what is forbidden: plain statements and expressions, builtins and standard
members that reach nothing but values, no attribute that could lead from a value to the interpreter, and no
attribute set at all. Such a program can hang, recurse or use up memory, for which its process is replaced;
it cannot change or read anything of ours.
"""

from __future__ import annotations

import ast
import builtins
import collections
import re
import string
import sys
import types
from collections.abc import Iterator
from typing import Any

from .known import MEMBERS, STARS, words
from .stateless import solution_is_stateless

__all__ = ["MODULES", "harmless_code"]

_LONGEST = 1 << 14
MODULES = words(
    "__future__ bisect cmath collections copy functools heapq itertools math operator re string typing"
)
"""Standard modules that may be imported; all of them are there before the first solution is."""
_NODES = (
    "Module FunctionDef Return Assign AugAssign AnnAssign For While If Raise Try Assert Expr Pass Break "
    "Continue Delete Global Nonlocal Lambda IfExp Dict Set ListComp SetComp DictComp GeneratorExp Yield "
    "YieldFrom Compare Call FormattedValue JoinedStr Constant Attribute Subscript Starred Name List Tuple "
    "Slice BoolOp BinOp UnaryOp NamedExpr comprehension ExceptHandler arguments arg keyword alias Import "
    "ImportFrom ClassDef Load Store Del And Or Not Invert UAdd USub Add Sub Mult Div FloorDiv Mod Pow LShift "
    "RShift BitOr BitXor BitAnd MatMult Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn"
)
_ALLOWED = frozenset(getattr(ast, name) for name in _NODES.split())
_BUILTINS = words(
    "abs all any ascii bin bool bytes callable chr classmethod complex dict divmod enumerate filter float "
    "frozenset hex int isinstance issubclass iter len list map max min next object oct ord pow print range "
    "repr reversed round set slice sorted staticmethod str sum tuple zip NotImplemented Ellipsis __name__"
)
_ERRORS = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
)
_REFUSED_NAMES = frozenset(dir(builtins)) - _BUILTINS - _ERRORS - {"True", "False", "None"}
_REFUSED_MEMBERS = words("OrderedDict namedtuple ChainMap cache lru_cache")
_VALUES: tuple[Any, ...] = (
    *(str, bytes, int, float, complex, list, dict, set, frozenset, tuple, range, slice),
    *(collections.deque, collections.Counter, collections.defaultdict, re.Pattern, re.Match),
)
_METHODS = frozenset(name for kind in _VALUES for name in dir(kind) if name[0] != "_") - words(
    "format format_map re"
)
_MEMBERS = frozenset(name for module in MODULES for name in MEMBERS[module]) - _REFUSED_MEMBERS
_INNARDS = frozenset(
    name
    for thing in (
        *(types.FrameType, types.CodeType, types.TracebackType, types.GeneratorType, types.CoroutineType),
        *(
            types.AsyncGeneratorType,
            types.FunctionType,
            types.MethodType,
            types.BuiltinFunctionType,
            property,
        ),
        *(types.ModuleType, type, BaseException, AttributeError, ImportError, OSError, StopIteration),
        *(sys.modules[module] for module in MODULES if module in sys.modules),
    )
    for name in dir(thing)
)
"""Names that a solution's own methods do not open: such an attribute could be meant for something else."""


def harmless_code(source: str) -> types.CodeType | None:
    """The code of a solution that leaves nothing behind and reaches nothing of ours; else None.

    Raises:
        SyntaxError, ValueError: it is no program.
    """
    if len(source) > _LONGEST:
        return None
    try:
        tree = ast.parse(source)
        if next(_objections(tree), None) is None and solution_is_stateless(tree):
            return compile(tree, "<solution>", "exec", dont_inherit=True)
    except (RecursionError, MemoryError, OverflowError):
        return None
    return None


def _objections(tree: ast.Module) -> Iterator[str]:
    """What keeps a program from being harmless."""
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)} - _INNARDS
    asked = {id(name) for node in nodes if type(node) is ast.Compare for name in _types_compared(node)}
    for node in nodes:
        kind = type(node)
        if kind not in _ALLOWED:
            yield f"has a {kind.__name__}"
        elif isinstance(node, ast.Name):
            if not _is_plain(node.id) and id(node) not in asked:
                yield f"uses {node.id}"
        elif isinstance(node, ast.Attribute):
            known = node.attr in _METHODS or node.attr in _MEMBERS or node.attr in own or _formats(node)
            if type(node.ctx) is not ast.Load or not known or node.attr[0] == "_":
                yield f"asks for {node.attr}"
        else:
            yield from _rest(node, kind)


def _types_compared(node: ast.Compare) -> Iterator[ast.Name]:
    """The `type` of each `type(x)` that is compared on the spot, and so is no way to make a class."""
    for side in (node.left, *node.comparators):
        if not isinstance(side, ast.Call) or not isinstance(side.func, ast.Name) or side.keywords:
            continue
        if side.func.id == "type" and len(side.args) == 1 and type(side.args[0]) is not ast.Starred:
            yield side.func


def _rest(node: Any, kind: type) -> Iterator[str]:
    if kind is ast.Import:
        yield from (f"imports {alias.name}" for alias in node.names if alias.name not in MODULES)
    elif kind is ast.ImportFrom:
        yield from _members(node)
    elif kind is ast.FunctionDef or kind is ast.ClassDef:
        if not _is_plain(node.name) or getattr(node, "type_params", None):
            yield f"defines {node.name}"
        if kind is ast.ClassDef and (node.keywords or node.decorator_list or not _has_plain_bases(node)):
            yield f"makes {node.name} out of something"
    elif kind is ast.alias:
        if node.asname is not None and not _is_plain(node.asname):
            yield f"calls something {node.asname}"
    elif kind is ast.arg:
        if not _is_plain(node.arg):
            yield f"takes {node.arg}"
    elif kind is ast.ExceptHandler:
        if node.name is not None and not _is_plain(node.name):
            yield f"calls an exception {node.name}"
    elif kind is ast.Global or kind is ast.Nonlocal:
        yield from (f"declares {name}" for name in node.names if not _is_plain(name))


def _is_plain(name: str) -> bool:
    return name not in _REFUSED_NAMES and (name[:2] != "__" or name == "__name__")


def _members(node: ast.ImportFrom) -> Iterator[str]:
    module = node.module or ""
    known = MEMBERS[module] - _REFUSED_MEMBERS if not node.level and module in MODULES else frozenset()
    for alias in node.names:
        if alias.name not in known and not (alias.name == "*" and known and module in STARS):
            yield f"takes {alias.name} from {module}"


def _has_plain_bases(node: ast.ClassDef) -> bool:
    return all(
        isinstance(base, ast.Name) and (base.id == "object" or base.id in _ERRORS) for base in node.bases
    )


def _formats(node: ast.Attribute) -> bool:
    """Whether this is the `format` of a text that is written out and looks into none of its arguments."""
    text = getattr(node.value, "value", None) if isinstance(node.value, ast.Constant) else None
    if node.attr != "format" or type(text) is not str:
        return False
    fields = [(name or "", spec or "") for _, name, spec, _ in string.Formatter().parse(text)]
    return not any("." in name or "[" in name or "{" in spec for name, spec in fields)
