"""Calls of `re` that leave nothing in its cache which a later call could tell.

`re` keeps patterns by their flags, and 0.0 and 0 are the same key: what is an error at first is none once
somebody had asked with 0. Flags that are written out are never such numbers.
"""

from __future__ import annotations

import ast
from typing import Any

from .known import MEMBERS
from .reading import Reading, Scope

__all__ = ["flags_are_plain"]

_BEFORE_FLAGS = {
    **dict.fromkeys(("match", "fullmatch", "search", "findall", "finditer"), 2),
    **{"compile": 1, "split": 3, "sub": 4, "subn": 4},
}


def flags_are_plain(member: str, role: str, node: Any, scope: Scope, reading: Reading) -> bool:
    """Whether a use of this member of `re` gives no flags, or integers and members of `re` as such."""
    place = _BEFORE_FLAGS.get(member)
    if place is None:
        return True
    if role != "call" or any(isinstance(arg, ast.Starred) for arg in node.args[: place + 1]):
        return False
    flags = [keyword.value for keyword in node.keywords if keyword.arg in ("flags", None)]
    return all(_is_plain(flag, scope, reading) for flag in [*node.args[place : place + 1], *flags])


def _is_plain(node: ast.expr, scope: Scope, reading: Reading) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _is_plain(node.left, scope, reading) and _is_plain(node.right, scope, reading)
    member = ""
    if isinstance(node, ast.Attribute):
        member, node = node.attr, node.value
    if not isinstance(node, ast.Name):
        return False
    found = reading.import_of(node.id, reading.owner(node.id, scope))
    return found is not None and found[0] == "re" and (found[1] or member) in MEMBERS["re"]
