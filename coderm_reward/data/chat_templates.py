"""The chat templates that prompts in dumps were rendered with, and taking such text apart. Pure.

Dumps hold a prompt as the model saw it: rendered by a chat template, with or without its special tokens
(verl decodes with `skip_special_tokens=True`). Text is taken apart only where a known template explains all
of it: it has to start as that template starts, and a template without special tokens has to end in the
opening of the assistant's turn as well. Anything else is one user message, whatever words it contains.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coderm_reward.types import Message

__all__ = ["ROLES", "split_turns"]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "model": "assistant",
    # What a tool answers belongs to the assistant's side of the episode: it is not a question.
    "tool": "assistant",
    "function": "assistant",
    "ipython": "assistant",
}
_ROLE = f"(?P<role>(?i:{'|'.join(ROLES)}))"
_THINK = r"(?:<think>\s*)?(?:</think>\s*)?"
_PADDING = re.compile(
    r"(?:\s|<\|(?:begin_of_text|end_of_text|endoftext|finetune_right_pad_id|pad)\|>|</?s>|<bos>|<pad>|\[gMASK\]|<sop>"
    r"|<[｜|]begin▁of▁sentence[｜|]>|<[｜|]▁pad▁[｜|]>)*"
)


@dataclass(frozen=True)
class _TokenForm:
    """A template whose turns open with a special token that names the role."""

    opener: re.Pattern[str]
    boundary: re.Pattern[str]
    """Where a later turn begins: at an opener, and in most templates only after the end of a turn."""
    end: re.Pattern[str]
    """The token that ends a turn, at the end of its content."""


@dataclass(frozen=True)
class _TextForm:
    """A template that is recognised by its first and last words.

    `head` opens the text (a group that matched: a system part comes first), `ask` ends that part,
    `answer` and `again` enclose an earlier answer, `tail` opens the assistant's turn at the very end.
    """

    head: re.Pattern[str]
    ask: re.Pattern[str]
    answer: re.Pattern[str]
    again: re.Pattern[str]
    tail: re.Pattern[str]


def _tokens(opener: str, end: str, always_ended: bool = True) -> _TokenForm:
    boundary = rf"(?:{end})\s*{opener}" if always_ended else opener
    return _TokenForm(re.compile(opener), re.compile(boundary), re.compile(rf"(?:{end})\s*\Z"))


def _text(head: str, ask: str, answer: str, again: str, tail: str) -> _TextForm:
    return _TextForm(*map(re.compile, (head, ask, answer, again, rf"(?:{tail})\s*{_THINK}\Z")))


_TOKEN_FORMS = (
    # ChatML (Qwen and many others; Phi-4 with its <|im_sep|>)
    _tokens(rf"<\|im_start\|>\s?{_ROLE}(?:<\|im_sep\|>|[ \t]*\n|\Z)", r"<\|im_end\|>"),
    # Llama 3
    _tokens(rf"<\|start_header_id\|>{_ROLE}<\|end_header_id\|>", r"<\|eot_id\|>|<\|eom_id\|>"),
    # Gemma
    _tokens(rf"<start_of_turn>{_ROLE}(?:\n|\Z)", r"<end_of_turn>"),
    # gpt-oss
    _tokens(
        rf"<\|start\|>{_ROLE}(?:<\|channel\|>\w+)?(?:<\|message\|>|\Z)", r"<\|end\|>|<\|return\|>|<\|call\|>"
    ),
    # DeepSeek; its bars are full-width
    _tokens(r"<[｜|](?P<role>User|Assistant)[｜|]>", r"<[｜|]end▁of▁sentence[｜|]>", always_ended=False),
    # Phi-3, Zephyr, GLM
    _tokens(rf"<\|{_ROLE}\|>", r"<\|end\|>|</s>|<\|endoftext\|>", always_ended=False),
)
_TEXT_FORMS = (
    # DeepSeek with a system part, which has no token of its own
    _text(
        head=r"(?P<system>)",
        ask=r"<[｜|]User[｜|]>",
        answer=r"<[｜|]Assistant[｜|]>",
        again=r"(?:<[｜|]end▁of▁sentence[｜|]>)?<[｜|]User[｜|]>",
        tail=r"<[｜|]Assistant[｜|]>",
    ),
    # Llama 2 and Mistral
    _text(
        head=r"(?P<system>\[SYSTEM_PROMPT\])|\[INST\](?:\s*(?P<inner><<SYS>>))?",
        ask=r"<</SYS>>|\[/SYSTEM_PROMPT\]\s*\[INST\]",
        answer=r"\[/INST\]",
        again=r"(?:</s>\s*)?(?:<s>\s*)?\[INST\]",
        tail=r"\[/INST\]",
    ),
    # Alpaca, DeepSeek-Coder, WizardCoder; Magicoder with @@
    _text(
        head=r"(?P<system>)",
        ask=r"(?:\A|(?<=\n))(?:###|@@) Instruction:?[ \t]*\n",
        answer=r"\n(?:###|@@) Response:?[ \t]*\n",
        again=r"\n(?:<\|EOT\|>\n)?(?:###|@@) Instruction:?[ \t]*\n",
        tail=r"\n(?:###|@@) Response(?::[^\n]*(?:\n|\Z)|[ \t]*)",
    ),
    # ChatML without its special tokens: the role alone on a line
    _text(
        head=r"(?:(?P<system>system)|user)\n",
        ask=r"(?<=\n)user\n",
        answer=r"\nassistant(?=\n)",
        again=r"\nuser\n",
        tail=r"(?<=\n)assistant(?=\s|\Z)",
    ),
    # Gemma without its special tokens
    _text(
        head=r"user\n",
        ask=r"(?<=\n)user\n",
        answer=r"\nmodel(?=\n)",
        again=r"\nuser\n",
        tail=r"(?<=\n)model(?=\s|\Z)",
    ),
    # Llama 3 without its special tokens: the role is glued to the end of the turn before it
    _text(
        head=r"(?:(?P<system>system)|user)\n\n",
        ask=r"(?<![ \t])user\n\n",
        answer=r"(?<![ \t])assistant\n\n",
        again=r"(?<![ \t])user\n\n",
        tail=r"(?<![ \t])assistant\n\n",
    ),
    # System: / User: / Human: / Assistant:, also after the opening sentence of R1-Zero's template
    _text(
        head=r"(?P<system>System:|A conversation between User and Assistant)|User:|Human:",
        ask=r"[\n ](?:User|Human):",
        answer=r"\n\nAssistant:",
        again=r"\n\n(?:User|Human):",
        tail=r"[\n ]Assistant:(?:[^\n]*\n?(?=<think>))?",
    ),
)


def split_turns(text: str) -> tuple[Message, ...] | None:
    """Return the messages of text that a known template explains, else None.

    Contents are stripped; an empty last assistant turn (the generation prompt, with or without an opened
    thought) and empty system messages are dropped.
    """
    padding = _PADDING.match(text)
    chat = text[padding.end() if padding else 0 :]
    for form in (*_TOKEN_FORMS, *_TEXT_FORMS):
        turns = _token_turns(chat, form) if isinstance(form, _TokenForm) else _text_turns(chat, form)
        if turns:
            return _tidy(turns)
    return None


def _token_turns(text: str, form: _TokenForm) -> list[Message]:
    """Return each turn; nothing unless the text starts with an opener."""
    first = form.opener.match(text)
    if first is None:
        return []
    openers = [first, *form.boundary.finditer(text, first.end())]
    stops = [opener.start() for opener in openers[1:]] + [len(text)]
    return [
        Message(ROLES[opener["role"].lower()], form.end.sub("", text[opener.end() : stop]))
        for opener, stop in zip(openers, stops, strict=True)
    ]


def _text_turns(text: str, form: _TextForm) -> list[Message]:
    """Return each turn; nothing unless the form explains both ends of the text and leaves a question."""
    head = form.head.match(text)
    tail = form.tail.search(text, head.end()) if head else None
    if head is None or tail is None:
        return []
    start, stop = head.end(), tail.start()
    turns = []
    if any(group is not None for group in head.groups()):
        ask = form.ask.search(text, start, stop)
        if ask is None:
            return []
        turns.append(Message("system", text[start : ask.start()]))
        start = ask.end()
    while True:
        answer = form.answer.search(text, start, stop)
        again = form.again.search(text, answer.end(), stop) if answer else None
        if answer is None or again is None:
            return [*turns, Message("user", text[start:stop])] if text[start:stop].strip() else []
        turns.append(Message("user", text[start : answer.start()]))
        turns.append(Message("assistant", text[answer.end() : again.start()]))
        start = again.end()


def _tidy(turns: Sequence[Message]) -> tuple[Message, ...]:
    messages = [Message(m.role, m.content.strip()) for m in turns]
    if messages[-1].role == "assistant" and re.fullmatch(_THINK, messages[-1].content):
        messages.pop()
    return tuple(m for m in messages if m.role != "system" or m.content)
