"""Pure tools on model text: an answer without thoughts and control tokens, the key of a prompt's text."""

from __future__ import annotations

import re

from coderm_reward.source import MAX_SOURCE_CHARS

__all__ = ["MAX_ANSWER_CHARS", "answer_text", "prompt_key", "storable"]

MAX_ANSWER_CHARS = 2 * MAX_SOURCE_CHARS
"""An answer is read this far; thoughts before it do not count."""


def prompt_key(text: str) -> str:
    """Return a prompt's text with each run of white space as one space: how prompts are found by text."""
    return " ".join(text.split())


def storable(text: str) -> str:
    """Return text that UTF-8, and so every file, can hold: lone surrogates become U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


_TOKEN = re.compile(
    r"(?:<\|[A-Za-z0-9_ ]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|</?s>|<(?:eos|bos|pad|end_of_turn)>|</answer>)\Z"
)
_NEXT_TURN = re.compile(
    r"(?:<\|(?:im_end|eot_id|end|endoftext|eom_id)\|>|<end_of_turn>|</s>)\s{0,8}"
    r"<(?:\|im_start\||\|start_header_id\||\|(?:user|system|assistant)\||start_of_turn)>"
)
_THOUGHT = r"(?:think|thinking|thought|reasoning)"
_QUOTE = "[\"'`]"
_THOUGHT_END = re.compile(rf"(?<!{_QUOTE})</{_THOUGHT}>|</{_THOUGHT}>(?!{_QUOTE})", re.IGNORECASE)
_THOUGHT_START = re.compile(rf"(?<!{_QUOTE})<{_THOUGHT}>|<{_THOUGHT}>(?!{_QUOTE})", re.IGNORECASE)


def answer_text(text: str) -> str:
    """Return what the model answered: line ends as `\\n`, thoughts and closing control tokens removed.

    The answer is what follows the last `</think>`; a `<think>` that is never closed hides all after it. A
    tag in quotes, as code that handles such text has it, is no tag.
    A next turn that the model made up for itself is cut off, and so is all beyond MAX_ANSWER_CHARS.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    text = text[max((ending.end() for ending in _THOUGHT_END.finditer(text)), default=0) :]
    if opening := _THOUGHT_START.search(text):
        text = text[: opening.start()]
    if turn := _NEXT_TURN.search(text):
        text = text[: turn.start()]
    end = cut = len(text)
    while True:
        while cut and text[cut - 1].isspace():
            cut -= 1
        token = _TOKEN.search(text[max(0, cut - 48) : cut])
        if token is None:
            return text[: min(end, MAX_ANSWER_CHARS)]
        end = cut = cut - len(token[0])
