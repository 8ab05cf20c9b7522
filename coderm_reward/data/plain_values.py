"""Values of datasets as plain Python data, whatever numpy, Arrow and JSON in JSON text made of them. Pure.

Everything is bounded and nothing is evaluated, so a hostile value costs a ValueError and no more.
"""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["json_inside", "literal", "plain"]

_MAX_DEPTH = 60
_MAX_PARTS = 1_000_000
_MAX_CHARS = 16_000_000
_MAX_DIGITS_BITS = 13_000
"""Longer integers cannot be written in decimal (sys.int_info.str_digits_check_threshold, 4,300 digits)."""


def plain(value: object) -> Any:
    """Return a value as None, bool, int, float, str, list and dict alone.

    numpy scalars and arrays (of objects and nested ones too), tuples, mappings and UTF-8 bytes become these.

    Raises:
        ValueError: something else is in it, or it is too deep or too large; its text is the reason.
    """
    return _Plain().value(value, 0)


class _Plain:
    """One conversion, which counts what it has seen."""

    def __init__(self) -> None:
        self._parts = 0
        self._chars = 0

    def value(self, value: object, depth: int) -> Any:
        self._parts += 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
        if self._parts > _MAX_PARTS:
            raise ValueError(f"it has more than {_MAX_PARTS:,} parts")
        if isinstance(value, np.generic):
            value = value.item()
        elif isinstance(value, np.ndarray):
            value = value.tolist()
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (bytes, bytearray)):
            value = bytes(value).decode("utf-8")  # UnicodeDecodeError is a ValueError
        if isinstance(value, str):
            self._chars += len(value)
            if self._chars > _MAX_CHARS:
                raise ValueError(f"it has more than {_MAX_CHARS:,} characters of text")
            return str(value)
        if isinstance(value, int):
            if value.bit_length() > _MAX_DIGITS_BITS:
                raise ValueError("it holds an integer of thousands of digits")
            return int(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, Mapping):
            return {self.key(key): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item, depth + 1) for item in value]
        raise ValueError(f"it holds a {type(value).__name__}")

    def key(self, key: object) -> str | int | float | bool | None:
        found = self.value(key, _MAX_DEPTH)
        if isinstance(found, (list, dict)):
            raise ValueError("it has a key that is no text or number")
        return found  # type: ignore[no-any-return]


def json_inside(text: str) -> Any:
    """Return the list, object or text that a text holds as JSON, or a list or object as Python literal.

    None for any other text. Text within text is taken out once, not again and again.
    """
    text = text.strip()
    if text[:1] not in ("[", "{", '"') or len(text) > _MAX_CHARS:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if text[0] == '"' or len(text) > 200_000:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    return found if isinstance(found, (list, dict, str)) else None


def literal(value: Any) -> str:
    """Return Python source of a plain value; NaN and infinities as calls of `float`."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    return repr(value)
