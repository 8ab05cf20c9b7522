"""From one model response to one piece of Python source that parses. Pure."""

from __future__ import annotations

import ast
import re
from collections import Counter

from coderm_reward.bare_code import Block, bare_blocks
from coderm_reward.fences import fenced_blocks
from coderm_reward.source import FunctionNode, parse_or_line, safe_parse
from coderm_reward.text import answer_text

__all__ = ["response_code"]

_MAX_CUTS = 20


def response_code(response: str, counts: Counter[str]) -> str | None:
    """Return the Python source in a response, all its blocks in order; None where there is none.

    Of code that does not parse the whole functions and methods are kept. Counts `no_code`,
    `does_not_parse`, `repaired_truncated` and `repaired_syntax` (see generation.parsing).
    """
    answer = answer_text(response)
    whole = safe_parse(answer)
    if whole is not None and _is_code(whole):
        blocks = [Block(answer, "", True)]
    else:
        blocks = [block for block in fenced_blocks(answer) if _may_be_code(block)] or bare_blocks(answer)
    if not blocks:
        counts["no_code"] += 1
        return None
    parts = [part for block in blocks if (part := _parsable(block, counts)) is not None]
    if not parts:
        counts["does_not_parse"] += 1
        return None
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _is_code(tree: ast.Module) -> bool:
    return any(not isinstance(node, ast.Expr) for node in tree.body)


def _may_be_code(block: Block) -> bool:
    """Whether a fenced block counts: Python by its tag, or by what it holds."""
    if block.language == "python":
        return bool(block.code.strip())
    tree = safe_parse(block.code)
    if tree is not None:
        return _is_code(tree)
    return not block.language and _DEFINITION.search(block.code) is not None


def _parsable(block: Block, counts: Counter[str]) -> str | None:
    """Return a block's code without what does not parse and without an end that was cut off."""
    tree = parse_or_line(block.code)
    if not isinstance(tree, ast.Module):
        return _without_errors(block.code, tree, counts)
    start = _cut_off(tree, block)
    if start is None:
        return block.code
    head = "\n".join(block.code.split("\n")[: start - 1])
    if safe_parse(head) is None:
        return block.code
    counts["repaired_truncated"] += 1
    return head


def _without_errors(code: str, line: int, counts: Counter[str]) -> str | None:
    """Cut out the functions or top-level statements where Python gives up; None if too many are bad."""
    lines = code.split("\n")
    starts = _segments(lines)
    truncated = True
    for _ in range(_MAX_CUTS):
        n = max((i for i, start in enumerate(starts) if start < line), default=0)
        if len(starts) < 2:
            return None
        first, after = starts[n], starts[n + 1] if n + 1 < len(starts) else len(lines)
        truncated = truncated and after == len(lines)
        del lines[first:after]
        starts = [*starts[:n], *(start - (after - first) for start in starts[n + 1 :])]
        code = "\n".join(lines)
        found = parse_or_line(code)
        if isinstance(found, ast.Module):
            counts["repaired_truncated" if truncated else "repaired_syntax"] += 1
            return code if found.body else None
        line = found
    return None


_DEFINITION = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+\w+[ \t]*[(:]", re.MULTILINE)
_BOUNDARY = re.compile(r"[ \t]*(?:@\w|(?:async[ \t]+)?def[ \t]|class[ \t])|[^\s#)\]}]")


def _segments(lines: list[str]) -> list[int]:
    """Return where functions, methods, classes and other top-level statements start; decorators included."""
    starts: list[int] = []
    decorated = False
    for i, line in enumerate(lines):
        if not _BOUNDARY.match(line[:200]):
            continue
        if not decorated:
            starts.append(i)
        decorated = line.lstrip().startswith("@")
    return starts


def _cut_off(tree: ast.Module, block: Block) -> int | None:
    """Return the first line of the last function or top-level statement if it seems to be cut off.

    It does if it ends in a lone name (`self.assertE`). Where the fence was never closed it does, too, if it
    is a test that asserts nothing yet, or if its last line is unended and more could have followed on it.
    """
    if not tree.body:
        return None
    owner = tree.body[-1]
    last = owner.body[-1] if isinstance(owner, ast.ClassDef) else owner
    if isinstance(owner, ast.ClassDef) and len(owner.body) > 1:
        owner = last
    simple = [n for n in ast.walk(last) if isinstance(n, ast.stmt) and not hasattr(n, "body")]
    final = max(simple, key=lambda n: (n.end_lineno or 0, n.end_col_offset or 0))
    value = final.value if isinstance(final, ast.Expr) else None
    cut = isinstance(value, (ast.Attribute, ast.Name))
    if not block.closed:
        cut |= not block.code.endswith("\n") and not isinstance(value, (ast.Call, ast.Await))
        cut |= isinstance(last, FunctionNode) and last.name.startswith("test") and not _asserts(last)
    return min([owner.lineno, *(d.lineno for d in getattr(owner, "decorator_list", []))]) if cut else None


def _asserts(function: ast.stmt) -> bool:
    called = [n.func for n in ast.walk(function) if isinstance(n, ast.Call)]
    names = [getattr(func, "attr", getattr(func, "id", "")) for func in called]
    return any(name.startswith(("assert", "fail", "raises", "check", "expect")) for name in names) or any(
        isinstance(n, (ast.Assert, ast.Raise)) for n in ast.walk(function)
    )
