"""Which programs are the same program: equal up to formatting, comments and docstrings. Pure; runs nothing.

Two programs of one identity give the same verdicts, so only one of them has to run. What a program looks
like is no part of that, unless code looks at it: code that can reach line numbers, frames, tracebacks or its
own source is the same only as equal text, and code that can read docstrings keeps them. Both are told from
the names and strings in the code itself; comments and docstrings may mention what they like. A program that
hides such a name (`getattr(f, "__co" + "de__")`) may share a verdict with siblings of the same syntax tree.
"""

from __future__ import annotations

import ast
import hashlib
import re
from functools import lru_cache

from coderm_reward.source import safe_parse, strip_docstrings

__all__ = ["normalised_hash", "reads_source", "text_hash"]

_MAX_CHARS = 50_000
"""Longer source is not worth a syntax tree here; it is the same only as equal text."""
_READS_LINES = re.compile(
    r"\b(?:inspect|traceback|linecache|tracemalloc|faulthandler|warnings|stacklevel|tokenize|marshal|dis"
    r"|trace|pdb|bdb|c?[pP]rofile|pstats|gc|settrace|setprofile|monitoring|breakpoint"
    r"|__traceback__|with_traceback|print_exc|format_exc|exc_info|excepthook|tb_\w+"
    r"|_getframe|_current_frames|currentframe|f_lineno|f_code|f_back|f_trace\w*|(?:gi|cr|ag)_(?:frame|code|await)"
    r"|__code__|co_\w+|lineno|__firstlineno__|__file__|__loader__|__spec__|getsource\w*|get_source)\b"
)
_READS_DOCSTRINGS = re.compile(
    r"\b(?:__doc__|getdoc|help|pydoc|doctest|docopt|click|typer|fire"
    r"|dir|vars|globals|locals|__dict__|getmembers|__getattribute__)\b"
)


@lru_cache(maxsize=4096)  # a group that runs in steps asks again
def normalised_hash(source: str) -> str:
    """Return 32 hex digits that formatting and comments cannot change, nor docstrings that nothing reads.

    Source that does not parse, is nested too deep to walk, or can see its own lines gives `text_hash`.
    """
    code = _dumped(source, docstrings=False)
    if code is not None and _READS_DOCSTRINGS.search(code):
        code = _dumped(source, docstrings=True)
    if code is None or _READS_LINES.search(code):
        return text_hash(source)
    return _digest("tree", code)


def reads_source(source: str) -> bool:
    """Return whether code could see how the programs that it calls are written: their lines or docstrings.

    Also true of source that does not parse.
    """
    code = _dumped(source, docstrings=False)
    return code is None or any(pattern.search(code) for pattern in (_READS_LINES, _READS_DOCSTRINGS))


def text_hash(source: str) -> str:
    """Return 32 hex digits of the text as it stands."""
    return _digest("text", source)


def _dumped(source: str, *, docstrings: bool) -> str | None:
    """Return the syntax tree as text; None where there is none to be had."""
    tree = safe_parse(source) if len(source) <= _MAX_CHARS else None
    if tree is None:
        return None
    try:
        if not docstrings:
            strip_docstrings(tree)
        return ast.dump(tree)
    except (RecursionError, ValueError):  # too deep; an integer of more digits than Python prints
        return None


def _digest(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
