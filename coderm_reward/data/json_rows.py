"""One JSON line: reading it without surprises, and writing any value that a row may hold. Pure."""

from __future__ import annotations

import base64
import datetime
import json
import re
from typing import Any

from coderm_reward.text import storable

__all__ = ["MAX_DEPTH", "json_text", "parse_row", "without_surrogates"]

MAX_DEPTH = 100
"""Deeper JSON is refused on reading, so that no later stage can run out of stack."""


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_row(data: bytes) -> tuple[dict[str, Any], bool]:
    """Return the object of one line, and whether text in it had to be repaired (see without_surrogates).

    NaN and infinities are read as Python reads them.

    Raises:
        ValueError: it is no usable JSON object; its text is the reason, to stand in a BadRow.
    """
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not valid UTF-8 (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc) or error.msg.startswith("Unterminated"):
            raise ValueError("the JSON ends early (a truncated line?)") from None
        raise ValueError(f"not valid JSON ({error.msg}, character {error.pos + 1})") from None
    except (RecursionError, ValueError) as error:
        raise ValueError(f"JSON that cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {_json_type(value)} where an object with named columns is needed")
    if _deeper_than(value, MAX_DEPTH):
        raise ValueError(f"JSON nested more than {MAX_DEPTH} deep")
    if _SURROGATE.search(data) is None:
        return value, False
    repaired = without_surrogates(value)
    return repaired, repaired != value


def json_text(value: Any) -> str:
    """Return JSON text that UTF-8 can hold, for any value that JSON or Parquet rows may hold.

    Dates become ISO text, bytes become text (base64 where they are no UTF-8), anything else becomes str.
    """
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return text if _encodable(text) else json.dumps(value, default=_plain)


def without_surrogates(value: Any) -> Any:
    """Return JSON-like data with every lone surrogate (text that UTF-8 cannot hold) replaced by U+FFFD."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    return value


def _json_type(value: object) -> str:
    return {list: "list", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def _deeper_than(value: object, limit: int) -> bool:
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, (dict, list)):
            if depth > limit:
                return True
            stack.extend((child, depth + 1) for child in (item.values() if isinstance(item, dict) else item))
    return False


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode("ascii")
    return str(value)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
