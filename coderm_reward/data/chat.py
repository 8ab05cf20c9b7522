"""From prompt text to chat messages, to the question, and to the identity of a prompt. Pure.

The identity of a prompt is the hash of its user and assistant turns up to the last user turn. System
messages stay out of it: templates insert a default one (some with today's date), so the raw messages and
the dump of one prompt would differ. Two prompts that differ in the system message alone share their tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from coderm_reward.data.chat_templates import ROLES, split_turns
from coderm_reward.types import Message, content_hash

__all__ = ["messages_from_text", "messages_from_value", "prompt_hash", "question"]

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


def messages_from_text(text: str) -> tuple[Message, ...]:
    """Reduce a prompt's text to its messages; the opening of the assistant's turn at the end is dropped.

    Contents are stripped of surrounding white space and end-of-turn tokens. Text that no known template
    explains is one user message. Works on any text.
    """
    turns = split_turns(text)
    return (Message("user", text.strip()),) if turns is None else turns


def messages_from_value(value: object) -> tuple[Message, ...]:
    """Return the messages of a prompt column's value: text, a list of messages, or such a list as JSON text.

    Raises:
        ValueError: neither of these; its text is the reason, to stand in a BadRow.
    """
    if isinstance(value, str):
        listed = _listed(value)
        return messages_from_text(value) if listed is None else _from_list(listed)
    if isinstance(value, (list, tuple)):
        return _from_list(value)
    raise ValueError("the prompt is neither text nor a list of messages")


def question(messages: Sequence[Message]) -> str:
    """Return the last user message's content, stripped; without a user message the last content of any."""
    return (messages[_last_user(messages)].content if messages else "").strip()


def prompt_hash(messages: Sequence[Message]) -> str:
    """Return the identity of a prompt: 16 hex digits over its user and assistant turns (see above).

    Line ends, surrounding white space and the assistant's earlier thoughts do not count. Without any user
    message all others count.
    """
    counted = [m for m in messages[: _last_user(messages) + 1] if m.role != "system"] or messages
    return content_hash(*(part for m in counted for part in (m.role, _normalised(m))))


def _last_user(messages: Sequence[Message]) -> int:
    users = [i for i, message in enumerate(messages) if message.role == "user"]
    return users[-1] if users else len(messages) - 1


def _normalised(message: Message) -> str:
    content = message.content.replace("\r\n", "\n").strip()
    thought = _THOUGHT.match(content) if message.role == "assistant" else None
    return content[thought.end() :].strip() if thought else content


def _listed(text: str) -> list[object] | None:
    """Return the list that a JSON text of messages holds; None for any other text."""
    if not (text.lstrip()[:1] == "[" and '"role"' in text):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_chat = isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m for m in value)
    return value if is_chat else None


def _from_list(items: Sequence[object]) -> tuple[Message, ...]:
    messages = []
    for number, item in enumerate(items, 1):
        role = item.get("role") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(role, str) or role.lower() not in ROLES:
            raise ValueError(f"message {number} of the prompt has no role such as user or assistant")
        content = item.get("content")
        if isinstance(content, (list, tuple)):
            parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
            content = "".join(part for part in parts if isinstance(part, str))
        if content is not None and not isinstance(content, str):
            raise ValueError(f"message {number} of the prompt has no text content")
        messages.append(Message(ROLES[role.lower()], content or ""))
    if not any(message.role == "user" for message in messages):
        raise ValueError("the prompt's list of messages has no user message")
    return tuple(messages)
