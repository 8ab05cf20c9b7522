"""Hostile text made safe to read: invisible characters become visible, markup becomes text."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import msgspec
from markupsafe import Markup, escape

__all__ = ["Block", "clip", "code_block", "visible"]

_SUSPECT = re.compile(r"[^\n\t -~]")
_SHOWN = re.compile(r"⟨U\+[0-9A-F]{4,6}⟩")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and marks that are drawn as nothing: Unicode's Default_Ignorable_Code_Point outside category Cf.
_IGNORABLE = frozenset(
    [
        *(0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)


class Block(msgspec.Struct, frozen=True):
    """A text ready for a <pre>: escaped markup, and how much of the text it shows."""

    html: Markup
    shown: int
    """Characters of the text that are in `html`."""
    total: int
    """Characters that the text has."""


def visible(text: str, *, spaces: bool = False) -> str:
    """Return `text` with control, bidi, zero-width and unprintable characters as `⟨U+202E⟩`.

    Such characters can make code look like other code. Newline and tab stay, CRLF becomes newline;
    with `spaces`, blanks that are not the ASCII one are shown too. The result is always encodable.
    """
    show = _show_with_spaces if spaces else _show
    return _SUSPECT.sub(lambda match: show(match[0]), text.replace("\r\n", "\n"))


def clip(text: str, limit: int) -> str:
    """Return `text` made visible, its middle replaced by a count where it is longer than `limit`."""
    if len(text) <= limit:
        return visible(text)
    head, tail = limit * 3 // 4, limit // 4
    return f"{visible(text[:head])} …[{len(text) - head - tail:,} more]… {visible(text[-tail:])}"


def code_block(text: str, max_chars: int, max_bytes: int) -> Block:
    """Return the beginning of `text`, escaped, with what `visible` shows marked; within both limits."""
    shown = min(len(text), max_chars)
    while True:
        escaped = escape(visible(text[:shown], spaces=True))
        html = Markup(_SHOWN.sub(r"<mark>\g<0></mark>", str(escaped)))
        if len(html.encode()) <= max_bytes or not shown:
            return Block(html, shown, len(text))
        shown //= 2


@lru_cache(maxsize=4096)
def _show(char: str) -> str:
    hidden = unicodedata.category(char) in _HIDDEN_CATEGORIES or ord(char) in _IGNORABLE
    return f"⟨U+{ord(char):04X}⟩" if hidden else char


def _show_with_spaces(char: str) -> str:
    return f"⟨U+{ord(char):04X}⟩" if unicodedata.category(char) == "Zs" else _show(char)
