"""The fenced code blocks of a model's markdown, as models write it. Pure, in linear time."""

from __future__ import annotations

import re
import textwrap

import msgspec

from coderm_reward.bare_code import Block, before_prose
from coderm_reward.source import safe_parse

__all__ = ["fenced_blocks"]

_FENCE = re.compile(
    r"(?P<indent>[ \t]*)(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?(?P<marker>`{3,}|~{3,})(?P<info>[^`]*)\Z"
)
_FENCE_AFTER_PROSE = re.compile(r"(?P<marker>`{3,})(?P<info>[ \t]*(?:python3?|py)[ \t]*)\Z", re.IGNORECASE)
_ONE_LINE = re.compile(r"[ \t]*```(?:python3?|py)[ \t]+(?P<code>[^`]+)```[ \t]*\Z", re.IGNORECASE)
_PYTHON = {"python", "py", "python2", "python3", "py3", "ipython", "ipython3"}
_NEUTRAL = {"", "text", "txt", "plaintext", "plain", "code"}
_MAX_RESCANS = 50


def _language(info: str) -> str:
    words = info.strip().strip("{}").lstrip(".").split(maxsplit=1)
    word = words[0].lower().rstrip(",:;}") if words else ""
    if word in _PYTHON or word.endswith(".py"):
        return "python"
    return "" if word in _NEUTRAL else word


class _Open(msgspec.Struct):
    """A fence that was opened and not closed yet."""

    marker: str
    indent: str
    info: str
    start: int
    nested: bool = False
    sloppy_end: int | None = None
    """First line that may be a badly written end: too far in, or behind code on its line."""


def fenced_blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a text in order, without REPL sessions.

    As in CommonMark, a fence ends at the same marker, no shorter, and no deeper than three columns; so a
    fence inside a docstring is code. Beyond CommonMark: a fence inside an unended one that names a
    language ends it; where no proper end follows, a badly written one counts, or the start of prose; code
    may stand between the markers of one line.
    """
    lines = text.split("\n")
    blocks: list[Block] = []
    opened: _Open | None = None
    rescans = 0
    i = 0
    while i < len(lines):
        line = lines[i]
        fence = _FENCE.match(line) if "```" in line or "~~~" in line else None
        if opened is None:
            found = fence or ("```" in line and _FENCE_AFTER_PROSE.search(line)) or None
            whole = None if found or "```" not in line else _ONE_LINE.match(line)
            if whole is not None and safe_parse(whole["code"].strip()) is not None:
                blocks.append(Block(whole["code"].strip(), "python", True))
            elif found is not None:
                indent = fence["indent"] if fence else ""
                opened = _Open(found["marker"], indent, found["info"], i + 1)
        elif fence and fence["marker"].startswith(opened.marker):
            shallow = len(fence["indent"].expandtabs()) <= len(opened.indent.expandtabs()) + 3
            if fence["info"].strip():
                if shallow:
                    blocks.append(_ended(lines, opened, i, proper=False))
                    opened = _Open(fence["marker"], fence["indent"], fence["info"], i + 1)
                else:
                    opened.nested = True
            elif not shallow:
                if opened.sloppy_end is None and not opened.nested:
                    opened.sloppy_end = i
            else:
                block = _ended(lines, opened, i, proper=True)
                sloppy = opened.sloppy_end
                if sloppy is not None and rescans < _MAX_RESCANS and safe_parse(block.code) is None:
                    earlier = _ended(lines, opened, i, proper=False)
                    if safe_parse(earlier.code) is not None:
                        rescans += 1
                        block, i = earlier, sloppy
                blocks.append(block)
                opened = None
        elif (
            opened.sloppy_end is None
            and line.rstrip().endswith(opened.marker)
            and line.count(opened.marker[:3]) == 1
        ):
            opened.sloppy_end = i
        i += 1
    if opened is not None:
        blocks.append(_ended(lines, opened, len(lines), proper=False))
    return [block for block in blocks if not block.code.lstrip().startswith(">>>")]


def _ended(lines: list[str], opened: _Open, end: int, *, proper: bool) -> Block:
    """Make the block of an opened fence whose content ends before line `end`, or at its sloppy end."""
    closed = proper
    content = lines[opened.start : end]
    if not proper and opened.sloppy_end is not None:
        closed = True
        last = lines[opened.sloppy_end].rstrip().removesuffix(opened.marker)
        content = [*lines[opened.start : opened.sloppy_end], last]
    width = len(opened.indent)
    if width:
        content = [line[width:] if not line[:width].strip() else line.lstrip() for line in content]
    code = "\n".join(content)
    if code[:1] in " \t\n" and safe_parse(code) is None:
        dedented = textwrap.dedent(code)
        code = dedented if safe_parse(dedented) is not None else code
    if not closed:
        code = before_prose(code)
    return Block(code, _language(opened.info), closed)
