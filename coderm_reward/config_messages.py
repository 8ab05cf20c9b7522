"""What a wrong setting is told as: one sentence with the values that are right. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["bad_setting", "unknown_setting"]


def bad_setting(
    error: msgspec.ValidationError, tree: Mapping[str, Any], sections: Mapping[str, type[msgspec.Struct]]
) -> str:
    """One sentence on a value of the wrong kind, with the values that are right."""
    path = re.search(r"\$\.(\w+)\.(\w+)", str(error))
    if path is None:
        return f"Bad settings: {str(error).split(' - at')[0]}."
    section, leaf = path.groups()
    value = tree[section][leaf]
    hint = get_type_hints(sections[section])[leaf]
    listed = get_origin(hint) is tuple
    choices = [c for c in _choices(hint) if isinstance(c, str)] + ["a number"] * (float in get_args(hint))
    if listed:
        return f"Setting {section}.{leaf} cannot be {value!r}; give a list of {', '.join(choices)}."
    if choices and "enum" in str(error):
        return f"Setting {section}.{leaf} cannot be {value!r}; choose one of {', '.join(choices)}."
    reason = str(error).split(" - at")[0].replace("`", "").replace("Expected", "expected")
    also = f" or one of {', '.join(choices)}" if choices else ""
    return f"Setting {section}.{leaf} cannot be {value!r}: {reason}{also}."


def _choices(hint: Any) -> tuple[Any, ...]:
    """The literal values in a type, also as members of a union."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(choice for part in get_args(hint) for choice in _choices(part))


def unknown_setting(shown: str, key: str, known: tuple[str, ...], where: str) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known)}."
    return f"Unknown setting {shown!r} in {where}; {hint}"
