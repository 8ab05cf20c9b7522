"""Times of day and points in time between judge and player, with fixed offsets; other zones go by handle."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

__all__ = ["moment_in", "moment_out", "zone_in", "zone_out"]

_Encode = Callable[[Any], Any]


def moment_out(encode: _Encode, refer: _Encode, tag: str, value: Any) -> Any:
    """The node of a time or datetime."""
    zone = value.tzinfo
    if zone is not None and type(zone) is not datetime.timezone:
        return refer(value)
    plain = value.replace(tzinfo=None)
    return [tag, plain.isoformat(), value.fold, None if zone is None else zone_out(encode, zone)]


def zone_out(encode: _Encode, value: datetime.timezone) -> list[Any]:
    """The node of a fixed offset from UTC; its name only where it is not the default."""
    offset, name = value.utcoffset(None), value.tzname(None)
    named = [] if name == datetime.timezone(offset).tzname(None) else [name]
    return ["tz"] if value is datetime.timezone.utc else ["tz", encode(offset), *named]


def moment_in(decode: Callable[[Any], Any], node: list[Any], kind: Any) -> Any:
    """The time or datetime of a node."""
    zone = None if node[3] is None else decode(node[3])
    return kind.fromisoformat(node[1]).replace(tzinfo=zone, fold=node[2])


def zone_in(decode: Callable[[Any], Any], node: list[Any]) -> datetime.timezone:
    """The offset of a node."""
    return datetime.timezone(decode(node[1]), *node[2:3]) if len(node) > 1 else datetime.timezone.utc
