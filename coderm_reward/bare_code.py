"""Code that stands among prose without fences. Pure; parsing has a budget, so no text can stall it."""

from __future__ import annotations

import ast
import builtins
import itertools
import re

import msgspec

from coderm_reward.source import MAX_SOURCE_CHARS, bound_names, free_names, parse_or_line, safe_parse

__all__ = ["Block", "bare_blocks", "before_prose"]


class Block(msgspec.Struct, frozen=True):
    """A piece of a model's text that may be code."""

    code: str
    language: str
    """`python`; empty where the fence names no language or there is no fence; else the language named."""
    closed: bool
    """False for a fence without its end, and for bare lines that do not parse."""


_START = re.compile(
    r"@\w|(?:async\s+)?def\s+\w+\s*[(\[]|class\s+\w+\s*[(:\[]|import\s+\w|from\s+[\w.]+\s+import\b"
    r"|(?:if|for|while|with|try|async)\b.*:|assert\b|print\s*\(|[rRfFbB]?(?:\"\"\"|''')|[A-Za-z_][^=!<>]*=(?!=)"
    r"|[A-Za-z_][\w.]*\("
)
_STRING = r"[rRfFbB]?(?:\"\"\"|''')"
_CUT_OFF = re.compile(
    r"@\w|(?:async\s+)?def\s+\w|class\s+\w+\s*[(:\[]|import\s+[\w.]+\s*(?:,|as\b|#|$)|from\s+[\w.]+\s+import\b"
    rf"|{_STRING}|if\s+__name__|(?:if|for|while|with|try)\b.*:\s*$|assert\b(?!\s+that)|print\s*\("
    r"|[A-Za-z_][\w.\[\]]*\s*[-+*/|&]?=(?!=)|[A-Za-z_][\w.]*[(\[][^)\]]*$|(?:import|from)(?:\s+[\w.]*)?$"
)
_UNENDED = re.compile(_STRING)
_DEFINITION = re.compile(r"(?:@\w|(?:async\s+)?def\s+\w+\s*[(\[]|class\s+\w+\s*[(:\[])")
_INDENTED_DEFINITION = re.compile(r"^([ \t]+)(?:(?:async[ \t]+)?def|class|from|import)[ \t]+\w", re.MULTILINE)
_PARSE_BUDGET = 3 * MAX_SOURCE_CHARS


def before_prose(code: str) -> str:
    """Cut an unended block where an explanation starts; code that was cut off itself stays as it is."""
    bad = parse_or_line(code)
    if isinstance(bad, ast.Module):
        return code
    lines = code.split("\n")
    first = min(bad, len(lines)) - 1
    while first > 0 and not lines[first][:1].strip():
        first -= 1
    head = "\n".join(lines[:first])
    return code if _CUT_OFF.match(lines[first][:200]) or safe_parse(head) is None else head


def bare_blocks(text: str) -> list[Block]:
    """Return the runs of lines that parse as Python in a text without fences, in order.

    A run starts at a line that looks like code and ends where Python gives up, but always before a line
    that starts in column 0: a function is never cut short to make it parse. Lines of prose that happen to
    parse (`Done`, `Complexity: O(n)`) are left out. What does not parse comes with `closed` False: a
    definition, up to the next run, or a run whose last lines are code that was cut off.
    """
    whole = safe_parse(text)
    if whole is not None:
        code = _without_prose(text, whole)
        return [Block(code, "", True)] if code.strip() else []
    lines = text.split("\n")
    blocks = _runs(lines)
    indented = _INDENTED_DEFINITION.search(text)
    if indented and not any(_DEFINITION.search(line) for b in blocks for line in b.code.split("\n")):
        prefix = indented[1]
        blocks = _runs([line.removeprefix(prefix) for line in lines])
    return blocks


def _runs(lines: list[str]) -> list[Block]:
    column_0 = [i for i, line in enumerate(lines) if line[:1].strip()]
    if not column_0:
        return []
    starts = [i for i in column_0 if _START.match(lines[i][:200])]
    chunk = [0] * (len(lines) + 1)  # the column-0 line at or before each line
    for first, after in zip(column_0, [*column_0[1:], len(lines)], strict=True):
        chunk[first:after] = [first] * (after - first)
    offsets = [0]
    offsets += itertools.accumulate(len(line) + 1 for line in lines)

    blocks: list[Block] = []
    budget = _PARSE_BUDGET
    done = 0
    for n, start in enumerate(starts):
        if start < done or budget <= 0:
            continue
        end = len(lines)
        if offsets[end] - offsets[start] > MAX_SOURCE_CHARS:
            end = next(
                (i for i in reversed(column_0) if offsets[i] - offsets[start] < MAX_SOURCE_CHARS), start
            )
        while end > start and budget > 0:
            code = "\n".join(lines[start:end])
            tree = parse_or_line(code)
            if isinstance(tree, ast.Module):
                budget -= len(code)
                blocks.append(Block(_without_prose(code, tree), "", True))
                done = end
                break
            bad = min(start + tree - 1, end - 1)
            budget -= offsets[bad] - offsets[start] + len(code) // 20
            line = lines[chunk[bad]][:200]
            if _UNENDED.match(line) or (chunk[bad] == column_0[-1] and _CUT_OFF.match(line)):
                blocks.append(Block("\n".join(lines[start:]), "", False))
                done = len(lines)
                break
            end = chunk[bad]
        else:
            if _DEFINITION.match(lines[start]):
                after = starts[n + 1] if n + 1 < len(starts) else len(lines)
                blocks.append(Block("\n".join(lines[start:after]), "", False))
    return [block for block in blocks if block.code.strip()]


def _without_prose(code: str, tree: ast.Module) -> str:
    """Drop top-level lines that are prose which happens to parse; reading their words would raise."""
    known = bound_names(*tree.body) | set(dir(builtins))
    lines = code.split("\n")
    for node in tree.body:
        if _is_prose(node, known):
            for i in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[i] = ""
    return "\n".join(lines)


def _is_prose(node: ast.stmt, known: set[str]) -> bool:
    if isinstance(node, ast.AnnAssign):
        return node.value is None and not free_names(node.annotation) <= known
    if not isinstance(node, ast.Expr) or any(isinstance(n, (ast.Call, ast.Await)) for n in ast.walk(node)):
        return False
    return not free_names(node) <= known
