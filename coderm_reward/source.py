"""Pure tools on Python source text that several stages share: safe parsing and identity up to formatting."""

from __future__ import annotations

import ast
import warnings

from coderm_reward.types import content_hash

__all__ = ["MAX_SOURCE_CHARS", "normalised_id", "safe_parse"]

MAX_SOURCE_CHARS = 200_000
"""Longer source is never parsed in this process; it is treated as source that does not parse."""


def safe_parse(source: str) -> ast.Module | None:
    """Parse `source`; None for whatever Python cannot parse (also null bytes, surrogates, too deep)."""
    if len(source) > MAX_SOURCE_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, UnicodeError):
        return None


def normalised_id(source: str) -> str:
    """Return a content hash that formatting and comments cannot change, nor docstrings unless read.

    Docstrings count where the source mentions `__doc__` or `getdoc`; source that does not parse is
    hashed as text.
    """
    tree = safe_parse(source)
    if tree is None:
        return content_hash("text", source)
    if "__doc__" not in source and "getdoc" not in source:
        _strip_docstrings(tree)
    try:
        return content_hash("ast", ast.dump(tree))
    except RecursionError:
        return content_hash("text", source)


def _strip_docstrings(tree: ast.Module) -> None:
    """Remove docstrings in place; a body left empty gets `pass`."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body[:1] = [] if len(node.body) > 1 or isinstance(node, ast.Module) else [ast.Pass()]
