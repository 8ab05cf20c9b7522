"""The fields of one row, by role: checked values, or the reason why the row cannot be used. Pure.

Every ValueError raised here carries a reason that stands in a BadRow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from coderm_reward.data.columns import MISSING, RoleColumns

__all__ = ["element_types", "kind", "rate", "required", "responses", "scalar"]

_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def required(role: str, roles: RoleColumns, row: Mapping[str, Any]) -> Any:
    """Return the value of a role that every row needs.

    Raises:
        ValueError: the column is not there, or null.
    """
    value = roles.get(role, row)
    if value is MISSING:
        raise ValueError(f"there is no {roles.columns[role]!r} (the {role})")
    if value is None:
        raise ValueError(f"{roles.columns[role]!r} (the {role}) is null")
    return value


def responses(roles: RoleColumns, row: Mapping[str, Any]) -> list[tuple[int | None, Any]]:
    """Return (position, response) of each response of a row; position None where it is not in a list.

    Elements of a list are not checked. A file of prompts alone has no response in any row.

    Raises:
        ValueError: there is no response, or it is neither text nor, where the role allows it, a list.
    """
    if "response" not in roles and "solutions" not in roles:
        return []
    role = "response" if "response" in roles else "solutions"
    column = roles.columns[role]
    value = required(role, roles, row)
    if isinstance(value, str):
        return [(None, value)]
    if not isinstance(value, list):
        raise ValueError(f"{column!r} (the {role}) is {kind(value)}, not text")
    if role == "response":
        raise ValueError(f"{column!r} (the response) is a list, which needs --map solutions={column}")
    if not value:
        raise ValueError(f"{column!r} (the {role}) is an empty list")
    return list(enumerate(value))


def scalar(role: str, roles: RoleColumns, row: Mapping[str, Any]) -> str | None:
    """Return an optional role's value as text; None where it is missing, null, NaN or empty.

    Raises:
        ValueError: it is neither text nor a number.
    """
    value = roles.get(role, row)
    if value is MISSING or value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{roles.columns[role]!r} (the {role}) is {kind(value)}, not text or a number")
    return _number_text(value) if isinstance(value, float) else str(value) or None


def rate(role: str, roles: RoleColumns, row: Mapping[str, Any]) -> float | None:
    """Return an optional role's value as a number from 0 to 1; None where it is missing or null.

    Raises:
        ValueError: it is no such number.
    """
    value = roles.get(role, row)
    if value is MISSING or value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        shown = value if isinstance(value, (int, float)) else kind(value)
        raise ValueError(f"{roles.columns[role]!r} (the {role}) is {shown}, not a number from 0 to 1")
    return float(value)


def kind(value: object) -> str:
    """Name the type of a JSON value for a sentence: null, a list, an object, ..."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def element_types(types: Mapping[str, pa.DataType], column: str) -> dict[str, pa.DataType]:
    """Return the Arrow types of a row's columns after a list column was replaced by one of its elements."""
    found = types.get(column)
    if found is not None:
        is_list = (
            pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)
        )
        return {**types, column: found.value_type} if is_list else dict(types)
    head, _, rest = column.partition(".")
    outer = types.get(head)
    if outer is None or not pa.types.is_struct(outer):
        return dict(types)
    inner = element_types({field.name: field.type for field in outer}, rest)
    return {**types, head: pa.struct(list(inner.items()))}


def _number_text(value: float) -> str | None:
    if math.isnan(value):
        return None
    return str(int(value)) if value.is_integer() else str(value)
